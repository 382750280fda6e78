// The official TypeScript SDK against one MCP endpoint: `@modelcontextprotocol/client` (2.x) or, with
// `--sdk 1`, `@modelcontextprotocol/sdk` (1.x). It must lie in a folder whose node_modules has them.
//
// Lists every page of tools, calls one tool, looks for a text in the result, prints one line of JSON.
// Exit status 0 when all of it worked, else 1. The bearer token comes from HAYWARD_TOKEN; without it none is sent.
//
//   node smoke.mjs URL TOOL --arguments '{"message": "hello"}' --expect hello
//       [--input '{"name": "Ada"}'] [--transport http|sse] [--sdk 1|2] [--mode auto|legacy] [--seconds 30]
//
// With --input the tool has to ask for input (elicitation), however the revision carries that, and gets this answer.
// When a server refuses, the report has the `code` of its error, or `tool_error`.

import { parseArgs } from 'node:util';

const MAX_PAGES = 100;

const { values: wanted, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    arguments: { type: 'string', default: '{}' },
    expect: { type: 'string' },
    input: { type: 'string' },
    transport: { type: 'string', default: 'http' },
    sdk: { type: 'string', default: '2' },
    mode: { type: 'string', default: 'auto' },
    seconds: { type: 'string', default: '30' },
  },
});
const [url, tool] = positionals;
const timeout = Number(wanted.seconds) * 1000;

let asked = 0;

/** Whoever answers when a tool asks for input. */
async function answer() {
  asked += 1;
  return { action: 'accept', content: JSON.parse(wanted.input) };
}

/** What there is of both SDKs: a client, a transport of each kind, and what names the request for input. */
async function load() {
  if (wanted.sdk === '1') {
    const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
    const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
    const { SSEClientTransport } = await import('@modelcontextprotocol/sdk/client/sse.js');
    const { ElicitRequestSchema } = await import('@modelcontextprotocol/sdk/types.js');
    return { Client, StreamableHTTPClientTransport, SSEClientTransport, elicitation: ElicitRequestSchema };
  }
  return { ...await import('@modelcontextprotocol/client'), elicitation: 'elicitation/create' };
}

/** A client and its transport, ready to connect. */
async function prepare() {
  const sdk = await load();
  const token = process.env.HAYWARD_TOKEN;
  const requestInit = token ? { headers: { Authorization: `Bearer ${token}` } } : {};
  const Transport = wanted.transport === 'sse' ? sdk.SSEClientTransport : sdk.StreamableHTTPClientTransport;
  // SDK 1 knows no other, and no later revision knows the old transport.
  const isLegacy = wanted.sdk === '1' || wanted.transport === 'sse' || wanted.mode === 'legacy';
  const client = new sdk.Client({ name: 'smoke', version: '1' }, {
    capabilities: wanted.input === undefined ? {} : { elicitation: {} },
    ...(isLegacy ? {} : { versionNegotiation: { mode: 'auto' } }),
  });
  if (wanted.input !== undefined) client.setRequestHandler(sdk.elicitation, answer);
  return [client, new Transport(new URL(url), { requestInit })];
}

async function exercise(client) {
  const names = [];
  let cursor;
  for (let page = 0; page < MAX_PAGES; page++) {
    const listed = await client.listTools(cursor === undefined ? undefined : { cursor });
    names.push(...listed.tools.map((listedTool) => listedTool.name));
    cursor = listed.nextCursor;
    if (cursor === undefined) break;
  }
  if (!names.includes(tool)) throw new Error(`\`${tool}\` is not among the ${names.length} tools: ${names.join(', ')}`);
  const call = { name: tool, arguments: JSON.parse(wanted.arguments) };
  const result = await (wanted.sdk === '1'
    ? client.callTool(call, undefined, { timeout })
    : client.callTool(call, { timeout }));
  const text = result.content.filter((block) => block.type === 'text').map((block) => block.text).join('\n');
  if (result.isError) throw Object.assign(new Error(`\`${tool}\` failed: ${text}`), { code: 'tool_error' });
  if (!text.includes(wanted.expect)) throw new Error(`\`${wanted.expect}\` is not in the result: ${text}`);
  if (wanted.input !== undefined && asked === 0) throw new Error(`\`${tool}\` asked for nothing`);
  return { tools: names.length };
}

const started = Date.now();
const report = { client: `typescript ${wanted.sdk}`, mode: wanted.mode, url, tool, ok: false };

function finish() {
  report.ms = Date.now() - started;
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(report.ok ? 0 : 1));
}

setTimeout(() => {
  report.error = `not done within ${wanted.seconds} s`;
  finish();
}, timeout).unref();

try {
  if (!url || !tool || !wanted.expect) throw new Error('a URL, a tool and --expect are needed');
  const [client, transport] = await prepare();
  await client.connect(transport);
  Object.assign(report, await exercise(client));
  report.protocol = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion;
  await client.close();
  report.ok = true;
} catch (error) {
  report.error = `${error?.name}: ${error?.message}`.slice(0, 500);
  if (Number.isInteger(error?.code) || error?.code === 'tool_error') report.code = error.code;
}
finish();
