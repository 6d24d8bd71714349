import { kindAndName, objectName } from "../diagnostics/object-name.js";
import { type ForeignMap, isMap, listOf, mapOf, nameOf } from "../manifest/foreign-json.js";
import { parseAddress } from "../net/address.js";
import type { SeenFlow } from "./flow-rows.js";
import type { TableModel } from "./table-model.js";

/** Policies of a rule's text at most. */
const policiesMax = 12;

/**
 * Reads a line of the flows' stream, or of a file of them; undefined for what is no connection.
 *
 * Shape: a file of flows may be anybody's, and have anything in any place. What is kept is as long as a name may be.
 */
export function seenFlow(line: unknown, model: TableModel): SeenFlow | undefined {
  const flow = mapOf(mapOf(line)["flow"]);
  const [from, to] = [mapOf(flow["source"]), mapOf(flow["destination"])];
  const ip = mapOf(flow["IP"]);
  const [source, destination] = [addressOf(ip["source"]), addressOf(ip["destination"])];
  if (source === undefined || destination === undefined) return undefined;
  const verdict = nameOf(flow["verdict"]);
  const ext = mapOf(flow["ext"]);
  // Flows of another program's may lack what Hubble has no word for.
  const event = nameOf(ext["event"]) ?? (verdict === "DROPPED" ? "dropped" : "opened");
  if (event === "exempt" || (verdict !== "DROPPED" && flow["is_reply"])) return undefined;
  const timeMs = Date.parse(nameOf(flow["time"]) ?? nameOf(mapOf(line)["time"]) ?? "");
  if (Number.isNaN(timeMs)) return undefined;
  const isEnd = event === "closed";
  const { protocol, sourcePort, port } = transportOf(flow["l4"]);
  const total = mapOf(ext["total"]);
  const withPort = (text: string, number: number | null) =>
    number === null ? text : text.includes(":") ? `[${text}]:${number}` : `${text}:${number}`;
  return {
    from: partyOf(from, source, model),
    to: partyOf(to, destination, model),
    ...{ protocol, port, timeMs },
    verdict: verdict === "DROPPED" || verdict === "AUDIT" ? verdict : "FORWARDED",
    reason: nameOf(ext["reason"]) ?? null,
    connections: isEnd ? 0 : 1,
    packets: numberOf(total["packets"]) ?? (isEnd ? 0 : 1),
    bytes: numberOf(total["bytes"]) ?? (isEnd ? 0 : (numberOf(ext["bytes"]) ?? 0)),
    last: {
      source: podOf(from) ?? source,
      destination: podOf(to) ?? destination,
      sourceAddress: withPort(source, sourcePort),
      destinationAddress: withPort(destination, port),
      rule: ruleText(ext),
    },
  };
}

/** Counts of a flow's record that were lost before it. */
export function lostBefore(line: unknown): number {
  return numberOf(mapOf(mapOf(mapOf(line)["flow"])["ext"])["lostBefore"]) ?? 0;
}

function addressOf(value: unknown): string | undefined {
  const text = nameOf(value);
  return text !== undefined && parseAddress(text) !== undefined ? text : undefined;
}

function podOf(end: ForeignMap): string | undefined {
  const name = nameOf(end["pod_name"]);
  return name ? `${nameOf(end["namespace"]) ?? ""}/${name}` : undefined;
}

/** The party of an end: the map's, or for a pod that the map does not have, its workload. */
function partyOf(end: ForeignMap, address: string, model: TableModel): string {
  const pod = podOf(end);
  if (pod === undefined) return model.partyOfAddress(address);
  const party = model.partyOfPod(pod);
  if (party !== undefined) return party;
  const workload = nameOf(mapOf(listOf(end["workloads"])[0])["name"]);
  return workload === undefined ? pod : `${nameOf(end["namespace"]) ?? ""}/${workload}`;
}

/** A whole number that is not negative, nor beyond what adds up exactly; null for anything else. */
function numberOf(value: unknown): number | null {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : null;
}

function portOf(value: unknown): number | null {
  const number = numberOf(value);
  return number !== null && number <= 65_535 ? number : null;
}

function transportOf(l4: unknown): {
  readonly protocol: string;
  readonly sourcePort: number | null;
  readonly port: number | null;
} {
  for (const protocol of ["TCP", "UDP", "SCTP"] as const) {
    const ports = mapOf(l4)[protocol];
    if (!isMap(ports)) continue;
    const { source_port: sourcePort, destination_port: port } = ports;
    return { protocol, sourcePort: portOf(sourcePort), port: portOf(port) };
  }
  const protocol = !isMap(l4) ? "other" : "ICMPv6" in l4 ? "ICMPv6" : "ICMP";
  return { protocol, sourcePort: null, port: null };
}

function ruleText(ext: ForeignMap): string {
  const { rule, isolated_by: by, reason } = ext;
  if (isMap(rule)) {
    const kind = nameOf(rule["kind"]) ?? "";
    return `${kindAndName({ kind, ...namedOf(rule) })} ${nameOf(rule["field"]) ?? ""}`.trim();
  }
  const policies = listOf(by);
  if (policies.length === 0 || reason == null) return "";
  const names = policies.slice(0, policiesMax).map((each) => objectName(namedOf(mapOf(each))));
  const more = policies.length - names.length;
  return `no rule of ${names.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function namedOf(map: ForeignMap): { readonly namespace: string; readonly name: string } {
  return { namespace: nameOf(map["namespace"]) ?? "", name: nameOf(map["name"]) ?? "" };
}
