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
import { showRepository } from "./demo-repository.js";
import { runEntered } from "./enter.js";
import { exitCodes, type Io } from "./io.js";
import { reportProbes } from "./lab-matrix.js";
import { styles } from "./output.js";
import { createProgress } from "./progress.js";
import { asCommand } from "./refusals.js";
import { packageVersion } from "./version.js";

const examples = fileURLToPath(new URL("../../examples", import.meta.url));
const cluster = `${examples}/three-tier/cluster.yaml`;
const before = [cluster, `${examples}/three-tier/policies.yaml`];
const after = [cluster, `${examples}/three-tier-incident`];

const streamMebibytes = 64;
const latencyRounds = 5;
const roundTripsEach = 2_000;

/**
 * Shows what Sluice does with real packets: a lab, a matrix, a denial explained, a swap under traffic,
 * and what the filter costs; then a repository, whose programs find each other by name. Everything it makes is gone when it ends, also by Ctrl-C.
 *
 * Shape: exit 1 when anything behaved otherwise than the policies say.
 */
export async function runDemo(_options: object, io: Io): Promise<number> {
  return asCommand(async () => {
    if (!mayMakeNamespaces()) return runEntered(["demo"], io);
    const { bold, dim } = styles(io);
    const heading = (text: string) => io.stdout.write(`\n${bold(text)}\n`);
    const started = performance.now();
    const isFirstRight = await showPolicies(heading, io);
    const isSecondRight = await showRepository(heading, io);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    io.stdout.write(
      dim(`\nDone in ${seconds} s; namespaces and interfaces go with this process.\n`),
    );
    return isFirstRight && isSecondRight ? exitCodes.ok : exitCodes.negative;
  });
}

/** A lab of pods, its policies and what they cost. Returns whether all behaved as the policies say. */
async function showPolicies(heading: (text: string) => void, io: Io): Promise<boolean> {
  const { dim } = styles(io);
  const progress = createProgress(io);
  const { lab, reload } = await Lab.start({
    version: packageVersion(),
    name: "demo",
    paths: () => before,
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
    return report.ok && isSwapRight;
  } finally {
    await lab.close();
  }
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
      cluster: false,
      render: "never",
      strict: true,
      verbose: false,
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
    // Long enough for a swap to fall into the middle, and the one that is cut far longer.
    { from: "shop/payment", to: "shop/database", port: 5432, stays: true, seconds: 2 },
    { from: "shop/frontend", to: "shop/payment", port: 9000, stays: false, seconds: 20 },
  ];
  const running = streams.map((stream) => ({ ...stream, ...startStream(pods, stream) }));
  try {
    await Promise.all(running.map((each) => each.flowing));
    await pause(400);
    const swapStart = performance.now();
    const reload = await lab.enforcer.controller.reload(async () => ({
      all: await readManifests(shown(after)),
    }));
    const swapMs = performance.now() - swapStart;
    if (!reload.ok) throw reload.refused ?? new LabError("input", "the examples have errors");
    io.stdout.write(
      dim(
        `   examples/three-tier-incident compiled and in force after ${swapMs.toFixed(0)} ms (generation ${reload.generation})\n`,
      ),
    );
    // What was in flight arrives, late on a busy machine; from then on the forbidden stream must stand still.
    const forbidden = running.filter(({ stays }) => !stays).map((each) => each.still());
    await Promise.race([Promise.all(forbidden), pause(15_000)]);
    const atSwap = running.map((each) => each.received());
    const survivor = await Promise.race([running[0]!.done, pause(60_000)]);
    await pause(300);
    const outcomes = running.map((each, index) => {
      const moved = each.received() - atSwap[index]!;
      const isCut = moved === 0 && each.received() < streamMebibytes * 1024 * 1024;
      const isRight = each.stays ? survivor === true : isCut;
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
  /** Settled when the receiver has told the same number several times in a row, from now on. */
  readonly still: () => Promise<void>;
  readonly end: () => void;
}

/** So many equal reports of a receiver in a row: nothing waits in its buffer any more. */
const reportsOfStill = 4;

function startStream(
  pods: readonly PodStatus[],
  {
    from,
    to,
    port,
    seconds,
  }: {
    readonly from: string;
    readonly to: string;
    readonly port: number;
    readonly seconds: number;
  },
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
  let alike = 0;
  let settleStill = () => {};
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
      start(
        findPod(pods, from),
        ["send", ...words, String(streamMebibytes), String(seconds)],
        (heard) => {
          if (heard.done) settleDone(heard.intact === true);
        },
      );
    }
    if (line.bytes === undefined) return;
    alike = line.bytes === received ? alike + 1 : 0;
    received = line.bytes;
    if (received > 0) settleFlowing();
    if (alike >= reportsOfStill) settleStill();
  });
  return {
    flowing,
    done,
    received: () => received,
    still: () =>
      new Promise((resolve) => {
        alike = 0;
        settleStill = resolve;
      }),
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
    [`--net=${pod.namespacePath}`, "--", process.execPath, program, ...words],
    { stdio: ["pipe", "pipe", "ignore"] },
  );
}

/** Times UDP round trips through the lab and over a veth pair with nothing between, by turns. */
async function compareLatency(lab: Lab, io: Io): Promise<void> {
  const { dim } = styles(io);
  const { pods } = lab.status();
  const endOf = (ref: string) => {
    const pod = findPod(pods, ref);
    return { namespaceFd: pod.namespaceFd, address: parseAddress(pod.addresses[0]!)! };
  };
  const through: Float64Array[] = [];
  const direct: Float64Array[] = [];
  const pair = makeVethPair();
  try {
    for (let round = 0; round < latencyRounds; round++) {
      through.push(await measure(endOf("shop/frontend"), endOf("kube-system/dns")));
      direct.push(await measure(...pair));
    }
  } finally {
    for (const { namespaceFd } of pair) closeDescriptor(namespaceFd);
  }

  const us = (rounds: readonly Float64Array[], share: number) =>
    percentile(Float64Array.from(rounds.flatMap((each) => [...each])).sort(), share) / 1000;
  const shares = [0.5, 0.99];
  const filtered = shares.map((share) => us(through, share));
  const plain = shares.map((share) => us(direct, share));
  // A round trip passes the filter twice.
  const added = filtered.map((value, index) => (value - plain[index]!) / 2);
  const line = (name: string, [p50 = 0, p99 = 0]: readonly number[]) =>
    io.stdout.write(
      `   ${name.padEnd(34)} p50 ${p50.toFixed(1).padStart(7)} µs   p99 ${p99.toFixed(1).padStart(7)} µs\n`,
    );
  line("pod to pod, through the filter", filtered);
  line("a veth pair, nothing between", plain);
  line("the filter adds, each packet", added);
  const count = latencyRounds * roundTripsEach;
  io.stdout.write(dim(`   ${count} UDP round trips each, by turns, between sleeping programs\n`));
}

interface LatencyEnd {
  readonly namespaceFd: number;
  readonly address: Address;
}

function measure(client: LatencyEnd, server: LatencyEnd): Promise<Float64Array> {
  return latency({
    clientNamespaceFd: client.namespaceFd,
    client: client.address,
    serverNamespaceFd: server.namespaceFd,
    server: server.address,
    port: 53,
    count: roundTripsEach,
  });
}

function makeVethPair(): [client: LatencyEnd, server: LatencyEnd] {
  const end = (text: string) => ({
    namespaceFd: createNamespace(),
    address: parseAddress(text)!,
  });
  const client = end("10.98.0.1");
  const server = end("10.98.0.2");
  createVeth(
    { namespaceFd: client.namespaceFd, name: "eth0" },
    { namespaceFd: server.namespaceFd, name: "eth0" },
  );
  for (const { address, namespaceFd } of [client, server]) {
    configureInterface(namespaceFd, {
      name: "eth0",
      addresses: [{ address, length: 24 }],
      up: true,
    });
  }
  return [client, server];
}

function pause(milliseconds: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), milliseconds));
}
