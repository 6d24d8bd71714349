import { writeFileSync } from "node:fs";
import type { CompiledTable } from "../../src/control/controller.js";
import { Controller } from "../../src/control/controller.js";
import { SourceFollower } from "../../src/control/source-follower.js";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import { findCluster } from "../../src/kubernetes/cluster-access.js";
import { KubernetesSource } from "../../src/kubernetes/kubernetes-source.js";
import type { Pod } from "../../src/manifest/objects.js";
import { formatAddress } from "../../src/net/address.js";
import { patientMs } from "../patience.js";
import { namespaceObject, nodeObject, podObject, policyObject } from "./api-objects.js";
import { ApiServer } from "./api-server.js";

export interface StormOptions {
  readonly seconds: number;
  readonly eventsAMinute: number;
  /** Pods that are there from the start and stay. */
  readonly pods: number;
  /** A file to keep the kubeconfig in. */
  readonly kubeconfig: string;
}

export interface StormResult {
  readonly events: number;
  readonly tables: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** How often a table had an older state of a pod than a table before it. */
  readonly backwards: number;
  /** Whether the last table is the one that all events lead to. */
  readonly isComplete: boolean;
}

/**
 * Lets pods come, move and go at a rate, through an HTTPS server, the source, the compiler and the swap of
 * a native table, and measures each event from its arrival until it is in force.
 */
export async function storm(options: StormOptions): Promise<StormResult> {
  const { seconds, eventsAMinute, pods } = options;
  const server = new ApiServer();
  server.put(namespaceObject("shop"));
  for (const node of ["n1", "n2"]) server.put(nodeObject(node, `192.168.1.${node.slice(1)}`));
  server.put(podObject("db", { ip: "10.0.0.1", labels: { app: "db" }, node: "n1" }));
  server.put(
    policyObject("db", {
      podSelector: { matchLabels: { app: "db" } },
      ingress: [
        { from: [{ podSelector: { matchLabels: { app: "web" } } }], ports: [{ port: 5432 }] },
      ],
    }),
  );
  const address = (id: number, round: number) =>
    `10.${64 + (id % 64)}.${round % 256}.${1 + (Math.floor(id / 64) % 250)}`;
  for (let id = 0; id < pods; id++) {
    server.put(podObject(`web-${id}`, { ip: `10.8.${id >> 8}.${id & 255}`, node: "n2" }));
  }
  await server.start();
  writeFileSync(options.kubeconfig, server.kubeconfig());

  const source = new KubernetesSource({
    access: await findCluster({ kubeconfig: options.kubeconfig, env: {} }),
    tell: () => {},
  });
  const dataplane = Dataplane.create({});
  /** Of each pod that moves, the last round that a table had. */
  const rounds = new Map<string, number>();
  let tables = 0;
  let backwards = 0;
  let last: CompiledTable | undefined;
  const controller = new Controller({
    take: () => source.take(),
    local: () => local,
    enforce(table) {
      tables++;
      last = table;
      for (const object of table.objects) {
        if (object.kind !== "Pod" || !object.meta.name.startsWith("mover-")) continue;
        const round = roundOf(object);
        if (round < (rounds.get(object.meta.name) ?? 0)) backwards++;
        rounds.set(object.meta.name, round);
      }
      return dataplane.swapTable(table.blob, []);
    },
  });
  const local = { node: "n1" } as const;
  const failures: string[] = [];
  try {
    const first = await controller.reload();
    if (!first.ok) throw new Error(controller.status.lastError);
    const before = controller.measures.delay.count;
    const follower = new SourceFollower({
      source,
      controller,
      after: (reload) => {
        if (!reload.ok) failures.push(controller.status.lastError ?? "");
      },
    });
    const total = Math.round((seconds * eventsAMinute) / 60);
    const start = performance.now();
    for (let sent = 0; sent < total; ) {
      const due = Math.min(
        total,
        Math.floor(((performance.now() - start) / 60_000) * eventsAMinute),
      );
      for (; sent < due; sent++) {
        // Each of 64 pods moves from address to address; every eighth event a pod goes and comes back.
        const id = sent % 64;
        const round = Math.floor(sent / 64) + 1;
        const mover = podObject(`mover-${id}`, { ip: address(id, round), node: "n2" });
        if (id % 8 === 7 && round % 2 === 0) server.remove(mover);
        else server.put(mover);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const end = performance.now() + patientMs;
    while (controller.measures.delay.count - before < total && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    follower.close();
    if (failures.length > 0) throw new Error(failures[0]);
    const { delay } = controller.measures;
    const wanted = server.podAddresses().sort();
    const had = (last?.objects ?? [])
      .filter((object) => object.kind === "Pod")
      .map((pod) => `${pod.meta.name} ${formatAddress((pod as Pod).addresses[0]!)}`)
      .sort();
    return {
      events: delay.count - before,
      tables,
      p50Ms: 1_000 * (delay.quantile(0.5) ?? 0),
      p99Ms: 1_000 * (delay.quantile(0.99) ?? 0),
      backwards,
      isComplete: had.join() === wanted.join(),
    };
  } finally {
    source.close();
    dataplane.close();
    await server.stop();
  }
}

function roundOf(pod: Pod): number {
  return Number(formatAddress(pod.addresses[0]!).split(".")[2]);
}
