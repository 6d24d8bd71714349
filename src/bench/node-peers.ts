import { openAcceptQueue } from "../dataplane/traffic.js";
import { onStage } from "./contender.js";
import { cpuSecondsOfThreads, newThreads } from "./cpu-time.js";
import { inKernel, type Peer } from "./peer.js";
import { LeftOut, type Stage } from "./stage.js";

const queue = 7;
const passes = "ct state established,related accept;";

/** What `sluice node` is measured beside: pod to pod on one node, by the address of a Service. */
export const nodePeers: Readonly<Record<string, Peer>> = {
  service: {
    title: "no policy",
    filters: false,
    open: () =>
      onStage((stage) => {
        stage.joinByService();
        return inKernel(stage);
      }),
  },
  "service-nft-sets": {
    title: "nftables best practice",
    filters: true,
    open: ({ workload }) =>
      onStage((stage) => {
        stage.joinByService();
        stage.run(["nft", "-f", "-"], workload.nftSets);
        return inKernel(stage);
      }),
  },
  // As kube-network-policies does it, whose own judging would come on top.
  "service-nfqueue": {
    title: "NFQUEUE for first packets",
    filters: false,
    open: () =>
      onStage((stage) => {
        stage.joinByService();
        queueFirstPackets(stage);
        const { found: threads, result: queues } = newThreads(() =>
          openAcceptQueue(stage.middle, queue),
        );
        return {
          ...inKernel(stage, () => queues.close()),
          cpuSeconds: () => cpuSecondsOfThreads("self", threads),
        };
      }),
  },
};

/** By nftables, or where its kernel has no queues, by iptables. Errors: LeftOut. */
function queueFirstPackets(stage: Stage): void {
  const chain = "chain forward { type filter hook forward priority filter;";
  try {
    stage.run(
      ["nft", "-f", "-"],
      `table ip bench { ${chain} ${passes} queue flags bypass to ${queue}; } }`,
    );
  } catch (error) {
    if (!(error instanceof LeftOut)) throw error;
    const rules = [
      "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
      `-A FORWARD -j NFQUEUE --queue-num ${queue} --queue-bypass`,
    ];
    stage.run(["iptables-restore"], ["*filter", ...rules, "COMMIT", ""].join("\n"));
  }
}
