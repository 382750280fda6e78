// Every page, as a person meets it: in both colours, wide and narrow, on paper.
import assert from "node:assert/strict";
import { test } from "node:test";

import { places } from "./places.mjs";
import { scene } from "./scene.mjs";

const here = scene();
const WIDE = { width: 1280, height: 900 };

// What is wider than the window, for whoever has to mend it.
const tooWide = () => {
  const most = document.documentElement.clientWidth;
  if (document.scrollingElement.scrollWidth <= most) return [];
  const reaches = (element) => element.getBoundingClientRect().right > most + 1;
  const all = [...document.body.querySelectorAll("*")].filter((element) => reaches(element) && !element.closest(".scroll, .rules, .unseen"));
  const inmost = all.filter((element) => ![...element.children].some(reaches));
  return [document.scrollingElement.scrollWidth, ...inmost.slice(0, 4).map((element) => element.outerHTML.slice(0, 160))];
};

const everyPage = async (reader) => [
  ...(await places(reader, here.parser)).map((path) => [path, 200]),
  ["/audit/nowhere", 404],
  ["/audit/agents/nobody", 404],
  ["/audit/calls/01a2224e-2378-7912-bb2f-d26724eabeae", 404],
];

test("every page has one heading and a title of its own, and gives the browser nothing to complain about", async () => {
  const reader = await here.reader({ viewer: "auditor", viewport: WIDE });
  const titles = new Map();
  for (const [path, status] of await everyPage(reader)) {
    await reader.go(path, status);
    assert.equal(await reader.page.locator("h1").count(), 1, `headings of ${path}`);
    assert.notEqual((await reader.page.locator("h1").innerText()).trim(), "", `heading of ${path}`);
    assert.match(await reader.page.title(), /^\S.* · Hayward$/, `title of ${path}`);
    assert.equal(await reader.page.locator("html").getAttribute("lang"), "en", path);
    titles.set(await reader.page.title(), path);
    reader.isContent(path);
  }
  assert.ok(titles.size >= 20, `titles tell pages apart: ${[...titles.keys()].join(", ")}`);
  await reader.close();
});

test("the login page gives the browser nothing to complain about, before and after a wrong token", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const reader = await here.reader({ colorScheme, viewport: WIDE });
    await reader.go("/audit/login");
    assert.deepEqual(await reader.findings(), [], `login, ${colorScheme}`);
    await reader.page.getByLabel("Viewer’s token").fill(here.gateway.agents.designer);
    await reader.page.getByRole("button", { name: "Log in" }).click();
    await reader.page.getByRole("alert").getByText("belongs to an agent").waitFor();
    assert.equal(await reader.page.getByLabel("Viewer’s token").inputValue(), "", "a wrong token is not kept");
    assert.deepEqual(await reader.findings(), [], `wrong token, ${colorScheme}`);
    reader.isContent("login");
    await reader.close();
  }
});

for (const [width, height] of [[1280, 900], [390, 844]]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`axe finds nothing serious on any page, ${width} wide, ${colorScheme}`, async () => {
      const reader = await here.reader({ viewer: "auditor", colorScheme, viewport: { width, height } });
      const findings = [];
      for (const [path, status] of await everyPage(reader)) {
        await reader.go(path, status);
        findings.push(...(await reader.findings()).map((finding) => `${path}: ${finding}`));
      }
      assert.deepEqual(findings, []);
      await reader.close();
    });
  }
}

test("no page has to be scrolled sideways, down to 320 points", async () => {
  const reader = await here.reader({ viewer: "auditor", viewport: WIDE });
  const wide = [];
  for (const [path, status] of await everyPage(reader)) {
    await reader.go(path, status);
    for (const width of [1280, 768, 390, 320]) {
      await reader.page.setViewportSize({ width, height: 844 });
      const found = await reader.page.evaluate(tooWide);
      if (found.length > 0) wide.push(`${path} at ${width}: ${found.join("\n    ")}`);
    }
  }
  assert.deepEqual(wide, []);
  await reader.close();
});

test("on paper there is no navigation, and the address of the page", async () => {
  const reader = await here.reader({ viewer: "auditor", viewport: WIDE });
  await reader.page.emulateMedia({ media: "print" });
  for (const [path, status] of await everyPage(reader)) {
    await reader.go(path, status);
    const shown = await reader.page.evaluate(() => {
      const isShown = (element) => element.checkVisibility({ visibilityProperty: true });
      const aids = document.querySelectorAll("nav, form, button, .skip, .looks, .twins");
      return [...aids].filter(isShown).map((element) => element.outerHTML.slice(0, 120));
    });
    assert.deepEqual(shown, [], `on paper: ${path}`);
    if (await reader.page.locator(".bottom").count()) {
      assert.match(await reader.page.locator(".printed").innerText(), /Printed from \/audit/, path);
    }
  }
  await reader.close();
});

test("colours are chosen with a link and stay chosen", async () => {
  const reader = await here.reader({ viewer: "auditor", colorScheme: "light" });
  const paper = () => reader.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await reader.go("/audit/calls?range=7d");
  const light = await paper();
  await reader.page.getByRole("link", { name: "dark", exact: true }).click();
  await reader.page.waitForURL(/\/audit\/calls\?range=7d$/);
  assert.notEqual(await paper(), light);
  await reader.go("/audit/agents");
  assert.notEqual(await paper(), light);
  await reader.page.getByRole("link", { name: "as the system" }).click();
  await reader.page.locator('.looks a[aria-current="true"]', { hasText: "as the system" }).waitFor();
  assert.equal(await paper(), light);
  reader.isContent("colours");
  await reader.close();
});
