import { command, type OptionsOf } from "./command-spec.js";
import { readBlockLengths } from "./readers.js";
import {
  cluster,
  filename,
  folders,
  making,
  offline,
  output,
  rendering,
  where,
} from "./shared-options.js";

const flags = [
  {
    flags: "--flows <path>",
    repeatable: true,
    description:
      "what was seen: a flow log (sluice observe -o json, hubble observe -o json), a pcap or pcapng capture, or - for a flow log on standard input; repeatable. A process's kept flows when left out",
    completes: "file",
  },
  ...where,
  {
    flags: "--during <time>",
    description: "of a process: go on with what comes for this long (10m), or until Ctrl-C",
  },
  {
    ...filename,
    required: false,
    description: `whom the flows are about; ${filename.description}`,
  },
  ...cluster,
  ...folders,
  ...rendering,
  ...making,
  {
    flags: "--only <name>",
    repeatable: true,
    description:
      "write policies for a namespace, or a namespace/workload, alone; repeatable. All that was seen but kube-system when left out",
  },
  {
    flags: "--default-deny <whom>",
    description: "what else is denied: all of each namespace, or what gets a policy",
    values: ["namespace", "workload"],
    default: "namespace",
  },
  {
    flags: "--outside-prefix <lengths>",
    description:
      "how wide a block for an address outside may be: an IPv4 prefix length, and an IPv6 one behind a comma, such as 24,64; single addresses when left out",
    parse: readBlockLengths,
    format: ({ 4: four, 6: six }: { readonly 4: number; readonly 6: number }) => `${four},${six}`,
  },
  {
    flags: "--tighten",
    description:
      "write the policies of the manifests, narrowed to the rules, peers and ports that flows used, in the place of new ones",
  },
  {
    flags: "--unanswered",
    description: "of captures: count TCP connections that nobody answered too",
  },
  {
    flags: "--audit",
    description: "annotate the policies, so that they are only audited at first",
  },
  { flags: "--diff", description: "show what the policies open and close" },
  {
    flags: "--out <path>",
    description:
      "write the policies to a file; to a file each in a folder, which exists or ends with /",
    completes: "file",
  },
  {
    ...output("yaml", "json"),
    description: "the policies as YAML; or one JSON document with all that there is to say",
  },
] as const;

export type RecommendOptions = OptionsOf<typeof flags>;

export const recommend = command({
  name: "recommend",
  summary: "write the NetworkPolicies that allow what was seen",
  details: [
    "One policy for each workload, by its own labels, and one that denies the rest of each namespace. See recommend.md.",
    "What was seen is replayed through the result before anything is written. Standard error says what was left out, and why.",
    "Exit 3 if nothing was seen that a policy could allow.",
  ],
  group: offline,
  options: flags,
  examples: [
    {
      command: "sluice recommend -f manifests/ --flows flows.json --audit > audited.yaml",
      effect: "policies to try: nothing is refused yet",
    },
    {
      command: "sluice recommend --lab default --during 5m --out policies/",
      effect: "from what a lab's pods do in the next five minutes",
    },
    {
      command: "sluice recommend --tighten -f manifests/ --flows flows.json --diff",
      effect: "what existing policies allow and nobody used",
    },
    {
      command: "sluice recommend -f manifests/ --flows seen.pcapng --only shop --diff",
      effect: "from a capture, for one namespace, with what would close",
    },
  ],
  run: async (options, io, given) =>
    (await import("./recommend.js")).runRecommend(options, io, given),
});
