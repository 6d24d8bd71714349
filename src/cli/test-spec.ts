import { command, type OptionsOf } from "./command-spec.js";
import { inputOrProcess, making, offline } from "./shared-options.js";

const args = [
  { name: "file", description: "test files", several: true, completes: "file" },
] as const;

const flags = [
  ...inputOrProcess,
  ...making,
  {
    flags: "--live",
    description: "make the connections with real packets, in a lab that is brought up for it",
  },
  {
    flags: "--reporter <format>",
    description: "how to print the results",
    values: ["pretty", "tap", "junit", "json"],
    default: "pretty",
  },
] as const;

export type TestOptions = OptionsOf<typeof flags, typeof args>;

export const test = command({
  name: "test",
  summary: "check assertions about who may reach whom",
  details: [
    "A test file is YAML of kind PolicyTest. See testing.md.",
    "The native table judges every connection that a test selects. A test that selects none fails.",
    "Exit 1 if a test fails, 3 if a file has errors.",
  ],
  group: offline,
  arguments: args,
  options: flags,
  examples: [
    {
      command: "sluice test tests.yaml -f manifests/",
      effect: "for reading",
    },
    {
      command: "sluice test tests/*.yaml -f manifests/ --reporter junit > results.xml",
      effect: "for a CI server",
    },
  ],
  run: async (options, io) => (await import("./test.js")).runTest(options, io),
});
