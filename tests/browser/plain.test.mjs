// Everything but keys, copy buttons and the live tail, in a browser that runs no scripts.
import assert from "node:assert/strict";
import { test } from "node:test";

import { scene } from "./scene.mjs";

const here = scene();

test("without scripts one can log in, filter, turn pages, open a call and its bodies, and log out", async () => {
  const reader = await here.reader({ viewer: "auditor", javaScriptEnabled: false });
  const { page } = reader;
  await reader.go("/audit/calls");
  await page.getByRole("combobox", { name: "Agent" }).fill("mallory");
  await page.getByLabel("Decision").selectOption("ok");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.waitForURL((url) => url.searchParams.get("agent") === "mallory" && url.searchParams.get("decision") === "ok");
  assert.deepEqual([...new Set(await page.locator("tr[data-row] .agent").allInnerTexts())], ["mallory"]);
  assert.equal(await page.locator("[data-tail]").isVisible(), false, "no button that does nothing");
  await page.locator("tr[data-row] a[data-open]").first().click();
  await page.waitForURL(/\/audit\/calls\/[0-9a-f-]{36}/);
  assert.equal(await page.locator("[data-copy]:visible").count(), 0, "no button that does nothing");
  await page.getByRole("link", { name: "Open what is kept" }).click();
  await page.waitForURL(/\/bodies/);
  await page.getByRole("link", { name: "dark", exact: true }).click();
  await page.locator("html[data-colours=dark]").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL(/\/audit\/login/);
  await reader.go("/audit/calls");
  assert.match(page.url(), /\/audit\/login\?next=/);
  reader.isContent("plain");
  await reader.close();
});

test("without scripts the list of calls goes on for pages", async () => {
  for (let n = 0; n < 60; n += 1) await here.gateway.call("clerk", "notes", "read", { id: `note ${n}` });
  const reader = await here.reader({ viewer: "auditor", javaScriptEnabled: false });
  const { page } = reader;
  await reader.go("/audit/calls?tz=Europe/Berlin");
  const newest = await page.locator("tr[data-row]").first().getAttribute("id");
  await page.getByRole("link", { name: "Older →" }).click();
  await page.waitForURL(/before=/);
  assert.equal(await page.locator(`#${newest}`).count(), 0);
  await page.getByRole("link", { name: "Newest" }).click();
  await page.waitForURL((url) => !url.search.includes("before="));
  assert.equal(await page.locator("tr[data-row]").first().getAttribute("id"), newest);
  await reader.close();
});

test("without scripts the page can load itself anew", async () => {
  const reader = await here.reader({ viewer: "auditor", javaScriptEnabled: false });
  await reader.go("/audit/calls?agent=clerk");
  await reader.page.getByRole("link", { name: "Reload every 10 s" }).click();
  await reader.page.waitForURL(/refresh=10/);
  assert.equal(await reader.page.locator('meta[http-equiv="refresh"]').getAttribute("content"), "10");
  assert.match(reader.page.url(), /agent=clerk/);
  await reader.close();
});

test("without scripts every key of the help page can be switched off", async () => {
  const reader = await here.reader({ viewer: "auditor", javaScriptEnabled: false });
  await reader.go("/audit/help");
  await reader.page.locator('a[href*="keys=off"]').click();
  await reader.page.locator('body[data-keys="off"]').waitFor();
  await reader.close();
});
