// What somebody has filtered for stays, wherever they go from there.
import assert from "node:assert/strict";
import { test } from "node:test";

import { crawl } from "./reader.mjs";
import { scene } from "./scene.mjs";

const here = scene();
const TIME = { range: "7d", tz: "Europe/Berlin" };

// Addresses that are no pages with a time: what is chosen there, or read from there, is the same at any time.
const TIMELESS = /^\/audit\/(look|login|logout|icon\.svg|style\.|script\.|openapi\.json)/;

// What is lost on the way over a link. A link may be about a time of its own (an hour of a chart, a choice of time), but
// never about none; only what removes a condition, or all of them, says so.
function lost({ label, isClear, isRange }, asked) {
  if (isClear) return [];
  const keys = [];
  const hasTime = ["range", "from", "to"].some((key) => asked.get(key));
  if (!hasTime && !isRange && !label.startsWith("Remove the filter time")) keys.push("time");
  if (asked.get("tz") !== TIME.tz && !label.startsWith("Remove the filter zone")) keys.push("zone");
  return keys;
}

const links = (html) => here.parser.page.evaluate((html) => {
  const page = new DOMParser().parseFromString(html, "text/html");
  return [...page.querySelectorAll("a[href]")].map((link) => ({
    href: link.getAttribute("href"),
    label: link.getAttribute("aria-label") ?? "",
    isClear: link.closest(".clear") !== null,
    isRange: link.closest(".ranges") !== null,
  }));
}, html);

const startingPoints = [
  "/audit/calls?agent=mallory&decision=ok",
  "/audit/calls?agent=designer&decision=denied",
  "/audit/calls?agent=mallory&server=hostile&-tool=fail",
  "/audit?agent=designer",
  "/audit/denials?agent=clerk",
  "/audit/agents?server=images",
];

for (const start of startingPoints) {
  test(`time and zone stay over every click from ${start}`, async () => {
    const reader = await here.reader({ viewer: "auditor" });
    const losses = new Set();
    const keepsTime = (path) => path.includes("range=7d") && path.includes("tz=Europe/Berlin");
    const from = `${start}&range=${TIME.range}&tz=${TIME.tz}`;
    let read = 0;
    const follow = (path, link) => keepsTime(path) && !link.isDownload && !TIMELESS.test(path);
    for await (const { path, status, html, isPage, notices } of crawl(reader, here.parser, [from], { most: 60, follow })) {
      read += 1;
      if (![200, 303, 404].includes(status)) losses.add(`${path}: status ${status}`);
      for (const notice of notices.filter((notice) => notice.startsWith("Ignored filter"))) losses.add(`${path}: ${notice}`);
      if (!isPage) continue;
      for (const link of await links(html)) {
        const url = new URL(link.href, new URL(path, here.gateway.origin));
        if (url.origin !== here.gateway.origin || link.href.startsWith("#") || TIMELESS.test(url.pathname)) continue;
        for (const key of lost(link, url.searchParams)) {
          losses.add(`${new URL(path, url).pathname} has a link to ${link.href} without ${key}`);
        }
      }
    }
    assert.ok(read > 20, `${read} pages`);
    assert.deepEqual([...losses].slice(0, 40), []);
    await reader.close();
  });
}

test("the filter that a person clicks together is the one in the address, and goes step by step", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  const { page } = reader;
  const asked = () => Object.fromEntries(new URL(page.url()).searchParams);
  await reader.go("/audit/calls?range=7d&tz=Europe/Berlin");
  await page.locator("tr[data-row] .agent a", { hasText: "designer" }).first().click();
  await page.waitForURL(/agent=designer/);
  assert.deepEqual(asked(), { agent: "designer", ...TIME });
  await page.locator("tr[data-row] .why a", { hasText: "refused" }).first().click();
  await page.waitForURL(/decision=denied/);
  assert.deepEqual(asked(), { agent: "designer", decision: "denied", ...TIME });
  assert.deepEqual(await page.locator("tr[data-row] .agent").allInnerTexts().then((all) => [...new Set(all)]), ["designer"]);
  await page.getByRole("link", { name: "Remove the filter agent is designer" }).click();
  await page.waitForURL((url) => !url.search.includes("agent="));
  assert.deepEqual(asked(), { decision: "denied", ...TIME });
  await page.getByRole("link", { name: "pin" }).click();
  await page.waitForURL(/from=/);
  assert.deepEqual(Object.keys(asked()).sort(), ["decision", "from", "to", "tz"]);
  reader.isContent("filters");
  await reader.close();
});

test("what means nothing in an address is said", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  for (const list of ["", "/calls", "/agents", "/servers", "/budgets", "/denials", "/policy", "/access"]) {
    await reader.go(`/audit${list}?colour=red&range=7d`);
    await reader.page.getByText("Ignored filter").first().waitFor();
  }
  await reader.close();
});
