import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cpuSecondsOfThreads, threadsOf } from "../../src/bench/cpu-time.js";
import { Histogram } from "../../src/metrics/histogram.js";
import { policyObject } from "../kubernetes/api-objects.js";
import { kernelObstacle } from "./in-place-bench.js";
import { named } from "./lab-harness.js";
import { pluginObstacle, StandInCluster } from "./stand-in-node.js";

// Goal:   how long a pod's ADD waits for its policy, by the number of pods on its node and in its cluster.
// Method: as a runtime: pods one by one, by a whole chain. The plugin's own calls are timed, from its start to its end.
//         So is the agent's CPU time meanwhile, which a machine that others keep busy does not change.
//         `npm run bench:cni` has 250 pods on the node and 150,000 in the cluster.

const podsHere = Number(process.env["SLUICE_CNI_PODS"] ?? 8);
const podsElsewhere = Number(process.env["SLUICE_CNI_CLUSTER"] ?? 1_000);
const timeoutMs = 120_000 + podsHere * 4_000 + podsElsewhere * 2;

const obstacle = pluginObstacle ?? kernelObstacle();

describe.skipIf(obstacle !== undefined)(named("the time of an ADD", obstacle), () => {
  let cluster: StandInCluster;

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
  }, timeoutMs);
  afterAll(() => cluster.close());

  test("is measured, and no ADD fails", { timeout: timeoutMs }, async () => {
    const node = cluster.nodes[0]!;
    const times = new Histogram([1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1_000]);
    const work = new Histogram([1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1_000]);
    const half = Math.floor(podsHere / 2);
    const agent = node.agent!.pid!;
    const worked = () => cpuSecondsOfThreads(agent, threadsOf(agent)) * 1_000;
    for (let each = 0; each < podsHere; each++) {
      const pod = node.bind(`pod-${each}`, { app: `app-${each % 500}` });
      const result = await node.builtResult(pod);
      const before = worked();
      const { code, stdout, tookMs } = await node.addLast(pod, result);
      const workMs = worked() - before;
      expect(code, `${stdout}${node.said}`).toBe(0);
      if (each >= half) {
        times.observe(tookMs);
        work.observe(workMs);
      }
      node.report(pod, pod.addresses);
    }
    const metrics = await node.metrics();
    const counts = /^sluice_cni_add_duration_seconds_count (\d+)$/m.exec(metrics);
    expect(Number(counts?.[1])).toBe(podsHere);
    const within = [...metrics.matchAll(/^sluice_cni_add_duration_seconds_bucket.*$/gm)].join("\n");
    const bars = times.buckets.map(({ bound, count }) => `  at most ${bound} ms: ${count}`);
    const [half50, most] = [0.5, 0.99].map((share) => times.quantile(share)?.toFixed(1));
    const [work50, workMost] = [0.5, 0.99].map((share) => work.quantile(share)?.toFixed(1));
    process.stderr.write(
      `ADD with ${half} to ${podsHere} pods on the node and ${podsElsewhere} in the cluster, process and all: p50 ${half50} ms, p99 ${most} ms; CPU time of the agent meanwhile: p50 ${work50} ms, p99 ${workMost} ms\n${bars.join("\n")}\nin the agent, all of them:\n${within}\n`,
    );
  });
});
