import { mkdtempSync, rmSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test, vi } from "vitest";
import { ClientTime } from "../../src/control/client-time.js";
import {
  type ControlSubject,
  controlRoutes,
  metricsHandlers,
} from "../../src/control/control-routes.js";
import { Controller } from "../../src/control/controller.js";
import { openControl } from "../../src/control/open-control.js";
import { ListAnswer } from "../../src/control/server.js";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import { ConnectionRecord, ConnState, SavedConnection } from "../../src/layout/layout.gen.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { DroppedFrames } from "../../src/observe/dropped-frames.js";
import { FlowLog } from "../../src/observe/flow-log.js";
import { Hits } from "../../src/observe/hits.js";
import { until } from "../live/lab-harness.js";

const manifest = `apiVersion: v1
kind: Namespace
metadata: { name: shop }
`;

/** As a process has it before its first table. */
function subjectOf(dataplane: Dataplane): ControlSubject {
  const flows = new FlowLog(dataplane, { interfaceName: () => undefined });
  return {
    name: "test",
    version: "0.0.0",
    controller: new Controller({
      take: async () => ({ all: parseManifests(manifest, "one.yaml") }),
      local: () => "all",
      enforce: () => 1,
    }),
    dataplane,
    flows,
    hits: new Hits({ dataplane, flows }),
    droppedFrames: new DroppedFrames([dataplane], flows),
    established: "recheck",
    deny: "drop",
    mode: () => "enforce",
    interfaces: () => [],
    reload: async () => ({ ok: true, generation: 1, diagnostics: [] }),
    isBehind: () => false,
  };
}

function fill(dataplane: Dataplane, count: number): void {
  const records = new Uint8Array(count * SavedConnection.bytes);
  const view = new DataView(records.buffer);
  for (let each = 0; each < count; each++) {
    const at = each * SavedConnection.bytes;
    records.set([10, 1, each >> 8, each & 255], at + SavedConnection.source);
    records.set([10, 0, 1, 1], at + SavedConnection.destination);
    view.setBigUint64(at + SavedConnection.remainingUs, 60_000_000n, true);
    view.setUint16(at + SavedConnection.destinationPort, 443, true);
    view.setUint8(at + SavedConnection.protocol, 6);
    view.setUint8(at + SavedConnection.family, 4);
    view.setUint8(at + SavedConnection.state, ConnState.Established);
  }
  expect(dataplane.loadConnections(records)).toBe(count);
}

// Goal: a list costs a bounded step at a time, however long it is, and misses nothing that stays.
// Method: more connections than a piece holds, on two workers; the pieces are made one by one.
test("connections are listed and flushed in pieces", async () => {
  const dataplane = Dataplane.create({ workers: 2, connectionsMax: 16_384 });
  const subject = subjectOf(dataplane);
  try {
    fill(dataplane, 5_000);
    const { handlers } = controlRoutes(subject);
    const asked = (query: string) => ({
      body: undefined,
      bytes: new Uint8Array(),
      query: new URLSearchParams(query),
      time: new ClientTime(),
    });
    const list = await handlers["GET /connections"]!(asked(""));
    if (!(list instanceof ListAnswer)) throw new Error("got no list");
    const sizes: number[] = [];
    const sources = new Set<string>();
    for await (const piece of list.pieces) {
      const items = piece() as { source: { address: string } }[];
      sizes.push(items.length);
      for (const { source } of items) sources.add(source.address);
    }
    expect(sources.size).toBe(5_000);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(512);
    expect(sizes.length).toBeGreaterThan(5_000 / 512);

    const flushed = await handlers["POST /connections/flush"]!(asked("ip=10.1.0.0/24"));
    expect(flushed).toMatchObject({ kind: "Flush", flushed: 256 });
    expect(dataplane.counters().connections).toBe(4_744);
  } finally {
    subject.flows.close();
    dataplane.close();
  }
});

// Goal: /healthz is what a container's liveness probe needs: a packet thread that hangs is seen.
// Method: a data plane that does not run yet stands still as one whose threads hang; a clock that the
// test moves.
test("packets that stand still are not healthy", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  const dataplane = Dataplane.create({ workers: 2 });
  const subject = subjectOf(dataplane);
  try {
    const { "GET /healthz": healthz } = metricsHandlers(subject);
    const status = async () => (await healthz!()).status;
    // There is no table yet.
    for (let asked = 0; asked < 3; asked++, vi.advanceTimersByTime(6_000)) {
      expect(await status()).toBe(200);
    }
    expect(await subject.controller.reload()).toMatchObject({ ok: true });
    expect(await status()).toBe(200);
    vi.advanceTimersByTime(4_000);
    expect(await status()).toBe(200);
    vi.advanceTimersByTime(2_000);
    expect(await status()).toBe(503);
    dataplane.start({ switch: { gatewayMac: "02:00:00:00:00:fe" } });
    const before = dataplane.progress();
    await until("both threads", () => dataplane.progress() > before);
    expect(await status()).toBe(200);
  } finally {
    vi.useRealTimers();
    subject.flows.close();
    dataplane.close();
  }
});

test("a list that nobody reads to its end holds up no other", async () => {
  const dataplane = Dataplane.create({ connectionsMax: 4_096 });
  try {
    fill(dataplane, 2_000);
    const left = dataplane.connections();
    expect((await left.next()).done).toBe(false);
    let listed = 0;
    for await (const records of dataplane.connections())
      listed += records.length / ConnectionRecord.bytes;
    expect(listed).toBe(2_000);
    await left.return(undefined);
  } finally {
    dataplane.close();
  }
});

// Goal: metrics name policies where they are asked to, and nowhere else.
// Method: the counts of a predecessor, read over the control socket.
test.each([true, false])("metrics have the hits of policies: %s", async (metricsHits) => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-metrics-"));
  const socket = join(folder, "control.sock");
  const dataplane = Dataplane.create({ workers: 1 });
  const subject = subjectOf(dataplane);
  const policy = { kind: "NetworkPolicy", namespace: "shop", name: "db", since: Date.now() };
  subject.hits.restore({
    policies: [
      {
        ...policy,
        sums: [
          ["rule NetworkPolicy ingress 0", 5, 300, 1, 1_000],
          ["rule NetworkPolicy ingress 1", 2, 120, 1, 1_000],
          ["audited rule NetworkPolicy egress 0", 9, 540, 1, 1_000],
          ["denied ingress", 3, 180, 0, 1_000],
        ],
      },
    ],
    ...{ others: [], since: Date.now() },
  });
  const open = await openControl(subject, { socket, metricsHits }, () => {});
  try {
    const metrics = await new Promise<string>((resolve, reject) => {
      get({ socketPath: socket, path: "/metrics" }, (answer) => resolve(text(answer))).on(
        "error",
        reject,
      );
    });
    const series = metrics.split("\n").filter((line) => line.includes("{policy_kind="));
    const labels =
      '{policy_kind="NetworkPolicy",policy_namespace="shop",policy_name="db",direction="ingress"}';
    const hits = [
      `sluice_policy_rule_packets_total${labels} 7`,
      `sluice_policy_rule_bytes_total${labels} 420`,
      `sluice_policy_rule_connections_total${labels} 2`,
      `sluice_policy_isolation_packets_total${labels} 3`,
      `sluice_policy_isolation_bytes_total${labels} 180`,
    ];
    expect(series).toEqual(metricsHits ? hits : []);
  } finally {
    await open.close();
    subject.hits.close();
    subject.flows.close();
    dataplane.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
