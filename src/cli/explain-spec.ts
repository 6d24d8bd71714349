import { command, type OptionsOf } from "./command-spec.js";
import { inputOrProcess, making, offline, output } from "./shared-options.js";

const flags = [
  ...inputOrProcess,
  ...making,
  {
    flags: "--from <ref>",
    description: "namespace/pod, namespace/workload or an address",
    required: true,
  },
  {
    flags: "--to <ref>",
    description:
      "namespace/pod, namespace/workload, svc/namespace/name of a Service, or an address (a Service's too)",
    required: true,
  },
  {
    flags: "--port <port/protocol>",
    description:
      "such as 5432/tcp, 53/udp, icmp, or the name of a port of the receiving pod or the Service; left out: say what passes",
  },
  {
    flags: "--exit-code",
    description: "exit 1 when the connection is denied, to a Service by any of its pods",
  },
  output("text", "tree", "json"),
] as const;

export type ExplainOptions = OptionsOf<typeof flags>;

export const explain = command({
  name: "explain",
  summary: "say which rule allows a connection, or why each rule does not",
  group: offline,
  options: flags,
  examples: [
    {
      command:
        "sluice explain -f manifests/ --from shop/frontend --to shop/database --port 5432/tcp",
      effect: "between two pods",
    },
    {
      command: "sluice explain -f manifests/ --from shop/frontend --to svc/shop/payment --port 80",
      effect: "to the pods behind a Service, at their own port",
    },
    {
      command:
        "sluice explain -f manifests/ --from 192.0.2.7 --to shop/frontend --port 80/tcp --exit-code",
      effect: "from outside, as a check in a script",
    },
  ],
  run: async (options, io) => (await import("./explain.js")).runExplain(options, io),
});
