import { command, type OptionsOf } from "./command-spec.js";
import { inputOrProcess, making, offline, output } from "./shared-options.js";

const flags = [
  ...inputOrProcess,
  ...making,
  {
    flags: "--probes <file>",
    description:
      '{"probes":[{"id","src","dst","srcIP","dstIP","protocol","port"}]}; src and dst are namespace/pod or namespace/workload, dst also svc/namespace/name with a port of the Service',
    completes: "file",
    required: true,
  },
  output("table", "json"),
] as const;

export type QueryOptions = OptionsOf<typeof flags>;

export const query = command({
  name: "query",
  summary: "judge a list of connections with the native table",
  group: offline,
  options: flags,
  examples: [
    { command: "sluice query -f manifests/ --probes probes.json", effect: "for reading" },
    {
      command: "sluice query -f manifests/ --probes probes.json -o json",
      effect: "for a script",
    },
  ],
  run: async (options, io) => (await import("./query.js")).runQuery(options, io),
});
