// Answers on each kind of listener as `run` and `ui` do, without an interface: a real data plane with connections, a
// table, flows. Told over IPC, it says how long it has worked in one go, and what was complained of.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compile } from "../../dist/compiler/compile.js";
import { Controller } from "../../dist/control/controller.js";
import { openControl } from "../../dist/control/open-control.js";
import { Dataplane } from "../../dist/dataplane/dataplane.js";
import { listenTcp } from "../../dist/dataplane/server-sockets.js";
import { HubbleProcess } from "../../dist/hubble/hubble-process.js";
import {
  ConnState,
  FlowEvent,
  FlowEventKind,
  SavedConnection,
} from "../../dist/layout/layout.gen.js";
import { readManifests } from "../../dist/manifest/read.js";
import { DroppedFrames } from "../../dist/observe/dropped-frames.js";
import { FlowLog } from "../../dist/observe/flow-log.js";
import { Hits } from "../../dist/observe/hits.js";
import { servePage } from "../../dist/ui/page-server.js";
import { UiSession } from "../../dist/ui/session.js";
import { TableModel } from "../../dist/ui/table-model.js";
import { watchLongestWork } from "./longest-work.mjs";

const { manifests, folder, connections, fault } = JSON.parse(process.argv[2]);
const told = [];
const tell = (line) => told.push(line);
const dataplane = Dataplane.create({ connectionsMax: 65_536 });
const flows = new FlowLog(dataplane, {
  interfaceName: () => undefined,
  tell,
  more: { drainEvents: (buffer) => newEvents(buffer) },
});
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
  droppedFrames: new DroppedFrames([dataplane], flows),
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
const { fd: listener, port: hubblePort } = listenTcp("127.0.0.1", 0);
const hubble = new HubbleProcess({
  ...{ listener, flows, version: "0.0.0", tell },
  ...(fault === "hubble"
    ? { program: fileURLToPath(new URL("./hubble-fault.mjs", import.meta.url)) }
    : {}),
});
subject.hubble = () => hubble.counts;
const socket = join(folder, "sluice.sock");
const control = await openControl(subject, { socket, metricsListen: "127.0.0.1:0" }, tell);
const port = Number(new URL(control.metrics).port);

const page = await servePage(pageSession(), { html: "<p>", script: "1", style: "" }, 0, tell);

const longestWork = watchLongestWork();

process.on("message", () => {
  process.send({
    longestMs: longestWork(),
    told: told.splice(0),
    rssBytes: process.memoryUsage.rss(),
    hubbleBytes: residentBytes(hubble.pid),
  });
});
process.once("disconnect", async () => {
  page.close();
  await Promise.all([control.close(), hubble.close()]);
  process.exit(0);
});
process.send({ socket, port, hubblePort, page: page.url });

/** What `sluice ui -f` answers from. Its server is in this process alone: it has one like it of its own. */
function pageSession() {
  const { objects, sources } = readManifests([manifests]);
  const compiled = compile({ objects });
  const model = new TableModel({ objects, compiled, generation: 1, sources, leftOut: [] });
  const about = { schemaVersion: 1, title: "fuzz", version: "0", mode: "offline", flows: null };
  return new UiSession(about, model, { compile: {}, pods: {} });
}

/** Uses so much of the processor's time. */
function work(ms) {
  const start = process.cpuUsage();
  for (let used = { user: 0, system: 0 }; used.user + used.system < ms * 1_000; )
    used = process.cpuUsage(start);
}

/** Fills a part of the buffer with events, each time that somebody looks for some. */
function newEvents(buffer) {
  const view = new DataView(buffer.buffer, buffer.byteOffset);
  const count = 20;
  buffer.fill(0, 0, count * FlowEvent.bytes);
  for (let at = 0; at < count * FlowEvent.bytes; at += FlowEvent.bytes) {
    buffer.set([10, 1, 1, 10], at + FlowEvent.source);
    buffer.set([10, 1, 2, 20], at + FlowEvent.destination);
    view.setBigUint64(at + FlowEvent.timeUs, BigInt(Date.now()) * 1_000n, true);
    view.setUint16(at + FlowEvent.destinationPort, 8080, true);
    view.setUint8(at + FlowEvent.protocol, 6);
    view.setUint8(at + FlowEvent.family, 4);
    view.setUint8(at + FlowEvent.kind, FlowEventKind.Opened);
    view.setUint32(at + FlowEvent.generation, 1, true);
  }
  return count;
}

/** Memory of a process; 0 when it is gone. */
function residentBytes(pid) {
  try {
    return (
      1_024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1])
    );
  } catch {
    return 0;
  }
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
