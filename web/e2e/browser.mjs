/** Finds Chromium and starts it headless, with nothing that calls home. */

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const places = [
  process.env["CHROMIUM"],
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];

/** Where Chromium is; undefined where there is none. */
export const chromiumPath = places.find((path) => path && existsSync(path));

const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

/** A running browser; the caller closes it. */
export function startBrowser() {
  return chromium.launch({ executablePath: chromiumPath, headless: true, args: flags });
}

/** Log in on a page and wait until it is inside. */
export async function logIn(page, stack, email) {
  await page.goto(stack.url);
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(stack.passwordOf(email));
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("navigation", { name: "Main" }).waitFor();
}
