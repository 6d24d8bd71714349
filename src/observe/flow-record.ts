import { type ForeignMap, isMap, listOf, mapOf, nameOf } from "../manifest/foreign-json.js";
import { type Address, parseAddress } from "../net/address.js";
import { type TransportProtocol, transportProtocols } from "../net/protocol.js";

/** One end of a recorded flow. */
export interface RecordEnd {
  /** As it stands there: empty where it is absent. */
  readonly fields: ForeignMap;
  /** Undefined where the record names no pod. */
  readonly pod: { readonly namespace: string; readonly name: string } | undefined;
  readonly address: Address | undefined;
}

/** A line of a flow log in Hubble's JSON, Sluice's own included, as far as it can be read. */
export interface FlowRecord {
  readonly fields: ForeignMap;
  /** Sluice's own fields; undefined in another program's log. */
  readonly ext: ForeignMap | undefined;
  /** Whether the packet went on. */
  readonly passed: boolean;
  readonly verdict: string | undefined;
  /** Who sent the packet: the one that opened the connection, or the other. Undefined where nothing says so. */
  readonly way: "forth" | "reply" | undefined;
  readonly source: RecordEnd;
  readonly destination: RecordEnd;
  /** Undefined for a flow without ports. Ports are undefined where the record has none from 1 to 65535. */
  readonly transport:
    | {
        readonly protocol: TransportProtocol;
        readonly sourcePort: number | undefined;
        readonly port: number | undefined;
      }
    | undefined;
}

/** Verdicts of Hubble with which a packet went on. */
const passing = new Set(["FORWARDED", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED"]);

/** Hubble's number for the verdict of a policy, which is about the first packet of a connection. */
const policyVerdict = 5;

/**
 * Reads one document of a flow log. A file may be anybody's, and have anything in any place: what cannot be read is
 * absent.
 *
 * Shape:  `record` is undefined for what is no flow, as the status of a node. `lost`: records that are missing before.
 * Errors: a text says what is wrong.
 */
export function readFlowRecord(
  document: unknown,
): { readonly record: FlowRecord | undefined; readonly lost: number } | string {
  if (!isMap(document))
    return "want an object, as sluice observe -o json and hubble observe -o json write";
  const lost = countOf(mapOf(document["lost_events"])["num_events_lost"]);
  const fields = isMap(document["flow"]) ? document["flow"] : document;
  if (fields["verdict"] === undefined && fields["IP"] === undefined) {
    const isOther = ["lost_events", "node_status", "agent_event", "debug_event"].some(
      (key) => document[key] !== undefined,
    );
    return isOther ? { record: undefined, lost } : 'want a flow: got no "verdict" and no "IP"';
  }
  const ext = isMap(fields["ext"]) ? fields["ext"] : undefined;
  const ip = mapOf(fields["IP"]);
  const verdict = nameOf(fields["verdict"]);
  const record: FlowRecord = {
    ...{ fields, ext, verdict },
    passed: passing.has(verdict ?? ""),
    way: wayOf(fields),
    source: endOf(fields["source"], ip["source"]),
    destination: endOf(fields["destination"], ip["destination"]),
    transport: transportOf(mapOf(fields["l4"])),
  };
  return { record, lost: lost + countOf(ext?.["lostBefore"]) };
}

function endOf(end: unknown, address: unknown): RecordEnd {
  const fields = mapOf(end);
  const name = nameOf(fields["pod_name"]);
  return {
    fields,
    pod: name ? { namespace: nameOf(fields["namespace"]) ?? "", name } : undefined,
    address: parseAddress(nameOf(address) ?? ""),
  };
}

/** The workload of an end's pod; undefined where the record does not name it. */
export function workloadOfEnd({
  fields,
}: RecordEnd): { readonly kind: string; readonly name: string } | undefined {
  const workload = mapOf(listOf(fields["workloads"])[0]);
  const [kind, name] = [nameOf(workload["kind"]), nameOf(workload["name"])];
  return kind && name ? { kind, name } : undefined;
}

function wayOf(flow: ForeignMap): FlowRecord["way"] {
  if (typeof flow["is_reply"] === "boolean") return flow["is_reply"] ? "reply" : "forth";
  if (flow["reply"] === true) return "reply";
  if (mapOf(flow["event_type"])["type"] === policyVerdict) return "forth";
  const flags = mapOf(mapOf(mapOf(flow["l4"])["TCP"])["flags"]);
  if (flags["SYN"] !== true) return undefined;
  return flags["ACK"] === true ? "reply" : "forth";
}

function transportOf(l4: ForeignMap): FlowRecord["transport"] {
  const portOf = (value: unknown) =>
    Number.isInteger(value) && (value as number) > 0 && (value as number) <= 65_535
      ? (value as number)
      : undefined;
  for (const protocol of transportProtocols) {
    const ports = l4[protocol];
    if (!isMap(ports)) continue;
    return {
      protocol,
      sourcePort: portOf(ports["source_port"]),
      port: portOf(ports["destination_port"]),
    };
  }
  return undefined;
}

/** A whole number that is not negative, nor beyond what adds up exactly. Hubble writes its 64-bit numbers as texts. */
export function countOf(value: unknown): number {
  const number = typeof value === "string" ? Number(value) : value;
  return Number.isSafeInteger(number) && (number as number) > 0 ? (number as number) : 0;
}
