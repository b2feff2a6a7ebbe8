/**
 * The package as applications get it: small, depending on nothing, in parts that can be left out.
 */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, it } from "vitest";
// @ts-expect-error -- a script of plain JavaScript
import { budgets, gzippedSize, withPackage } from "../scripts/size.mjs";
// @ts-expect-error -- a script of plain JavaScript
import { pageWeights, scriptLimit } from "../scripts/weights.mjs";

const root = resolve(import.meta.dirname, "..");

it("the built package keeps every part within its budget, and leaves out what is not imported", async () => {
  const list = budgets as { name: string; limit: number }[];
  const sizes: Record<string, number> = await withPackage(async (folder: string) =>
    Object.fromEntries(
      await Promise.all(
        list.map(async (budget) => [budget.name, await gzippedSize(folder, budget)]),
      ),
    ),
  );

  expect(
    list
      .filter(({ name, limit }) => !(sizes[name]! <= limit))
      .map(({ name, limit }) => `${name}: ${sizes[name]} of ${limit}`),
  ).toEqual([]);
});

it("no view of the page needs more than 50 KB of script", async () => {
  const weights = (await pageWeights()) as { view: string; script: number }[];

  expect(weights.map(({ view }) => view).sort()).toEqual(
    ["ClassView", "LearnerPage", "PracticePage", "RoomsPage", "SystemPage", "login"].sort(),
  );
  expect(weights.filter(({ script }) => script > scriptLimit)).toEqual([]);
});

it("the package depends on nothing", () => {
  const { dependencies } = JSON.parse(readFileSync(resolve(root, "package.json"), "utf8")) as {
    dependencies?: object;
  };
  expect(dependencies).toBeUndefined();
});
