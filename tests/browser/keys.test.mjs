// Single keys, and calls that appear while somebody looks.
import assert from "node:assert/strict";
import { test } from "node:test";

import { scene } from "./scene.mjs";

const here = scene();

const rows = (page) => page.locator("#tail-rows tr[data-row]");
const call = (id) => here.gateway.call("clerk", "notes", "read", { id });

async function watching() {
  const reader = await here.reader({ viewer: "auditor" });
  await reader.go("/audit/calls?agent=clerk");
  const opened = reader.page.waitForResponse((answer) => answer.url().includes("/calls/tail"));
  await reader.page.getByRole("button", { name: "Live tail" }).click();
  await opened;
  await reader.page.getByText("Live: 0 new.").waitFor();
  return reader;
}

test("calls appear while somebody watches, the newest on top, and none after the end", async () => {
  const reader = await watching();
  const { page } = reader;
  const pressed = () => page.locator("[data-tail]").getAttribute("aria-pressed");
  assert.equal(await pressed(), "true");
  await call("mcp");
  await rows(page).first().waitFor();
  await here.gateway.call("designer", "notes", "read", { id: "mcp" });
  await call("no such note");
  await rows(page).nth(1).waitFor();
  assert.deepEqual(await rows(page).locator(".agent").allInnerTexts(), ["clerk", "clerk"], "the filter holds");
  await rows(page).first().getByText("error").first().waitFor();
  await page.getByText("Live: 2 new.").waitFor();
  await page.getByRole("button", { name: "Stop the tail" }).click();
  await page.getByText("The tail is stopped.").waitFor();
  assert.equal(await pressed(), "false");
  await call("mcp");
  // Whoever asks again reads the call that was not told.
  const before = await rows(page).count();
  const listed = JSON.parse((await reader.fetch("/audit/calls.json?agent=clerk&tool=read&server=notes")).text);
  assert.ok(listed.length > before);
  assert.equal(before, 2);
  reader.isContent("tail");
  await reader.close();
});

test("rows wait while somebody reads one, and come when they go on", async () => {
  const reader = await watching();
  const { page } = reader;
  await call("mcp");
  await rows(page).first().locator("a[data-open]").focus();
  await call("commons");
  await page.getByText("1 more wait while you read").waitFor();
  assert.equal(await rows(page).count(), 1);
  await page.locator("[data-tail]").focus();
  await rows(page).nth(1).waitFor();
  reader.isContent("pause");
  await reader.close();
});

test("j and k go through the rows, Enter opens one", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  const { page } = reader;
  await reader.go("/audit/calls?agent=mallory&decision=ok");
  const focused = () => page.evaluate(() => {
    const row = document.activeElement.closest("tr[data-row]");
    return [...document.querySelectorAll("tr[data-row]")].indexOf(row);
  });
  await page.keyboard.press("j");
  assert.equal(await focused(), 0);
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  assert.equal(await focused(), 2);
  await page.keyboard.press("k");
  assert.equal(await focused(), 1);
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/audit\/calls\/[0-9a-f-]{36}/);
  reader.isContent("rows");
  await reader.close();
});

test("keys filter, change the time, pin it, start the tail, and go to every page of the navigation", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  const { page } = reader;
  await reader.go("/audit/calls?range=24h");
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "f-agent");
  await page.keyboard.type("gj]p");
  assert.equal(await page.locator("#f-agent").inputValue(), "gj]p", "letters are text where somebody types");
  await page.keyboard.press("Escape");
  await page.keyboard.press("]");
  await page.waitForURL(/range=7d/);
  await page.keyboard.press("[");
  await page.waitForURL(/range=24h/);
  await page.keyboard.press("t");
  await page.getByRole("button", { name: "Stop the tail" }).waitFor();
  await page.keyboard.press("p");
  await page.waitForURL(/from=.*to=/);
  await page.keyboard.press("?");
  await page.waitForURL(/\/audit\/help/);
  const pages = await page.locator("nav [data-go]").evaluateAll((all) => all.map((link) => [link.dataset.go, link.pathname]));
  assert.ok(pages.length >= 10);
  for (const [letter, path] of pages) {
    await page.keyboard.press("g");
    await page.keyboard.press(letter);
    // The report leads on to its newest month.
    await page.waitForURL((url) => url.pathname === path || (path.endsWith("/report") && url.pathname.startsWith(`${path}/`)));
    await page.locator(`nav [data-go="${letter}"][aria-current="page"]`).waitFor();
  }
  reader.isContent("keys");
  await reader.close();
});

test("every key of the help page does something, and there are no others", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  await reader.go("/audit/help");
  const told = (await reader.page.locator("#keys kbd").allInnerTexts()).map((key) => key.trim());
  for (const key of ["/", "j", "k", "Enter", "[", "]", "t", "p", "?"]) {
    assert.ok(told.some((text) => text.split(/[\s,]+/).includes(key)), `${key} is told: ${told.join(" · ")}`);
  }
  const letters = await reader.page.locator("nav [data-go]").evaluateAll((all) => all.map((link) => link.dataset.go));
  assert.equal(new Set(letters).size, letters.length, "a letter leads to one page");
  await reader.close();
});

test("keys do nothing when they are switched off", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  const { page } = reader;
  await reader.go("/audit/look?keys=off&back=/audit/calls?range=24h");
  const url = page.url();
  for (const key of ["/", "j", "k", "[", "]", "t", "p", "?", "g", "a"]) await page.keyboard.press(key);
  assert.equal(await page.evaluate(() => document.activeElement.localName), "body");
  assert.equal(await page.locator("[data-tail]").getAttribute("aria-pressed"), "false");
  // A click of a link would have begun to load another page by the time that a page of ours is there.
  await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); }));
  assert.equal(page.url(), url);
  await reader.go("/audit/look?keys=on&back=/audit/calls");
  await page.keyboard.press("j");
  assert.ok(await page.evaluate(() => document.activeElement.closest("tr[data-row]") !== null));
  reader.isContent("keys off");
  await reader.close();
});

test("everything can be reached with Tab, beginning with the link that skips the navigation", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  const { page } = reader;
  await reader.go("/audit/calls");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  await page.waitForURL(/#main$/);
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate(() => document.activeElement.closest("main") !== null), "the navigation was skipped");
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "none", "focus is seen");
  await reader.close();
});
