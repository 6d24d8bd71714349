// The JavaScript side in small: how long a step takes, and what a call into the native table costs.
// Standard output gets one JSON line a result, standard error a table for people.
import { createRequire } from "node:module";
import { compile } from "../dist/compiler/compile.js";
import { decodeFlowEvent } from "../dist/dataplane/events.js";
import { Table, TupleBatch } from "../dist/dataplane/table.js";
import { DropReason, FlowEvent, FlowEventKind } from "../dist/layout/layout.gen.js";
import { parseManifests } from "../dist/manifest/parse.js";
import { parseAddress } from "../dist/net/address.js";
import { buildCluster } from "../dist/policy/live-cluster.js";
import { resolvePolicies } from "../dist/policy/resolve.js";

const Benchmark = createRequire(import.meta.url)("benchmark");

const podCount = 1000;
const policyCount = 100;
const tupleCount = 256;
const eventCount = 1024;
const protocolTcp = 6;

/** A cluster of ten namespaces; each policy lets one application reach another on one port. */
function manifestText() {
  const documents = [];
  for (let i = 0; i < 10; i++) {
    documents.push({ apiVersion: "v1", kind: "Namespace", metadata: { name: `ns-${i}` } });
  }
  for (let i = 0; i < podCount; i++) {
    documents.push({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: `pod-${i}`, namespace: `ns-${i % 10}`, labels: { app: `app-${i % 50}` } },
      status: { phase: "Running", podIP: podAddress(i) },
    });
  }
  for (let i = 0; i < policyCount; i++) {
    const from = { podSelector: { matchLabels: { app: `app-${(i + 1) % 50}` } } };
    documents.push({
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: `policy-${i}`, namespace: `ns-${i % 10}` },
      spec: {
        podSelector: { matchLabels: { app: `app-${i % 50}` } },
        ingress: [
          { from: [from, { namespaceSelector: {} }], ports: [{ port: 8000 + i }] },
          { from: [{ ipBlock: { cidr: "192.0.2.0/24", except: [`192.0.2.${i}/32`] } }] },
        ],
      },
    });
  }
  return documents.map((each) => JSON.stringify(each)).join("\n---\n");
}

function podAddress(index) {
  return `10.0.${index >> 8}.${index & 255}`;
}

function fill(batch, addresses) {
  batch.clear();
  for (let i = 0; i < tupleCount; i++) {
    const to = addresses[(i * 7) % podCount];
    batch.push(addresses[i % podCount], to, protocolTcp, 8000 + (i % policyCount));
  }
}

/** Records as the ring hands them over: connections that open, every fourth frame refused. */
function flowEvents() {
  const buffer = new Uint8Array(eventCount * FlowEvent.bytes);
  const view = new DataView(buffer.buffer);
  for (let i = 0; i < eventCount; i++) {
    const at = i * FlowEvent.bytes;
    const refused = i % 4 === 3;
    view.setBigUint64(at + FlowEvent.timeUs, 1_700_000_000_000_000n + BigInt(i), true);
    view.setUint32(at + FlowEvent.source, 0x0a000000 + i);
    view.setUint32(at + FlowEvent.destination, 0x0a000100 + i);
    view.setUint16(at + FlowEvent.sourcePort, 40_000 + i, true);
    view.setUint16(at + FlowEvent.destinationPort, 443, true);
    view.setUint8(at + FlowEvent.protocol, protocolTcp);
    view.setUint8(at + FlowEvent.family, 4);
    view.setUint8(at + FlowEvent.kind, refused ? FlowEventKind.Dropped : FlowEventKind.Opened);
    view.setUint8(at + FlowEvent.reason, refused ? DropReason.PolicyIngress : DropReason.None);
    view.setUint8(at + FlowEvent.deniedBy, refused ? 2 : 0);
    view.setUint32(at + FlowEvent.frameBytes, 66, true);
  }
  return buffer;
}

/** Puts them all into words; the sum keeps the work from being left out. */
function decodeAll(buffer) {
  let bytes = 0;
  for (let i = 0; i < eventCount; i++) bytes += decodeFlowEvent(buffer, i).frameBytes;
  return bytes;
}

const text = manifestText();
const { objects, diagnostics } = parseManifests(text, "bench.yaml");
const compiled = compile({ objects });
if (diagnostics.length > 0 || !compiled.ok) {
  throw new Error("the manifests of this benchmark do not compile");
}
const { blob, cluster, policies } = compiled;
const table = Table.open(blob);
const addresses = Array.from({ length: podCount }, (_, i) => parseAddress(podAddress(i)));
const batch = new TupleBatch(tupleCount);
fill(batch, addresses);

const events = flowEvents();

const size = `${podCount} pods, ${policyCount} policies`;
const steps = [
  ["parse", size, podCount, () => parseManifests(text, "bench.yaml")],
  ["match-selectors", size, podCount, () => resolvePolicies(cluster, policies, { local: "all" })],
  ["build-cluster", size, podCount, () => buildCluster(objects)],
  ["compile", size, podCount, () => compile({ objects })],
  ["open-table", `${blob.byteLength} bytes`, 1, () => Table.open(blob)],
  ["fill-tuples", `${tupleCount} tuples`, tupleCount, () => fill(batch, addresses)],
  ["classify", `${tupleCount} tuples`, tupleCount, () => table.classify(batch)],
  ["decode-events", `${eventCount} events`, eventCount, () => decodeAll(events)],
];

const secondsMax = Number(process.env.BENCH_SECONDS ?? 2);
const unitsOfTime = [
  ["ns", 1],
  ["µs", 1e3],
  ["ms", 1e6],
  ["s", 1e9],
];

/** Writes nanoseconds with three digits in the unit that suits them. */
function duration(ns) {
  const [unit, factor] = unitsOfTime.findLast(([, each]) => ns >= each) ?? unitsOfTime[0];
  return `${(ns / factor).toPrecision(3)} ${unit}`;
}

const columns = (cells) =>
  `${cells.map((cell, i) => cell.padEnd([18, 26, 12, 12][i] ?? 0)).join("")}\n`;
process.stderr.write(columns(["step", "input", "a run", "an item", "±"]));

const suite = new Benchmark.Suite();
for (const [name, input, items, run] of steps) {
  suite.add(name, run, {
    maxTime: secondsMax,
    onComplete: ({ target }) => tell(target, input, items),
  });
}
suite.on("error", ({ target }) => {
  throw target.error;
});
suite.run();

function tell({ name, stats }, input, items) {
  // The median, since one sample among busy neighbours spoils a mean.
  const sorted = stats.sample.slice().sort((a, b) => a - b);
  const ns = sorted[sorted.length >> 1] * 1e9;
  const result = {
    bench: `micro/${name}`,
    input,
    node: process.version,
    nsPerRun: Math.round(ns),
    nsPerItem: Number((ns / items).toPrecision(4)),
    relativeErrorPercent: Number(stats.rme.toFixed(2)),
    samples: stats.sample.length,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.stderr.write(
    columns([name, input, duration(ns), duration(ns / items), `${stats.rme.toFixed(1)} %`]),
  );
}
