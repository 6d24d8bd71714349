import { command, type OptionsOf } from "./command-spec.js";
import {
  cluster,
  filename,
  folders,
  making,
  offline,
  output,
  rendering,
} from "./shared-options.js";

const flags = [
  {
    ...filename,
    description: `the old ${filename.description}`,
    required: false,
    unless: ["--cluster"],
  },
  {
    ...filename,
    flags: "-F, --new <path>",
    description: "the new manifests, given in the same ways; with --cluster, what is applied to it",
  },
  ...cluster,
  ...folders,
  ...rendering,
  ...making,
  output("table", "json"),
] as const;

export type DiffOptions = OptionsOf<typeof flags>;

export const diff = command({
  name: "diff",
  summary: "show which connections two sets of manifests judge otherwise, with a packet for each",
  details: [
    "The comparison is exact for all addresses, protocols and ports. Pods are compared by name. Pods stand for the selectors of policies that select none here. See diff.md.",
    "Exit 0 if the two are equivalent, 1 if they differ, 3 if one of them is invalid.",
  ],
  group: offline,
  options: flags,
  examples: [
    {
      command: "sluice diff -f manifests/ -F manifests/",
      effect: "nothing changes: exit 0",
    },
    {
      command: "sluice diff -f manifests/ -F incident/",
      effect: "what an incident's policies cut off",
    },
    {
      command: "sluice diff --cluster -F manifests/",
      effect: "what kubectl apply -f manifests/ would open and close",
    },
  ],
  run: async (options, io) => (await import("./diff.js")).runDiff(options, io),
});
