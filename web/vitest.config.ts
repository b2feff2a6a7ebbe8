import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

const at = (path: string) => resolve(import.meta.dirname, path);

export default defineConfig({
  resolve: {
    alias: {
      "@aivo/realtime/react": at("src/react/index.ts"),
      "@aivo/realtime": at("src/index.ts"),
      "@/lib": at("tests/guide/lib"),
      "@/components": at("tests/guide/components"),
    },
  },
  test: { include: ["tests/**/*.test.{ts,tsx}", "src/**/*.test.{ts,tsx}"], testTimeout: 20_000 },
});
