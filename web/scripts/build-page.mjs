/** Builds the monitor page into `dist/page`, where there is one. */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

if (existsSync(at("src/page/index.html")))
  await build({ configFile: at("vite.config.ts"), mode: "page" });
else console.log("no page to build: src/page/index.html does not exist");
