import { command, type OptionsOf } from "./command-spec.js";
import { inputOrProcess, making, offline, output } from "./shared-options.js";

const flags = [
  ...inputOrProcess,
  ...making,
  {
    flags: "--by <what>",
    description:
      "what rows and columns are; the workload of a pod that names no owner is guessed from its name",
    values: ["pod", "workload", "namespace"],
    default: "pod",
  },
  {
    flags: "--port <ports/protocol>",
    description: "only these ports, such as 80/tcp, 8000-8080/udp, sctp or icmp",
  },
  {
    flags: "--exposure",
    description:
      "what passes to and from all that the manifests do not have: addresses outside, and pods that stand for selectors; not what passes among their own pods",
  },
  { flags: "--out <file>", description: "write to a file instead", completes: "file" },
  output("table", "json", "csv", "md", "dot", "mermaid", "svg", "html"),
] as const;

export type MatrixOptions = OptionsOf<typeof flags>;

export const matrix = command({
  name: "matrix",
  summary: "show who can reach whom, as a table, a graph or a picture",
  details: [
    "The answer is read from the compiled table, so it is what would be enforced.",
    "Addresses outside are shown by the blocks that policies distinguish. See matrix.md.",
  ],
  group: offline,
  options: flags,
  examples: [
    { command: "sluice matrix -f manifests/", effect: "for reading" },
    {
      command: "sluice matrix -f manifests/ --by namespace -o svg --out matrix.svg",
      effect: "a picture, a box for each namespace",
    },
    {
      command: "sluice matrix -f manifests/ --by workload --exposure",
      effect: "who from elsewhere may reach each workload, and what each may reach there",
    },
    {
      command: "sluice matrix -f manifests/ -o html --out map.html",
      effect: "the page of sluice ui as one file: map, policies, and why",
    },
    {
      command: "sluice matrix -f manifests/ --port 5432/tcp -o csv",
      effect: "who can reach a database, for a spreadsheet",
    },
  ],
  run: async (options, io) => (await import("./matrix.js")).runMatrix(options, io),
});
