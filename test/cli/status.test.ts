import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runStatus } from "../../src/cli/status.js";
import { compile } from "../../src/compiler/compile.js";
import { controlRoutes, type FilteredInterface } from "../../src/control/control-routes.js";
import { Controller } from "../../src/control/controller.js";
import { serveUnix } from "../../src/control/server.js";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { DroppedFrames } from "../../src/observe/dropped-frames.js";
import { FlowLog } from "../../src/observe/flow-log.js";
import { Hits } from "../../src/observe/hits.js";
import { recordsOf } from "../dataplane/strangers.js";
import { fakeIo } from "./fake-io.js";

const manifests = parseManifests(
  "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n",
  "m",
);

// Goal: of many endpoints those that were refused most stand first, then those that have most; nobody is passed
// over in silence.
// Method: a data plane with more wires than are shown, asked over its socket.
test("status shows the endpoints that need it most", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-status-"));
  const dataplane = Dataplane.create({ connectionsMax: 1_000, connectionsPerEndpoint: 20 });
  const table = compile({ objects: manifests.objects });
  if (!table.ok) throw new Error("the manifests do not compile");
  dataplane.swapTable(table.blob, []);
  const interfaces = Array.from({ length: 12 }, (_, zone): FilteredInterface[] => {
    const [inside, outside] = [dataplane.addClosedLink(), dataplane.addClosedLink()];
    // The last one wants more than it may have.
    const known = recordsOf(zone, 1, zone === 11 ? 25 : zone);
    dataplane.joinWire({ inside, outside, zone }, known);
    return [
      { name: `in-${zone}`, linkId: inside, role: "endpoint", pod: `shop/p${zone}` },
      { name: `out-${zone}`, linkId: outside, role: "uplink", pod: null },
    ];
  }).flat();
  const flows = new FlowLog(dataplane, { interfaceName: () => undefined });
  const socket = join(folder, "control.sock");
  const serving = await serveUnix(
    socket,
    0o600,
    controlRoutes({
      droppedFrames: new DroppedFrames([dataplane], flows),
      ...{ name: "test", version: "0.0.0", dataplane, flows, established: "recheck", deny: "drop" },
      ...{ mode: () => "enforce" as const, interfaces: () => interfaces, isBehind: () => false },
      hits: new Hits({ dataplane, flows }),
      controller: new Controller({
        take: async () => ({ all: manifests }),
        local: () => "all",
        enforce: () => 1,
      }),
      reload: async () => ({ ok: true, generation: 1, diagnostics: [] }),
    }),
  );
  try {
    const io = fakeIo();
    expect(await runStatus({ socket, output: "table" }, io)).toBe(0);
    const lines = io.out().split("\n");
    const first = lines.findIndex((line) => line.startsWith("ENDPOINT"));
    expect(lines.slice(first, first + 4).map((line) => line.split(/ +/))).toEqual([
      ["ENDPOINT", "CONNECTIONS", "QUOTA", "GAVE", "WAY", "REFUSED"],
      ["shop/p11", "20", "20", "0", "5"],
      ["shop/p10", "10", "20", "0", "0"],
      ["shop/p9", "9", "20", "0", "0"],
    ]);
    expect(lines[first + 11]).toBe("and 2 more (-o json)");

    const json = fakeIo();
    await runStatus({ socket, output: "json" }, json);
    const { connectionsByEndpoint, fragmentsByEndpoint, evictions } = JSON.parse(json.out());
    // Twelve share 16,384.
    expect(fragmentsByEndpoint).toHaveLength(12);
    expect(fragmentsByEndpoint[3]).toEqual({
      ...{ pod: "shop/p3", interface: "in-3", used: 0, share: 1365, evicted: 0 },
    });
    expect(connectionsByEndpoint).toHaveLength(12);
    expect(connectionsByEndpoint[11]).toEqual({
      ...{ pod: "shop/p11", interface: "in-11", used: 20, quota: 20, evicted: 0, refused: 5 },
    });
    expect(evictions).toEqual({ closing: 0, unanswered: 0, unassured: 0, assured: 0 });
  } finally {
    serving.close();
    flows.close();
    dataplane.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

/** What a process of the first version answers. */
const short = {
  ...{ apiVersion: "sluice/v1", kind: "Status", name: "run", version: "0.0.9", pid: 7 },
  ...{ generation: 3, since: new Date().toISOString(), enforced: true, endpoints: 2 },
  ...{ established: "recheck", deny: "drop", mode: "enforce", connections: 5, flowsLost: 0 },
};

// Goal: whoever upgrades first the command and then the process is told what the old process knows.
test("status of an earlier version shows what it answers", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-status-"));
  const socket = join(folder, "control.sock");
  const serving = await serveUnix(socket, 0o600, { handlers: { "GET /status": () => short } });
  try {
    const io = fakeIo();
    expect(await runStatus({ socket, output: "table" }, io)).toBe(0);
    expect(io.out().split("\n")).toEqual([
      expect.stringMatching(/^run: generation 3 enforced, .*, pid 7, sluice 0\.0\.9$/),
      "2 endpoints, 5 connections (new tables: recheck; the denied: drop), 0 flow records lost",
      "nothing was dropped",
      "",
    ]);
    const json = fakeIo();
    await runStatus({ socket, output: "json" }, json);
    expect(JSON.parse(json.out())).toEqual(short);
  } finally {
    serving.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

test("status names the endpoints whose fragmented datagrams gave way", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-status-"));
  const socket = join(folder, "control.sock");
  const fragmentsByEndpoint = [1, 0, 30].map((evicted, at) => ({
    ...{ pod: at === 0 ? null : `shop/p${at}`, interface: `in-${at}`, used: 0, share: 8, evicted },
  }));
  const answer = { ...short, fragmentsEvicted: 31, fragmentsByEndpoint };
  const serving = await serveUnix(socket, 0o600, { handlers: { "GET /status": () => answer } });
  try {
    const io = fakeIo();
    await runStatus({ socket, output: "table" }, io);
    expect(io.out()).toContain(
      "fragmented datagrams that gave way to new ones: 31 (shop/p2 30, in-0 1)\n",
    );
  } finally {
    serving.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
