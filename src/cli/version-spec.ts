import { command, type OptionsOf } from "./command-spec.js";
import { other, output } from "./shared-options.js";

const flags = [output("text", "json")] as const;

export type VersionOptions = OptionsOf<typeof flags>;

export const version = command({
  name: "version",
  summary: "print the version of sluice, its table layout, and node",
  group: other,
  options: flags,
  examples: [{ command: "sluice version -o json", effect: "for a bug report" }],
  run: async (options, io) => (await import("./version.js")).runVersion(options, io),
});
