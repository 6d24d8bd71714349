import { readFileSync } from "node:fs";
import { availableParallelism, cpus as listCpus, release } from "node:os";
import { DataplaneError } from "../dataplane/errors.js";
import { measureTraffic, type TrafficCounts } from "../dataplane/traffic.js";
import type { Contender } from "./contender.js";
import { type ContenderRef, nameOf, openContender } from "./contenders.js";
import { type ManyFlows, measureManyFlows } from "./many-flows.js";
import {
  type Block,
  type Measure,
  makePlan,
  measures,
  newFlowsASecond,
  type PlanOptions,
  pinnings,
} from "./plan.js";
import { LeftOut } from "./stage.js";
import { client, makeWorkload, server, trafficPort, type Workload } from "./workload.js";

export interface SuiteOptions extends Omit<PlanOptions, "cpus"> {
  /** The words that start this program again. */
  readonly sluice: readonly string[];
  /** Also what a million tracked connections cost. */
  readonly manyFlows: boolean;
  /** How often everything is measured. */
  readonly rounds: number;
  /** Of one measurement, after a warm-up of a quarter of that. */
  readonly seconds: number;
  /** No round is begun that would end later than this; the first always is. */
  readonly withinSeconds?: number;
  readonly report: (step: string, detail?: string) => void;
  readonly signal: AbortSignal;
}

/** One measurement. */
export interface Sample {
  /** In the measure's unit. */
  readonly value: number;
  /** Of the whole machine; only of packets. */
  readonly cpuNsPerPacket?: number;
  /**
   * CPU time of the client, the server and what is between, with the kernel's work in their name, for each packet,
   * connection or round trip. Other programs hardly change it.
   */
  readonly workNs?: number;
  /** Round trips only, in µs. */
  readonly percentiles?: { readonly p50: number; readonly p99: number; readonly p999: number };
}

/** All measurements of a contender in one block, by round; undefined where nothing arrived. */
export interface Series {
  readonly block: Block;
  readonly contender: string;
  readonly samples: readonly (Sample | undefined)[];
}

export interface SuiteResult {
  readonly machine: {
    readonly cpus: number;
    readonly model: string;
    readonly kernel: string;
    readonly node: string;
  };
  readonly at: string;
  readonly quick: boolean;
  readonly rounds: number;
  readonly seconds: number;
  readonly series: readonly Series[];
  readonly leftOut: readonly { readonly contender: string; readonly reason: string }[];
  /** Resident memory of Sluice's processes, by contender and number of policies. */
  readonly memory: readonly {
    readonly contender: string;
    readonly policies: number;
    readonly pods?: number;
    readonly bytes: number;
  }[];
  /** Absent when it was not asked for. */
  readonly manyFlows?: ManyFlows;
  /** CPUs that were busy while nothing was measured, before each round. */
  readonly background: readonly number[];
}

const backgroundMs = 200;
const warmupShare = 0.25;

/**
 * Measures everything, in rounds: within a block one contender behind the other, each round anew.
 *
 * Cost:   the rounds, and some seconds before them to build what is measured.
 * Errors: those of namespaces that cannot be made. What is merely not there is in `leftOut`. When
 *         `signal` aborts, its reason, after at most one measurement. Nothing is left behind in any case.
 */
export async function runSuite(options: SuiteOptions): Promise<SuiteResult> {
  const started = performance.now();
  const plan = makePlan({ ...options, cpus: availableParallelism() });
  const cast = new Cast(options);
  try {
    const manyFlows = options.manyFlows ? await measureManyFlows(options) : undefined;
    if (manyFlows !== undefined && manyFlows.rates === undefined) {
      const reason = "this machine is too busy to open them in time";
      cast.leftOut.push({ contender: "a million tracked connections", reason });
    }
    await cast.open(plan);
    const series = new Map<
      string,
      { block: Block; contender: string; samples: (Sample | undefined)[] }
    >();
    const background: number[] = [];
    let round = 0;
    for (; round < options.rounds; round++) {
      const roundStarted = performance.now();
      background.push(await busyCpus(backgroundMs));
      for (const [index, block] of plan.entries()) {
        for (const ref of inTurn(block.contenders, round)) {
          options.signal.throwIfAborted();
          const contender = cast.find(ref, block);
          if (contender === undefined) continue;
          const name = nameOf(ref);
          options.report(
            `round ${round + 1} of ${options.rounds}, ${measures[block.measure].title}, ${pinnings[block.pinning].title}`,
            name,
          );
          const key = `${index} ${name}`;
          const row = series.get(key) ?? { block, contender: name, samples: [] };
          series.set(key, row);
          row.samples.push(await measure(contender, block, options.seconds));
        }
      }
      const now = performance.now();
      const endOfNext = (2 * now - roundStarted - started) / 1_000;
      if (endOfNext > (options.withinSeconds ?? Number.POSITIVE_INFINITY)) {
        round++;
        break;
      }
    }
    return {
      machine: machine(),
      at: new Date().toISOString(),
      quick: options.quick,
      rounds: round,
      seconds: options.seconds,
      series: [...series.values()],
      leftOut: cast.leftOut,
      memory: cast.memory(),
      ...(manyFlows === undefined ? {} : { manyFlows }),
      background,
    };
  } finally {
    options.report("taking it down");
    await cast.close();
  }
}

/** The contenders, each built once for a number of policies and kept to the end. */
class Cast {
  readonly leftOut: { contender: string; reason: string }[] = [];
  readonly #options: SuiteOptions;
  readonly #contenders = new Map<string, { name: string; size: Size; contender: Contender }>();

  constructor(options: SuiteOptions) {
    this.#options = options;
  }

  /** Builds all of a plan; Sluice's processes at once, since each compiles for itself. */
  async open(plan: readonly Block[]): Promise<void> {
    const wanted = new Map<string, { ref: ContenderRef; size: Size }>();
    for (const { policies, pods, contenders } of plan) {
      const size = pods === undefined ? { policies } : { policies, pods };
      for (const ref of contenders) wanted.set(keyOf(ref, size), { ref, size });
    }
    const workloads = new Map<string, Workload>();
    const starting: Promise<void>[] = [];
    try {
      for (const { ref, size } of wanted.values()) {
        this.#options.signal.throwIfAborted();
        const { policies, pods } = size;
        this.#options.report("building", `${nameOf(ref)}, ${policies} policies`);
        const key = `${policies} ${pods}`;
        const workload = workloads.get(key) ?? makeWorkload(policies, pods);
        workloads.set(key, workload);
        const opened = this.#open(ref, size, workload);
        if (typeof ref === "string") {
          await opened;
        } else {
          opened.catch(() => {}); // asked about below, when the others have settled
          starting.push(opened);
        }
      }
    } finally {
      await Promise.allSettled(starting);
    }
    await Promise.all(starting);
  }

  async #open(ref: ContenderRef, size: Size, workload: Workload): Promise<void> {
    const name = nameOf(ref);
    try {
      const contender = await openContender(ref, { workload, sluice: this.#options.sluice });
      this.#contenders.set(keyOf(ref, size), { name, size, contender });
    } catch (error) {
      if (!(error instanceof LeftOut)) throw error;
      const known = this.leftOut.some((each) => each.contender === name);
      if (!known) this.leftOut.push({ contender: name, reason: error.message });
    }
  }

  find(ref: ContenderRef, size: Size): Contender | undefined {
    return this.#contenders.get(keyOf(ref, size))?.contender;
  }

  memory(): ({ contender: string; bytes: number } & Size)[] {
    return [...this.#contenders.values()].flatMap(({ name, size, contender }) => {
      const bytes = contender.memoryBytes();
      return bytes === undefined ? [] : [{ contender: name, ...size, bytes }];
    });
  }

  async close(): Promise<void> {
    const all = [...this.#contenders.values()].map(({ contender }) => contender.close());
    this.#contenders.clear();
    await Promise.all(all);
  }
}

type Size = Pick<Block, "policies" | "pods">;

function keyOf(ref: ContenderRef, { policies, pods }: Size): string {
  return `${nameOf(ref)} ${policies} ${pods}`;
}

/** Another one goes first in each round. */
function inTurn<Ref>(refs: readonly Ref[], round: number): Ref[] {
  const first = refs.length === 0 ? 0 : round % refs.length;
  return [...refs.slice(first), ...refs.slice(0, first)];
}

async function measure(
  contender: Contender,
  block: Block,
  seconds: number,
): Promise<Sample | undefined> {
  const pinning = pinnings[block.pinning];
  const { kind } = measures[block.measure];
  const isOfFour = block.measure === "bulk-4" || block.measure === "connections-4";
  contender.resume(pinning.filter);
  const startMs = performance.now();
  const startSeconds = contender.cpuSeconds?.() ?? 0;
  try {
    const counts = await measureTraffic({
      kind,
      clientNamespaceFd: contender.clientNamespaceFd,
      client,
      serverNamespaceFd: contender.serverNamespaceFd,
      server,
      ...(contender.target === undefined ? {} : { target: contender.target }),
      port: trafficPort,
      ...(pinning.client === undefined ? {} : { clientCpu: pinning.client }),
      ...(pinning.server === undefined ? {} : { serverCpu: pinning.server }),
      streams: isOfFour ? 4 : 1,
      ...(kind === "beside-flows" ? { flows: newFlowsASecond } : {}),
      warmupMs: Math.round(seconds * warmupShare * 1_000),
      durationMs: Math.round(seconds * 1_000),
    });
    // What is between works for what it has got before, too: its share of the whole time is taken.
    const between = (contender.cpuSeconds?.() ?? 0) - startSeconds;
    const share = counts.seconds / ((performance.now() - startMs) / 1_000);
    return sampleOf(block.measure, counts, counts.endsSeconds + between * share);
  } catch (error) {
    if (error instanceof DataplaneError && error.code === "ETIMEDOUT") return undefined;
    throw error;
  } finally {
    contender.rest();
  }
}

function sampleOf(measured: Measure, counts: TrafficCounts, workSeconds: number): Sample {
  const rate = counts.received / counts.seconds;
  const workNs = (workSeconds / counts.received) * 1e9;
  switch (measured) {
    case "round-trip": {
      const at = (share: number) =>
        (counts.roundTripsNs[Math.floor(counts.roundTripsNs.length * share)] ?? 0) / 1_000;
      const percentiles = { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
      return { value: percentiles.p50, percentiles, workNs };
    }
    case "packets":
      return {
        value: rate,
        cpuNsPerPacket: (counts.busySeconds / counts.received) * 1e9,
        workNs,
      };
    case "connections":
    case "connections-4":
      return { value: rate, workNs };
    case "beside-flows":
      return { value: rate };
    default:
      return { value: (rate * 8) / 1e9 };
  }
}

/** How many CPUs work while nothing is measured, on the average of some time. */
async function busyCpus(milliseconds: number): Promise<number> {
  const idleSeconds = () => {
    const [, , , , idle, ioWait] = readFileSync("/proc/stat", "utf8").split(/\s+/, 6);
    return (Number(idle) + Number(ioWait)) / 100; // in USER_HZ
  };
  const before = idleSeconds();
  const start = performance.now();
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  const seconds = (performance.now() - start) / 1_000;
  return Math.max(0, listCpus().length - (idleSeconds() - before) / seconds);
}

function machine(): SuiteResult["machine"] {
  const all = listCpus();
  return {
    cpus: all.length,
    model: all[0]?.model ?? "unknown",
    kernel: release(),
    node: process.version,
  };
}
