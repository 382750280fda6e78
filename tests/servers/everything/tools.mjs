// Tools that answer by themselves.

import { setTimeout as wait } from 'node:timers/promises';

import { audio, embedded, image, object, string, text } from './contents.mjs';

const PAUSE_MS = 50;

const result = (...content) => ({ content });

async function withLogging(_, { mcpReq }) {
  await mcpReq.log('info', 'Tool execution started');
  await wait(PAUSE_MS);
  await mcpReq.log('info', 'Tool processing data');
  await wait(PAUSE_MS);
  await mcpReq.log('info', 'Tool execution completed');
  return result(text('logged three lines'));
}

async function withProgress(_, { mcpReq }) {
  const progressToken = mcpReq._meta?.progressToken;
  for (const progress of [0, 50, 100]) {
    if (progressToken !== undefined) {
      await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } });
    }
    await wait(PAUSE_MS);
  }
  return result(text('went from 0 to 100'));
}

/** Where streams cannot be closed under a call, because there are no sessions, it just answers. */
async function afterReconnection(_, { http }) {
  await wait(PAUSE_MS);
  http?.closeSSE?.();
  await wait(2 * PAUSE_MS);
  return result(text('finished after the stream was closed'));
}

const address = { $anchor: 'addressDef', type: 'object', properties: { street: string(), city: string() } };

/** Keywords of JSON Schema 2020-12 that a gateway must not lose. */
const contact = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: { address },
  properties: {
    name: string(),
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: string(),
    email: string(),
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
};

export const tools = (announcer) => ({
  test_simple_text: {
    description: 'Returns a text',
    run: async () => result(text('This is a simple text response for testing.')),
  },
  test_image_content: { description: 'Returns a picture', run: async () => result(image) },
  test_audio_content: { description: 'Returns a sound', run: async () => result(audio) },
  test_embedded_resource: {
    description: 'Returns a resource',
    run: async () => result(
      embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'),
    ),
  },
  test_multiple_content_types: {
    description: 'Returns a text, a picture and a resource',
    run: async () => result(
      text('Multiple content types test:'),
      image,
      embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
    ),
  },
  test_error_handling: {
    description: 'Always fails',
    run: async () => {
      throw new Error('This tool intentionally returns an error for testing');
    },
  },
  test_tool_with_logging: { description: 'Writes three log lines', run: withLogging },
  test_logging_tool: {
    description: 'Writes a log line to clients that asked for some',
    run: async (_, { mcpReq }) => {
      await mcpReq.log('info', 'a line for those who asked');
      return result(text('logged what was asked for'));
    },
  },
  test_tool_with_progress: { description: 'Reports progress to clients that asked for it', run: withProgress },
  test_reconnection: { description: 'Closes the stream of its call before it answers', run: afterReconnection },
  json_schema_2020_12_tool: {
    description: 'Takes arguments with a schema of many keywords',
    schema: contact,
    run: async (given) => result(text(JSON.stringify(given))),
  },
  test_x_mcp_header: {
    description: 'Takes an argument that is repeated in a header',
    schema: object({ region: { ...string('A region'), 'x-mcp-header': 'Region' } }),
    run: async ({ region }) => result(text(`region: ${region}`)),
  },
  test_trigger_tool_change: {
    description: 'Changes the list of tools',
    run: async () => {
      await announcer.toolsChanged();
      return result(text('changed'));
    },
  },
  test_trigger_prompt_change: {
    description: 'Changes the list of prompts',
    run: async () => {
      await announcer.promptsChanged();
      return result(text('changed'));
    },
  },
});
