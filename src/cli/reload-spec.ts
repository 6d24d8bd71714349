import { command, type OptionsOf } from "./command-spec.js";
import { enforcer, output, where } from "./shared-options.js";

const flags = [...where, output("table", "json")] as const;

export type ReloadOptions = OptionsOf<typeof flags>;

export const reload = command({
  name: "reload",
  summary: "have a process read its manifests again",
  details: ["Exit 3 if they have errors; the old table then stays in force."],
  group: enforcer,
  options: flags,
  examples: [{ command: "sluice reload", effect: "the same as SIGHUP, with an answer" }],
  run: async (options, io) => (await import("./reload.js")).runReload(options, io),
});
