/** A device whose clock is wrong shows true ages, and its answers count when they were given. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chromiumPath, logIn, startBrowser } from "./browser.mjs";
import { startStack } from "./stack.mjs";

describe.skipIf(!chromiumPath)("on a device whose clock is wrong", () => {
  let browser;
  let stack;
  beforeAll(async () => {
    [browser, stack] = await Promise.all([startBrowser(), startStack()]);
    await stack.holdClass(20);
  });
  afterAll(() => Promise.all([browser?.close(), stack?.close()]));

  it.each([40, -40])("by %i minutes, learners at work are shown as such", async (minutes) => {
    const context = await browser.newContext();
    await context.addInitScript((ahead) => {
      const Real = Date;
      globalThis.Date = class extends Real {
        constructor(...given) {
          super(...(given.length ? given : [Real.now() + ahead]));
        }
        static now() {
          return Real.now() + ahead;
        }
      };
    }, minutes * 60_000);
    const page = await context.newPage();
    await logIn(page, stack, "vega@school.example");
    await page.getByRole("heading", { name: "Your learners" }).waitFor();

    const text = () => page.locator("main").innerText();
    await expect.poll(text).toMatch(/\bnow\b|seconds? ago|\bs ago|just now/i);
    expect(await text()).not.toMatch(/[34]\d min ago|Not working at the moment/);
    await context.close();
  });
});
