import { defineConfig } from "vitest/config";

/** Real browser, real services: slower, one after the other, and of their own command. */
export default defineConfig({
  test: {
    include: ["e2e/**/*.test.mjs"],
    testTimeout: 90_000,
    hookTimeout: 120_000,
    fileParallelism: false,
    expect: { poll: { timeout: 15_000 } },
  },
});
