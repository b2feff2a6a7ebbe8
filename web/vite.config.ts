/**
 * Two builds of one tree: `--mode lib` the package into `dist/lib`, `--mode page` the monitor page (entry `src/page/index.html`)
 * into `dist/page` as static files without any inline script or style, as its Content-Security-Policy demands.
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
    lib: { entry: { index: at("src/index.ts"), react: at("src/react/index.ts") }, formats: ["es"] },
    rolldownOptions: {
      external: [/^react($|\/)/],
      // Frameworks that render on servers need to be told which modules are for the browser.
      output: { chunkFileNames: "[name].js", banner: (chunk) => (chunk.name === "react" ? '"use client";' : "") },
    },
  },
  plugins: [
    { name: "copy-styles", closeBundle: () => copyFileSync(at("src/react/styles.css"), at("dist/lib/styles.css")) },
  ],
};

const page: UserConfig = {
  root: at("src/page"),
  base: "./",
  resolve: { alias },
  plugins: [react()],
  build: { outDir: at("dist/page"), emptyOutDir: true, target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: { "/ws": { target: "ws://127.0.0.1:8000", ws: true }, "/api": "http://127.0.0.1:8000" } },
};

export default defineConfig(({ mode }) => (mode === "lib" ? lib : page));
