/** The package as applications get it: small, depending on nothing, in parts that can be left out. */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
// @ts-expect-error -- a script of plain JavaScript
import { budgets, gzippedSize } from "../scripts/size.mjs";

const root = resolve(import.meta.dirname, "..");
const { dependencies } = JSON.parse(readFileSync(resolve(root, "package.json"), "utf8")) as { dependencies?: object };

describe("the package", () => {
  it.each(budgets as { name: string; code: string; limit: number }[])("keeps $name within $limit bytes gzipped", async ({ code, limit }) => {
    expect(await gzippedSize(code)).toBeLessThanOrEqual(limit);
  });

  it("depends on nothing", () => {
    expect(dependencies).toBeUndefined();
  });

  it("leaves out of an application's bundle what the application does not import", async () => {
    const code = (names: string) => `export { ${names} } from "${resolve(root, "src/index.ts")}"`;
    expect(await gzippedSize(code("afterClose"))).toBeLessThan(300);
    expect(await gzippedSize(code("connectionQuality"))).toBeLessThan(500);
  });
});
