import type { ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { configureInterface } from "../../src/dataplane/host.js";
import {
  type ApiObject,
  namespaceObject,
  nodeObject,
  podObject,
  policyObject,
} from "../kubernetes/api-objects.js";
import { ApiServer } from "../kubernetes/api-server.js";
import { patientMs } from "../patience.js";
import { apiPort, relayApi } from "./api-relay.js";
import { kernelObstacle, NodeBench } from "./in-place-bench.js";
import { finish, named, until } from "./lab-harness.js";

const TCP = 6;
const obstacle = kernelObstacle();
/** Pods of other nodes; `npm run bench:node` asks for as many as Kubernetes allows. */
const others = Number(process.env["SLUICE_CLUSTER_PODS"] ?? 1_000);
const events = 40;
/** How long the first table may take: some minutes with so many pods on a busy machine. */
const readyMs = patientMs + others * 4;

/** Ingress to the pod on one port, from pods of any namespace that are labelled app=web. */
const webOnly = (port: number) => ({
  podSelector: { matchLabels: { app: "db" } },
  policyTypes: ["Ingress"],
  ingress: [
    {
      from: [{ podSelector: { matchLabels: { app: "web" } } }],
      ports: [{ protocol: "TCP", port }],
    },
  ],
});

const otherPod = (id: number): ApiObject =>
  podObject(`web-${id}`, {
    ip: `10.${64 + (id >> 16)}.${(id >> 8) & 255}.${id & 255}`,
    node: "n2",
  });

// Goal: a node follows an API server with many pods of other nodes, keeps little of them, and when the server is away
// goes on judging and catches up later.
// Method: the tests' own server with so many pods, and real packets; memory and times are printed, and not judged.
describe.skipIf(obstacle !== undefined)(named("a cluster in place", obstacle), () => {
  let bench: NodeBench;
  let server: ApiServer;
  beforeEach(async () => {
    bench = new NodeBench();
    await bench.open();
    bench.route();
    configureInterface(bench.middle, { name: "lo", up: true });
    const path = join(bench.folder, "api.sock");
    server = new ApiServer({ path, port: apiPort });
    server.put(namespaceObject("shop"));
    server.put(nodeObject("n1", "192.168.1.10"));
    server.put(podObject("db", { ip: "10.0.0.1", labels: { app: "db" }, node: "n1" }));
    server.put(podObject("web", { ip: "10.0.0.2", node: "n2" }));
    for (let id = 0; id < others; id++) server.put(otherPod(id));
    server.put(policyObject("db", webOnly(80)));
    writeFileSync(join(bench.folder, "config"), server.kubeconfig());
    await server.start();
    await relayApi(path, (...words) => bench.start(bench.middle, ...words));
  });
  afterEach(async () => {
    bench.close();
    await server.stop();
  });

  async function node(...words: readonly string[]): Promise<ChildProcess> {
    const started = bench.on(
      ...["node", "--kubeconfig", join(bench.folder, "config"), "--node", "n1"],
      ...["--pin-folder", bench.pins, "--socket", bench.socket, ...words],
    );
    let said = "";
    for (const stream of [started.stdout, started.stderr])
      stream?.on("data", (text) => {
        said += text;
      });
    await until("ready", () => said.includes("ready") || started.exitCode !== null, readyMs);
    expect(said).toContain("ready");
    return started;
  }

  async function killed(running: ChildProcess): Promise<void> {
    running.kill("SIGKILL");
    await finish(running);
  }

  const becomes = (port: number, outcome: string) =>
    until(
      `port ${port} ${outcome}`,
      async () => (await bench.try("peer", 4, TCP, port)) === outcome,
      patientMs,
    );

  test("it is followed, and judged by while it is away", async () => {
    const startMs = performance.now();
    const running = await node();
    const tookMs = performance.now() - startMs;
    expect(await bench.answers("peer", 4, TCP, 80)).toBe("answered");
    expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");

    const before = (await bench.status()).source?.objects ?? 0;
    for (let id = 0; id < events; id++) {
      server.put(otherPod(others + id));
      const known = async () => ((await bench.status()).source?.objects ?? 0) > before + id;
      await until("the event", known, patientMs);
    }
    const { implementationDelay } = await bench.status();
    const { p50Seconds, p99Seconds } = implementationDelay;
    const rss = Number(
      /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${running.pid}/status`, "utf8"))?.[1],
    );
    const ms = (seconds: number | null) => `${((seconds ?? 0) * 1_000).toFixed(0)} ms`;
    console.log(
      `${others + 2} pods: in force after ${ms(tookMs / 1_000)}, ${(rss / 1024).toFixed(0)} MiB of memory; an event in force after ${ms(p50Seconds)} (p50), ${ms(p99Seconds)} (p99)`,
    );

    await server.stop();
    server.put(policyObject("db", webOnly(81)));
    expect(await bench.answers("peer", 4, TCP, 80)).toBe("answered");
    expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");
    await server.start();
    await becomes(81, "answered");
    await becomes(80, "timed-out");
  });

  test("an annotation of a pod there counts when the lease is over, and its address alone does not", async () => {
    const asking = podObject("db", { ip: "10.0.0.1", labels: { app: "db" }, node: "n1" });
    server.put({
      ...asking,
      metadata: { ...asking.metadata, annotations: { "sluice/fail-mode": "open" } },
    });
    const words = ["--lease", "5s", "--fail-mode", "open"];
    await killed(await node(...words));
    await becomes(81, "answered");
    server.put(asking);
    const second = await node(...words);
    expect(await bench.try("peer", 4, TCP, 81)).toBe("timed-out");
    await killed(second);
    await becomes(80, "timed-out");
  });
});
