import { command, type OptionsOf } from "./command-spec.js";
import { wholeNumber } from "./readers.js";
import { choosing, choosingFlows, enforcer, where } from "./shared-options.js";

const flags = [
  ...where,
  { flags: "-f, --follow", description: "go on with what comes, until Ctrl-C" },
  {
    flags: "--last <n>",
    description: "as many as this of those that are kept; 20 when nothing is said",
    parse: wholeNumber(1),
  },
  { flags: "--since <when>", description: "not before this: a time, or how long ago (5m)" },
  { flags: "--until <when>", description: "not after this" },
  ...choosing,
  ...choosingFlows,
  {
    flags: "-w, --write <file>",
    description:
      "write the first bytes of frames that are dropped from now on to a pcapng file, each with its verdict as comment, until Ctrl-C; - is standard output",
    completes: "file",
  },
  {
    flags: "-o, --output <format>",
    description: "one line a flow for reading, or one JSON document a line",
    values: ["compact", "json", "jsonpb"],
    default: "compact",
  },
] as const;

export type ObserveOptions = OptionsOf<typeof flags>;

export const observe = command({
  name: "observe",
  summary: "show flows as they are allowed, dropped, cut and ended",
  details: [
    "Flags and JSON are Hubble's. Fields that Hubble does not have are under ext. See observe.md.",
    "Several values of one flag are alternatives. All flags must match.",
    "A reader that is too slow loses records, and the next record says how many. Packets never wait for a reader.",
  ],
  group: enforcer,
  options: flags,
  examples: [
    { command: "sluice observe --follow --verdict DROPPED", effect: "what is being refused" },
    {
      command: "sluice observe --to-pod shop/database --write drops.pcapng",
      effect: "what is being refused, for Wireshark",
    },
    {
      command: "sluice observe --since 5m --to-pod shop/database -o json",
      effect: "what came to a pod, for jq",
    },
  ],
  run: async (options, io) => (await import("./observe.js")).runObserve(options, io),
});
