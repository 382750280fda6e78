// Adds a bearer token to every request, for the conformance suite, which cannot send one. All else passes as it
// is: Host and Origin, streams in both directions, and the end of a client, which ends its request to the target.
//
//   HAYWARD_TOKEN=… node bearer.mjs http://127.0.0.1:3100     prints `READY <url>`, listens on 127.0.0.1

import http from 'node:http';

/** Of one connection only; there are two here. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding']);

const target = new URL(process.argv[2]);
const authorization = `Bearer ${process.env.HAYWARD_TOKEN}`;

/** Names and values in turns, as they came: in their order, with their repetitions. */
function endToEnd(rawHeaders) {
  const kept = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (!HOP_BY_HOP.has(rawHeaders[at].toLowerCase())) kept.push(rawHeaders[at], rawHeaders[at + 1]);
  }
  return kept;
}

const proxy = http.createServer((request, response) => {
  const isChunked = request.headers['transfer-encoding'] !== undefined;
  const forwarded = http.request({
    // A connection for every request: none can be stale, and ending the request ends it.
    agent: false,
    host: target.hostname,
    port: target.port,
    method: request.method,
    path: request.url,
    headers: [
      ...endToEnd(request.rawHeaders),
      'Authorization', authorization,
      ...(isChunked ? ['Transfer-Encoding', 'chunked'] : []),
      'Connection', 'close',
    ],
  });
  forwarded.on('response', (answer) => {
    response.writeHead(answer.statusCode, answer.statusMessage, endToEnd(answer.rawHeaders));
    response.flushHeaders();
    answer.on('error', () => response.destroy());
    answer.pipe(response);
  });
  forwarded.on('error', (error) => {
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end(`the target cannot be reached: ${error.message}`);
  });
  response.on('close', () => forwarded.destroy());
  request.pipe(forwarded);
});
// A stream may be silent for as long as it likes.
proxy.requestTimeout = 0;
proxy.listen(0, '127.0.0.1', () => console.log(`READY http://127.0.0.1:${proxy.address().port}`));
