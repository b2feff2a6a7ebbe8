/**
 * Makes pictures of every view, from a simulated class, at desktop and phone, light and dark:
 * `npm run screenshots [folder]`. Without a folder only those that the documentation shows, into
 * `docs/images`. `LEARNERS` and `WORK_S` (seconds of work before) change the class.
 */

import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromiumPath, logIn, startBrowser } from "./browser.mjs";
import { answer } from "./quiz.mjs";
import { startStack } from "./stack.mjs";

const [, , given] = process.argv;
const folder = given ?? fileURLToPath(new URL("../../docs/images", import.meta.url));
/** The class works at the pace of people; it has worked on some days before and for 20 minutes. */
const pace = 1;
const workMs = Number(process.env["WORK_S"] ?? 60) * 1_000;
const learners = Number(process.env["LEARNERS"] ?? 36);

const sizes = {
  desktop: { viewport: { width: 1280, height: 860 } },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 },
};
const teacher = "vega@school.example";
/** Every view: who sees it, how to get there, and whether the whole of it is pictured. */
const views = {
  login: { email: null },
  class: { email: teacher, go: list },
  "class-numbers": { email: teacher, go: numbers },
  skills: { email: teacher, go: skills },
  learner: { email: teacher, go: learner, fullPage: true },
  "learner-weeks": { email: teacher, go: weeks, fullPage: true },
  practice: { email: "ada@pupils.example", go: practise, fullPage: true },
  room: { email: teacher, go: room },
  system: { email: "admin@school.example", go: system },
};
/** What the documentation shows. */
const shown = new Set([
  ...["login", "class", "class-dark", "class-phone", "skills", "learner", "learner-dark"],
  ...["learner-phone", "practice", "practice-phone", "room", "system"],
]);

if (!chromiumPath) {
  console.error("no Chromium here (set CHROMIUM to its path)");
  process.exit(1);
}
mkdirSync(folder, { recursive: true });
const stack = await startStack({ learners });
const browser = await startBrowser();
try {
  await stack.holdClass(pace, 3);
  await new Promise((resolve) => setTimeout(resolve, workMs));
  for (const [view, how] of Object.entries(views))
    for (const [size, screen] of Object.entries(sizes))
      for (const colorScheme of ["light", "dark"]) {
        const name = [view, size, colorScheme]
          .filter((part) => part !== "desktop" && part !== "light")
          .join("-");
        if (given || shown.has(name)) await picture(name, how, { ...screen, colorScheme });
      }
} finally {
  await browser.close();
  await stack.close();
}

async function picture(name, { email, go = async () => {}, fullPage = false }, screen) {
  const context = await browser.newContext({ ...screen, locale: "en-GB", reducedMotion: "reduce" });
  const page = await context.newPage();
  page.on(
    "console",
    (message) => message.type() === "error" && console.error(`${name}: ${message.text()}`),
  );
  page.on("pageerror", (error) => console.error(`${name}: ${error}`));
  if (email === null) {
    await page.goto(stack.url);
    await page.getByRole("button", { name: "Log in" }).waitFor();
  } else await logIn(page, stack, email);
  await go(page);
  await page.mouse.move(0, 0);
  await page.waitForTimeout(1_500);
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: `${folder}/page-${name}.png`, fullPage });
  console.log(`page-${name}.png`);
  await context.close();
}

async function list(page) {
  await page.locator(".pupil[data-revision]").nth(5).waitFor();
  await page.locator('.sparkline__line[d*="L"]').nth(3).waitFor();
}

async function numbers(page) {
  await list(page);
  await page.getByRole("button", { name: "Numbers" }).click();
}

async function skills(page) {
  await page.getByRole("link", { name: "Skills" }).click();
  await page.locator('.skills[data-whole="true"]').waitFor();
}

async function learner(page) {
  await list(page);
  await page.locator(".pupil__name").first().click();
  await page.locator(".chart[data-drawn='true']").waitFor();
  await page.getByRole("heading", { name: "Mastery" }).waitFor();
}

async function weeks(page) {
  await learner(page);
  await page.getByRole("button", { name: "4 weeks" }).click();
  await page.getByRole("button", { name: "Numbers" }).click();
  await page.locator('[data-level="frustration_level"] .level__label').click();
}

async function practise(page) {
  for (const right of [true, false, true]) await answer(page, { right });
  await page.getByRole("button", { name: "Give me a hint" }).click();
}

async function room(page) {
  const context = await browser.newContext();
  const pupil = await context.newPage();
  await logIn(pupil, stack, "ada@pupils.example");
  for (const one of [page, pupil]) {
    await one.goto(`${stack.url}/#/rooms/${encodeURIComponent("class:demo-class-5a")}`);
    await one.getByRole("button", { name: "Send" }).and(one.locator(":enabled")).waitFor();
  }
  const say = async (one, text) => {
    await one.getByRole("textbox", { name: "Message" }).fill(text);
    await one.getByRole("button", { name: "Send" }).click();
  };
  await say(page, "Take your time with the fractions today.");
  await say(pupil, "May I try the harder ones?");
  await page.getByText("May I try").waitFor();
}

async function system(page) {
  await page.goto(`${stack.url}/#/system`);
  await page.locator(".chart[data-drawn='true']").waitFor();
  await page.waitForTimeout(8_000);
}
