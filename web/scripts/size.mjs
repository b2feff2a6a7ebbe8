/** Checks that the core fits its budget: everything `@aivo/realtime` exports, bundled, minified, gzipped. */

import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** The gzipped bytes of one entry as an application would ship it. */
export async function gzippedSize(entry, external = []) {
  const result = await build({
    configFile: false,
    logLevel: "silent",
    build: {
      write: false, target: "es2022", minify: true,
      lib: { entry: at(entry), formats: ["es"], fileName: "out" },
      rolldownOptions: { external, output: { minify: true } },
    },
  });
  const output = [result].flat().flatMap((bundle) => bundle.output);
  const code = output.filter((chunk) => chunk.type === "chunk").map((chunk) => chunk.code).join("");
  return gzipSync(code, { level: 9 }).length;
}

export const budgets = [
  { name: "core", entry: "src/index.ts", external: [], limit: 8 * 1024 },
  { name: "core + react", entry: "src/react/index.ts", external: [/^react($|\/)/], limit: 12 * 1024 },
];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { name, entry, external, limit } of budgets) {
    const size = await gzippedSize(entry, external);
    console.log(`${name}: ${size} bytes gzipped of ${limit}`);
    if (size > limit) process.exitCode = 1;
  }
}
