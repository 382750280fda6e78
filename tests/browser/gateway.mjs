// A gateway of our own for one run: its rules, its agents, and the work of a day. It listens on a port of its choice,
// and everything it makes is in one folder that goes with it.
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { headers as hostileHeaders, hostile, hostileTool, names, turning } from "./payload.mjs";

const program = process.env.HAYWARD_BIN ?? "target/debug/hayward";
const hostileServer = fileURLToPath(new URL("hostile.mjs", import.meta.url));

// What only those may read who see bodies.
export const SECRETS = { argument: "argument-for-few-eyes", result: "result-for-few-eyes" };

const newToken = () => `hwd_${randomBytes(24).toString("hex")}`;
const hashOf = (token) => `sha256:${createHash("sha256").update(token).digest("hex")}`;
const quoted = (text) => JSON.stringify(text);

// `extra` is what makes the second version of the rules another one.
function rules(agents, viewers, extra) {
  const hash = (token) => quoted(hashOf(token));
  return `version: 1
# A comment that somebody hid something in: <script>window.__owned=1</script>
defaults: {timezone: Europe/Berlin, capture: full}
servers:
  images:
    description: "pictures <b class=from-the-payload>in bold</b>"
    command: ${quoted(program)}
    args: [example-server, images]
    budgets: [{limit: 3/day, tools: [imagine, blend], each: agent}]
  notes:
    description: Notes about commons
    command: ${quoted(program)}
    args: [example-server, notes]
  hostile:
    description: ${quoted("<img src=x onerror=window.__owned=1>")}
    command: ${quoted(process.execPath)}
    args: [${quoted(hostileServer)}]
roles:
  reader:
    description: Look, do not touch
    servers: [notes]
budgets:
  team: 40/month
deny: ["notes/delete_*"]
agents:
  designer:
    description: "Marketing <script>window.__owned=1</script>"
    owner: "=owner@example.com"
    token_hash: ${hash(agents.designer)}
    roles: [reader]
    servers:
      - {server: images, tools: [imagine, describe], budgets: [2/year, team]}
      - {server: notes, tools: [read, search], budgets: [500/hour]}
  clerk:
    owner: "javascript:alert(1)"
    token_hash: ${hash(agents.clerk)}
    servers: [notes, {server: images, expires: 2025-01-31}]
  mallory:
    token_hash: ${hash(agents.mallory)}
    servers: ["*"]
  retired:
    token_hash: ${hash(agents.retired)}
    servers: [notes]
    disabled: "left <b>us</b>"
viewers:
  auditor:
    token_hash: ${hash(viewers.auditor)}
    see: [arguments, results]
  counter:
    token_hash: ${hash(viewers.counter)}
${extra}`;
}

const ADDED = `tests:
  - {agent: designer, allow: [images/imagine], deny: [images/upscale]}
`;

export class Gateway {
  #child;
  #ended;
  // What it logs.
  lines = [];
  #folder;
  #id = 0;

  static async start() {
    const gateway = new Gateway();
    gateway.agents = Object.fromEntries(["designer", "clerk", "mallory", "retired"].map((name) => [name, newToken()]));
    gateway.viewers = Object.fromEntries(["auditor", "counter"].map((name) => [name, newToken()]));
    gateway.#folder = await mkdtemp(join(tmpdir(), "hayward-browser-"));
    try {
      await gateway.#serve();
      await gateway.#work();
    } catch (error) {
      await gateway.stop();
      throw new Error(`${error.message}\n${gateway.lines.slice(-20).join("\n")}`, { cause: error });
    }
    return gateway;
  }

  get #rules() {
    return join(this.#folder, "permissions.yaml");
  }

  async #serve() {
    await writeFile(this.#rules, rules(this.agents, this.viewers, ""));
    const environment = Object.entries(process.env).filter(([name]) => name !== "PORT" && !name.startsWith("HAYWARD_"));
    const options = ["--policy", this.#rules, "--db", join(this.#folder, "hayward.db"), "--listen", "127.0.0.1:0"];
    this.#child = spawn(program, ["serve", ...options, "--color", "never"], {
      env: Object.fromEntries(environment),
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once("close", resolve);
      this.#child.once("error", (error) => resolve(this.lines.push(error.message)));
    });
    const listening = new Promise((resolve) => {
      createInterface({ input: this.#child.stderr }).on("line", (line) => {
        this.lines.push(line);
        const found = /listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(line);
        if (found) resolve(found[1]);
      });
    });
    const ended = this.#ended.then(() => { throw new Error("the gateway ended before it listened"); });
    this.origin = await Promise.race([listening, ended]);
    this.base = `${this.origin}/audit`;
  }

  // Asks it to end, and insists after ten seconds.
  async stop() {
    if (this.#child && this.#child.exitCode === null && this.#child.pid !== undefined) {
      this.#child.kill("SIGTERM");
      const insist = setTimeout(() => this.#child.kill("SIGKILL"), 10_000);
      await this.#ended;
      clearTimeout(insist);
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  // One request of an agent; what the gateway answers.
  async ask(agent, server, method, params, headers = {}) {
    this.#id += 1;
    const sent = await fetch(`${this.origin}/mcp/${server}`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${this.agents[agent] ?? agent}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        ...headers,
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: this.#id, method, params }),
      signal: AbortSignal.timeout(60_000),
    });
    return { status: sent.status, headers: sent.headers, body: await sent.text() };
  }

  call(agent, server, name, given = {}, headers = {}) {
    return this.ask(agent, server, "tools/call", { name, arguments: given }, headers);
  }

  // A call that the tests count on.
  async #mustCall(...call) {
    const { status, body } = await this.call(...call);
    if (status !== 200 || body.includes('"error"')) throw new Error(`${call.slice(0, 3).join(" ")}: ${status} ${body}`);
  }

  // Puts other rules in force and waits until the gateway says that they are.
  async #reload() {
    const revision = async () => (await (await fetch(`${this.origin}/health`)).json()).policy;
    const before = JSON.stringify(await revision());
    await writeFile(this.#rules, rules(this.agents, this.viewers, ADDED));
    this.#child.kill("SIGHUP");
    const until = Date.now() + 30_000;
    while (JSON.stringify(await revision()) === before) {
      if (Date.now() > until) throw new Error("the new rules did not come into force");
    }
  }

  // The work of a day: everything that a page can show.
  async #work() {
    const secret = { id: "mcp", note: SECRETS.argument };
    await this.#mustCall("designer", "notes", "search", { query: "commons" });
    await this.#mustCall("mallory", "hostile", "echo", { said: `${SECRETS.argument} ${SECRETS.result}`, ...secret });
    for (const prompt of ["a gate", "a field", "one too many"]) await this.call("designer", "images", "imagine", { prompt });
    await this.call("designer", "images", "blend", { images: [] });
    await this.call("designer", "notes", "delete_all");
    await this.call("clerk", "images", "imagine", { prompt: "expired" });
    await this.call("clerk", "nowhere", "read");
    await this.call("retired", "notes", "read", { id: "mcp" });
    await this.call(newToken(), "notes", "read", { id: "mcp" });
    await this.call("clerk", "notes", "read", { id: "no such note" });
    await this.#hostileWork();
    await this.#reload();
    await this.#mustCall("designer", "notes", "read", { id: "mcp" }, { "x-session-id": "after-the-reload" });
    await this.#lookedAt();
  }

  async #hostileWork() {
    const said = { said: hostile, [hostile]: [hostile], password: "kept from everyone" };
    for (const name of ["echo", "fail", "break", hostileTool]) await this.call("mallory", "hostile", name, said);
    for (const name of names) {
      await this.call("mallory", "hostile", name, said);
      await this.call("clerk", "hostile", name, said);
      await this.ask("mallory", "hostile", name, said);
      await this.ask("mallory", encodeURIComponent(name), "tools/list", {});
    }
    for (const label of hostileHeaders) {
      await this.call("mallory", "hostile", "echo", said, { "x-session-id": label, "idempotency-key": label });
      await this.call("mallory", "hostile", "echo", said, { "user-agent": label, traceparent: label, origin: label });
    }
    const clientInfo = { name: hostile, version: hostile, title: hostile };
    for (const client of [clientInfo, { name: `client${turning}`, version: "1" }, { name: "=client", version: "1" }]) {
      const opened = await this.ask("mallory", "hostile", "initialize", {
        protocolVersion: "2025-06-18", capabilities: {}, clientInfo: client,
      });
      const session = opened.headers.get("mcp-session-id");
      if (session) await this.call("mallory", "hostile", "echo", said, { "mcp-session-id": session });
    }
    await this.ask("mallory", "hostile", "resources/read", { uri: `javascript:alert(1)//${hostile}` });
  }

  // A wrong token at the door, a list that is taken away.
  async #lookedAt() {
    const post = (token) => fetch(`${this.base}/login`, {
      method: "POST", redirect: "manual", body: new URLSearchParams({ token, next: "/audit" }),
    });
    await post(hostile);
    const cookie = (await post(this.viewers.auditor)).headers.getSetCookie().map((line) => line.split(";")[0]).join("; ");
    const taken = await fetch(`${this.base}/calls.csv?tool=${encodeURIComponent(hostileTool)}`, { headers: { cookie } });
    if (taken.status !== 200) throw new Error(`the export: ${taken.status}`);
    await taken.text();
  }
}
