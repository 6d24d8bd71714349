import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cpuSecondsOfThreads, threadsOf } from "../../src/bench/cpu-time.js";
import { quantile } from "../../src/bench/statistics.js";
import { formatAddress, parseAddress } from "../../src/net/address.js";
import { policyObject } from "../kubernetes/api-objects.js";
import { kernelObstacle } from "./in-place-bench.js";
import { named, root, until } from "./lab-harness.js";
import {
  pluginObstacle,
  type RunningPod,
  StandInCluster,
  type StandInNode,
} from "./stand-in-node.js";

// Goal:   how long a new pod waits for its policy, by the number of pods on its node and in its cluster.
// Method: pods one by one. Of each two, one is made as a runtime does it, by a whole chain: what its ADD waits for in
//         the agent, and the plugin's call from its start to its end. The other is known by the API server alone: from
//         its event until its policy is in force; and the same event at an informer, after which an agent that judges
//         first packets by NFQUEUE, as kube-network-policies does it, has what it needs: its rules, and each
//         connection's way through the queue, come on top (`sluice bench --node`).
//         The agent's CPU time for an ADD is measured too, which a machine that others keep busy changes less.
//         `npm run bench:cni` has 250 pods on the node and 150,000 in the cluster.

const podsHere = Number(process.env["SLUICE_CNI_PODS"] ?? 8);
const podsElsewhere = Number(process.env["SLUICE_CNI_CLUSTER"] ?? 1_000);
const timeoutMs = 120_000 + podsHere * 4_000 + podsElsewhere * 2;
const bounds = [0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1_000];

const obstacle = pluginObstacle ?? kernelObstacle();

/** Sums of an agent's histogram. Units: seconds. */
async function sumsOf(node: StandInNode, name: string): Promise<{ count: number; sum: number }> {
  const text = await node.metrics();
  const value = (what: string) =>
    Number(new RegExp(`^sluice_${name}_${what} (\\S+)$`, "m").exec(text)?.[1]);
  return { count: value("count"), sum: value("sum") };
}

describe.skipIf(obstacle !== undefined)(named("the time of a new pod", obstacle), () => {
  let cluster: StandInCluster;
  /** When the informer has known an address. */
  const known = new Map<string, number>();

  beforeAll(async () => {
    cluster = new StandInCluster();
    cluster.server.put(
      policyObject("web", {
        podSelector: {},
        policyTypes: ["Ingress"],
        ingress: [{ from: [{ podSelector: { matchLabels: { app: "app-1" } } }] }],
      }),
    );
    for (let each = 0; each < podsElsewhere; each++) {
      // What matters of a pod, since the test's own server has to keep them all.
      cluster.server.put({
        kind: "Pod",
        apiVersion: "v1",
        metadata: { name: `far-${each}`, namespace: "shop", labels: { app: `app-${each % 500}` } },
        spec: { nodeName: `far-${each % 1_000}`, containers: [] },
        status: {
          phase: "Running",
          podIP: `10.${64 + (each >> 16)}.${(each >> 8) & 255}.${each & 255}`,
        },
      });
    }
    await cluster.open("ptp", 1);
    const node = cluster.nodes[0]!;
    node.readyMs = timeoutMs;
    await node.sluice();
    await startInformer(node);
  }, timeoutMs);
  afterAll(() => cluster.close());

  async function startInformer(node: StandInNode): Promise<void> {
    const words = [join(root, "test/live/informer.mjs"), join(cluster.folder, "api.sock")];
    const informer = node.spawn(process.execPath, ...words, "first-token");
    let said = "";
    let isSynced = false;
    informer.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (said + text).split("\n");
      said = lines.pop()!;
      for (const line of lines) {
        const [address, atMs] = line.split(" ");
        if (atMs === undefined) isSynced = true;
        else known.set(address!, Number(atMs));
      }
    });
    await until("the informer", () => isSynced, timeoutMs);
  }

  /** Builds a pod's network without our plugin, and has the API server tell of it. */
  async function startUntold(node: StandInNode, pod: RunningPod) {
    const { ips } = JSON.parse(await node.builtResult(pod)) as {
      readonly ips: readonly { readonly address: string }[];
    };
    pod.addresses = ips.map(({ address }) => parseAddress(address.split("/")[0]!)!);
    const before = await sumsOf(node, "policy_implementation_delay_seconds");
    const reportedMs = Number(process.hrtime.bigint()) / 1e6;
    node.report(pod, pod.addresses);
    const [first] = pod.addresses.map(formatAddress);
    await until("the informer knows it", () => known.has(first!));
    let after = before;
    await until("its policy", async () => {
      after = await sumsOf(node, "policy_implementation_delay_seconds");
      return after.count > before.count;
    });
    const events = after.count - before.count;
    const ownMs = ((after.sum - before.sum) / events) * 1_000;
    return { ownMs, informerMs: known.get(first!)! - reportedMs };
  }

  test("is measured, and no ADD fails", { timeout: timeoutMs }, async () => {
    const node = cluster.nodes[0]!;
    const times = {
      "an ADD, in the agent": [] as number[],
      "an ADD, the plugin's process and all": [] as number[],
      "an ADD, CPU time of the agent": [] as number[],
      "without the plugin, from the API server's event": [] as number[],
      "the same event at an informer, for NFQUEUE": [] as number[],
    };
    const agent = node.agent!.pid!;
    const worked = () => cpuSecondsOfThreads(agent, threadsOf(agent)) * 1_000;
    for (let each = 0; each < podsHere; each++) {
      const isMeasured = each >= Math.floor(podsHere / 2);
      const pod = node.bind(`pod-${each}`, { app: `app-${each % 500}` });
      if (each % 2 === 1) {
        const { ownMs, informerMs } = await startUntold(node, pod);
        if (!isMeasured) continue;
        times["without the plugin, from the API server's event"].push(ownMs);
        times["the same event at an informer, for NFQUEUE"].push(informerMs);
        continue;
      }
      const result = await node.builtResult(pod);
      const before = await sumsOf(node, "cni_add_duration_seconds");
      const workedMs = worked();
      const { code, stdout, tookMs } = await node.addLast(pod, result);
      const workMs = worked() - workedMs;
      expect(code, `${stdout}${node.said}`).toBe(0);
      const after = await sumsOf(node, "cni_add_duration_seconds");
      expect(after.count).toBe(before.count + 1);
      node.report(pod, pod.addresses);
      if (!isMeasured) continue;
      times["an ADD, in the agent"].push((after.sum - before.sum) * 1_000);
      times["an ADD, the plugin's process and all"].push(tookMs);
      times["an ADD, CPU time of the agent"].push(workMs);
    }
    const lines = Object.entries(times).map(([what, all]) => {
      const [middle, most] = [0.5, 0.99].map((share) => quantile(all, share).toFixed(1));
      const within = (bound: number) => all.filter((ms) => ms <= bound).length;
      const bars = bounds.map((bound) => `${bound}: ${within(bound)}`).join(", ");
      return `${what}: p50 ${middle} ms, p99 ${most} ms of ${all.length}\n  at most ${bars}`;
    });
    const half = Math.floor(podsHere / 2);
    process.stderr.write(
      `with ${half} to ${podsHere} pods on the node and ${podsElsewhere} in the cluster\n${lines.join("\n")}\n`,
    );
  });
});
