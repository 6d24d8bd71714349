import { command, type OptionsOf } from "./command-spec.js";
import { wholeNumber } from "./readers.js";
import { live, output, reading } from "./shared-options.js";

const flags = [
  {
    flags: "-i, --interface <name>",
    description: "the interface to watch",
    completes: "interface",
    required: true,
  },
  ...reading,
  { flags: "--pod <namespace/name>", description: "judge for this pod alone" },
  {
    flags: "-c, --count <n>",
    description: "end after this many packets",
    parse: wholeNumber(1),
  },
  { flags: "--filter <bpf>", description: "only these packets, as tcpdump understands it" },
  {
    flags: "-w, --write <file>",
    description: "write the packets to a pcapng file, each with its verdict as a comment",
    completes: "file",
  },
  output("table", "json"),
] as const;

export type CaptureOptions = OptionsOf<typeof flags>;

export const capture = command({
  name: "capture",
  summary: "watch an interface, each packet beside the verdict of the table",
  details: [
    "The packet filter of sluice run judges the packets of both directions, without a source guard. It only watches: nothing is dropped.",
    "A reply has the verdict of its connection. A connection that was open before is picked up midway, as with --loose: the first sender counts as its opener.",
    "Needs the optional package cap. Ctrl-C ends it with a summary.",
  ],
  group: live,
  options: flags,
  examples: [
    {
      command: "sluice capture -i eth0 -f manifests/ --filter 'tcp port 5432'",
      effect: "one service",
    },
    {
      command: "sluice capture -i eth0 -f manifests/ --count 100 -w seen.pcapng -o json",
      effect: "the next hundred packets",
    },
  ],
  run: async (options, io) => (await import("./capture.js")).runCapture(options, io),
});
