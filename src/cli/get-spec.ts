import { command, type OptionsOf } from "./command-spec.js";
import { listFormats, readListFormat } from "./readers.js";
import { choosingEnds, enforcer, output, where } from "./shared-options.js";

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
      ...{ netpol: "policies", clusternetworkpolicy: "policies", cnp: "policies" },
      ...{ clusternetworkpolicies: "policies", connection: "connections", conn: "connections" },
      ...{ rule: "rules", interface: "interfaces", if: "interfaces", table: "tables" },
    },
  },
] as const;

const flags = [
  ...where,
  {
    // One value each: the word behind `-n shop` is what to list.
    flags: "-n, --namespace <name>",
    repeatable: true,
    description: "only what is of this namespace; connections from or to its pods; repeatable",
    variable: false,
  },
  {
    flags: "-A, --all-namespaces",
    description: "of all namespaces, as without --namespace",
    variable: false,
  },
  {
    flags: "-l, --selector <selector>",
    description:
      "endpoints or policies with these labels, such as app=web,tier in (front, back),!old",
    variable: false,
  },
  ...choosingEnds,
  {
    ...output("table"),
    description:
      "how to print the answer; json and yaml are one document, jsonpath={.items[*].name} takes a template as kubectl does",
    values: listFormats,
    parse: readListFormat,
  },
] as const;

export type GetOptions = OptionsOf<typeof flags, typeof args>;

export const get = command({
  name: "get",
  summary: "list endpoints, policies, rules, connections, interfaces or tables",
  group: enforcer,
  arguments: args,
  options: flags,
  details: [
    "Flags that choose ends, such as --pod and --port, are for connections.",
    "A template of jsonpath= takes paths, range and end, and no filters; a path that leads nowhere prints nothing.",
  ],
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
    { command: "sluice get netpol -n shop -o wide", effect: "more of each, in one namespace" },
    {
      command: "sluice get pods -l app=web -o jsonpath='{.items[*].addresses[0]}'",
      effect: "addresses of the pods with a label",
    },
  ],
  run: async (options, io) => (await import("./get.js")).runGet(options, io),
});
