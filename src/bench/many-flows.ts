import { compile } from "../compiler/compile.js";
import { Dataplane } from "../dataplane/dataplane.js";
import { measureTraffic } from "../dataplane/traffic.js";
import { parseManifests } from "../manifest/parse.js";
import { onStage } from "./contender.js";
import type { Stage } from "./stage.js";
import { client, makeWorkload, server, serverPod, trafficPort } from "./workload.js";

/** How many connections are tracked while the packet rate is measured. */
export const flowCounts = [1_000, 1_000_000] as const;

/** Packets a second by round, for each of `flowCounts`. */
export type FlowRates = readonly [few: readonly number[], many: readonly number[]];

const fillMs = 1_000;
const fillsMax = 12;
/** Before it is asked whether the rest will do. */
const fillsTried = 3;
const fullEnough = 0.95;
/** Room for entries that wait to expire beside those in use. */
const headroom = 1.25;

/**
 * Measures the packet rate through a wire that tracks few connections, and through one that tracks
 * many, by turns. Packets belong to each connection in turn, the worst case for a cache.
 *
 * Cost:   some seconds to open the connections, then two measurements a round.
 * Errors: `signal`'s reason when it aborts. undefined when the many cannot be opened in that time.
 */
export async function measureManyFlows(options: {
  readonly rounds: number;
  readonly seconds: number;
  readonly report: (step: string, detail?: string) => void;
  readonly signal: AbortSignal;
}): Promise<FlowRates | undefined> {
  const wires: Wire[] = [];
  try {
    for (const flows of flowCounts) wires.push(openWire(flows));
    const rates = wires.map((): number[] => []);
    for (const wire of wires) {
      for (let tries = 0; wire.tracked() < wire.flows * fullEnough; tries++) {
        options.signal.throwIfAborted();
        const hopeless = wire.tracked() * fillsMax < wire.flows * tries;
        if (tries === fillsMax || (tries >= fillsTried && hopeless)) return undefined;
        options.report("opening connections", wire.flows.toLocaleString("en-US"));
        await wire.send(fillMs);
      }
    }
    for (let round = 0; round < options.rounds; round++) {
      for (const [index, wire] of wires.entries()) {
        options.signal.throwIfAborted();
        options.report("tracked connections", wire.flows.toLocaleString("en-US"));
        rates[index]?.push(await wire.send(options.seconds * 1_000));
      }
    }
    const [few = [], many = []] = rates;
    return [few, many];
  } finally {
    for (const wire of wires) wire.close();
  }
}

interface Wire {
  readonly flows: number;
  /** Sends for a while; answers with the packets that arrived, a second. */
  send(milliseconds: number): Promise<number>;
  /** Connections in the table. */
  tracked(): number;
  close(): void;
}

/** A wire of this process, since its table is to be larger than that of `sluice run`. */
function openWire(flows: number): Wire {
  const { objects } = parseManifests(makeWorkload(0).manifests, "bench");
  const compiled = compile({ objects, local: { pod: serverPod } });
  if (!compiled.ok) throw new Error("the benchmark's own policies do not compile");
  return onStage((stage) => {
    stage.joinToMiddle("bridged");
    const dataplane = Dataplane.create({ connectionsMax: Math.ceil(flows * headroom) });
    try {
      const link = (name: string) =>
        dataplane.addPacketLink({ namespaceFd: stage.middle, interface: name });
      const wire = { inside: link("inside"), outside: link("outside") };
      dataplane.swapTable(compiled.blob, [[0, wire.inside]]);
      dataplane.start({ wire });
    } catch (error) {
      dataplane.close();
      throw error;
    }
    return {
      flows,
      send: (milliseconds) => packetRate(stage, flows, milliseconds),
      tracked: () => dataplane.counters().connections,
      close() {
        dataplane.close();
        stage.close();
      },
    };
  });
}

async function packetRate(stage: Stage, flows: number, milliseconds: number): Promise<number> {
  const { received, seconds } = await measureTraffic({
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
  return received / seconds;
}
