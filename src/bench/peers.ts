import { closeDescriptor } from "../dataplane/host.js";
import { attachKernelFilter } from "../dataplane/traffic.js";
import { type Contender, type OpenContext, onStage } from "./contender.js";
import type { Stage } from "./stage.js";
import type { Workload } from "./workload.js";

const tracking =
  "table ip bench { chain forward { type filter hook forward priority filter; ct state new accept; }; }";

interface Peer {
  readonly title: string;
  readonly filters: boolean;
  readonly open: (context: OpenContext) => Contender;
}

/** What Sluice is measured beside: the kernel's own ways from one veth to another. */
export const peers: Readonly<Record<string, Peer>> = {
  direct: {
    title: "direct veth",
    filters: false,
    open: () => kernelOnly((stage) => stage.joinDirectly()),
  },
  bridge: {
    title: "Linux bridge",
    filters: false,
    open: () =>
      kernelOnly((stage) => {
        stage.joinToMiddle("bridged");
        stage.run(["ip", "link", "add", "br0", "type", "bridge"]);
        for (const name of ["inside", "outside"]) {
          stage.run(["ip", "link", "set", name, "master", "br0"]);
        }
        stage.run(["ip", "link", "set", "br0", "up"]);
      }),
  },
  routed: {
    title: "routed",
    filters: false,
    open: () => kernelOnly((stage) => stage.joinToMiddle("routed")),
  },
  // Every node with kube-proxy tracks connections: what a pod's packets take there without policy.
  tracked: {
    title: "routed, with connections tracked",
    filters: false,
    open: () =>
      kernelOnly((stage) => {
        stage.joinToMiddle("routed");
        stage.run(["nft", "-f", "-"], tracking);
      }),
  },
  "nft-sets": {
    title: "nftables best practice",
    filters: true,
    open: ({ workload }) =>
      kernelOnly((stage) => {
        stage.joinToMiddle("routed");
        stage.run(["nft", "-f", "-"], workload.nftSets);
      }),
  },
  "nft-flowtable": {
    title: "nftables flowtable",
    filters: true,
    open: ({ workload }) =>
      kernelOnly((stage) => {
        stage.joinToMiddle("routed");
        stage.run(["nft", "-f", "-"], workload.nftFlowtable);
      }),
  },
  "nft-linear": {
    title: "nftables linear rules",
    filters: true,
    open: ({ workload }) =>
      kernelOnly((stage) => {
        stage.joinToMiddle("routed");
        stage.run(["nft", "-f", "-"], workload.nftLinear);
      }),
  },
  iptables: {
    title: "iptables",
    filters: true,
    open: ({ workload }) =>
      kernelOnly((stage) => {
        stage.joinToMiddle("routed");
        stage.run(["iptables-restore"], workload.iptables);
      }),
  },
  "tc-ebpf": { title: "tc-eBPF", filters: true, open: ({ workload }) => kernelFilter(workload) },
};

export const peerNames: readonly string[] = Object.keys(peers);

/** What `sluice node` is measured beside: what a node's kernel routes, with and without policy. */
export const nodePeers: readonly string[] = ["routed", "tracked", "nft-sets", "iptables"];

/** Those whose work depends on the policy. */
export const filteringPeers: readonly string[] = peerNames.filter((name) => peers[name]?.filters);

function kernelOnly(build: (stage: Stage) => void): Contender {
  return onStage((stage) => {
    build(stage);
    return inKernel(stage, () => stage.close());
  });
}

function kernelFilter(workload: Workload): Contender {
  return onStage((stage) => {
    stage.joinToMiddle("bridged");
    const fds = attachKernelFilter(stage.middle, "inside", "outside", workload.kernelRules);
    return inKernel(stage, () => {
      for (const fd of fds) closeDescriptor(fd);
      stage.close();
    });
  });
}

/** The kernel works in the threads of those who send; there is nothing to pin or to rest. */
function inKernel(stage: Stage, close: () => void): Contender {
  return {
    clientNamespaceFd: stage.client,
    serverNamespaceFd: stage.server,
    resume() {},
    rest() {},
    memoryBytes: () => undefined,
    close: async () => close(),
  };
}
