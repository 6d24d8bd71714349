import type { Dataplane } from "../dataplane/dataplane.js";
import { decodeFlowEvent, type FlowEventRecord } from "../dataplane/events.js";
import { FlowEvent } from "../layout/layout.gen.js";
import { addressKey, formatAddress } from "../net/address.js";
import { protocolNumbers } from "../net/protocol.js";
import type { Endpoint } from "../policy/ruleset.js";
import type { CompiledTable } from "./controller.js";

/** One side of a flow; the pod where the address is one's. */
export interface FlowEnd {
  readonly address: string;
  readonly pod: string | null;
  readonly port: number | null;
}

/** One event as users see it, a line of NDJSON. */
export interface FlowLine {
  /** RFC 3339. */
  readonly time: string;
  readonly event: FlowEventRecord["kind"];
  readonly verdict: "allow" | "deny";
  readonly reason: string | null;
  readonly deniedBy: readonly ("egress" | "ingress")[];
  /** Policies that isolate the side that denied, `namespace/name`. */
  readonly policies: readonly string[];
  readonly source: FlowEnd | null;
  readonly destination: FlowEnd | null;
  readonly protocol: string;
  readonly generation: number;
  readonly lostBefore: number;
}

const eventsAtOnce = 256;
const protocolNames = new Map(
  Object.entries(protocolNumbers).map(([name, number]) => [number, name]),
);

/**
 * Turns a data plane's events into lines, for as long as somebody listens.
 *
 * Cost: nothing while nobody listens: the ring fills, and the next record says how many were lost.
 */
export class FlowLog {
  readonly #dataplane: Dataplane;
  readonly #listeners = new Set<(line: FlowLine) => void>();
  readonly #buffer = new Uint8Array(eventsAtOnce * FlowEvent.bytes);
  #podByAddress = new Map<string, string>();
  #endpoints = new Map<string, Endpoint>();

  constructor(dataplane: Dataplane) {
    this.#dataplane = dataplane;
  }

  /** Names pods and policies by this table from now on. */
  useTable(table: CompiledTable): void {
    this.#podByAddress = new Map();
    for (const object of table.objects) {
      if (object.kind !== "Pod" || object.hostNetwork) continue;
      const ref = `${object.meta.namespace}/${object.meta.name}`;
      for (const address of object.addresses) this.#podByAddress.set(addressKey(address), ref);
    }
    this.#endpoints = new Map();
    for (const endpoint of table.ruleset.endpoints) {
      this.#endpoints.set(`${endpoint.namespace}/${endpoint.name}`, endpoint);
    }
  }

  /** Calls `listener` with each event from now on; returns what ends that. */
  listen(listener: (line: FlowLine) => void): () => void {
    if (this.#listeners.size === 0) {
      // What waited before anybody listened is old news.
      while (this.#dataplane.drainEvents(this.#buffer) > 0);
      this.#dataplane.onEvents(() => this.#drain());
    }
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#dataplane.onEvents(undefined);
    };
  }

  close(): void {
    this.#listeners.clear();
    this.#dataplane.onEvents(undefined);
  }

  #drain(): void {
    for (;;) {
      const count = this.#dataplane.drainEvents(this.#buffer);
      for (let index = 0; index < count; index++) {
        const line = this.#line(decodeFlowEvent(this.#buffer, index));
        for (const listener of this.#listeners) listener(line);
      }
      if (count < eventsAtOnce) return;
    }
  }

  #line(event: FlowEventRecord): FlowLine {
    const hasPorts = event.protocol === 6 || event.protocol === 17 || event.protocol === 132;
    const end = (address: FlowEventRecord["source"], port: number): FlowEnd | null =>
      address === undefined
        ? null
        : {
            address: formatAddress(address),
            pod: this.#podByAddress.get(addressKey(address)) ?? null,
            port: hasPorts ? port : null,
          };
    const source = end(event.source, event.sourcePort);
    const destination = end(event.destination, event.destinationPort);
    const policies = event.deniedBy.flatMap((direction) => {
      const ref = direction === "egress" ? source?.pod : destination?.pod;
      const isolatedBy = ref ? this.#endpoints.get(ref)?.[direction].isolatedBy : undefined;
      return (isolatedBy ?? []).map((policy) => `${policy.namespace}/${policy.name}`);
    });
    return {
      time: new Date(event.timeUs / 1000).toISOString(),
      event: event.kind,
      verdict: event.reason === undefined ? "allow" : "deny",
      reason: event.reason ?? null,
      deniedBy: event.deniedBy,
      policies: [...new Set(policies)],
      source,
      destination,
      protocol: protocolNames.get(event.protocol) ?? String(event.protocol),
      generation: event.generation,
      lostBefore: event.lostBefore,
    };
  }
}
