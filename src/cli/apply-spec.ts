import { command, type OptionsOf } from "./command-spec.js";
import { enforcer, folders, output, rendering, where } from "./shared-options.js";

const flags = [
  ...where,
  {
    flags: "-f, --filename <path>",
    repeatable: true,
    description: "the manifests as they would be; like those of every command",
    completes: "file",
    required: true,
  },
  ...folders,
  ...rendering,
  {
    flags: "--dry-run <what>",
    description: "live: judge the connections that are there now",
    values: ["live"],
    required: true,
  },
  output("table", "json"),
] as const;

export type ApplyOptions = OptionsOf<typeof flags>;

export const apply = command({
  name: "apply",
  summary: "say which live connections a change of manifests would cut, before it is made",
  details: [
    "Give all manifests as they would be, not only those that change.",
    "Nothing is changed: a process reads its manifests only from its own source. Exit 1 if a connection would be cut.",
  ],
  group: enforcer,
  options: flags,
  examples: [
    {
      command: "sluice apply -f manifests/ --dry-run live",
      effect: "before the files are copied",
    },
  ],
  run: async (options, io) => (await import("./apply.js")).runApply(options, io),
});
