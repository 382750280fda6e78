// What every file of tests begins with: a gateway with a day behind it, a browser, and a parser.
import { after, before } from "node:test";

import { Gateway } from "./gateway.mjs";
import { openBrowser, Parser, Reader } from "./reader.mjs";

// Opened before the first test of a file, closed after the last, whatever happened.
export function scene() {
  const scene = {
    // A new person, who has logged in as one of the viewers where `viewer` says so.
    reader: ({ viewer, ...options } = {}) => Reader.open(scene.browser, scene.gateway, {
      token: scene.gateway.viewers[viewer], ...options,
    }),
  };
  before(async () => {
    scene.gateway = await Gateway.start();
    scene.browser = await openBrowser();
    scene.parser = await Parser.open(scene.browser);
  });
  after(async () => {
    await scene.browser?.close();
    await scene.gateway?.stop();
  });
  return scene;
}
