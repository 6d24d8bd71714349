import { type ForeignMap, isMap, listOf, mapOf, nameOf } from "../manifest/foreign-json.js";
import { wantDnsLabel, wantDnsSubdomain, wantLabelKey, wantLabelValue } from "../manifest/names.js";
import { type Address, parseAddress } from "../net/address.js";
import { isTransportProtocol, type TransportProtocol } from "../net/protocol.js";
import type { LeftOut } from "./left-out.js";
import type { Seen, SeenEnd, SeenFlow, SeenPod } from "./seen.js";

/** Verdicts of Hubble with which a packet went on. */
const passed = new Set(["FORWARDED", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED"]);

/** Hubble's number for the verdict of a policy, which is about the first packet of a connection. */
const policyVerdict = 5;

/** Sluice's events that begin a connection. */
const beginnings = new Set(["opened", "audited"]);

/** Labels of Cilium's own, which pods do not have. */
const ciliumLabel = /^io\.(cilium\.|kubernetes\.pod\.)/;

/**
 * Takes one line of a flow log in Hubble's JSON, Sluice's own included. What is no flow, as the status of a node, is
 * passed over.
 *
 * Errors: a text says what is wrong with the line. TooManyFlows.
 */
export function takeRecord(record: unknown, seen: Seen): string | undefined {
  if (!isMap(record))
    return "want an object, as sluice observe -o json and hubble observe -o json write";
  const lost = record["lost_events"];
  if (isMap(lost)) seen.lost += numberOf(lost["num_events_lost"]);
  const flow = isMap(record["flow"]) ? record["flow"] : record;
  if (flow["verdict"] === undefined && flow["IP"] === undefined) {
    const isOther = ["lost_events", "node_status", "agent_event", "debug_event"].some(
      (key) => record[key] !== undefined,
    );
    return isOther ? undefined : 'want a flow: got no "verdict" and no "IP"';
  }
  seen.records++;
  const ext = isMap(flow["ext"]) ? flow["ext"] : undefined;
  seen.lost += numberOf(ext?.["lostBefore"]);
  takeFlow(flow, ext, seen);
  return undefined;
}

function takeFlow(flow: ForeignMap, ext: ForeignMap | undefined, seen: Seen): void {
  const ip = isMap(flow["IP"]) ? flow["IP"] : {};
  const text = `${endText(flow["source"], ip["source"])} -> ${endText(flow["destination"], ip["destination"])}`;
  const l4 = transportOf(flow["l4"]);
  const why = whyNoRule(flow, ext, l4 !== undefined);
  if (why !== undefined || l4 === undefined) {
    // The port of a reply is its client's, one of thousands.
    const isPortless = why === "reply" || l4 === undefined;
    const example = isPortless ? text : `${text} ${l4.port}/${l4.protocol.toLowerCase()}`;
    seen.leaveOut(why ?? "protocol", example);
    if (why !== "denied" || l4 === undefined || ext?.["event"] === "cut") return;
  }
  const made = flowOf(flow, l4, ip, seen);
  if (made === undefined) {
    if (why === undefined) seen.leaveOut("no-ends", text);
  } else if (why === undefined) {
    seen.add(made, l4.clientPort, beginnings.has(nameOf(ext?.["event"]) ?? ""));
  } else if (l4.clientPort !== undefined) seen.refuse(made, l4.clientPort);
}

/** A record as a flow; undefined where it does not say both ends. */
function flowOf(flow: ForeignMap, l4: Transport, ip: ForeignMap, seen: Seen): SeenFlow | undefined {
  const [from, to] = [ip["source"], ip["destination"]].map((each) =>
    typeof each === "string" ? parseAddress(each) : undefined,
  );
  const source = endOf(flow["source"], from, seen);
  const destination = endOf(flow["destination"], to, seen);
  if (source === undefined || destination === undefined) return undefined;
  const service = mapOf(flow["destination_service"]);
  const [namespace, name] = [nameOf(service["namespace"]), nameOf(service["name"])];
  const { protocol, port } = l4;
  return {
    ...{ source, destination, protocol, port },
    family: (from ?? to)?.family ?? 4,
    ...(namespace !== undefined && name ? { service: `${namespace}/${name}` } : {}),
  };
}

/** Why a record gives no rule, as far as it says so itself. */
function whyNoRule(
  flow: ForeignMap,
  ext: ForeignMap | undefined,
  hasPorts: boolean,
): LeftOut["why"] | undefined {
  if (ext?.["event"] === "exempt") return "exempt";
  if (!passed.has(nameOf(flow["verdict"]) ?? "")) return "denied";
  const way = wayOf(flow);
  if (way === "reply") return "reply";
  if (isOwnNode(flow, ext)) return "own-node";
  if (!hasPorts) return "protocol";
  return way === undefined ? "no-direction" : undefined;
}

/** Who sent the packet: the one that opened the connection, or the other. Undefined where nothing says so. */
function wayOf(flow: ForeignMap): "forth" | "reply" | undefined {
  if (typeof flow["is_reply"] === "boolean") return flow["is_reply"] ? "reply" : "forth";
  if (flow["reply"] === true) return "reply";
  const kind = flow["event_type"];
  if (isMap(kind) && kind["type"] === policyVerdict) return "forth";
  const tcp = isMap(flow["l4"]) ? flow["l4"]["TCP"] : undefined;
  const flags = isMap(tcp) && isMap(tcp["flags"]) ? tcp["flags"] : {};
  if (flags["SYN"] !== true) return undefined;
  return flags["ACK"] === true ? "reply" : "forth";
}

/**
 * Whether a flow is between a pod and its own node. Hubble calls other nodes otherwise; Sluice says which rule let it
 * pass.
 */
function isOwnNode(flow: ForeignMap, ext: ForeignMap | undefined): boolean {
  const isHost = [flow["source"], flow["destination"]].some(
    (end) => isMap(end) && listOf(end["labels"]).includes("reserved:host"),
  );
  if (!isHost || ext === undefined) return isHost;
  return listOf(ext["rules"]).some((rule) => isMap(rule) && rule["tier"] === "Node");
}

function endOf(end: unknown, address: Address | undefined, seen: Seen): SeenEnd | undefined {
  const { namespace, pod_name: name } = mapOf(end);
  if (isMap(end) && typeof namespace === "string" && typeof name === "string" && name !== "") {
    // They stand in policies, and in paths of files.
    if ((wantDnsLabel(namespace) ?? wantDnsSubdomain(name)) !== undefined) return undefined;
    const make = () => podOf(end, namespace, name);
    return { by: "pod", pod: seen.pod(namespace, name, address, make) };
  }
  // A record that has no end at all knows nothing of pods.
  return address === undefined
    ? undefined
    : { by: "address", address, isNoPod: isMap(end) && listOf(end["labels"]).length > 0 };
}

function podOf(end: ForeignMap, namespace: string, name: string): SeenPod {
  const labels = listOf(end["labels"]).flatMap((label): readonly [string, string][] => {
    const found = /^(?:k8s:)?([^=:]+)(?:=(.*))?$/.exec(typeof label === "string" ? label : "");
    const [, key = "", value = ""] = found ?? [];
    const isOfPod = wantLabelKey(key) === undefined && wantLabelValue(value) === undefined;
    return isOfPod && !ciliumLabel.test(key) ? [[key, value]] : [];
  });
  const { kind, name: workload } = mapOf(listOf(end["workloads"])[0]);
  const isNamed = nameOf(kind) && nameOf(workload);
  return {
    namespace,
    name,
    labels: new Map(labels),
    ...(isNamed ? { workload: { kind: kind as string, name: workload as string } } : {}),
    addresses: [],
  };
}

interface Transport {
  readonly protocol: TransportProtocol;
  readonly port: number;
  /** Absent where the record has none. */
  readonly clientPort?: number;
}

/** The transport of a flow; undefined for one that has no ports. */
function transportOf(l4: unknown): Transport | undefined {
  if (!isMap(l4)) return undefined;
  for (const [word, ports] of Object.entries(l4)) {
    if (!isTransportProtocol(word) || !isMap(ports)) continue;
    const port = ports["destination_port"];
    if (typeof port === "number" && Number.isInteger(port) && port > 0 && port <= 65_535) {
      const client = ports["source_port"];
      return {
        ...{ protocol: word, port },
        ...(typeof client === "number" && client > 0 ? { clientPort: client } : {}),
      };
    }
  }
  return undefined;
}

/** Names an end for a reader. */
function endText(end: unknown, address: unknown): string {
  const { namespace, pod_name: name } = mapOf(end);
  return nameOf(name)
    ? `${nameOf(namespace) ?? ""}/${nameOf(name)}`
    : (nameOf(address) ?? "nobody");
}

/** Hubble writes its 64-bit numbers as texts. */
function numberOf(value: unknown): number {
  const number = typeof value === "string" ? Number(value) : value;
  return Number.isSafeInteger(number) && (number as number) > 0 ? (number as number) : 0;
}
