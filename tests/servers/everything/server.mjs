// One MCP server with all that it offers. Every connection, or every request where there are no sessions, has
// its own.

import { McpServer, fromJsonSchema } from '@modelcontextprotocol/server';

import { asking, state } from './asking.mjs';
import { prompts } from './prompts.mjs';
import { resources, templates } from './resources.mjs';
import { pushing } from './pushing.mjs';
import { tools } from './tools.mjs';

const COMPLETIONS = ['paris', 'park', 'party'];

export function createServer(announcer) {
  const server = new McpServer({ name: 'everything', version: '1.0.0' }, {
    capabilities: {
      tools: { listChanged: true },
      prompts: { listChanged: true },
      resources: { listChanged: true, subscribe: true },
      logging: {},
      completions: {},
    },
    requestState: { verify: state.verify },
  });
  const changing = {};
  for (const [name, tool] of Object.entries({ ...tools(announcer), ...pushing, ...asking })) {
    const { description, schema = { type: 'object', properties: {} }, run } = tool;
    changing.tools = server.registerTool(name, { description, inputSchema: fromJsonSchema(schema) }, run);
  }
  for (const [name, { uri, read, ...about }] of Object.entries(resources)) {
    server.registerResource(name, uri, about, read);
  }
  for (const [name, { template, read, ...about }] of Object.entries(templates)) {
    server.registerResource(name, template, about, read);
  }
  for (const [name, { description, schema, get }] of Object.entries(prompts)) {
    const about = { description, ...(schema && { argsSchema: fromJsonSchema(schema) }) };
    changing.prompts = server.registerPrompt(name, about, get);
  }
  server.server.setRequestHandler('completion/complete', async ({ params }) => {
    const values = COMPLETIONS.filter((value) => value.startsWith(params.argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
  });
  server.server.setRequestHandler('resources/subscribe', async () => ({}));
  server.server.setRequestHandler('resources/unsubscribe', async () => ({}));
  return announcer.include(server, changing);
}
