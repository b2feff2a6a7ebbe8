/**
 * Makes the README's pictures of the page, from a simulated class: `npm run screenshots [folder]`.
 */

import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromiumPath, logIn, startBrowser } from "./browser.mjs";
import { answer } from "./quiz.mjs";
import { startStack } from "./stack.mjs";

const folder = process.argv[2] ?? fileURLToPath(new URL("../../docs/images", import.meta.url));
/**
 * The class works this much faster than people, for this long, so that there is something to see.
 */
const pace = 12;
const workMs = Number(process.env["WORK_S"] ?? 75) * 1_000;

const desktop = { width: 1280, height: 860 };
const tablet = { width: 820, height: 1100 };
const phone = { width: 390, height: 844 };

if (!chromiumPath) {
  console.error("no Chromium here (set CHROMIUM to its path)");
  process.exit(1);
}
mkdirSync(folder, { recursive: true });
const stack = await startStack();
const browser = await startBrowser();
try {
  await stack.holdClass(pace);
  await new Promise((resolve) => setTimeout(resolve, workMs));
  await visit("login", null, desktop);
  await visit("class", "vega@school.example", desktop);
  await visit("class-dark", "vega@school.example", desktop, { colorScheme: "dark" });
  await visit("class-tablet", "vega@school.example", tablet);
  await visit("class-phone", "vega@school.example", phone);
  await visit("learner", "vega@school.example", desktop, { go: learner, fullPage: true });
  await visit("learner-dark", "vega@school.example", desktop, {
    go: learner,
    colorScheme: "dark",
    fullPage: true,
  });
  await visit("learner-tablet", "vega@school.example", tablet, { go: learner });
  await visit("learner-phone", "vega@school.example", phone, { go: learner, fullPage: true });
  await visit("practice", "ada@pupils.example", desktop, { go: practise });
  await visit("practice-phone", "ben@pupils.example", phone, { go: practise });
  await visit("room", "vega@school.example", desktop, { go: room });
  await visit("system", "admin@school.example", desktop, { go: system });
} finally {
  await browser.close();
  await stack.close();
}

async function visit(
  name,
  email,
  viewport,
  { go = async () => {}, colorScheme = "light", fullPage = false } = {},
) {
  const context = await browser.newContext({
    viewport,
    colorScheme,
    deviceScaleFactor: viewport === phone ? 2 : 1,
    locale: "en-GB",
    reducedMotion: "reduce",
  });
  const page = await context.newPage();
  page.on(
    "console",
    (message) => message.type() === "error" && console.error(`${name}: ${message.text()}`),
  );
  page.on("pageerror", (error) => console.error(`${name}: ${error}`));
  if (email === null) {
    await page.goto(stack.url);
    await page.getByRole("button", { name: "Log in" }).waitFor();
  } else {
    await logIn(page, stack, email);
  }
  if (email === "vega@school.example") await page.locator(".pupil[data-revision]").nth(5).waitFor();
  await go(page);
  await page.mouse.move(0, 0);
  await page.waitForTimeout(2_500);
  await page.screenshot({ path: `${folder}/page-${name}.png`, fullPage });
  console.log(`page-${name}.png`);
  await context.close();
}

async function learner(page) {
  await page.locator(".pupil__name").first().click();
  await page.locator(".chart[data-drawn='true']").waitFor();
  await page.getByRole("heading", { name: "Mastery" }).waitFor();
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
  await page.waitForTimeout(14_000);
}
