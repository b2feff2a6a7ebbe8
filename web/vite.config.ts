/**
 * Two builds of one tree: `--mode lib` the package into `dist/lib`, `--mode page` the monitor
 * page (entry `src/page/index.html`) into `dist/page` as static files without any inline script
 * or style, as its Content-Security-Policy demands.
 */

import { copyFileSync } from "node:fs";
import { resolve } from "node:path";
import react from "@vitejs/plugin-react";
import { defineConfig, type UserConfig } from "vite";

const at = (path: string) => resolve(import.meta.dirname, path);

const alias = {
  "@aivo/realtime/styles.css": at("src/react/styles.css"),
  "@aivo/realtime/react": at("src/react/index.ts"),
  "@aivo/realtime": at("src/index.ts"),
};

const lib: UserConfig = {
  build: {
    outDir: at("dist/lib"),
    target: "es2022",
    sourcemap: true,
    minify: false,
    lib: {
      entry: { index: at("src/index.ts"), "react/index": at("src/react/index.ts") },
      formats: ["es"],
    },
    rolldownOptions: {
      external: [/^react($|\/)/],
      output: {
        // A file per module, as it is written: bundlers leave out whole files more surely than
        // parts of one.
        preserveModules: true,
        preserveModulesRoot: at("src"),
        entryFileNames: "[name].js",
        // Frameworks that render on servers need to be told which modules are for the browser.
        banner: ({ fileName }) => (fileName === "react/index.js" ? '"use client";' : ""),
      },
    },
  },
  plugins: [
    {
      name: "copy-styles",
      writeBundle: ({ dir }) => copyFileSync(at("src/react/styles.css"), `${dir}/styles.css`),
    },
  ],
};

/** The page as it is shipped runs on Preact: React alone weighs twice what the page does (ADR 13). */
const light = {
  "react/jsx-runtime": "preact/jsx-runtime",
  "react-dom/client": "preact/compat/client",
  react: "preact/compat",
};

const page: UserConfig = {
  root: at("src/page"),
  base: "./",
  resolve: { alias },
  plugins: [react()],
  build: {
    outDir: at("dist/page"),
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: { "/ws": { target: "ws://127.0.0.1:8000", ws: true }, "/api": "http://127.0.0.1:8000" },
  },
};

export default defineConfig(({ mode, command }) => {
  if (mode === "lib") return lib;
  // Developing goes on in React, whose tools know what changed.
  return command === "build" ? { ...page, resolve: { alias: { ...alias, ...light } } } : page;
});
