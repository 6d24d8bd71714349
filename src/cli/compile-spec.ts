import { command, type OptionsOf } from "./command-spec.js";
import { input, offline, output } from "./shared-options.js";

const flags = [
  ...input,
  { flags: "--node <name>", description: "only pods on this node are judged here" },
  { flags: "--out <file>", description: "write the table to a file", completes: "file" },
  {
    flags: "--stage <stage>",
    description: "print what a step of the compiler made",
    values: ["ruleset", "table"],
  },
  output("text", "json"),
] as const;

export type CompileOptions = OptionsOf<typeof flags>;

export const compile = command({
  name: "compile",
  summary: "compile manifests to the decision table",
  group: offline,
  options: flags,
  examples: [
    { command: "sluice compile -f manifests/ --out policy.tbl", effect: "write the table" },
    { command: "sluice compile -f manifests/ --stage ruleset", effect: "who may reach whom" },
  ],
  run: async (options, io) => (await import("./compile.js")).runCompile(options, io),
});
