import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { patientMs } from "./test/patience.js";

/** Tests that measure, or load every core by themselves: one file at a time, after all others. */
const alone = [
  "test/bench/**/*.test.ts",
  "test/cli/bench*.test.ts",
  "test/fuzz/{native,threads}.test.ts",
  "test/live/{flood,siege,soak,swap-under-fire}.test.ts",
];

/** Tests that compile native code first: begun last, they would end long after all others. */
const longest = ["test/native/native.test.ts", "test/captures/"];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const rank = ({ moduleId }: TestSpecification) => {
      const at = longest.findIndex((part) => moduleId.includes(part));
      return at < 0 ? longest.length : at;
    };
    return sorted.sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    // nan addons (raw-socket, cap) load once per process and not in threads.
    pool: "forks",
    // Tests kill what they start, and share the machine: none of it listens where a daemon would.
    env: { SLUICE_SOCKET: "none" },
    // For a machine that others keep busy; what is waited for has a limit of its own.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: patientMs } },
    sequence: { sequencer: LongestFirst },
    reporters: ["default", "./test/summary-reporter.ts"],
    projects: [
      {
        extends: true,
        test: {
          name: "side by side",
          include: ["test/**/*.test.ts"],
          exclude: alone,
          // Tests with processes and networks of their own wait for half of their time.
          maxWorkers: Math.ceil(availableParallelism() * 1.5),
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "alone",
          include: alone,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
