import { command, type OptionsOf } from "./command-spec.js";
import { input, offline, output, pod } from "./shared-options.js";

const args = [{ name: "file", description: "a pcap or pcapng file", completes: "file" }] as const;

const flags = [
  ...input,
  pod,
  { flags: "--pod-mac <mac>", description: "the pod's MAC, where the capture has one" },
  { flags: "--pod-interface <name>", description: "the pcapng interface on the pod's side" },
  {
    flags: "-w, --write <file>",
    description: "write the packets to a pcapng file, each with its verdict as a comment",
    completes: "file",
  },
  {
    flags: "--write-packets <which>",
    description: "which packets -w writes; all when left out",
    values: ["all", "passed", "dropped"],
  },
  output("table", "json"),
] as const;

export type ReplayOptions = OptionsOf<typeof flags, typeof args>;

export const replay = command({
  name: "replay",
  summary: "send a capture through the filter, on the capture's own clock",
  details: [
    "In a pcapng file, the interface called pod (or the one named) is the pod's side. In a plain pcap, a frame whose source is the pod's MAC or address comes from the pod.",
  ],
  group: offline,
  arguments: args,
  options: flags,
  examples: [
    {
      command: "sluice replay traffic.pcapng -f manifests/ --pod shop/database",
      effect: "what would have been dropped, and why",
    },
    {
      command:
        "sluice replay traffic.pcap -f manifests/ --pod shop/database -w dropped.pcapng --write-packets dropped",
      effect: "what is dropped, to look at in Wireshark",
    },
  ],
  run: async (options, io) => (await import("./replay.js")).runReplay(options, io),
});
