import { command, type OptionsOf } from "./command-spec.js";
import { enforcer, where } from "./shared-options.js";

const flags = [
  ...where,
  {
    flags: "--for <condition>",
    description: "enforced, or enforced=GENERATION",
    default: "enforced",
  },
  { flags: "--timeout <time>", description: "how long, such as 30s", default: "30s" },
] as const;

export type WaitOptions = OptionsOf<typeof flags>;

export const wait = command({
  name: "wait",
  summary: "wait until the manifests as they are now are in force",
  details: ["Exit 124 if that does not happen in time."],
  group: enforcer,
  options: flags,
  examples: [
    { command: "sluice wait --for enforced --timeout 10s", effect: "after a file was changed" },
  ],
  run: async (options, io) => (await import("./wait.js")).runWait(options, io),
});
