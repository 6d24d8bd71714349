import type { Provenance } from "../compiler/decode.js";
import { deniedByEgress, deniedByIngress, type Table, TupleBatch } from "../dataplane/table.js";
import { type Address, addressKey } from "../net/address.js";
import { protocolNumbers } from "../net/protocol.js";
import { ruleField } from "../policy/ruleset.js";
import type { FlowView } from "./capture-decode.js";

/** Why one side of a connection is judged as it is. */
export interface Because {
  readonly direction: "egress" | "ingress";
  readonly verdict: "allow" | "deny";
  /** `namespace/name` of the policies that decide; empty when none isolates the pod. */
  readonly policies: readonly string[];
  /** Where the deciding rule stands, when a rule decides. */
  readonly rule?: { readonly index: number; readonly field: string; readonly place: string };
}

/** What the table says of the connection that a packet belongs to. */
export interface Ruling {
  readonly verdict: "allow" | "deny";
  readonly deniedBy: readonly ("egress" | "ingress")[];
  /** `namespace/name` of the packet's own ends, where they are pods judged here. */
  readonly sourcePod?: string;
  readonly destinationPod?: string;
  /** The packet flows against the direction in which the connection was opened. */
  readonly reply: boolean;
  readonly because: readonly Because[];
}

/** A connection in the direction in which it was opened. */
interface Connection {
  readonly protocol: number;
  readonly source: Address;
  readonly destination: Address;
  readonly port: number;
  readonly sourceKey: string;
  ruling?: Omit<Ruling, "reply">;
}

const connectionsMax = 65_536;

/**
 * Puts the connections of watched packets to the table, and remembers the answers.
 *
 * The table judges first packets; a reply has its connection's verdict. A connection whose first
 * packet was not seen is taken to come from the end with the ephemeral port.
 *
 * Shape: remembers at most 65,536 connections; the oldest is forgotten first.
 */
export class CaptureJudge {
  readonly #table: Table;
  readonly #provenance: Provenance;
  readonly #connections = new Map<string, Connection>();

  constructor(table: Table, provenance: Provenance) {
    this.#table = table;
    this.#provenance = provenance;
  }

  /** Judges packets in order; one native call for all connections that are new. */
  judge(flows: readonly (FlowView | undefined)[]): (Ruling | undefined)[] {
    const found = flows.map((flow) => flow && this.#find(flow));
    const fresh = new Set<Connection>();
    for (const connection of found) {
      if (connection !== undefined && connection.ruling === undefined) {
        fresh.add(connection);
      }
    }
    this.#decide([...fresh]);
    return flows.map((flow, place) => {
      const connection = found[place];
      return flow && connection && rulingOf(flow, connection);
    });
  }

  #find(flow: FlowView): Connection {
    const source = endKey(flow.source, flow.sourcePort);
    const destination = endKey(flow.destination, flow.destinationPort);
    const ends = source < destination ? `${source}|${destination}` : `${destination}|${source}`;
    const key = `${flow.protocol}|${ends}`;
    const known = this.#connections.get(key);
    if (known !== undefined && !(flow.opens && known.sourceKey !== source)) {
      return known;
    }
    const forward = (flow.opener ?? likelyOpener(flow)) === "source";
    const made: Connection = {
      protocol: flow.protocol,
      source: forward ? flow.source : flow.destination,
      destination: forward ? flow.destination : flow.source,
      port: hasPorts(flow.protocol) ? (forward ? flow.destinationPort : flow.sourcePort) : 0,
      sourceKey: forward ? source : destination,
    };
    this.#connections.delete(key);
    this.#connections.set(key, made);
    if (this.#connections.size > connectionsMax) {
      for (const oldest of this.#connections.keys()) {
        this.#connections.delete(oldest);
        break;
      }
    }
    return made;
  }

  #decide(connections: readonly Connection[]): void {
    if (connections.length === 0) {
      return;
    }
    const batch = new TupleBatch(connections.length);
    for (const { source, destination, protocol, port } of connections) {
      batch.push(source, destination, protocol, port);
    }
    const verdicts = this.#table.classify(batch);
    const leaves = this.#table.locate(batch);
    for (const [place, connection] of connections.entries()) {
      const [from, to] = [leaves[place * 2], leaves[place * 2 + 1]];
      connection.ruling = this.#ruling(connection, verdicts[place] ?? 0, from ?? 0, to ?? 0);
    }
  }

  #ruling(
    { protocol, port }: Connection,
    denied: number,
    sourceLeaf: number,
    destinationLeaf: number,
  ): Omit<Ruling, "reply"> {
    const source = this.#provenance.leaf(sourceLeaf);
    const destination = this.#provenance.leaf(destinationLeaf);
    const because: Because[] = [];
    for (const [direction, own, other, bit] of [
      ["egress", source, destination, deniedByEgress],
      ["ingress", destination, source, deniedByIngress],
    ] as const) {
      if (own.endpointId === undefined || own.endpointId === other.endpointId) {
        continue;
      }
      const side = direction === "egress" ? "Egress" : "Ingress";
      const reason = this.#provenance.reason(own.endpointId, side, other.originId, protocol, port);
      const verdict = (denied & bit) === 0 ? "allow" : "deny";
      const { rule } = reason;
      const policies = rule ? [rule.policy] : reason.isolatedBy;
      because.push({
        direction,
        verdict,
        policies: policies.map(({ namespace, name }) => joinName(namespace, name)),
        ...(rule && {
          rule: {
            index: rule.index,
            field: ruleField(rule, direction),
            place: `${rule.policy.file}:${rule.line}:${rule.column}`,
          },
        }),
      });
    }
    const sourcePod = this.#podName(source.endpointId);
    const destinationPod = this.#podName(destination.endpointId);
    return {
      verdict: denied === 0 ? "allow" : "deny",
      deniedBy: [
        ...((denied & deniedByEgress) !== 0 ? (["egress"] as const) : []),
        ...((denied & deniedByIngress) !== 0 ? (["ingress"] as const) : []),
      ],
      because,
      ...(sourcePod !== undefined && { sourcePod }),
      ...(destinationPod !== undefined && { destinationPod }),
    };
  }

  #podName(endpointId: number | undefined): string | undefined {
    if (endpointId === undefined) {
      return undefined;
    }
    const { namespace, name } = this.#provenance.endpoint(endpointId);
    return joinName(namespace, name);
  }
}

/** Turns a connection's ruling towards one of its packets. */
function rulingOf(flow: FlowView, connection: Connection): Ruling | undefined {
  const { ruling } = connection;
  if (ruling === undefined) {
    return undefined;
  }
  const along = endKey(flow.source, flow.sourcePort) === connection.sourceKey;
  // What an error quotes went the other way than the error itself.
  const reply = along === flow.quoted;
  if (!reply) {
    return { ...ruling, reply };
  }
  const { sourcePod, destinationPod, ...rest } = ruling;
  if (flow.quoted) {
    // Any router on the way may have sent the error.
    return { ...rest, reply };
  }
  return {
    ...rest,
    reply,
    ...(destinationPod !== undefined && { sourcePod: destinationPod }),
    ...(sourcePod !== undefined && { destinationPod: sourcePod }),
  };
}

function endKey(address: Address, port: number): string {
  return `${addressKey(address)}:${port}`;
}

function joinName(namespace: string, name: string): string {
  return namespace === "" ? name : `${namespace}/${name}`;
}

function hasPorts(protocol: number): boolean {
  return ["TCP", "UDP", "SCTP"].some((name) => protocolNumbers[name] === protocol);
}

const ephemeralPortsFrom = 32_768;

function likelyOpener(flow: FlowView): "source" | "destination" {
  const serverSends =
    hasPorts(flow.protocol) &&
    flow.sourcePort < ephemeralPortsFrom &&
    flow.destinationPort >= ephemeralPortsFrom;
  return serverSends ? "destination" : "source";
}
