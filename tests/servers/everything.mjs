// A real MCP server of any era: the official npm SDK, and everything that the official conformance suite asks a
// server for (its fixture requirements stand in the descriptions of its scenarios). It must lie in a folder whose
// node_modules has `@modelcontextprotocol/server`, `/node` and `/server-legacy`.
//
//   node everything.mjs [--era ERA] [--port PORT]
//
//   dual              2026-07-28 without sessions and 2025-11-25 with them, on one endpoint (default)
//   modern            2026-07-28 only; openings of earlier revisions are refused
//   legacy            2025-11-25 and before with sessions, as servers were before 2026
//   legacy-stateless  2025-11-25 and before without sessions
//   sse               2024-11-05: GET /sse, POST /messages
//   stdio             one connection on stdin and stdout, of either era
//
// Listens on 127.0.0.1, on any free port unless told which. Prints `READY <url>` when it can be called, on
// standard error for stdio. Ends on SIGTERM, SIGINT, and for stdio at the end of its input.

import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { parseArgs } from 'node:util';

import {
  createMcpHandler, isInitializeRequest, isLegacyRequest, legacyStatelessFallback,
} from '@modelcontextprotocol/server';
import {
  NodeStreamableHTTPServerTransport, localhostHostValidation, localhostOriginValidation, toNodeHandler, toWebRequest,
} from '@modelcontextprotocol/node';
import { SSEServerTransport } from '@modelcontextprotocol/server-legacy/sse';
import { serveStdio } from '@modelcontextprotocol/server/stdio';

import { createServer } from './everything/server.mjs';
import { Announcer } from './everything/announcer.mjs';
import { EventLog } from './everything/event_log.mjs';

const MAX_BODY = 4 * 1024 * 1024;
const RETRY_MS = 500;

const announcer = new Announcer();
const newServer = () => createServer(announcer);

/** Handlers of one request by era; each takes the request, the response and the parsed body of a POST. */
const ERAS = {
  dual() {
    const [modern, legacy] = [ERAS.modern(), ERAS.legacy()];
    return async (request, response, body) => {
      const isLegacy = await isLegacyRequest(await toWebRequest(request, body), body);
      return (isLegacy ? legacy : modern)(request, response, body);
    };
  },
  modern() {
    const handler = createMcpHandler(newServer, { legacy: 'reject' });
    announcer.notifier = handler.notify;
    return toNodeHandler(handler);
  },
  legacy() {
    const sessions = new Map();
    return async (request, response, body) => {
      const id = request.headers['mcp-session-id'];
      if (id !== undefined) {
        const transport = sessions.get(id);
        return transport ? transport.handleRequest(request, response, body) : refuse(response, 404, -32001, 'Session not found');
      }
      if (!isInitializeRequest(body)) return refuse(response, 400, -32000, 'A session id is required');
      const transport = new NodeStreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: (opened) => sessions.set(opened, transport),
        onsessionclosed: (closed) => sessions.delete(closed),
        eventStore: new EventLog(),
        retryInterval: RETRY_MS,
      });
      await newServer().connect(transport);
      return transport.handleRequest(request, response, body);
    };
  },
  'legacy-stateless'() {
    return toNodeHandler({ fetch: legacyStatelessFallback(newServer) });
  },
};

/** The transport before streamable HTTP: one stream for all that the server says, posts for the client. */
function oldTransport() {
  const transports = new Map();
  return async (request, response, body, url) => {
    if (url.pathname === '/sse' && request.method === 'GET') {
      const transport = new SSEServerTransport('/messages', response);
      transports.set(transport.sessionId, transport);
      response.on('close', () => transports.delete(transport.sessionId));
      return newServer().connect(transport);
    }
    const transport = transports.get(url.searchParams.get('sessionId'));
    if (url.pathname === '/messages' && request.method === 'POST' && transport) {
      return transport.handlePostMessage(request, response, body);
    }
    const status = url.pathname === '/sse' ? 405 : 404;
    return refuse(response, status, -32000, 'GET /sse opens, POST /messages?sessionId=… speaks');
  };
}

function refuse(response, status, code, message) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code, message } }));
}

async function readBody(request) {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk;
    if (text.length > MAX_BODY) throw new Error('the body is too long');
  }
  return JSON.parse(text);
}

function listen(era, port) {
  const path = era === 'sse' ? '/sse' : '/mcp';
  const handle = era === 'sse' ? oldTransport() : ERAS[era]();
  const hostIsLocal = localhostHostValidation();
  const originIsLocal = localhostOriginValidation();

  async function answer(request, response) {
    if (!hostIsLocal(request, response) || !originIsLocal(request, response)) return;
    const url = new URL(request.url, 'http://localhost');
    if (era !== 'sse' && url.pathname !== path) {
      refuse(response, 404, -32000, `only ${path} is here`);
      return;
    }
    let body;
    try {
      if (request.method === 'POST') body = await readBody(request);
    } catch (error) {
      refuse(response, 400, -32700, `Parse error: ${error.message}`);
      return;
    }
    await handle(request, response, body, url);
  }

  const server = http.createServer((request, response) => {
    answer(request, response).catch((error) => {
      console.error(error);
      if (response.headersSent) response.end();
      else refuse(response, 500, -32603, 'Internal error');
    });
  });
  server.listen(port, '127.0.0.1', () => console.log(`READY http://127.0.0.1:${server.address().port}${path}`));
}

const { values: wanted } = parseArgs({
  options: { era: { type: 'string', default: 'dual' }, port: { type: 'string', default: '0' } },
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
if (wanted.era === 'stdio') {
  serveStdio(newServer);
  console.error('READY stdio');
} else if (wanted.era === 'sse' || wanted.era in ERAS) {
  listen(wanted.era, Number(wanted.port));
} else {
  console.error(`error: no era \`${wanted.era}\`; there are ${Object.keys(ERAS).join(', ')}, sse and stdio`);
  process.exit(2);
}
