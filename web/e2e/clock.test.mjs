/** A device whose clock is wrong shows true ages, and its answers count when they were given. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chromiumPath, logIn, startBrowser } from "./browser.mjs";
import { startStack } from "./stack.mjs";

/** Make a device's clock wrong by so many minutes. */
async function startOnDevice(browser, minutes) {
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
  return context;
}

/** Answer as a learner so many minutes ago, from a device whose clock is right. */
async function answerBefore(browser, stack, email, learner, minutes) {
  const page = await browser.newPage();
  await page.goto(stack.url);
  const occurredAt = new Date(Date.now() - minutes * 60_000).toISOString();
  const password = stack.passwordOf(email);
  const said = await page.evaluate(
    async ({ email, password, learner, occurredAt }) => {
      const login = await fetch("/api/auth/login", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ email, password }),
      });
      const { access_token: token } = await login.json();
      const socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws`);
      socket.onopen = () => socket.send(JSON.stringify({ type: "authenticate", token }));
      return new Promise((resolve) => {
        socket.onmessage = ({ data }) => {
          const frame = JSON.parse(data);
          if (frame.type !== "connection_established") return resolve(frame.type);
          const answer = { learner_id: learner, type: "question_response", content: "2 + 2" };
          const context = { correct: true, subject: "math", skill: "add", difficulty: 2 };
          answer.context = context;
          answer.occurred_at = occurredAt;
          socket.send(JSON.stringify({ type: "virtual_brain_interact", data: answer }));
        };
      });
    },
    { email, password, learner, occurredAt },
  );
  expect(said).toBe("virtual_brain_response");
  await page.close();
}

describe.skipIf(!chromiumPath)("on a device whose clock is wrong", () => {
  let browser;
  let stack;
  beforeAll(async () => {
    [browser, stack] = await Promise.all([startBrowser(), startStack()]);
  });
  afterAll(() => Promise.all([browser?.close(), stack?.close()]));

  it.each([40, -40])("by %i minutes, what is past is as old as it is", async (minutes) => {
    await answerBefore(browser, stack, "ada@pupils.example", "demo-ada", 25);
    const context = await startOnDevice(browser, minutes);
    const page = await context.newPage();
    await logIn(page, stack, "vega@school.example");
    await page.getByRole("heading", { name: "Your learners" }).waitFor();

    const text = () => page.locator("main").innerText();
    await expect.poll(text).toMatch(/\b2[56] min ago/);
    await context.close();
  });

  describe("with a class at work", () => {
    beforeAll(() => stack.holdClass(20));

    it.each([40, -40])("by %i minutes, learners at work are shown as such", async (minutes) => {
      const context = await startOnDevice(browser, minutes);
      const page = await context.newPage();
      await logIn(page, stack, "vega@school.example");
      await page.getByRole("heading", { name: "Your learners" }).waitFor();

      const text = () => page.locator("main").innerText();
      await expect.poll(text).toMatch(/\bnow\b|seconds? ago|\bs ago|just now/i);
      expect(await text()).not.toMatch(/[34]\d min ago|Not working at the moment/);
      await context.close();
    });
  });
});
