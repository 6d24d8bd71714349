import { command, type OptionsOf } from "./command-spec.js";
import { enforcer, where } from "./shared-options.js";

const flags = [
  ...where,
  {
    flags: "--pane <name>",
    description: "what is shown first",
    values: ["flows", "drops", "policies", "rules", "endpoints", "connections"],
    default: "flows",
  },
  { flags: "--once", description: "print one frame, and end; for scripts, and without a terminal" },
] as const;

export type TopOptions = OptionsOf<typeof flags>;

export const top = command({
  name: "top",
  summary: "show flows, drops, policies and connections of a process in the terminal, live",
  details: [
    "From 80 columns and 24 lines on, over ssh too, and without colour under NO_COLOR. ? lists the keys.",
  ],
  group: enforcer,
  options: flags,
  examples: [
    { command: "sluice top", effect: "who talks to whom now; d shows what is refused, w says why" },
    {
      command: "sluice top --lab default --pane policies --once",
      effect: "one picture of the hits",
    },
  ],
  run: async (options, io) => (await import("./top.js")).runTop(options, io),
});
