// Answers on both kinds of listener as `run` does, without an interface: a real data plane with connections, a
// table, flows. Told over IPC, it says how long it has worked in one go, and what was complained of.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Controller } from "../../dist/control/controller.js";
import { openControl } from "../../dist/control/open-control.js";
import { Dataplane } from "../../dist/dataplane/dataplane.js";
import { ConnState, SavedConnection } from "../../dist/layout/layout.gen.js";
import { readManifests } from "../../dist/manifest/read.js";
import { DroppedFrames } from "../../dist/observe/dropped-frames.js";
import { FlowLog } from "../../dist/observe/flow-log.js";
import { Hits } from "../../dist/observe/hits.js";
import { watchLongestWork } from "./longest-work.mjs";

const { manifests, connections, fault } = JSON.parse(process.argv[2]);
const folder = mkdtempSync(join(tmpdir(), "sluice-fuzz-"));
const told = [];
const tell = (line) => told.push(line);
const dataplane = Dataplane.create({ connectionsMax: 65_536 });
const flows = new FlowLog(dataplane, { interfaceName: () => undefined, tell });
const controller = new Controller({
  take: async () => ({ all: readManifests([manifests]) }),
  local: () => "all",
  enforce(table) {
    const generation = dataplane.swapTable(table.blob, []);
    flows.useTable(generation, table);
    return generation;
  },
});
await controller.reload();
dataplane.loadConnections(connectionRecords(connections));

const subject = {
  name: "fuzz",
  version: "0.0.0",
  controller,
  dataplane,
  flows,
  hits: new Hits({ dataplane, flows }),
  droppedFrames: new DroppedFrames(dataplane, flows),
  established: "recheck",
  deny: "drop",
  mode: () => "enforce",
  interfaces: () => [],
  reload: () => controller.reload(),
  isBehind: () => false,
};
if (fault === "stall") {
  let isPlanted = true;
  Object.defineProperty(subject, "deny", {
    get: () => {
      if (isPlanted) work(1_500);
      isPlanted = false;
      return "drop";
    },
  });
} else if (fault === "end") {
  Object.defineProperty(subject, "deny", {
    get: () => {
      setImmediate(() => {
        throw new Error("planted");
      });
      return "drop";
    },
  });
}
const socket = join(folder, "sluice.sock");
const control = await openControl(subject, { socket, metricsListen: "127.0.0.1:0" }, tell);
const port = Number(new URL(control.metrics).port);

const longestWork = watchLongestWork();

process.on("message", () => {
  process.send({
    longestMs: longestWork(),
    told: told.splice(0),
    rssBytes: process.memoryUsage.rss(),
  });
});
process.once("disconnect", async () => {
  await control.close();
  rmSync(folder, { recursive: true, force: true });
  process.exit(0);
});
process.send({ socket, port });

/** Uses so much of the processor's time. */
function work(ms) {
  const start = process.cpuUsage();
  for (let used = { user: 0, system: 0 }; used.user + used.system < ms * 1_000; )
    used = process.cpuUsage(start);
}

function connectionRecords(count) {
  const records = new Uint8Array(count * SavedConnection.bytes);
  const view = new DataView(records.buffer);
  for (let each = 0; each < count; each++) {
    const at = each * SavedConnection.bytes;
    records.set([10, 1, each >> 8, each & 255], at + SavedConnection.source);
    records.set([10, 0, 1, 1], at + SavedConnection.destination);
    view.setBigUint64(at + SavedConnection.remainingUs, 3_600_000_000n, true);
    view.setUint16(at + SavedConnection.sourcePort, 40_000, true);
    view.setUint16(at + SavedConnection.destinationPort, 443, true);
    view.setUint8(at + SavedConnection.protocol, 6);
    view.setUint8(at + SavedConnection.family, 4);
    view.setUint8(at + SavedConnection.state, ConnState.Established);
  }
  return records;
}
