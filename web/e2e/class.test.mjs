/** The class view with a large school at work, in a real browser against the real services. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { violations } from "./axe.mjs";
import { chromiumPath, logIn, startBrowser } from "./browser.mjs";
import { startStack } from "./stack.mjs";

const teacher = "vega@school.example";

describe.skipIf(!chromiumPath)("a teacher of 200", () => {
  let browser;
  let stack;
  let page;

  beforeAll(async () => {
    [browser, stack] = await Promise.all([startBrowser(), startStack({ learners: 206 })]);
    await stack.holdClass(4, 1);
    const context = await browser.newContext({ reducedMotion: "reduce" });
    page = await context.newPage();
    page.setDefaultTimeout(60_000);
    await logIn(page, stack, teacher);
    await page.locator(".pupil[data-revision]").nth(199).waitFor();
  });
  afterAll(async () => {
    await browser?.close();
    await stack?.close();
  });

  it("sees all of them, each in one line with the last minutes and since when", async () => {
    expect(await page.locator(".pupil").count()).toBe(200);
    const row = page.locator('.pupil:has(.sparkline__line[d*="L"])').first();
    await row.waitFor();
    expect(await row.locator(".pupil__age").textContent()).toMatch(/min|begun/);
    expect(await page.locator(".pupil .bands li").count()).toBeGreaterThan(0);
  });

  it("gets the order that matters, but not under the pointer", async () => {
    const order = () =>
      page.locator(".pupil").evaluateAll((rows) => rows.map((row) => row.dataset["learner"]));
    const list = page.locator(".class__list");
    await page.locator(".pupil__name").nth(2).hover();
    const before = await order();
    const revisions = () =>
      page
        .locator(".pupil")
        .evaluateAll((rows) =>
          rows.reduce((sum, row) => sum + Number(row.dataset["revision"] ?? 0), 0),
        );
    const seen = await revisions();
    await expect.poll(revisions, { timeout: 60_000 }).toBeGreaterThan(seen + 400);
    await page.getByRole("button", { name: /Sort again/ }).waitFor();

    expect(await order()).toEqual(before);
    await page.mouse.move(5, 5);
    const isSorted = () =>
      list.locator(".pupil").evaluateAll((rows) => {
        const ranks = rows.map((row) =>
          ["now", "look", "fine", "away", "new"].indexOf(row.dataset["group"]),
        );
        return ranks.every((rank, i) => i === 0 || ranks[i - 1] <= rank);
      });
    await expect.poll(isSorted).toBe(true);
  });

  it("finds a learner by name and a class by choice", async () => {
    await page.getByRole("searchbox", { name: "Find a learner" }).fill("zoe c");
    await expect.poll(() => page.locator(".pupil").count()).toBe(1);
    expect(await page.locator(".pupil__name").textContent()).toContain("Zoe C.");
    await page.getByRole("searchbox", { name: "Find a learner" }).fill("");
    await page.getByRole("combobox", { name: "Class" }).selectOption({ label: "Class 5b" });
    await expect.poll(() => page.locator(".pupil").count()).toBe(30);
    await page.getByRole("combobox", { name: "Class" }).selectOption({ index: 0 });
    await expect.poll(() => page.locator(".pupil").count()).toBe(200);
  });

  it("shows numbers when they are asked for, and remembers that", async () => {
    expect(await page.locator(".bands__value").count()).toBe(0);
    await page.getByRole("button", { name: "Numbers" }).click();
    expect(await page.locator(".bands__value").first().textContent()).toMatch(/^\d+ %$/);
    await page.reload();
    await page.locator(".bands__value").first().waitFor();
    await page.getByRole("button", { name: "Numbers" }).click();
    expect(await page.locator(".bands__value").count()).toBe(0);
  });

  it("sees what to teach again: skills and learners as a map", async () => {
    await page.getByRole("link", { name: "Skills" }).click();
    await page.locator('.skills[data-whole="true"]').waitFor();

    expect(await page.locator(".skills__map tbody tr").count()).toBe(201);
    expect(await page.locator(".skills__map thead th").count()).toBe(6);
    expect(await page.locator(".skills__map td[data-step]").count()).toBeGreaterThan(200);
    expect(await violations(page)).toEqual([]);
    await page.getByRole("link", { name: "Now" }).click();
  });

  it.each([
    [390, 844],
    [1920, 1080],
  ])("can use it at %i by %i", async (width, height) => {
    await page.setViewportSize({ width, height });
    await page.locator(".pupil").first().waitFor();
    const sizes = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      return [scrollWidth, clientWidth];
    });

    expect(sizes[0]).toBeLessThanOrEqual(sizes[1]);
    expect(await violations(page)).toEqual([]);
  });

  it("reads a learner's past: this session, today, four weeks, all from the server", async () => {
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.goto(`${stack.url}/#/learner/demo-ada`);
    await page.locator(".chart__mark").nth(2).waitFor();
    const moments = () => page.getByRole("slider").getAttribute("aria-valuemax").then(Number);
    const session = await moments();
    await page.getByRole("button", { name: "4 weeks" }).click();
    await expect.poll(() => page.locator(".chart__dot").count()).toBe(4);
    await page.getByRole("slider").press("ArrowLeft");
    await page.getByRole("slider").press("ArrowLeft");
    expect(await page.getByRole("slider").getAttribute("aria-valuetext")).toMatch(
      /\d+ answers, \d+ right/,
    );
    await page.getByRole("button", { name: "Today" }).click();
    await expect.poll(moments).toBeGreaterThanOrEqual(session);
    await page.getByRole("button", { name: "This session" }).click();

    expect(await page.locator(".mastery .sparkline").count()).toBeGreaterThan(0);
  });

  it("sees the answers behind a number, a skill and a moment", async () => {
    const answers = page.locator("#answers");
    await page.locator('[data-level="frustration_level"] .level__label').click();
    await answers.getByRole("heading", { name: "What moved frustration most" }).waitFor();
    expect(await answers.locator(".recent__moved b").first().textContent()).toMatch(/^[+−]\d+$/);
    await page.locator(".mastery .level__label").first().click();
    await answers.getByRole("heading", { name: /^Answers on / }).waitFor();
    expect(await answers.locator(".recent__moved").last().textContent()).toMatch(/ to \d+ %/);
    await page.getByRole("slider").press("End");
    await page.getByRole("slider").press("Enter");
    await answers.locator('[data-chosen="true"]').waitFor();
    await answers.getByRole("button", { name: "Latest activity" }).click();
    await answers.getByRole("heading", { name: "Latest activity" }).waitFor();

    expect(await violations(page)).toEqual([]);
  });
});
