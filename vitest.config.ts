import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { patientMs } from "./test/patience.js";

/** Tests that judge what a flood, a siege or a swap costs: one file at a time, after all others. */
const alone = ["test/live/{flood,siege,soak,swap-under-fire}.test.ts"];

/** The longest, first those that compile native code: begun last, they would end long after all others. */
const longest = [
  ...["native/native", "captures/captures", "package/pack", "fuzz/native", "fuzz/threads"],
  ...["live/in-place", "live/remade", "live/source-guard", "live/sidecar", "live/faults"],
  ...["live/lab-names", "live/lab", "live/node", "live/links", "live/take-over", "live/restart"],
  ...["live/in-place-kills", "live/in-place-lease", "live/in-place-take-over", "fuzz/listeners"],
].map((name) => `/test/${name}.test.ts`);

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
          maxWorkers: availableParallelism() * 2,
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
