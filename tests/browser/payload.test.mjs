// What agents and servers say is text, in whatever they say it: on every page, in every file.
import assert from "node:assert/strict";
import { test } from "node:test";

import { CLASS, INVISIBLE, OWNED } from "./payload.mjs";
import { places, twins } from "./places.mjs";
import { crawl } from "./reader.mjs";
import { scene } from "./scene.mjs";

const here = scene();

// The rows of a table for spreadsheets (RFC 4180).
function cells(csv) {
  const rows = [[]];
  for (const [, quoted, plain, end] of csv.matchAll(/(?:"((?:[^"]|"")*)"|([^,"\n]*))(,|\n|$)/g)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end === "\n") rows.push([]);
  }
  return rows.filter((row) => row.some((cell) => cell !== ""));
}

const isNumber = (cell) => /^-?\d+(\.\d+)?$/.test(cell);
const raw = (text) => {
  const found = INVISIBLE.exec(text);
  return found && `U+${found[0].codePointAt(0).toString(16)} in ${JSON.stringify(text.slice(Math.max(0, found.index - 60), found.index + 40))}`;
};

test("no page runs, contains or links to what was said", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  const follow = (path, link) => !link.isDownload && !/^\/audit\/(look|logout)/.test(path) && !/[?&](before|after|from)=/.test(path);
  const lists = ["/audit/calls", "/audit/calls?values=on&columns=rule,agent,what,took,in,out,cost,client", "/audit/denials", "/audit/servers/hostile", "/audit/access"];
  const start = [...lists, ...(await places(reader, here.parser))];
  const wrong = [];
  let read = 0;
  for await (const { path, html, isPage, addresses } of crawl(reader, here.parser, start, { most: 250, follow })) {
    if (!isPage) continue;
    read += 1;
    const found = raw(html);
    if (found) wrong.push(`${path}: ${found}`);
    for (const { address } of addresses) {
      if (/^\s*(javascript|data|vbscript):/i.test(address)) wrong.push(`${path}: a link to ${address}`);
    }
    const parsed = await here.parser.read(html, {
      payload: `[class*="${CLASS}"], [id*="${CLASS}"], [onload], [onerror], [onclick], main script, main img, main iframe, main style, main svg a[href^="javascript"]`,
      inline: "script:not([src]), [style]",
    });
    if (parsed.payload.length > 0) wrong.push(`${path}: elements of the payload: ${parsed.payload}`);
    if (parsed.inline.length > 0) wrong.push(`${path}: scripts or styles within the page: ${parsed.inline}`);
  }
  assert.deepEqual(wrong.slice(0, 20), []);
  assert.ok(read > 100, `${read} pages`);
  await reader.close();
});

test("the payload is read on the pages where it belongs, and does nothing in a browser", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  const { page } = reader;
  const bodies = (await places(reader, here.parser)).find((path) => path.endsWith("/bodies"));
  const pages = [
    ["/audit/calls?agent=mallory&columns=agent,what,client,rule", `<script class=${CLASS}>`],
    ["/audit/servers/hostile", "<svg onload="],
    ["/audit/agents/designer", "<script>window.__owned=1</script>"],
    ["/audit/calls?agent=mallory&decision=denied", "javascript:alert(1)"],
    [bodies, `<svg class=${CLASS} onload=`],
  ];
  for (const [path, text] of pages) {
    await reader.go(path);
    assert.ok((await page.locator("main").textContent()).includes(text), `${text} is text on ${path}`);
    assert.equal(await page.evaluate((name) => globalThis[name], OWNED), undefined, path);
    assert.equal(await page.locator(`.${CLASS}`).count(), 0, path);
    reader.isContent(path);
  }
  await reader.close();
});

test("what was said does nothing in the live tail, which brings it as markup", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  const { page } = reader;
  await reader.go("/audit/calls?agent=mallory&columns=agent,what,client,rule");
  const opened = page.waitForResponse((answer) => answer.url().includes("/calls/tail"));
  await page.getByRole("button", { name: "Live tail" }).click();
  await opened;
  await page.getByText("Live: 0 new.").waitFor();
  const name = `<img class=${CLASS} src=x onerror=window.${OWNED}=1>`;
  await here.gateway.call("mallory", "hostile", name);
  await page.locator("#tail-rows tr[data-row]", { hasText: name }).waitFor();
  assert.equal(await page.evaluate((name) => globalThis[name], OWNED), undefined);
  assert.equal(await page.locator(`.${CLASS}`).count(), 0);
  reader.isContent("tail");
  await reader.close();
});

test("no cell of a table is a formula, and no file is taken for a page", async () => {
  const reader = await here.reader({ viewer: "auditor" });
  const wrong = [];
  for (const path of twins) {
    const answer = await reader.context.request.get(path);
    const text = await answer.text();
    const headers = answer.headers();
    assert.equal(answer.status(), 200, path);
    assert.match(headers["content-disposition"], /^attachment; filename="hayward-[a-z-]+\.(csv|jsonl?)"$/, path);
    assert.match(headers["content-type"], /^(text\/csv|application\/jsonl?)/, path);
    assert.equal(headers["x-content-type-options"], "nosniff", path);
    if (path.endsWith(".csv")) {
      const rows = cells(text);
      assert.ok(rows.length > 1, `rows of ${path}`);
      for (const row of rows) {
        if (row.length !== rows[0].length) wrong.push(`${path}: ${row.length} cells: ${JSON.stringify(row)}`);
        for (const cell of row) {
          if (/^[\s"]*[=+\-@|%]/.test(cell) && !isNumber(cell)) wrong.push(`${path}: ${cell}`);
        }
      }
      const found = raw(text);
      if (found) wrong.push(`${path}: ${found}`);
    } else if (path.endsWith(".jsonl")) {
      for (const line of text.trim().split("\n")) JSON.parse(line);
    } else {
      assert.ok(JSON.parse(text).length > 0, path);
    }
  }
  assert.deepEqual(wrong.slice(0, 20), []);
  await reader.close();
});
