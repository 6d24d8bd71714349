import { defineConfig } from "vitest/config";

/** Tests of what takes time by itself: traffic, processes under attack, builds, benchmarks. */
const alone = ["bench", "control", "fuzz", "kubernetes", "live", "native", "package"].map(
  (folder) => `test/${folder}/**/*.test.ts`,
);
alone.push("test/cli/bench*.test.ts");

export default defineConfig({
  test: {
    // nan addons (raw-socket, cap) load once per process and not in threads.
    pool: "forks",
    // Tests kill what they start, and share the machine: none of it listens where a daemon would.
    env: { SLUICE_SOCKET: "none" },
    // For a machine that others keep busy; what is waited for has a limit of its own.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    reporters: ["default", "./test/summary-reporter.ts"],
    projects: [
      {
        extends: true,
        test: {
          name: "answers",
          include: ["test/**/*.test.ts"],
          exclude: alone,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "alone",
          include: alone,
          // These need the two cores that they may count on: one file at a time.
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
