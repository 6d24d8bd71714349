import { command, type OptionsOf } from "./command-spec.js";
import { wholeNumber } from "./readers.js";
import {
  cluster,
  enforcer,
  filename,
  folders,
  making,
  rendering,
  where,
} from "./shared-options.js";

const flags = [
  { ...filename, required: false },
  ...cluster,
  ...folders,
  ...rendering,
  ...making,
  ...where,
  {
    flags: "--flows <file>",
    description:
      "with -f: flows to show, as observe -o json writes them, or a capture (pcap, pcapng), which the table judges",
    completes: "file",
  },
  {
    flags: "--page-port <port>",
    description: "the port at 127.0.0.1; one that is free when left out",
    parse: wholeNumber(0),
  },
] as const;

export type UiOptions = OptionsOf<typeof flags>;

export const ui = command({
  name: "ui",
  summary: "show in a browser who may reach whom, who does, who was refused, and why",
  details: [
    "A page at 127.0.0.1, for whoever has the address that is printed: it has a token. Nothing is asked of another machine.",
    "With -f it is about manifests, and flows of a file; else about a process that enforces, live. See ui.md.",
  ],
  group: enforcer,
  options: flags,
  examples: [
    { command: "sluice ui --lab default", effect: "a lab, live" },
    { command: "sluice ui", effect: "the process that answers on the default socket" },
    {
      command: "sluice ui -f manifests/ --flows flows.json",
      effect: "manifests, and what was seen of their traffic",
    },
  ],
  run: async (options, io, given) => (await import("./ui.js")).runUi(options, io, given),
});
