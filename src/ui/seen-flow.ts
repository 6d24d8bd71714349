import { kindAndName } from "../diagnostics/object-name.js";
import type { Flow, FlowEndpoint, FlowL4, FlowLine } from "../observe/flow.js";
import type { SeenFlow } from "./flow-rows.js";
import type { TableModel } from "./table-model.js";

/** Reads a line of the flows' stream, or of a file of them; undefined for what is no connection. */
export function seenFlow(line: unknown, model: TableModel): SeenFlow | undefined {
  const flow = (line as Partial<FlowLine> | null)?.flow;
  if (typeof flow?.IP?.source !== "string" || typeof flow.IP.destination !== "string") {
    return undefined;
  }
  const { verdict, IP, source, destination, ext } = flow;
  // Flows of another program's may lack what Hubble has no word for.
  const event = ext?.event ?? (verdict === "DROPPED" ? "dropped" : "opened");
  if (event === "exempt" || (verdict !== "DROPPED" && flow.is_reply)) return undefined;
  const timeMs = Date.parse(flow.time ?? (line as FlowLine).time);
  if (Number.isNaN(timeMs)) return undefined;
  const isEnd = event === "closed";
  const { protocol, sourcePort, port } = transportOf(flow.l4);
  const ends = {
    source: podOf(source) ?? IP.source,
    destination: podOf(destination) ?? IP.destination,
  };
  const address = (text: string, number: number | null) =>
    number === null ? text : text.includes(":") ? `[${text}]:${number}` : `${text}:${number}`;
  return {
    from: partyOf(source, IP.source, model),
    to: partyOf(destination, IP.destination, model),
    ...{ protocol, port, timeMs },
    verdict: verdict === "DROPPED" || verdict === "AUDIT" ? verdict : "FORWARDED",
    reason: ext?.reason ?? null,
    connections: isEnd ? 0 : 1,
    packets: numberOf(ext?.total?.packets) ?? (isEnd ? 0 : 1),
    bytes: numberOf(ext?.total?.bytes) ?? (isEnd ? 0 : (numberOf(ext?.bytes) ?? 0)),
    last: {
      ...ends,
      sourceAddress: address(IP.source, sourcePort),
      destinationAddress: address(IP.destination, port),
      rule: ruleText(flow),
    },
  };
}

function podOf(end: FlowEndpoint | undefined): string | undefined {
  return end?.pod_name ? `${end.namespace ?? ""}/${end.pod_name}` : undefined;
}

/** The party of an end: the map's, or for a pod that the map does not have, its workload. */
function partyOf(end: FlowEndpoint | undefined, address: string, model: TableModel): string {
  const pod = podOf(end);
  if (pod === undefined) return model.partyOfAddress(address);
  const party = model.partyOfPod(pod);
  if (party !== undefined) return party;
  const workload = end?.workloads?.[0]?.name;
  return workload === undefined ? pod : `${end?.namespace ?? ""}/${workload}`;
}

/** A file of flows may be anybody's, and have anything in a number's place. */
function numberOf(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

function transportOf(given: FlowL4 | undefined): {
  readonly protocol: string;
  readonly sourcePort: number | null;
  readonly port: number | null;
} {
  const l4 = typeof given === "object" && given !== null ? given : undefined;
  for (const protocol of ["TCP", "UDP", "SCTP"] as const) {
    const ports = (l4 as Record<string, { source_port?: number; destination_port?: number }>)?.[
      protocol
    ];
    if (typeof ports !== "object" || ports === null) continue;
    const { source_port: sourcePort, destination_port: port } = ports;
    return { protocol, sourcePort: numberOf(sourcePort), port: numberOf(port) };
  }
  const protocol = l4 === undefined ? "other" : "ICMPv6" in l4 ? "ICMPv6" : "ICMP";
  return { protocol, sourcePort: null, port: null };
}

function ruleText({ ext }: Flow): string {
  const rule = ext?.rule;
  if (rule) {
    return `${kindAndName(rule)} ${rule.field}`.trim();
  }
  const by = ext?.isolated_by;
  if (!Array.isArray(by) || by.length === 0 || ext?.reason == null) return "";
  return `no rule of ${by.map((each) => `${each?.namespace}/${each?.name}`).join(", ")}`;
}
