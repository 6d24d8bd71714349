import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import { formatAddress } from "../../src/net/address.js";
import type { Probe } from "../oracle/oracle.js";
import { Random } from "../property/random.js";
import { randomCluster, randomProbes } from "../property/random-cluster.js";
import { hookObstacle, hooks } from "./in-place-bench.js";
import { named } from "./lab-harness.js";

const CLUSTERS = 30;
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

    test(`every verdict is that of the addon (SEED=${seed})`, { timeout: 120_000 }, () => {
      const clusters = Array.from({ length: CLUSTERS }, (_, round) => {
        const random = new Random(seed + round);
        const objects = randomCluster(random);
        const compiled = compile({ objects });
        if (!compiled.ok) throw new Error("a random cluster compiles");
        const probes = randomProbes(random, objects, PROBES).filter(({ protocol }) =>
          judged.has(protocol),
        );
        const batch = new TupleBatch(probes.length);
        for (const { source, destination, protocol, port } of probes) {
          batch.push(source, destination, protocol, port ?? 0);
        }
        const wanted = [...Table.open(compiled.blob).classify(batch)].map((bits) =>
          Number(bits === 0),
        );
        return { blob: compiled.blob, probes, wanted };
      });
      const job = clusters.map(({ blob, probes }) => ({
        table: Buffer.from(blob).toString("base64"),
        packets: probes.map((probe) => packetOf(probe).toString("base64")),
      }));
      writeFileSync(join(folder, "job.json"), JSON.stringify(job));
      const run = 'mount -t bpf bpf "$1/bpf" && exec "$2" "$3" "$1/bpf" "$1/job.json" "$4"';
      const words = [
        "--mount",
        "--net",
        "sh",
        "-c",
        run,
        "sh",
        folder,
        process.execPath,
        script,
        hook,
      ];
      const { status, stdout, stderr } = spawnSync("unshare", words, {
        encoding: "utf8",
        maxBuffer: 1 << 26,
      });
      expect(status, stderr).toBe(0);

      const lines = stdout.trimEnd().split("\n");
      let denied = 0;
      clusters.forEach(({ probes, wanted }, cluster) => {
        probes.forEach((probe, at) => {
          const { source, destination, protocol, port } = probe;
          const what = `cluster ${cluster}: ${formatAddress(source)} -> ${formatAddress(destination)} ${protocol}/${port}`;
          expect(Number(lines[cluster]?.[at]), what).toBe(wanted[at]);
          denied += Number(wanted[at] === 0);
        });
      });
      // Or nothing was shown.
      expect(denied).toBeGreaterThan(CLUSTERS);
    });
  });
});
