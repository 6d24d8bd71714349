// What it takes to compile a cluster, and to follow it while it changes.
// Standard output gets one JSON line a result, standard error a table for people.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { quantile } from "../../dist/bench/statistics.js";
import { compile } from "../../dist/compiler/compile.js";
import { IncrementalCompiler } from "../../dist/compiler/incremental.js";
import { Dataplane } from "../../dist/dataplane/dataplane.js";
import { linesOf, TableBlob } from "../../dist/dataplane/table-blob.js";
import {
  localNode,
  localPods,
  makeCluster,
  makeNamespace,
  makePod,
  makePolicy,
} from "./cluster.mjs";

const sizes = [1_000, 30_000, 150_000];
const local = { node: localNode };
/** What is published of a table that is patched: docs/decisions/0008. */
const lineBytes = 64;
const eventsPerKind = Number(process.env.BENCH_EVENTS ?? 200);

/** A small seeded generator (xorshift), so that two runs see the same events. */
function randomBelow(seed) {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

function report(line, text) {
  console.log(JSON.stringify({ bench: "compile", node: process.version, ...line }));
  console.error(text);
}

function ms(value) {
  return value.toFixed(value < 10 ? 2 : 0);
}

/** Events by kind: each call makes the changes of one. */
function eventKinds({ sizes, objects }) {
  const below = randomBelow(20_261_121);
  const lastPod = sizes.pods - 1;
  const remote = () => localPods + below(sizes.pods - localPods);
  const pods = new Map(
    objects.filter(({ kind }) => kind === "Pod").map((pod) => [pod.meta.name, pod]),
  );
  const podAt = (index) => pods.get(`pod-${index}`);
  const put = (object) => {
    if (object.kind === "Pod") pods.set(object.meta.name, object);
    return [{ put: object }];
  };
  const labelled = (pod, labels) => ({
    ...pod,
    meta: { ...pod.meta, labels: new Map([...pod.meta.labels, ...Object.entries(labels)]) },
  });
  const removed = ({ kind, meta: { namespace, name } }) => [{ remove: { kind, namespace, name } }];
  let extra = 0;
  const added = [];
  const gone = [];
  const policyPut = (namespaces) => put(makePolicy(below(namespaces), sizes, 8000 + below(50)));
  return {
    // Like the pods of its namespace, with an address that its node has to spare.
    "pod comes": () => {
      const number = lastPod + ++extra;
      const node = 1 + below(sizes.nodes - 1);
      const pod = makePod(number, sizes, node, 200 + (extra % 50));
      added.push(pod);
      return put(pod);
    },
    "pod goes": () => {
      const pod = added.shift() ?? podAt(remote());
      pods.delete(pod.meta.name);
      return removed(pod);
    },
    "pod is rolled out": () => {
      const pod = podAt(remote());
      if (pod === undefined) return [];
      return put(labelled(pod, { "pod-template-hash": `h${below(1_000_000)}` }));
    },
    "pod changes its tier": () => {
      const pod = podAt(remote());
      return pod === undefined
        ? []
        : put(labelled(pod, { tier: ["front", "back", "data"][below(3)] }));
    },
    // Like one that has gone, and with its address, as on a node that has no other to give.
    "local pod goes": () => {
      const pod = podAt(localPods - 1 - gone.length);
      gone.push(pod);
      return removed(pod);
    },
    "local pod comes": () => (gone.length === 0 ? [] : put(gone.pop())),
    "local pod is rolled out": () =>
      put(labelled(podAt(below(20)), { "pod-template-hash": `h${below(1_000_000)}` })),
    "local pod changes its tier": () =>
      put(labelled(podAt(below(localPods)), { tier: ["front", "back", "data"][below(3)] })),
    "policy anywhere changes": () => {
      const index = below(sizes.policies);
      return put(makePolicy(index, sizes, 8000 + below(50)));
    },
    "policy of a local pod changes": () => policyPut(Math.min(localPods, sizes.namespaces)),
    "namespace is relabelled": () =>
      put(makeNamespace(below(sizes.namespaces), { round: `r${below(1000)}` })),
    "namespace changes its team": () => {
      const index = below(sizes.namespaces);
      return put(makeNamespace(index, { team: ["red", "green", "blue"][below(3)] }));
    },
  };
}

function benchEvents(pods, cluster, compiler, dataplane) {
  // As a process has it: the compiler's bytes are its own.
  let table = new TableBlob(compiler.update([]).blob.slice());
  dataplane.swapTable(table, []);
  for (const [kind, next] of Object.entries(eventKinds(cluster))) {
    const updates = [];
    const swaps = [];
    const written = [];
    const efforts = { none: 0, patch: 0, rebuild: 0 };
    let byLines = 0;
    for (let event = 0; event < eventsPerKind; event++) {
      const changes = next();
      const start = performance.now();
      const result = compiler.update(changes);
      const updated = performance.now();
      if (!result.ok) throw new Error(`the cluster no longer compiles: ${kind}`);
      if (result.effort !== "none") {
        const { blob, changedLines: lines } = result;
        table = TableBlob.next(
          table,
          lines === undefined ? { whole: blob.slice() } : { lines: linesOf(blob, lines) },
        );
        dataplane.swapTable(table, []);
        byLines += Number(lines !== undefined);
        written.push((lines?.length ?? blob.byteLength / lineBytes) * lineBytes);
      }
      swaps.push(performance.now() - updated);
      updates.push(updated - start);
      efforts[result.effort]++;
    }
    // What changes nothing writes nothing.
    const writtenBytes = (share) => (written.length === 0 ? 0 : quantile(written, share));
    const totals = updates.map((update, index) => update + swaps[index]);
    const line = {
      result: "event",
      pods,
      kind,
      events: eventsPerKind,
      ...efforts,
      byLines,
      writtenP50Bytes: writtenBytes(0.5),
      writtenP99Bytes: writtenBytes(0.99),
      updateP50Ms: quantile(updates, 0.5),
      updateP99Ms: quantile(updates, 0.99),
      swapP50Ms: quantile(swaps, 0.5),
      swapP99Ms: quantile(swaps, 0.99),
      totalP50Ms: quantile(totals, 0.5),
      totalP99Ms: quantile(totals, 0.99),
    };
    const part = (count) => `${Math.round((count / eventsPerKind) * 100)} %`;
    const share = Object.entries(efforts)
      .filter(([, count]) => count > 0)
      .map(([effort, count]) => `${part(count)} ${effort}`);
    if (byLines > 0) share.push(`${part(byLines)} by lines`);
    report(
      line,
      `  ${kind.padEnd(30)} ${ms(line.updateP50Ms).padStart(6)} ${ms(line.updateP99Ms).padStart(6)} ` +
        `${ms(line.swapP50Ms).padStart(6)} ${ms(line.swapP99Ms).padStart(6)} ` +
        `${ms(line.totalP50Ms).padStart(6)} ${ms(line.totalP99Ms).padStart(6)} ` +
        `${kib(line.writtenP50Bytes)} ${kib(line.writtenP99Bytes)}   ${share.join(", ")}`,
    );
  }
}

function kib(bytes) {
  return (bytes / 1024).toFixed(1).padStart(8);
}

function memory() {
  globalThis.gc();
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  return { rss, heapUsed, arrayBuffers };
}

function benchSize(pods) {
  const cluster = makeCluster(pods);
  const before = memory();
  const times = [];
  let full;
  for (let round = 0; round < 3; round++) {
    const start = performance.now();
    full = compile({ objects: cluster.objects, local });
    times.push(performance.now() - start);
  }
  const bytes = full.stats.bytes;
  const { rows, portSets, addressClasses } = full.stats;
  full = undefined;

  const compiler = new IncrementalCompiler({ local });
  compiler.update(cluster.objects.map((put) => ({ put })));
  const after = memory();
  const fullMs = times.sort((a, b) => a - b)[1];
  const heapBytes = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
  report(
    {
      result: "full",
      ...cluster.sizes,
      fullMs,
      bytes,
      rows,
      portSets,
      addressClasses,
      heapBytes,
      rssBytes: after.rss,
    },
    `${pods} pods, ${cluster.sizes.namespaces} namespaces, ${cluster.sizes.nodes} nodes, ${cluster.sizes.policies} policies; ` +
      `${localPods} pods are local\n` +
      `  full compile ${ms(fullMs)} ms, blob ${mib(bytes)}, ${rows} rows, ${addressClasses} classes; ` +
      `the compiler keeps ${mib(heapBytes)} beside the objects, whole process ${mib(after.rss)}\n` +
      `  ${"event (ms)".padEnd(30)} update    p99   swap    p99    sum    p99      KiB    p99`,
  );
  const dataplane = Dataplane.create();
  try {
    benchEvents(pods, cluster, compiler, dataplane);
  } finally {
    dataplane.close();
  }
}

function mib(bytes) {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

// Each size has a process of its own, so that memory can be told apart.
const [chosen] = process.argv.slice(2);
if (chosen !== undefined) {
  benchSize(Number(chosen));
} else {
  for (const pods of sizes) {
    const self = fileURLToPath(import.meta.url);
    const { status } = spawnSync(process.execPath, ["--expose-gc", self, String(pods)], {
      stdio: "inherit",
    });
    if (status !== 0) process.exit(status ?? 1);
  }
}
