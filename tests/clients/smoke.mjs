// The official TypeScript SDK against MCP endpoints: `@modelcontextprotocol/client` (2.x) or, with `--sdk 1`,
// `@modelcontextprotocol/sdk` (1.x). It must lie in a folder whose node_modules has them.
//
// Lists every page of tools, calls one tool, looks for a text in the result, prints one line of JSON.
// Exit status 0 when all of it worked, else 1. The bearer token comes from HAYWARD_TOKEN; without it none is sent.
//
//   node smoke.mjs [--transport http|sse] [--sdk 1|2] [--mode auto|legacy] [--seconds 30]
//       URL TOOL --expect hello [--arguments '{"message": "hello"}'] [--input '{"name": "Ada"}']
//
// Without URL and TOOL it reads them from standard input, one JSON object a line with the keys `url`, `tool`, `expect`,
// `arguments` and `input`, and does all of it for each, on a connection of its own.
//
// With an input the tool has to ask for input (elicitation), however the revision carries that, and gets this answer.
// When a server refuses, the report has the `code` of its error, or `tool_error`.

import { createInterface } from 'node:readline/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const MAX_PAGES = 100;

const { values: given, positionals } = parseArgs({
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
const timeout = Number(given.seconds) * 1000;

/** What there is of both SDKs: a client, a transport of each kind, and what names the request for input. */
async function load() {
  if (given.sdk === '1') {
    const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
    const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
    const { SSEClientTransport } = await import('@modelcontextprotocol/sdk/client/sse.js');
    const { ElicitRequestSchema } = await import('@modelcontextprotocol/sdk/types.js');
    return { Client, StreamableHTTPClientTransport, SSEClientTransport, elicitation: ElicitRequestSchema };
  }
  return { ...await import('@modelcontextprotocol/client'), elicitation: 'elicitation/create' };
}

/** Whoever answers when a tool asks for input. */
class Person {
  asked = 0;

  constructor(input) {
    this.input = input;
  }

  answer = async () => {
    this.asked += 1;
    return { action: 'accept', content: this.input };
  };
}

/** A client and its transport, ready to connect. */
async function prepare(wanted, person) {
  const sdk = await load();
  const token = process.env.HAYWARD_TOKEN;
  const requestInit = token ? { headers: { Authorization: `Bearer ${token}` } } : {};
  const Transport = given.transport === 'sse' ? sdk.SSEClientTransport : sdk.StreamableHTTPClientTransport;
  // SDK 1 knows no other, and no later revision knows the old transport.
  const isLegacy = given.sdk === '1' || given.transport === 'sse' || given.mode === 'legacy';
  const client = new sdk.Client({ name: 'smoke', version: '1' }, {
    capabilities: wanted.input === undefined ? {} : { elicitation: {} },
    ...(isLegacy ? {} : { versionNegotiation: { mode: 'auto' } }),
  });
  if (wanted.input !== undefined) client.setRequestHandler(sdk.elicitation, person.answer);
  return [client, new Transport(new URL(wanted.url), { requestInit })];
}

async function allTools(client) {
  const names = [];
  let cursor;
  for (let page = 0; page < MAX_PAGES; page++) {
    const listed = await client.listTools(cursor === undefined ? undefined : { cursor });
    names.push(...listed.tools.map((tool) => tool.name));
    cursor = listed.nextCursor;
    if (cursor === undefined) break;
  }
  return names;
}

async function exercise(client, { tool, arguments: its = {}, expect, input }, person) {
  const names = await allTools(client);
  if (!names.includes(tool)) throw new Error(`\`${tool}\` is not among the ${names.length} tools: ${names.join(', ')}`);
  const call = { name: tool, arguments: its };
  const result = await (given.sdk === '1'
    ? client.callTool(call, undefined, { timeout })
    : client.callTool(call, { timeout }));
  const text = result.content.filter((block) => block.type === 'text').map((block) => block.text).join('\n');
  if (result.isError) throw Object.assign(new Error(`\`${tool}\` failed: ${text}`), { code: 'tool_error' });
  if (!text.includes(expect)) throw new Error(`\`${expect}\` is not in the result: ${text}`);
  if (input !== undefined && person.asked === 0) throw new Error(`\`${tool}\` asked for nothing`);
  return { tools: names.length };
}

async function connectAndExercise(wanted) {
  if (!wanted.url || !wanted.tool || !wanted.expect) throw new Error('a URL, a tool and --expect are needed');
  const person = new Person(wanted.input);
  const [client, transport] = await prepare(wanted, person);
  await client.connect(transport);
  const report = await exercise(client, wanted, person);
  report.protocol = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion;
  await client.close();
  return report;
}

/** Whatever comes first: its result, or that it took too long. What it holds then is held until the process ends. */
async function inTime(result) {
  const tooLate = new AbortController();
  const late = wait(timeout, undefined, { signal: tooLate.signal }).then(() => {
    throw new Error(`not done within ${given.seconds} s`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([result, late]);
  } finally {
    tooLate.abort();
  }
}

async function reportOn(wanted) {
  const started = Date.now();
  const report = { client: `typescript ${given.sdk}`, mode: given.mode, url: wanted.url, tool: wanted.tool, ok: false };
  try {
    Object.assign(report, await inTime(connectAndExercise(wanted)));
    report.ok = true;
  } catch (error) {
    report.error = `${error?.name}: ${error?.message}`.slice(0, 500);
    if (Number.isInteger(error?.code) || error?.code === 'tool_error') report.code = error.code;
  }
  report.ms = Date.now() - started;
  await new Promise((written) => process.stdout.write(`${JSON.stringify(report)}\n`, written));
  return report.ok;
}

/** What the command line asks for, or else every line of standard input. */
async function* everythingWanted() {
  const [url, tool] = positionals;
  if (url === undefined) {
    for await (const line of createInterface({ input: process.stdin })) yield JSON.parse(line);
  } else {
    const input = given.input && JSON.parse(given.input);
    yield { url, tool, expect: given.expect, arguments: JSON.parse(given.arguments), input };
  }
}

let isWell = true;
for await (const wanted of everythingWanted()) isWell = await reportOn(wanted) && isWell;
process.exit(isWell ? 0 : 1);
