import { command, type OptionsOf } from "./command-spec.js";
import { enforcer, output, where } from "./shared-options.js";

const flags = [...where, output("table", "json")] as const;

export type StatusOptions = OptionsOf<typeof flags>;

export const status = command({
  name: "status",
  summary: "show how a process that enforces is doing",
  group: enforcer,
  options: flags,
  examples: [
    { command: "sluice status", effect: "of sluice run on this machine" },
    { command: "sluice status --lab default -o json", effect: "of a lab" },
  ],
  run: async (options, io) => (await import("./status.js")).runStatus(options, io),
});
