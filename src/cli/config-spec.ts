import { type CommandSpec, command, type OptionsOf } from "./command-spec.js";
import { live, output } from "./shared-options.js";

const checkArguments = [
  { name: "file", description: "the config file", completes: "file" },
] as const;

const checkFlags = [output("text", "json")] as const;

export type ConfigCheckOptions = OptionsOf<typeof checkFlags, typeof checkArguments>;

export const config: CommandSpec = {
  name: "config",
  summary: "check a config file of sluice run, and what one may hold",
  group: live,
  examples: [{ command: "sluice config check /etc/sluice/sluice.yaml", effect: "before a reload" }],
  commands: [
    command({
      name: "check",
      summary: "check a config file, all errors at once, without touching what it names",
      arguments: checkArguments,
      options: checkFlags,
      examples: [{ command: "sluice config check sluice.yaml", effect: "one file" }],
      run: async (options, io) => (await import("./config.js")).runConfigCheck(options, io),
    }),
    command({
      name: "schema",
      summary: "print the JSON Schema of a config file",
      examples: [{ command: "sluice config schema > sluice.schema.json", effect: "for an editor" }],
      run: async (options, io) => (await import("./config.js")).runConfigSchema(options, io),
    }),
  ],
};
