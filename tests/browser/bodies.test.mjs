// Who may see what was said, and who looked.
import assert from "node:assert/strict";
import { test } from "node:test";

import { SECRETS } from "./gateway.mjs";
import { places, twins } from "./places.mjs";
import { crawl } from "./reader.mjs";
import { scene } from "./scene.mjs";

const here = scene();
const secrets = Object.values(SECRETS);

// A call whose arguments and result hold both secrets.
async function secretCall(reader) {
  const told = JSON.parse((await reader.fetch("/audit/calls.json?agent=mallory&tool=echo")).text);
  return told.at(-1).call;
}

test("who sees metadata only finds no argument and no result, on no page and in no file", async () => {
  const reader = await here.reader({ viewer: "counter" });
  const call = await secretCall(reader);
  const everything = [`/audit/calls/${call}`, `/audit/calls/${call}/bodies`, "/audit/openapi.json", ...twins];
  const start = [...everything, ...(await placesOf("auditor"))];
  const follow = (path, link) => !link.isDownload && !/^\/audit\/(look|logout)/.test(path);
  let read = 0;
  for await (const { path, status, html } of crawl(reader, here.parser, start, { most: 300, follow })) {
    read += 1;
    for (const secret of secrets) assert.ok(!html.includes(secret), `${secret} at ${path}`);
    assert.equal(status === 403, /\/bodies(\?|$)/.test(path), `${status} for ${path}`);
  }
  assert.ok(read > 100, `${read} places`);
  await reader.close();
});

async function placesOf(viewer) {
  const reader = await here.reader({ viewer });
  try {
    return await places(reader, here.parser);
  } finally {
    await reader.close();
  }
}

test("no page offers bodies to who may not see them, and asking is refused in words", async () => {
  const reader = await here.reader({ viewer: "counter" });
  const call = await secretCall(reader);
  await reader.go(`/audit/calls/${call}`);
  assert.equal(await reader.page.getByRole("link", { name: "Open what is kept" }).count(), 0);
  await reader.go(`/audit/calls/${call}/bodies`, 403);
  assert.equal(await reader.page.locator("h1").count(), 1);
  assert.deepEqual(await reader.findings(), []);
  reader.isContent("bodies");
  await reader.close();
});

test("who may see bodies opens them, and that stands among the readers", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  const { page } = reader;
  const call = await secretCall(reader);
  const looks = async () => JSON.parse((await reader.fetch("/audit/access.json")).text)
    .filter((row) => JSON.stringify(row).includes(call) && JSON.stringify(row).includes("auditor"));
  const before = (await looks()).length;
  await reader.go(`/audit/calls/${call}`);
  const main = () => page.locator("main").innerText();
  for (const secret of secrets) assert.ok(!(await main()).includes(secret), "not before it is written down");
  assert.equal((await looks()).length, before);
  await page.getByRole("link", { name: "Open what is kept" }).click();
  await page.waitForURL(/\/bodies/);
  for (const secret of secrets) assert.ok((await main()).includes(secret), secret);
  assert.equal((await looks()).length, before + 1);
  await reader.go("/audit/access");
  await page.locator("main tr", { hasText: "auditor" }).filter({ hasText: call.slice(0, 8) }).first().waitFor();
  reader.isContent("access");
  await reader.close();
});

test("a key that is never kept is on no page, whoever looks", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  const told = JSON.parse((await reader.fetch("/audit/calls.json?agent=mallory&tool=fail")).text);
  await reader.go(`/audit/calls/${told[0].call}/bodies`);
  assert.ok(!(await reader.page.content()).includes("kept from everyone"));
  await reader.close();
});

test("logins and refused ones stand among the readers", async () => {
  const reader = await here.reader({ viewer: "counter" });
  await reader.go("/audit/access");
  const text = await reader.page.locator("main").innerText();
  assert.match(text, /counter/);
  const deeds = (await reader.fetch("/audit/access.json")).text;
  for (const deed of ["login", "refused_login", "export"]) assert.ok(deeds.includes(deed), `${deed} in ${deeds.slice(0, 300)}`);
  await reader.close();
});
