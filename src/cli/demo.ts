import { type ChildProcess, spawn } from "node:child_process";
import { relative } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  latency,
  percentile,
} from "../dataplane/host.js";
import { Lab } from "../lab/lab.js";
import { LabError } from "../lab/lab-error.js";
import { findPod } from "../lab/plan.js";
import { mayMakeNamespaces } from "../lab/privilege.js";
import type { PodStatus } from "../lab/protocol.js";
import { readManifests } from "../manifest/read.js";
import { type Address, parseAddress } from "../net/address.js";
import { runEntered } from "./enter.js";
import { exitCodes, type Io } from "./io.js";
import { asCommand } from "./lab-common.js";
import { reportProbes } from "./lab-matrix.js";
import { styles } from "./output.js";
import { createProgress } from "./progress.js";

const examples = fileURLToPath(new URL("../../examples", import.meta.url));
const cluster = `${examples}/three-tier/cluster.yaml`;
const before = [cluster, `${examples}/three-tier/policies.yaml`];
const after = [cluster, `${examples}/three-tier-incident`];

const streamMebibytes = 64;
const roundTrips = 4_000;

/**
 * Shows what Sluice does with real packets: a lab, a matrix, a denial explained, a swap under traffic,
 * and what the filter costs. Everything it makes is gone when it ends, also by Ctrl-C.
 *
 * Shape: exit 1 when anything behaved otherwise than the policies say.
 */
export async function runDemo(_options: object, io: Io): Promise<number> {
  return asCommand(async () => {
    if (!mayMakeNamespaces()) return runEntered(["demo"], io);
    const { bold, dim } = styles(io);
    const heading = (text: string) => io.stdout.write(`\n${bold(text)}\n`);
    const started = performance.now();
    const progress = createProgress(io);

    const { lab, reload } = await Lab.start({
      name: "demo",
      paths: before,
      read: async () => readManifests(shown(before)),
      report: (step) => progress.update(step),
    });
    progress.finish();
    if (!reload.ok) throw reload.refused ?? new LabError("input", "the examples have errors");
    try {
      const status = lab.status();
      heading(`1. ${status.pods.length} pods of examples/three-tier, each in a network namespace`);
      for (const pod of status.pods) {
        io.stdout.write(`   ${pod.ref.padEnd(20)} ${dim(pod.addresses.join("  "))}\n`);
      }

      heading("2. Every pair of pods, real connections beside what the table says");
      const report = await lab.probe(undefined);
      io.stdout.write(reportProbes(report, true, io));

      heading("3. Why the frontend may not reach the database");
      await explainDenial(io);

      heading("4. Other policies, while connections run");
      const isSwapRight = await swapUnderTraffic(lab, io);

      heading("5. What the filter adds to a round trip");
      await compareLatency(lab, io);

      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const isRight = report.ok && isSwapRight;
      io.stdout.write(
        dim(`\nDone in ${seconds} s; namespaces and interfaces go with this process.\n`),
      );
      return isRight ? exitCodes.ok : exitCodes.negative;
    } finally {
      lab.close();
    }
  });
}

/** Paths as they are shortest from here, since they are printed. */
function shown(paths: readonly string[]): string[] {
  return paths.map((path) => {
    const short = relative(process.cwd(), path);
    return short.length < path.length ? short : path;
  });
}

async function explainDenial(io: Io): Promise<void> {
  const words = ["--from shop/frontend", "--to shop/database", "--port 5432/tcp"];
  const { dim } = styles(io);
  io.stdout.write(dim(`   sluice explain -f examples/three-tier ${words.join(" ")}\n`));
  const { runExplain } = await import("./explain.js");
  await runExplain(
    {
      filename: shown(before),
      from: "shop/frontend",
      to: "shop/database",
      port: "5432/tcp",
      exitCode: false,
      output: "text",
    },
    io,
  );
}

/** Two streams; the swap forbids one and allows the other. */
async function swapUnderTraffic(lab: Lab, io: Io): Promise<boolean> {
  const { green, red, dim } = styles(io);
  const { pods } = lab.status();
  const streams = [
    { from: "shop/payment", to: "shop/database", port: 5432, stays: true },
    { from: "shop/frontend", to: "shop/payment", port: 9000, stays: false },
  ];
  const running = streams.map((stream) => ({ ...stream, ...startStream(pods, stream) }));
  try {
    await Promise.all(running.map((each) => each.flowing));
    await pause(400);
    const swapStart = performance.now();
    const reload = await lab.reload({
      paths: after,
      read: async () => readManifests(shown(after)),
    });
    const swapMs = performance.now() - swapStart;
    if (!reload.ok) throw reload.refused ?? new LabError("input", "the examples have errors");
    io.stdout.write(
      dim(
        `   examples/three-tier-incident compiled and in force after ${swapMs.toFixed(0)} ms (generation ${reload.generation})\n`,
      ),
    );
    // What was in flight arrives; from then on the forbidden stream must stand still.
    await pause(200);
    const atSwap = running.map((each) => each.received());
    const survivor = await Promise.race([running[0]!.done, pause(15_000)]);
    await pause(300);
    const outcomes = running.map((each, index) => {
      const moved = each.received() - atSwap[index]!;
      const isRight = each.stays ? survivor === true : moved === 0;
      const what = each.stays
        ? survivor === true
          ? `stays allowed: all ${streamMebibytes} MiB arrived, checksum equal`
          : "stays allowed, but did not arrive whole"
        : `now forbidden: stopped after ${(each.received() / 1024 / 1024).toFixed(1)} MiB, ${moved} bytes since`;
      const mark = isRight ? green("ok") : red("WRONG");
      const name = `${each.from} -> ${each.to} ${each.port}/tcp`;
      io.stdout.write(`   ${mark}  ${name.padEnd(40)} ${what}\n`);
      return isRight;
    });
    return outcomes.every(Boolean);
  } finally {
    for (const each of running) each.end();
  }
}

interface Stream {
  /** Settled when the first bytes have arrived. */
  readonly flowing: Promise<void>;
  /** Settled when the sender has heard that all arrived; true when the checksums are equal. */
  readonly done: Promise<boolean>;
  readonly received: () => number;
  readonly end: () => void;
}

function startStream(
  pods: readonly PodStatus[],
  { from, to, port }: { readonly from: string; readonly to: string; readonly port: number },
): Stream {
  const target = findPod(pods, to);
  const address = target.addresses[0]!;
  const children: ChildProcess[] = [];
  const start = (pod: PodStatus, words: readonly string[], hear: (line: PeerLine) => void) => {
    const child = startPeer(pod, words);
    children.push(child);
    createInterface({ input: child.stdout! }).on("line", (line) => hear(JSON.parse(line)));
    return child;
  };
  let received = 0;
  let settleFlowing = () => {};
  let settleDone: (isIntact: boolean) => void = () => {};
  const flowing = new Promise<void>((resolve) => {
    settleFlowing = resolve;
  });
  const done = new Promise<boolean>((resolve) => {
    settleDone = resolve;
  });
  const words = [address, String(port)];
  start(target, ["serve", ...words], (line) => {
    if (line.listening) {
      start(findPod(pods, from), ["send", ...words, String(streamMebibytes)], (heard) => {
        if (heard.done) settleDone(heard.intact === true);
      });
    }
    received = line.bytes ?? received;
    if (received > 0) settleFlowing();
  });
  return {
    flowing,
    done,
    received: () => received,
    end: () => {
      for (const child of children) child.kill("SIGKILL");
    },
  };
}

interface PeerLine {
  readonly listening?: boolean;
  readonly bytes?: number;
  readonly done?: boolean;
  readonly intact?: boolean;
}

function startPeer(pod: PodStatus, words: readonly string[]): ChildProcess {
  const program = fileURLToPath(new URL("./demo-peer.js", import.meta.url));
  return spawn(
    "nsenter",
    [`--net=/proc/${process.pid}/fd/${pod.namespaceFd}`, "--", process.execPath, program, ...words],
    { stdio: ["pipe", "pipe", "ignore"] },
  );
}

/** Times UDP round trips through the lab, and over a veth pair with nothing between. */
async function compareLatency(lab: Lab, io: Io): Promise<void> {
  const { dim } = styles(io);
  const { pods } = lab.status();
  const client = findPod(pods, "shop/frontend");
  const server = findPod(pods, "kube-system/dns");
  const through = await latency({
    clientNamespaceFd: client.namespaceFd,
    client: parseAddress(client.addresses[0]!)!,
    serverNamespaceFd: server.namespaceFd,
    server: parseAddress(server.addresses[0]!)!,
    port: 53,
    count: roundTrips,
  });
  const direct = await directLatency();
  const us = (samples: Float64Array, share: number) => percentile(samples, share) / 1000;
  const line = (name: string, p50: number, p99: number) =>
    io.stdout.write(
      `   ${name.padEnd(34)} p50 ${p50.toFixed(1).padStart(7)} µs   p99 ${p99.toFixed(1).padStart(7)} µs\n`,
    );
  line("pod to pod, through the filter", us(through, 0.5), us(through, 0.99));
  line("a veth pair, nothing between", us(direct, 0.5), us(direct, 0.99));
  // A round trip passes the filter twice.
  line(
    "the filter adds, each packet",
    (us(through, 0.5) - us(direct, 0.5)) / 2,
    (us(through, 0.99) - us(direct, 0.99)) / 2,
  );
  io.stdout.write(dim(`   ${roundTrips} UDP round trips each, between two sleeping programs\n`));
}

async function directLatency(): Promise<Float64Array> {
  const ends = ["10.98.0.1", "10.98.0.2"].map((text) => ({
    address: parseAddress(text) as Address,
    namespaceFd: createNamespace(),
  }));
  const [client, server] = ends as [(typeof ends)[0], (typeof ends)[0]];
  try {
    createVeth(
      { namespaceFd: client.namespaceFd, name: "eth0" },
      { namespaceFd: server.namespaceFd, name: "eth0" },
    );
    for (const { address, namespaceFd } of ends) {
      configureInterface(namespaceFd, {
        name: "eth0",
        addresses: [{ address, length: 24 }],
        up: true,
      });
    }
    return await latency({
      clientNamespaceFd: client.namespaceFd,
      client: client.address,
      serverNamespaceFd: server.namespaceFd,
      server: server.address,
      port: 53,
      count: roundTrips,
    });
  } finally {
    for (const { namespaceFd } of ends) closeDescriptor(namespaceFd);
  }
}

function pause(milliseconds: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), milliseconds));
}
