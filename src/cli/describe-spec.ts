import { command, type OptionsOf } from "./command-spec.js";
import { inputOrProcess, making, offline, output } from "./shared-options.js";

const args = [
  {
    name: "kind",
    description: "what it is",
    values: ["pod", "workload", "namespace", "policy", "service"],
    aliases: {
      ...{ pods: "pod", po: "pod", namespaces: "namespace", ns: "namespace" },
      ...{
        workloads: "workload",
        deployment: "workload",
        deployments: "workload",
        deploy: "workload",
      },
      ...{ statefulset: "workload", statefulsets: "workload", sts: "workload" },
      ...{ daemonset: "workload", daemonsets: "workload", ds: "workload" },
      ...{
        policies: "policy",
        networkpolicy: "policy",
        networkpolicies: "policy",
        netpol: "policy",
      },
      ...{ clusternetworkpolicy: "policy", cnp: "policy", services: "service", svc: "service" },
    },
  },
  { name: "name", description: "namespace/name, or a name in the namespace of -n" },
] as const;

const flags = [...inputOrProcess, ...making, output("text", "json")] as const;

export type DescribeOptions = OptionsOf<typeof flags, typeof args>;

export const describe = command({
  name: "describe",
  summary:
    "say of a pod, workload, namespace, policy or Service who may reach it, and by which policies",
  group: offline,
  arguments: args,
  options: flags,
  examples: [
    {
      command: "sluice describe -f manifests/ pod shop/database",
      effect: "what holds it, and who may reach it",
    },
    {
      command: "sluice describe -f manifests/ netpol shop/database",
      effect: "whom it is for, and what its rules open",
    },
    { command: "sluice describe --lab default ns shop", effect: "by the table in force" },
  ],
  run: async (options, io) => (await import("./describe.js")).runDescribe(options, io),
});
