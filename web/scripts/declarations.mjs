/**
 * Completes the relative imports of the emitted declarations: outside bundlers, TypeScript wants
 * whole file names.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../dist/lib/", import.meta.url));

for (const name of readdirSync(folder, { recursive: true }).filter((name) =>
  name.endsWith(".d.ts"),
)) {
  const text = readFileSync(folder + name, "utf8");
  writeFileSync(folder + name, text.replace(/(from |import\()"(\.[^"]+)"/g, '$1"$2.js"'));
}
