// An MCP server on standard input and output whose every word is meant for whoever reads the log: markup, scripts,
// characters that turn lines round, formulas. It answers a call with what it was sent.
import { createInterface } from "node:readline";

import { hostile, hostileTool } from "./payload.mjs";

const text = (said) => ({ content: [{ type: "text", text: said }] });

const tools = ["echo", "fail", "break", hostileTool].map((name) => ({
  name,
  title: `title ${hostile}`,
  description: `description ${hostile}`,
  inputSchema: { type: "object", properties: { said: { type: "string", description: hostile } } },
}));

function answer({ method, params }) {
  switch (method) {
    case "initialize":
      return {
        result: {
          protocolVersion: "2025-06-18",
          capabilities: { tools: {} },
          serverInfo: { name: `server ${hostile}`, version: `version ${hostile}` },
          instructions: `instructions ${hostile}`,
        },
      };
    case "tools/list":
      return { result: { tools } };
    case "tools/call":
      if (params.name === "break") return { error: { code: -32000, message: `broken ${hostile}`, data: hostile } };
      if (params.name === "fail") return { result: { ...text(`failed ${hostile}`), isError: true } };
      return { result: text(`result ${hostile} ${JSON.stringify(params.arguments)}`) };
    case "ping":
      return { result: {} };
    default:
      return { error: { code: -32601, message: `no ${method}` } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  const message = JSON.parse(line);
  if (message.id === undefined || message.method === undefined) continue;
  process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id: message.id, ...answer(message) })}\n`);
}
