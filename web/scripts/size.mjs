/**
 * Checks that what applications import fits its budget: from the package as it is built; bundled,
 * minified, gzipped, without React.
 */

import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** What is imported from which entry, and the most it may weigh in bytes. */
export const budgets = [
  { name: "core", names: "{ RealtimeClient }", entry: "index.js", limit: 8 * 1024 },
  { name: "core and all its extras", names: "*", entry: "index.js", limit: 10 * 1024 },
  {
    name: "everything, with the React binding",
    names: "*",
    entry: "react/index.js",
    limit: 14 * 1024,
  },
  { name: "a rule of the protocol alone", names: "{ afterClose }", entry: "index.js", limit: 256 },
  { name: "a word for a level alone", names: "{ wordOf }", entry: "react/index.js", limit: 256 },
];

/** Builds the package into a folder of its own, gives its path to `use`, and removes it. */
export async function withPackage(use) {
  const folder = mkdtempSync(join(tmpdir(), "aivo-realtime-"));
  try {
    // `package.json` says which files may be left out.
    await build({
      configFile: at("vite.config.ts"),
      mode: "lib",
      logLevel: "silent",
      build: { outDir: join(folder, "dist/lib") },
    });
    copyFileSync(at("package.json"), join(folder, "package.json"));
    return await use(join(folder, "dist/lib"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The gzipped bytes of these names as an application would ship them. */
export async function gzippedSize(folder, { names, entry }) {
  const code = `export ${names} from "${join(folder, entry)}"`;
  const result = await build({
    configFile: false,
    logLevel: "silent",
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === "entry" ? "\0entry" : null),
        load: (id) => (id === "\0entry" ? code : null),
      },
    ],
    build: {
      write: false,
      target: "es2022",
      minify: true,
      modulePreload: false,
      rolldownOptions: {
        input: "entry",
        external: [/^react($|\/)/],
        preserveEntrySignatures: "strict",
      },
    },
  });
  const chunks = [result]
    .flat()
    .flatMap((bundle) => bundle.output)
    .filter((chunk) => chunk.type === "chunk");
  return gzipSync(chunks.map((chunk) => chunk.code).join(""), { level: 9 }).length;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await withPackage(async (folder) => {
    for (const budget of budgets) {
      const size = await gzippedSize(folder, budget);
      console.log(`${budget.name}: ${size} of ${budget.limit} bytes gzipped`);
      if (size > budget.limit) process.exitCode = 1;
    }
  });
}
