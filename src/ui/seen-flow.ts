import { kindAndName, objectName } from "../diagnostics/object-name.js";
import { type ForeignMap, isMap, listOf, mapOf, nameOf } from "../manifest/foreign-json.js";
import { formatAddress } from "../net/address.js";
import { countOf, type FlowRecord, type RecordEnd, workloadOfEnd } from "../observe/flow-record.js";
import type { SeenFlow } from "./flow-rows.js";
import type { TableModel } from "./table-model.js";

/** Policies of a rule's text at most. */
const policiesMax = 12;

/**
 * What the page keeps of a record of a flow; undefined for what is no connection.
 *
 * Shape: what is kept of a text is as long as a name may be.
 */
export function seenFlow(
  record: FlowRecord,
  line: unknown,
  model: TableModel,
): SeenFlow | undefined {
  const { fields, source, destination, passed } = record;
  if (source.address === undefined || destination.address === undefined) return undefined;
  const ext = record.ext ?? {};
  // Flows of another program's may lack what Hubble has no word for.
  const event = nameOf(ext["event"]) ?? (passed ? "opened" : "dropped");
  if (event === "exempt" || (passed && record.way === "reply")) return undefined;
  const timeMs = Date.parse(nameOf(fields["time"]) ?? nameOf(mapOf(line)["time"]) ?? "");
  if (Number.isNaN(timeMs)) return undefined;
  const isEnd = event === "closed";
  const { protocol, sourcePort, port } = transportOf(record);
  const total = mapOf(ext["total"]);
  const count = (value: unknown, otherwise: unknown) => countOf(value ?? (isEnd ? 0 : otherwise));
  const [from, to] = [formatAddress(source.address), formatAddress(destination.address)];
  const withPort = (text: string, number: number | null) =>
    number === null ? text : text.includes(":") ? `[${text}]:${number}` : `${text}:${number}`;
  return {
    from: partyOf(source, from, model),
    to: partyOf(destination, to, model),
    ...{ protocol, port, timeMs },
    verdict: !passed ? "DROPPED" : record.verdict === "AUDIT" ? "AUDIT" : "FORWARDED",
    reason: nameOf(ext["reason"]) ?? null,
    connections: isEnd ? 0 : 1,
    packets: count(total["packets"], 1),
    bytes: count(total["bytes"], ext["bytes"]),
    last: {
      source: podOf(source) ?? from,
      destination: podOf(destination) ?? to,
      sourceAddress: withPort(from, sourcePort),
      destinationAddress: withPort(to, port),
      rule: ruleText(ext),
    },
  };
}

function podOf({ pod }: RecordEnd): string | undefined {
  return pod && `${pod.namespace}/${pod.name}`;
}

/** The party of an end: the map's, or for a pod that the map does not have, its workload. */
function partyOf(end: RecordEnd, address: string, model: TableModel): string {
  const pod = podOf(end);
  if (end.pod === undefined || pod === undefined) return model.partyOfAddress(address);
  const party = model.partyOfPod(pod);
  if (party !== undefined) return party;
  const workload = workloadOfEnd(end);
  return workload === undefined ? pod : `${end.pod.namespace}/${workload.name}`;
}

function transportOf({ transport, fields: { l4 } }: FlowRecord): {
  readonly protocol: string;
  readonly sourcePort: number | null;
  readonly port: number | null;
} {
  if (transport !== undefined) {
    const { protocol, sourcePort, port } = transport;
    return { protocol, sourcePort: sourcePort ?? null, port: port ?? null };
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
