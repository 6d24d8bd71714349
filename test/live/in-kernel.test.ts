import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { IncrementalCompiler } from "../../src/compiler/incremental.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import { linesOf } from "../../src/dataplane/table-blob.js";
import type { KubernetesObject, Pod } from "../../src/manifest/objects.js";
import { formatAddress } from "../../src/net/address.js";
import { judge, type Probe } from "../oracle/oracle.js";
import { Random } from "../property/random.js";
import { randomCluster, randomObject, randomProbes } from "../property/random-cluster.js";
import { hookObstacle, hooks } from "./in-place-bench.js";
import { named } from "./lab-harness.js";

const CLUSTERS = 30;
const SEQUENCES = 5;
const EVENTS = 16;
const PROBES = 300;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
const script = fileURLToPath(new URL("in-kernel.mjs", import.meta.url));

/** Protocols that the programs judge by what is behind the header, so that a made packet can say what it is. */
const judged = new Set([1, 6, 17, 132]);

/** The first packet of a flow, from the IP header on. */
function packetOf({ source, destination, protocol, port }: Probe): Buffer {
  const isV6 = source.family === 6;
  const packet = Buffer.alloc((isV6 ? 40 : 20) + 20);
  const header = isV6 ? 40 : 20;
  if (isV6) {
    packet[0] = 0x60;
    packet.writeUInt16BE(20, 4);
    packet[6] = protocol === 1 ? 58 : protocol;
    packet[7] = 64;
    packet.set(source.bytes, 8);
    packet.set(destination.bytes, 24);
    if (protocol === 1) packet[header] = 128; // an echo request
  } else {
    packet[0] = 0x45;
    packet.writeUInt16BE(40, 2);
    packet[8] = 64;
    packet[9] = protocol;
    packet.set(source.bytes, 12);
    packet.set(destination.bytes, 16);
    if (protocol === 1) packet[header] = 8;
  }
  if (protocol !== 1) {
    packet.writeUInt16BE(40_000, header);
    packet.writeUInt16BE(port ?? 0, header + 2);
  }
  return packet;
}

/** A table, and what it is to do with packets. */
interface State {
  readonly table: { readonly numbers?: readonly number[]; readonly bytes: Uint8Array };
  readonly probes: readonly Probe[];
  readonly passes: readonly boolean[];
}

function probesFor(random: Random, objects: readonly KubernetesObject[], count = PROBES): Probe[] {
  return randomProbes(random, objects, count).filter(({ protocol }) => judged.has(protocol));
}

/** The states of a cluster of which one node is judged, as random pods and other objects come and go. */
function changed(sequence: number): State[] {
  const random = new Random(sequence);
  const compiler = new IncrementalCompiler({ local: { node: "n1", mayBeEmpty: true } });
  const objects = new Map<string, KubernetesObject>();
  const put = (object: KubernetesObject) => {
    objects.set(`${object.kind} ${object.meta.namespace}/${object.meta.name}`, object);
    return { put: object };
  };
  let changes = randomCluster(random).map(put);
  return Array.from({ length: EVENTS }, (): State => {
    const result = compiler.update(changes);
    if (!result.ok) throw new Error("a random cluster compiles");
    const { blob, changedLines: numbers } = result;
    const table =
      numbers === undefined
        ? { bytes: blob.slice() }
        : { numbers: [...numbers], bytes: linesOf(blob, numbers).bytes };
    const now = [...objects.values()];
    changes = [put(randomObject(random))];
    const probes = probesFor(random, now, PROBES / 4);
    const isJudged = ({ nodeName }: Pod) => nodeName === "n1";
    return { table, probes, passes: probes.map((each) => judge(now, each, isJudged).length === 0) };
  });
}

// Goal: the evaluator that the kernel runs and the one of the addon are one.
// Method: random clusters, with IPv4 and IPv6; each probe is put to TableView, and as a packet to the program in the
// kernel, by the kernel's test run.
describe.each(hooks)("by %s", (hook) => {
  const obstacle = hookObstacle(hook);
  describe.skipIf(obstacle !== undefined)(named("in the kernel", obstacle), () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "sluice-live-"));
      mkdirSync(join(folder, "bpf"));
    });
    afterEach(() => rmSync(folder, { recursive: true, force: true }));

    test(`every verdict is that of the addon (SEED=${seed})`, () => {
      const clusters = Array.from({ length: CLUSTERS }, (_, round) => {
        const random = new Random(seed + round);
        const objects = randomCluster(random);
        const compiled = compile({ objects });
        if (!compiled.ok) throw new Error("a random cluster compiles");
        const probes = probesFor(random, objects);
        const batch = new TupleBatch(probes.length);
        for (const { source, destination, protocol, port } of probes) {
          batch.push(source, destination, protocol, port ?? 0);
        }
        const verdicts = Table.open(compiled.blob).classify(batch);
        const passes = [...verdicts].map((bits) => bits === 0);
        return { table: { bytes: compiled.blob }, probes, passes };
      });
      expectVerdicts(clusters);
      // Or nothing was shown.
      const denied = clusters.flatMap(({ passes }) => passes.filter((each) => !each));
      expect(denied.length).toBeGreaterThan(CLUSTERS);
    });

    // Goal: what a change puts in force by the lines that it changed is the table of the objects then.
    // Method: random changes of a node's cluster, one behind the other; the oracle judges each state by its objects.
    test(`a table by its changed lines is that of the objects (SEED=${seed})`, () => {
      const sequences = Array.from({ length: SEQUENCES }, (_, round) => changed(seed + round));
      const states = sequences.flat();
      expectVerdicts(states);
      const byLines = states.filter(({ table }) => "numbers" in table);
      expect(byLines.length).toBeGreaterThan(SEQUENCES);
      const denied = states.flatMap(({ passes }) => passes.filter((each) => !each));
      expect(denied.length).toBeGreaterThan(SEQUENCES);
    });

    /** Has the kernel judge by one table after the other. */
    function expectVerdicts(states: readonly State[]): void {
      const job = states.map(({ table, probes }) => ({
        ...table,
        bytes: Buffer.from(table.bytes).toString("base64"),
        packets: probes.map((probe) => packetOf(probe).toString("base64")),
      }));
      writeFileSync(join(folder, "job.json"), JSON.stringify(job));
      const run = 'mount -t bpf bpf "$1/bpf" && exec "$2" "$3" "$1/bpf" "$1/job.json" "$4"';
      const words = [
        ...["--mount", "--net", "sh", "-c", run, "sh", folder],
        ...[process.execPath, script, hook],
      ];
      const { status, stdout, stderr } = spawnSync("unshare", words, {
        encoding: "utf8",
        maxBuffer: 1 << 26,
      });
      expect(status, stderr).toBe(0);
      const lines = stdout.trimEnd().split("\n");
      states.forEach(({ probes, passes }, state) => {
        probes.forEach((probe, at) => {
          const { source, destination, protocol, port } = probe;
          const what = `table ${state}: ${formatAddress(source)} -> ${formatAddress(destination)} ${protocol}/${port}`;
          expect(lines[state]?.[at] === "1", what).toBe(passes[at]);
        });
      });
    }
  });
});
