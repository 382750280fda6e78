// A person with a browser who reads the dashboard: everything the browser complains about is kept, and nothing leaves
// this machine.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export function openBrowser() {
  const args = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"];
  // As root there is no sandbox to be had.
  return chromium.launch({ executablePath, args, chromiumSandbox: process.getuid() !== 0 });
}

export class Reader {
  // What nobody should see: console messages, errors, refused policies, requests to elsewhere, failed ones, dialogs.
  complaints = [];

  // With a `token` the reader has logged in, at the form.
  static async open(browser, gateway, { token, ...options } = {}) {
    const reader = new Reader();
    reader.gateway = gateway;
    reader.context = await browser.newContext({
      baseURL: gateway.origin, reducedMotion: "reduce", locale: "en-GB", timezoneId: "UTC", ...options,
    });
    reader.context.setDefaultTimeout(30_000);
    await reader.#watch();
    reader.page = await reader.context.newPage();
    if (token) await reader.logIn(token);
    return reader;
  }

  async #watch() {
    const { origin } = this.gateway;
    const complain = (what) => this.complaints.push(what);
    await this.context.exposeBinding("complainOfPolicy", ({ page }, what) => complain(`policy: ${what} at ${page.url()}`));
    await this.context.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => {
        globalThis.complainOfPolicy(`${event.effectiveDirective} ${event.blockedURI}`);
      });
    });
    await this.context.route((url) => url.origin !== origin, (route) => {
      complain(`request to ${route.request().url()}`);
      return route.abort();
    });
    this.context.on("console", (message) => {
      // The browser tells of every answer that is not fine; which one is expected is asserted where it is asked for.
      if (/the server responded with a status of 40[34]/.test(message.text())) return;
      complain(`console ${message.type()}: ${message.text()} at ${message.page()?.url()}`);
    });
    this.context.on("weberror", (error) => complain(`error: ${error.error()}`));
    this.context.on("dialog", (dialog) => {
      complain(`dialog: ${dialog.message()}`);
      return dialog.dismiss();
    });
  }

  async logIn(token) {
    await this.page.goto("/audit/login");
    await this.page.getByLabel("Viewer’s token").fill(token);
    await this.page.getByRole("button", { name: "Log in" }).click();
    await this.page.waitForURL((url) => !url.pathname.endsWith("/login"));
  }

  // Opens a page, wants its status.
  async go(path, status = 200) {
    const answer = await this.page.goto(path);
    assert.equal(answer.status(), status, path);
    return answer;
  }

  // What stands at an address, without opening it.
  async fetch(path) {
    const answer = await this.context.request.get(path, { maxRedirects: 0 });
    const { location, "content-type": type = "" } = answer.headers();
    return { status: answer.status(), type, location, text: await answer.text() };
  }

  // Findings of axe that keep somebody from reading, a line each.
  async findings() {
    if (!(await this.page.evaluate(() => "axe" in globalThis))) await this.page.evaluate(axe);
    const found = await this.page.evaluate(async () => {
      const { violations } = await globalThis.axe.run(document, {
        resultTypes: ["violations"], preload: false,
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      });
      return violations.map(({ id, impact, nodes }) => ({
        id, impact, where: nodes.slice(0, 3).map(({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ""}`),
      }));
    });
    const serious = found.filter(({ impact }) => impact === "serious" || impact === "critical");
    return serious.map(({ id, impact, where }) => `${impact} ${id}: ${where.join(" | ")}`);
  }

  // Fails when the browser had something to complain about since the last time.
  isContent(where) {
    assert.deepEqual(this.complaints.splice(0), [], where);
  }

  close() {
    return this.context.close();
  }
}

// What a program reads from a page, without running it: links, and what the tests look for.
export class Parser {
  static async open(browser) {
    const parser = new Parser();
    parser.context = await browser.newContext({ offline: true });
    parser.page = await parser.context.newPage();
    return parser;
  }

  read(html, selectors = {}) {
    return this.page.evaluate(([html, selectors]) => {
      const page = new DOMParser().parseFromString(html, "text/html");
      const texts = (selector) => [...page.querySelectorAll(selector)].map((element) => element.textContent.trim());
      const addresses = [...page.querySelectorAll("[href], [src], [action], [data-tail]")].map((element) => ({
        address: ["href", "src", "action", "data-tail"].map((name) => element.getAttribute(name)).find(Boolean) ?? "",
        tag: element.localName,
        isDownload: element.hasAttribute("download"),
      }));
      const found = Object.fromEntries(Object.entries(selectors).map(([name, selector]) => [name, texts(selector)]));
      return { addresses, text: page.body.textContent, ...found };
    }, [html, selectors]);
  }

  close() {
    return this.context.close();
  }
}

// Goes from link to link, breadth first, reading each page once, at most so many; `follow` says which links.
export async function* crawl(reader, parser, start, { most, follow }) {
  const seen = new Set(start);
  const waiting = [...start];
  for (let read = 0; waiting.length > 0 && read < most; read += 1) {
    const path = waiting.shift();
    const { status, type, text, location } = await reader.fetch(path);
    const isPage = type.startsWith("text/html");
    const page = isPage ? await parser.read(text, { notices: ".notice" }) : { addresses: [], text, notices: [] };
    yield { path, status, type, html: text, ...page, isPage };
    const links = page.addresses.filter(({ tag }) => tag === "a");
    if (location) links.push({ address: location, isDownload: false });
    for (const link of links) {
      const url = new URL(link.address, new URL(path, reader.gateway.origin));
      url.hash = "";
      const next = `${url.pathname}${url.search}`;
      if (url.origin !== reader.gateway.origin || seen.has(next) || !follow(next, link)) continue;
      seen.add(next);
      waiting.push(next);
    }
  }
}
