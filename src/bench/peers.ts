import { closeDescriptor } from "../dataplane/host.js";
import { attachKernelFilter } from "../dataplane/traffic.js";
import { type Contender, onStage } from "./contender.js";
import { inKernel, type Peer } from "./peer.js";
import type { Stage } from "./stage.js";
import type { Workload } from "./workload.js";

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

function kernelOnly(build: (stage: Stage) => void): Contender {
  return onStage((stage) => {
    build(stage);
    return inKernel(stage);
  });
}

function kernelFilter(workload: Workload): Contender {
  return onStage((stage) => {
    stage.joinToMiddle("bridged");
    const fds = attachKernelFilter(stage.middle, "inside", "outside", workload.kernelRules);
    return inKernel(stage, () => {
      for (const fd of fds) closeDescriptor(fd);
    });
  });
}
