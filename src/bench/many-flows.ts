import { setTimeout as pause } from "node:timers/promises";
import { compile } from "../compiler/compile.js";
import { type Counters, Dataplane } from "../dataplane/dataplane.js";
import { DataplaneError } from "../dataplane/errors.js";
import type { LinkKind } from "../dataplane/link-choice.js";
import { measureTraffic } from "../dataplane/traffic.js";
import { parseManifests } from "../manifest/parse.js";
import { onStage } from "./contender.js";
import type { Stage } from "./stage.js";
import { client, makeWorkload, server, serverPod, trafficPort } from "./workload.js";

/** How many connections are tracked while the packet rate is measured. */
export const flowCounts = [1_000, 1_000_000] as const;

/** Packets a second by round, for each of `flowCounts`. */
export type FlowRates = readonly [few: readonly number[], many: readonly number[]];

/** What swaps of the policy did while packets of many connections went by. */
export interface SwapFigures {
  readonly link: LinkKind;
  /** Tracked at the time. */
  readonly connections: number;
  /** How long each swap took until it was in force. */
  readonly inForceMs: readonly number[];
  /** Frames of known connections that came up to userspace meanwhile; only of a link that spares them the way. */
  readonly cameUp?: number;
  /** Frames that were dropped, or lost on the way. */
  readonly lost: number;
}

export interface ManyFlows {
  /** Absent when the many could not be opened in time. */
  readonly rates?: FlowRates;
  readonly swaps: readonly SwapFigures[];
}

const fillMs = 1_000;
const fillsMax = 12;
/** Before it is asked whether the rest will do. */
const fillsTried = 3;
const fullEnough = 0.95;
/** Room for entries that wait to expire beside those in use. */
const headroom = 1.25;
const swaps = 5;
const swapEveryMs = 150;

/** The part of the time for a whole run that opening connections may take. */
const fillShare = 0.2;

interface Options {
  /** For the whole run; as long as it takes when absent. */
  readonly withinSeconds?: number;
  readonly rounds: number;
  readonly seconds: number;
  readonly report: (step: string, detail?: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Measures the packet rate through a wire that tracks few connections, and through one that tracks
 * many, by turns. Packets belong to each connection in turn, the worst case for a cache. Then swaps the policy of
 * the many: on that wire, and on one of the kind `kernel`, where this process may have it.
 *
 * Cost:   some seconds to open the connections of each wire, then two measurements a round.
 * Errors: `signal`'s reason when it aborts.
 */
export async function measureManyFlows(options: Options): Promise<ManyFlows> {
  const wires: Wire[] = [];
  const figures: SwapFigures[] = [];
  const within = (options.withinSeconds ?? Number.POSITIVE_INFINITY) * fillShare * 1_000;
  const deadline = performance.now() + within;
  let rates: FlowRates | undefined;
  try {
    for (const flows of flowCounts) wires.push(openWire(flows, "af-packet"));
    let areOpen = true;
    for (const wire of wires) areOpen = (await fill(wire, deadline, options)) && areOpen;
    if (areOpen) {
      rates = await ratesOf(wires, options);
      figures.push(await swapsOf(wires.pop()!, options));
    }
  } finally {
    for (const wire of wires) wire.close();
  }
  const passed = await swapsInKernel(deadline, options);
  if (passed !== undefined) figures.push(passed);
  return { ...(rates === undefined ? {} : { rates }), swaps: figures };
}

async function ratesOf(wires: readonly Wire[], options: Options): Promise<FlowRates> {
  const rates = wires.map((): number[] => []);
  for (let round = 0; round < options.rounds; round++) {
    for (const [index, wire] of wires.entries()) {
      options.signal.throwIfAborted();
      options.report("tracked connections", wire.flows.toLocaleString("en-US"));
      rates[index]?.push(await wire.send(options.seconds * 1_000));
    }
  }
  const [few = [], many = []] = rates;
  return [few, many];
}

/** Opens a wire's connections; false when that would take too long. */
async function fill(wire: Wire, deadline: number, options: Options): Promise<boolean> {
  const tracked = () => wire.counters().connections;
  for (let tries = 0; tracked() < wire.flows * fullEnough; tries++) {
    options.signal.throwIfAborted();
    const hopeless = tracked() * fillsMax < wire.flows * tries;
    if (tries === fillsMax || (tries >= fillsTried && hopeless)) return false;
    if (performance.now() > deadline) return false;
    options.report("opening connections", wire.flows.toLocaleString("en-US"));
    await wire.send(fillMs);
  }
  return true;
}

/** undefined where there can be no such link. As many connections as were opened in time will do. */
async function swapsInKernel(deadline: number, options: Options): Promise<SwapFigures | undefined> {
  if (performance.now() > deadline) return undefined;
  let wire: Wire;
  try {
    wire = openWire(flowCounts[1], "kernel");
  } catch (error) {
    if (error instanceof DataplaneError) return undefined;
    throw error;
  }
  try {
    await fill(wire, deadline, options);
  } catch (error) {
    wire.close();
    throw error;
  }
  return swapsOf(wire, options);
}

/** Swaps while packets of all connections in turn go by, and closes the wire. */
async function swapsOf(wire: Wire, options: Options): Promise<SwapFigures> {
  options.report("swaps", `${wire.kind}, ${wire.flows.toLocaleString("en-US")} connections`);
  let going: Promise<unknown> | undefined;
  try {
    const connections = wire.counters().connections;
    going = wire.send((swaps + 2) * swapEveryMs);
    await pause(swapEveryMs);
    const before = countsOf(wire.counters());
    const inForceMs: number[] = [];
    for (let swap = 0; swap < swaps; swap++) {
      options.signal.throwIfAborted();
      const start = performance.now();
      wire.swap();
      inForceMs.push(performance.now() - start);
      await pause(swapEveryMs);
    }
    const after = countsOf(wire.counters());
    return {
      link: wire.kind,
      connections,
      inForceMs,
      ...(wire.kind === "kernel" ? { cameUp: after.cameUp - before.cameUp } : {}),
      lost: after.lost - before.lost,
    };
  } finally {
    await going;
    wire.close();
  }
}

function countsOf({ links, drops, opened }: Counters): {
  readonly cameUp: number;
  readonly lost: number;
} {
  const sum = (values: readonly number[]) => values.reduce((all, each) => all + each, 0);
  const all = [...links.values()];
  return {
    // Without those that opened a connection.
    cameUp: sum(all.map((each) => each.receivedFrames - each.kernelFrames)) - opened,
    lost: sum(Object.values(drops)) + sum(all.map((each) => each.lostFrames + each.refusedFrames)),
  };
}

interface Wire {
  readonly kind: LinkKind;
  readonly flows: number;
  /** Sends for a while; answers with the packets that arrived, a second. */
  send(milliseconds: number): Promise<number>;
  counters(): Counters;
  /** Puts its table in force again, as a new one. */
  swap(): void;
  close(): void;
}

/** A wire of this process, since its table is to be larger than that of `sluice run`. */
function openWire(flows: number, kind: LinkKind): Wire {
  const { objects } = parseManifests(makeWorkload(0).manifests, "bench");
  const compiled = compile({ objects, local: { pod: serverPod } });
  if (!compiled.ok) throw new Error("the benchmark's own policies do not compile");
  return onStage((stage) => {
    stage.joinToMiddle("bridged");
    const dataplane = Dataplane.create({ connectionsMax: Math.ceil(flows * headroom) });
    try {
      const link = (name: string) =>
        dataplane.addInterface({ namespaceFd: stage.middle, interface: name }, kind).linkId;
      const wire = { inside: link("inside"), outside: link("outside") };
      const swap = () => void dataplane.swapTable(compiled.blob, [[0, wire.inside]]);
      swap();
      dataplane.start({ wire });
      return {
        kind,
        flows,
        send: (milliseconds) => packetRate(stage, flows, milliseconds),
        counters: () => dataplane.counters(),
        swap,
        close() {
          dataplane.close();
          stage.close();
        },
      };
    } catch (error) {
      dataplane.close();
      throw error;
    }
  });
}

async function packetRate(stage: Stage, flows: number, milliseconds: number): Promise<number> {
  const measured = measureTraffic({
    kind: "packets",
    clientNamespaceFd: stage.client,
    client,
    serverNamespaceFd: stage.server,
    server,
    port: trafficPort,
    flows,
    warmupMs: Math.round(milliseconds / 4),
    durationMs: Math.round(milliseconds),
  });
  try {
    const { received, seconds } = await measured;
    return received / seconds;
  } catch (error) {
    if (error instanceof DataplaneError && error.code === "ETIMEDOUT") return 0; // nothing arrived
    throw error;
  }
}
