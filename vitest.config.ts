import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // nan addons (raw-socket, cap) load once per process and not in threads.
    pool: "forks",
    // Live tests share two cores: one file at a time keeps their timings honest.
    fileParallelism: false,
    // Tests kill what they start, and share the machine: none of it listens where a daemon would.
    env: { SLUICE_SOCKET: "none" },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ["default", "./test/summary-reporter.ts"],
  },
});
