import { command, type OptionsOf } from "./command-spec.js";
import { choosing, enforcer, output, where } from "./shared-options.js";

const args = [
  {
    name: "what",
    description: "what to list",
    values: ["endpoints", "policies", "rules", "connections", "interfaces", "tables"],
    aliases: {
      ...{
        endpoint: "endpoints",
        ep: "endpoints",
        pod: "endpoints",
        pods: "endpoints",
        po: "endpoints",
      },
      ...{ policy: "policies", networkpolicy: "policies", networkpolicies: "policies" },
      ...{ netpol: "policies", connection: "connections", conn: "connections" },
      ...{ rule: "rules", interface: "interfaces", table: "tables" },
    },
  },
] as const;

const flags = [...where, ...choosing, output("table", "json")] as const;

export type GetOptions = OptionsOf<typeof flags, typeof args>;

export const get = command({
  name: "get",
  summary: "list endpoints, policies, rules, connections, interfaces or tables",
  group: enforcer,
  arguments: args,
  options: flags,
  examples: [
    {
      command: "sluice get endpoints",
      effect: "whose traffic is judged, and what isolates them",
    },
    {
      command: "sluice get rules",
      effect: "what each rule has let pass or denied, in the order of evaluation",
    },
    {
      command: "sluice get connections --to-pod shop/database",
      effect: "who talks to a pod now",
    },
  ],
  run: async (options, io) => (await import("./get.js")).runGet(options, io),
});
