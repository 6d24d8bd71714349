import type { PolicyRecord, RuleRecord } from "../compiler/decode.js";
import type { ExemptKindWord, FlowEventRecord } from "../dataplane/events.js";
import { count } from "../diagnostics/count.js";
import type { Owner as PodOwner } from "../manifest/objects.js";
import { formatAddress } from "../net/address.js";
import { protocolNumbers } from "../net/protocol.js";
import { ruleField } from "../policy/ruleset.js";
import type { ResolvedService } from "../services/resolve.js";
import type { ServicePortRef } from "../services/service-index.js";
import { type HubbleReason, hubbleReason, worldIdentity } from "./hubble.js";
import type { Owner } from "./owner-index.js";
import type { FlowQuestion, SideReason, TableSnapshot } from "./table-snapshot.js";

/** One end of a flow, as Hubble has it. */
export interface FlowEndpoint {
  /** A number that pods of the same namespace and labels share, and no others as a rule: Hubble's clients group by it. */
  readonly identity: number;
  readonly namespace?: string;
  readonly pod_name?: string;
  /** The workload of the pod, where its owner is known. */
  readonly workloads?: readonly Pick<PodOwner, "kind" | "name">[];
  /** With their origin: `k8s:app=web`, `reserved:world`. */
  readonly labels: readonly string[];
}

interface Ports {
  readonly source_port: number;
  readonly destination_port: number;
}

/** Only those that are set, as Hubble leaves out what is false. */
type TcpFlags = { readonly [Name in (typeof tcpFlagNames)[number]]?: true };

const tcpFlagNames = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"] as const;

interface IcmpKind {
  readonly type: number;
  readonly code: number;
}

export type FlowL4 =
  | { readonly TCP: Ports & { readonly flags?: TcpFlags } }
  | { readonly UDP: Ports }
  | { readonly SCTP: Ports }
  | { readonly ICMPv4: IcmpKind }
  | { readonly ICMPv6: IcmpKind };

export interface FlowPolicy {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** A file's path, or an object of an API server such as `NetworkPolicy/shop/web@4711`. */
  readonly file: string;
  /** 0 when it is no file. */
  readonly line: number;
}

/** The place of a policy; an object of an API server has no line. */
export function filePlace({ file, line }: Pick<FlowPolicy, "file" | "line">): string {
  return line === 0 ? file : `${file}:${line}`;
}

export interface FlowRule extends FlowPolicy {
  readonly direction: "egress" | "ingress";
  readonly tier: RuleRecord["tier"];
  readonly action: RuleRecord["action"];
  /**
   * The rule's field in its policy, such as `spec.ingress[0]`; empty for the rule for the pod's own node.
   */
  readonly field: string;
  /** 0-based, in the direction's list of the policy. */
  readonly index: number;
  readonly column: number;
}

/** A port of a Service. */
export interface FlowService {
  readonly namespace: string;
  readonly name: string;
  /** The Service's own. */
  readonly port: number;
  /** Absent when it has none. */
  readonly port_name?: string;
}

/** Fields that Hubble does not have. */
export interface FlowExtension {
  readonly event: FlowEventRecord["kind"];
  /** `audit`: it passed only because the policies that deny it are in audit mode. */
  readonly mode?: "audit";
  /** The kind of a message that no policy judges; only a sample of them is reported. */
  readonly exempt?: ExemptKindWord;
  /** From the catalogue of drop reasons; null when nothing was or would have been dropped. */
  readonly reason: string | null;
  /** NetworkPolicies that isolate the side that denied, or either side of an allowed flow. */
  readonly isolated_by: readonly FlowPolicy[];
  /** The rule that decided; null when isolation, or its absence, did. */
  readonly rule: FlowRule | null;
  /** Every rule that took part: an allowed flow between two judged pods has one at each end. */
  readonly rules: readonly FlowRule[];
  /** Services behind which the destination is; absent where it is behind none that is known. */
  readonly services?: readonly FlowService[];
  /** Generation of the table that judged. */
  readonly generation: number;
  /** Size of the frame; null for the end of a connection. */
  readonly bytes: number | null;
  /** Records that were lost just before this one. */
  readonly lostBefore: number;
  /** At the end of a connection: its traffic in both directions together; absent where it was not counted. */
  readonly total?: { readonly packets: number; readonly bytes: number };
}

/** `AUDIT`: it passed, and would have been dropped without audit mode. */
export const flowVerdicts = ["FORWARDED", "DROPPED", "AUDIT"] as const;
export type FlowVerdict = (typeof flowVerdicts)[number];

/** A flow in Hubble's JSON, with Sluice's own fields under `ext`. */
export interface Flow {
  readonly time: string;
  readonly uuid: string;
  readonly verdict: FlowVerdict;
  readonly drop_reason?: number;
  readonly drop_reason_desc?: string;
  readonly IP?: {
    readonly source: string;
    readonly destination: string;
    readonly ipVersion: "IPv4" | "IPv6";
  };
  readonly l4?: FlowL4;
  readonly source?: FlowEndpoint;
  readonly destination?: FlowEndpoint;
  /** The Service whose ClusterIP the destination is; absent where it is none's. */
  readonly destination_service?: { readonly namespace: string; readonly name: string };
  readonly Type: "L3_L4";
  readonly node_name: string;
  /** Of a drop, `sub_type` is its reason's number. */
  readonly event_type: { readonly type: number; readonly sub_type?: number };
  readonly traffic_direction: "INGRESS" | "EGRESS" | "TRAFFIC_DIRECTION_UNKNOWN";
  readonly is_reply: false;
  readonly interface?: { readonly name: string };
  readonly egress_allowed_by?: readonly HubblePolicy[];
  readonly ingress_allowed_by?: readonly HubblePolicy[];
  readonly egress_denied_by?: readonly HubblePolicy[];
  readonly ingress_denied_by?: readonly HubblePolicy[];
  readonly Summary: string;
  readonly ext: FlowExtension;
}

interface HubblePolicy {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** One line of the stream. */
export interface FlowLine {
  readonly flow: Flow;
  readonly node_name: string;
  readonly time: string;
}

/** Facts about an event from outside its record. */
export interface FlowContext {
  /** The table that judged, or the nearest one kept; undefined when there is none. */
  readonly snapshot: TableSnapshot | undefined;
  readonly reasons: readonly SideReason[];
  readonly interfaceName: string | undefined;
  readonly nodeName: string;
  /** The same for each who reads it. */
  readonly uuid: string;
}

/** Numbers of Hubble's event types: a drop, a packet passing by, a policy's verdict. */
const eventTypes = { dropped: 1, cut: 1, closed: 4, opened: 5, audited: 5, exempt: 4 } as const;

const protocolNames = new Map(
  Object.entries(protocolNumbers).map(([name, number]) => [number, name]),
);

/** Whether a table can explain an event: the event has addresses, and policy judged it. */
export function isJudgedByPolicy(event: FlowEventRecord): boolean {
  if (event.source === undefined || event.destination === undefined) return false;
  if (event.kind === "exempt") return false;
  return event.kind !== "dropped" || event.deniedBy.length > 0;
}

/**
 * Whether an event is about traffic that passed only because the policies that deny it are in audit mode.
 */
function isAuditedEvent({ kind, deniedBy }: Pick<FlowEventRecord, "kind" | "deniedBy">): boolean {
  return kind === "audited" || (kind === "closed" && deniedBy.length > 0);
}

const portProtocols = new Set([
  protocolNumbers["TCP"],
  protocolNumbers["UDP"],
  protocolNumbers["SCTP"],
]);

/** The question that an event is an answer to. */
export function questionOf(
  event: Pick<
    FlowEventRecord,
    "source" | "destination" | "protocol" | "destinationPort" | "kind" | "deniedBy"
  >,
): FlowQuestion {
  return {
    source: event.source!,
    destination: event.destination!,
    protocol: event.protocol,
    port: portProtocols.has(event.protocol) ? event.destinationPort : 0,
    by: isAuditedEvent(event) ? "audit" : "enforced",
  };
}

/** Converts an event to Hubble's form. */
export function flowOf(event: FlowEventRecord, context: FlowContext): FlowLine {
  const { snapshot, reasons, interfaceName, nodeName, uuid } = context;
  const { kind, reason, source, destination } = event;
  const time = timeText(event.timeUs);
  const owners = {
    source: source && snapshot?.ownerOf(source),
    destination: destination && snapshot?.ownerOf(destination),
  };
  const direction = directionOf(event, snapshot, owners.source, owners.destination);
  const denied = reasons.filter((side) => event.deniedBy.includes(side.direction));
  const concerned = denied.length > 0 ? denied : reasons;
  const rules = concerned.flatMap((side) => (side.rule ? [flowRule(side.rule, side)] : []));
  const isDropped = kind === "dropped" || kind === "cut";
  const isAudited = isAuditedEvent(event);
  const services =
    destination && snapshot?.servicesOf(destination, event.protocol, event.destinationPort);
  const own = rules.find((rule) => rule.direction === direction) ?? rules[0] ?? null;
  const word =
    isDropped &&
    reason &&
    hubbleReason(
      reason,
      denied.some((side) => side.rule !== undefined),
    );

  const flow: Flow = {
    time,
    uuid,
    verdict: isAudited ? "AUDIT" : isDropped ? "DROPPED" : "FORWARDED",
    ...typeOf(kind, word || undefined),
    ...(source === undefined || destination === undefined
      ? {}
      : {
          IP: {
            source: formatAddress(source),
            destination: formatAddress(destination),
            ipVersion: source.family === 4 ? "IPv4" : "IPv6",
          },
          source: endpointOf(owners.source),
          destination: endpointOf(owners.destination),
        }),
    ...(services?.at === undefined ? {} : { destination_service: namesOf(services.at) }),
    ...withFlags(l4Of(event), event.tcpFlags),
    Type: "L3_L4",
    node_name: nodeName,
    traffic_direction:
      direction === undefined
        ? "TRAFFIC_DIRECTION_UNKNOWN"
        : direction === "egress"
          ? "EGRESS"
          : "INGRESS",
    is_reply: false,
    ...(interfaceName === undefined ? {} : { interface: { name: interfaceName } }),
    ...decidedBy(rules, isDropped || isAudited),
    Summary: summaryOf(event),
    ext: {
      event: kind,
      ...(isAudited ? { mode: "audit" } : {}),
      ...(event.exempt === undefined ? {} : { exempt: event.exempt }),
      reason: reason ?? null,
      isolated_by: unique(concerned.flatMap((side) => side.isolatedBy)).map(flowPolicy),
      rule: own,
      rules,
      ...(services === undefined || services.behind.length === 0
        ? {}
        : { services: services.behind.map(flowService) }),
      generation: event.generation,
      bytes: kind === "closed" ? null : event.frameBytes,
      ...(hasTotal(event)
        ? { total: { packets: event.totalPackets, bytes: event.totalBytes } }
        : {}),
      lostBefore: event.lostBefore,
    },
  };
  return { flow, node_name: nodeName, time };
}

function typeOf(
  kind: FlowEventRecord["kind"],
  reason: HubbleReason | undefined,
): Pick<Flow, "event_type" | "drop_reason" | "drop_reason_desc"> {
  const type = eventTypes[kind];
  if (reason === undefined) return { event_type: { type } };
  const { number, name } = reason;
  const event = number === 0 ? { type } : { type, sub_type: number };
  return { drop_reason: number, drop_reason_desc: name, event_type: event };
}

/** The line with another number of records that are missing before it. */
export function withLost(line: FlowLine, lostBefore: number): FlowLine {
  if (line.flow.ext.lostBefore === lostBefore) return line;
  return { ...line, flow: { ...line.flow, ext: { ...line.flow.ext, lostBefore } } };
}

/** Microseconds since the epoch of an RFC 3339 time in UTC. */
export function timeUsOf(text: string): number {
  const micros = (/\.(\d{1,9})Z$/.exec(text)?.[1] ?? "").padEnd(6, "0").slice(0, 6);
  return Math.floor(Date.parse(text) / 1_000) * 1_000_000 + Number(micros);
}

/** Whether an event tells what a connection has carried: the kernel may not have counted. */
function hasTotal({ kind, totalPackets }: Pick<FlowEventRecord, "kind" | "totalPackets">): boolean {
  return kind === "closed" && totalPackets > 0;
}

function namesOf({ meta }: ResolvedService): { readonly namespace: string; readonly name: string } {
  return { namespace: meta.namespace, name: meta.name };
}

function flowService({ service, port: { name, port } }: ServicePortRef): FlowService {
  return { ...namesOf(service), port, ...(name === "" ? {} : { port_name: name }) };
}

/** RFC 3339, to the microsecond. */
function timeText(timeUs: number): string {
  const milliseconds = Math.floor(timeUs / 1_000);
  const rest = String(timeUs - milliseconds * 1_000).padStart(3, "0");
  return new Date(milliseconds).toISOString().replace("Z", `${rest}Z`);
}

function directionOf(
  event: FlowEventRecord,
  snapshot: TableSnapshot | undefined,
  source: Owner | undefined,
  destination: Owner | undefined,
): "egress" | "ingress" | undefined {
  if (event.deniedBy.length > 0) return event.deniedBy[0];
  if (snapshot?.isEndpoint(source)) return "egress";
  return snapshot?.isEndpoint(destination) ? "ingress" : undefined;
}

/** Converts one end to Hubble's form. */
export function endpointOf(owner: Owner | undefined): FlowEndpoint {
  if (owner === undefined) return { identity: worldIdentity, labels: ["reserved:world"] };
  const { namespace, name, workload, identity } = owner;
  const labels = owner.labels.map((label) => `k8s:${label}`);
  if (owner.kind === "node") return { identity, labels: ["reserved:host", ...labels] };
  const workloads = workload === undefined ? {} : { workloads: [workload] };
  return { identity, namespace, pod_name: name, ...workloads, labels };
}

/** Converts the transport to Hubble's form; empty for protocols that Hubble does not know. */
export function l4Of({
  protocol,
  sourcePort,
  destinationPort,
}: Pick<FlowEventRecord, "protocol" | "sourcePort" | "destinationPort">): { l4?: FlowL4 } {
  const ports = { source_port: sourcePort, destination_port: destinationPort };
  const kind = { type: destinationPort >> 8, code: destinationPort & 0xff };
  switch (protocol) {
    case protocolNumbers["TCP"]:
      return { l4: { TCP: ports } };
    case protocolNumbers["UDP"]:
      return { l4: { UDP: ports } };
    case protocolNumbers["SCTP"]:
      return { l4: { SCTP: ports } };
    case protocolNumbers["ICMP"]:
      return { l4: { ICMPv4: kind } };
    case protocolNumbers["ICMPv6"]:
      return { l4: { ICMPv6: kind } };
    default:
      return {};
  }
}

function withFlags({ l4 }: { l4?: FlowL4 }, bits: number): { l4?: FlowL4 } {
  if (l4 === undefined) return {};
  if (!("TCP" in l4) || bits === 0) return { l4 };
  const flags: TcpFlags = Object.fromEntries(flagsOf(bits).map((name) => [name, true]));
  return { l4: { TCP: { ...l4.TCP, flags } } };
}

function flagsOf(bits: number): readonly string[] {
  return tcpFlagNames.filter((_, bit) => (bits & (1 << bit)) !== 0);
}

function summaryOf({ kind, protocol, source, tcpFlags, ...event }: FlowEventRecord): string {
  if (event.exempt !== undefined) return `${event.exempt}, judged by no policy`;
  const name = source === undefined && protocol === 0 ? "no IP" : protocolName(protocol);
  if (hasTotal({ kind, ...event })) {
    return `${name}, ${count(event.totalPackets, "packet")}, ${count(event.totalBytes, "byte")}`;
  }
  return tcpFlags === 0 ? name : `TCP Flags: ${flagsOf(tcpFlags).join(", ")}`;
}

/** Names a protocol: `TCP`, or `protocol 47`. */
export function protocolName(protocol: number): string {
  return protocolNames.get(protocol) ?? `protocol ${protocol}`;
}

/** The fields of a policy that a record shows. */
export function flowPolicy({ kind, namespace, name, file, line }: PolicyRecord): FlowPolicy {
  return { kind, namespace, name, file, line };
}

/** The isolating policies, in a document that is not Hubble's. */
export interface Isolation {
  readonly isolatedBy: readonly FlowPolicy[];
  /** The older name of the same field, for existing readers. */
  readonly isolated_by: readonly FlowPolicy[];
}

export function isolationOf(isolatedBy: readonly FlowPolicy[]): Isolation {
  return { isolatedBy, isolated_by: isolatedBy };
}

/** The fields of a rule that a record shows. */
export function flowRule(rule: RuleRecord, { direction }: Pick<SideReason, "direction">): FlowRule {
  const { tier, action, index, line, column } = rule;
  const field = ruleField(rule, direction);
  return { ...flowPolicy(rule.policy), direction, tier, action, field, index, line, column };
}

function decidedBy(
  rules: readonly FlowRule[],
  isDenied: boolean,
): Partial<Pick<Flow, "egress_allowed_by" | "ingress_allowed_by">> {
  const named: Record<string, HubblePolicy[]> = {};
  for (const { direction, kind, namespace, name } of rules) {
    named[`${direction}_${isDenied ? "denied" : "allowed"}_by`] = [{ kind, namespace, name }];
  }
  return named;
}

function unique(policies: readonly PolicyRecord[]): readonly PolicyRecord[] {
  return [...new Set(policies)];
}
