/** Asks axe whether a page can be used by everybody. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The violations, each in a line; none is what is wanted. */
export async function violations(page) {
  // Evaluated by the test's own connection to the browser, which the page's policy does not bind.
  await page.evaluate(source);
  const { violations: found } = await page.evaluate(() =>
    globalThis.axe.run(document, { resultTypes: ["violations"] }),
  );
  return found.flatMap(({ id, nodes }) =>
    nodes.map(
      ({ html, failureSummary }) =>
        `${id}: ${html.slice(0, 160)} – ${failureSummary.split("\n").slice(1, 3).join(" ")}`,
    ),
  );
}
