/**
 * A school that brings its own people, from the roster to the class live, in a real browser against the
 * real services and a real provider.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chromiumPath, startBrowser } from "./browser.mjs";
import { startOwnSchool } from "./stack.mjs";

/** `STATEMENTS=10000` streams as many as a school's day has, in half a minute more. */
const statements = Number(process.env["STATEMENTS"] ?? 2_000);

/** Sign in by the page's button, as whom the provider is told. */
async function signInAs(context, school, subject) {
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(school.url);
  await page.getByRole("link", { name: "Sign in with Hill School" }).click();
  await page.getByPlaceholder("sub").first().fill(subject);
  await page.getByRole("button", { name: "Authorize" }).click();
  await page.getByRole("navigation", { name: "Main" }).waitFor();
  return page;
}

/** The frames of a type that a page's socket gets from now on, each with the time of its arrival. */
function hear(page, type) {
  const heard = [];
  page.on("websocket", (socket) =>
    socket.on("framereceived", ({ payload }) => {
      const frame = JSON.parse(String(payload));
      if (frame.type === type) heard.push({ frame, at: Date.now() });
    }),
  );
  return heard;
}

describe.skipIf(!chromiumPath)("a school with a roster and a provider of its own", () => {
  let browser;
  let school;

  beforeAll(async () => {
    [browser, school] = await Promise.all([startBrowser(), startOwnSchool()]);
  });
  afterAll(async () => {
    await browser?.close();
    await school?.close();
  });

  it("goes from the roster to the class live, and a guardian who leaves sees no more", async () => {
    const teacher = await signInAs(await browser.newContext(), school, "t-1");
    await expect.poll(() => teacher.locator(".pupil").count()).toBe(school.pupils);

    const home = await browser.newContext();
    const guardian = await signInAs(home, school, "g-1");
    const ended = hear(guardian, "unsubscribed");
    const seen = hear(guardian, "subscribed");
    await guardian.goto(`${school.url}/#/learner/pupil-0`);
    await guardian.reload();
    await expect.poll(() => seen.map(({ frame }) => frame.learner_id)).toContain("pupil-0");

    const revisions = () =>
      teacher
        .locator(".pupil")
        .evaluateAll((rows) =>
          rows.reduce((sum, row) => sum + Number(row.dataset["revision"] ?? 0), 0),
        );
    const began = Date.now();
    const recording = school.record(statements);
    const onTheWay = expect
      .poll(async () => {
        const sum = await revisions();
        return sum > 0 && sum < statements;
      })
      .toBe(true);
    expect(await recording).toEqual({ stored: statements });
    const took = Date.now() - began;
    await onTheWay;
    await expect.poll(revisions).toBe(statements);
    const shown = Date.now() - began - took;

    const { at_ms: committed } = await school.withdrawGuardian();
    await expect.poll(() => ended.map(({ frame }) => frame.code)).toEqual(["revoked"]);
    console.log(
      `${statements} statements in ${took} ms, all on the page ${shown} ms later;` +
        ` the subscription ended ${ended[0].at - committed} ms after the roster was committed`,
    );
    expect(ended[0].frame.learner_id).toBe("pupil-0");
    expect(await teacher.locator(".pupil").count()).toBe(school.pupils);
  });
});
