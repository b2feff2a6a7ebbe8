/** What README says of the browser is tried in one: word for word, in the page's console. */

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chromiumPath, startBrowser } from "./browser.mjs";
import { startStack } from "./stack.mjs";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
const [, sample] = /## Use it from a browser[^]*?```js\n([^]*?)```/.exec(readme);

describe.skipIf(!chromiumPath)("README's sample", () => {
  let browser;
  let stack;
  beforeAll(async () => {
    [browser, stack] = await Promise.all([startBrowser(), startStack()]);
  });
  afterAll(() => Promise.all([browser?.close(), stack?.close()]));

  it.each(["127.0.0.1", "localhost"])(
    "tells the state at once and each new one, from %s",
    async (host) => {
      const page = await browser.newPage();
      const told = [];
      // The sample goes on telling until the page is gone; what comes just then cannot be read.
      const read = (arg) =>
        arg.jsonValue().catch((error) => {
          if (!page.isClosed()) throw error;
        });
      page.on("console", async (message) => {
        told.push([message.type(), ...(await Promise.all(message.args().map(read)))]);
      });
      await page.goto(stack.url.replace("127.0.0.1", host));

      const password = stack.passwordOf("vega@school.example");
      await page.evaluate(
        `(async () => { const email = "vega@school.example", password = ${JSON.stringify(password)};\n${sample} })()`,
      );
      await expect.poll(() => told.length).toBeGreaterThan(0);
      await stack.holdClass(20);

      const states = () => told.filter(([type]) => type === "log");
      await expect.poll(() => states().length).toBeGreaterThan(2);
      expect(told.filter(([type]) => type === "error")).toEqual([]);
      for (const [, learner] of states()) expect(learner).toBe("demo-ada");
      expect(states().at(-1)[2]).toMatchObject({ engagement_level: expect.any(Number) });
      await page.close();
    },
  );
});
