// Resources and their templates.

import { ResourceTemplate } from '@modelcontextprotocol/server';

import { PNG } from './contents.mjs';

const TEXT = 'This is the content of the static text resource.';

export const resources = {
  'static-text': {
    uri: 'test://static-text',
    description: 'A text',
    mimeType: 'text/plain',
    read: async ({ href: uri }) => ({ contents: [{ uri, mimeType: 'text/plain', text: TEXT }] }),
  },
  'static-binary': {
    uri: 'test://static-binary',
    description: 'A picture',
    mimeType: 'image/png',
    read: async ({ href: uri }) => ({ contents: [{ uri, mimeType: 'image/png', blob: PNG }] }),
  },
  'watched-resource': {
    uri: 'test://watched-resource',
    description: 'A text that one can subscribe to',
    mimeType: 'text/plain',
    read: async ({ href: uri }) => ({ contents: [{ uri, mimeType: 'text/plain', text: 'nothing new' }] }),
  },
};

export const templates = {
  template: {
    template: new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    description: 'A text for every id',
    mimeType: 'application/json',
    read: async ({ href: uri }, { id }) => {
      const text = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` });
      return { contents: [{ uri, mimeType: 'application/json', text }] };
    },
  },
};
