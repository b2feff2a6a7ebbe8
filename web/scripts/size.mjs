/** Checks that what applications import fits its budget: bundled, minified, gzipped, without React. */

import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** What is measured, and the most it may weigh in bytes. */
export const budgets = [
  { name: "core", code: `export { RealtimeClient } from "${at("src/index.ts")}"`, limit: 8 * 1024 },
  { name: "core and all its extras", code: `export * from "${at("src/index.ts")}"`, limit: 10 * 1024 },
  { name: "everything, with the React binding", code: `export * from "${at("src/react/index.ts")}"`, limit: 14 * 1024 },
];

/** The gzipped bytes of a module as an application would ship it. */
export async function gzippedSize(code) {
  const result = await build({
    configFile: false,
    logLevel: "silent",
    plugins: [{ name: "entry", resolveId: (id) => (id === "entry" ? "\0entry" : null), load: (id) => (id === "\0entry" ? code : null) }],
    build: {
      write: false, target: "es2022", minify: true, modulePreload: false,
      rolldownOptions: { input: "entry", external: [/^react($|\/)/], preserveEntrySignatures: "strict" },
    },
  });
  const chunks = [result].flat().flatMap((bundle) => bundle.output).filter((chunk) => chunk.type === "chunk");
  return gzipSync(chunks.map((chunk) => chunk.code).join(""), { level: 9 }).length;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { name, code, limit } of budgets) {
    const size = await gzippedSize(code);
    console.log(`${name}: ${size} of ${limit} bytes gzipped`);
    if (size > limit) process.exitCode = 1;
  }
}
