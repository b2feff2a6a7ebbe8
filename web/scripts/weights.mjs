/**
 * What a browser loads before each view of the page can work: script and style in gzipped bytes,
 * from a build of its own.
 */

import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** The most script that a view may need, in gzipped bytes. */
export const scriptLimit = 50 * 1024;

/** `{view, script, style}` for the page before anybody is logged in, and for each view. */
export async function pageWeights() {
  // Tests set it, and React is much larger then.
  const environment = process.env["NODE_ENV"];
  process.env["NODE_ENV"] = "production";
  const built = await build({
    configFile: at("vite.config.ts"),
    mode: "page",
    logLevel: "silent",
    build: { write: false },
  }).finally(() => (process.env["NODE_ENV"] = environment ?? "production"));
  const files = new Map(
    [built].flat().flatMap(({ output }) => output.map((one) => [one.fileName, one])),
  );
  const sizeOf = (names) =>
    [...names].reduce(
      (sum, name) =>
        sum + gzipSync(files.get(name).code ?? files.get(name).source, { level: 9 }).length,
      0,
    );
  const entry = [...files.values()].find(({ isEntry }) => isEntry);
  const views = entry.dynamicImports.map((name) => files.get(name));
  return [["login", []], ...views.map((chunk) => [chunk.name, [chunk.fileName]])].map(
    ([view, more]) => {
      const scripts = closure(files, [entry.fileName, ...more]);
      const styles = new Set(
        [...scripts].flatMap((name) => [...files.get(name).viteMetadata.importedCss]),
      );
      return { view, script: sizeOf(scripts), style: sizeOf(styles) };
    },
  );
}

/** These chunks and all that they import at once. */
function closure(files, names, found = new Set()) {
  for (const name of names)
    if (!found.has(name)) closure(files, files.get(found.add(name) && name).imports, found);
  return found;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { view, script, style } of await pageWeights()) {
    console.log(`${view}: ${script} of ${scriptLimit} bytes of script, ${style} of style, gzipped`);
    if (script > scriptLimit) process.exitCode = 1;
  }
}
