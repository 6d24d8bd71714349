import { type Connection, decodeConnections } from "../dataplane/connections.js";
import type { Counters, Dataplane, Deny, Established } from "../dataplane/dataplane.js";
import type { ForwardCounts } from "../dataplane/forward-filter.js";
import { count } from "../diagnostics/count.js";
import type { Diagnostic } from "../diagnostics/diagnostic.js";
import { ConnectionRecord } from "../layout/layout.gen.js";
import type { Mode } from "../manifest/annotations.js";
import { exposition, expositionType } from "../metrics/exposition.js";
import type { Histogram } from "../metrics/histogram.js";
import type { HitSeries } from "../metrics/hit-series.js";
import { type PluginMeasures, sluiceMetrics } from "../metrics/sluice-metrics.js";
import { type Address, formatAddress } from "../net/address.js";
import type { DroppedFrames } from "../observe/dropped-frames.js";
import { endpointOf, type Isolation, isolationOf, l4Of, protocolName } from "../observe/flow.js";
import { type FlowFilter, readFlowFilter } from "../observe/flow-filter.js";
import type { FlowLog, FlowRequest } from "../observe/flow-log.js";
import type { Hits } from "../observe/hits.js";
import { KnownNames, namesMax, type UnknownName } from "../observe/known-names.js";
import type { EndpointSummary, RulesSummary } from "../policy/ruleset.js";
import type { ClientTime } from "./client-time.js";
import type { Controller, Reload } from "./controller.js";
import { apiVersion, type Headed, list, piecesOf } from "./documents.js";
import { type Denial, hasPorts } from "./dry-run-judge.js";
import { DryRunProcess } from "./dry-run-process.js";
import { Heartbeat } from "./heartbeat.js";
import { toJson } from "./manifest-json.js";
import type { PlainHandler } from "./metrics-process.js";
import { policiesAnswer, policyKey, policyPlace, rulesAnswer } from "./policy-routes.js";
import { type Refusal, RefusalError, refusalOf } from "./refusal.js";
import {
  type Asked,
  ListAnswer,
  type ListPiece,
  PlainAnswer,
  type Routes,
  type Stream,
} from "./server.js";
import type { Choice } from "./settings.js";
import { type SourceStatus, staleText } from "./source.js";

/** An interface that a process filters. */
export interface FilteredInterface {
  readonly name: string;
  readonly linkId: number;
  /** `endpoint`: one pod is behind it. `uplink`: the rest of the world. */
  readonly role: "endpoint" | "uplink";
  /** `namespace/name` of the pod behind it. */
  readonly pod: string | null;
  /** What passes there when the process is gone without a clean end; absent: nothing. */
  readonly failMode?: Choice<"failMode">;
  /** Mode of policies that do not set one, if it differs from the process's setting. */
  readonly mode?: Mode;
  /** Zone of the interface's connections, if it belongs to a wire. */
  readonly zone?: number;
  /** Absent: attached. */
  readonly state?: AttachedState;
  /** A note on that state. */
  readonly note?: string;
}

/**
 * Whether the process holds an interface. `attached`: it does. `down`: it does, but the interface is down.
 * `absent`: there is no interface of the name. `waiting`: there is one that cannot be taken. Nothing passes
 * an interface that is not attached.
 */
export type AttachedState = "attached" | "down" | "absent" | "waiting";

/** The guard of a process's interfaces by name, for interfaces that are created again. */
export interface NameGuardStatus {
  /** The nftables table; null when the kernel supports none. */
  readonly table: string | null;
  /** Families that the guard does not cover, with the error. */
  readonly missing: readonly { readonly family: string; readonly error: string }[];
}

/** What a control socket reports and controls. */
export interface ControlSubject {
  /** `run`, or a lab's name. */
  readonly name: string;
  readonly version: string;
  readonly controller: Controller;
  readonly dataplane: Dataplane;
  readonly flows: FlowLog;
  readonly hits: Hits;
  readonly droppedFrames: DroppedFrames;
  readonly established: Established;
  readonly deny: Deny;
  readonly mode: () => Mode;
  readonly interfaces: () => readonly FilteredInterface[];
  /**
   * Absent when the process makes the interfaces itself, so that no one else creates them again.
   */
  readonly nameGuard?: () => NameGuardStatus;
  /** Interfaces that were created and taken again, since the start. */
  readonly retaken?: () => number;
  /** Reads the manifests again. */
  readonly reload: () => Promise<Reload>;
  /**
   * Listens for a successor, and returns the path; absent when the process cannot be taken over.
   */
  readonly offerPlace?: () => string;
  /** Whether changes on disk are known that have not been read yet. */
  readonly isBehind: () => boolean;
  /** Where pods' interfaces have other addresses than the manifests, in words; absent where no interface is a pod's. */
  readonly otherAddresses?: () => readonly string[];
  /** The state of the source of manifests, if it is not a folder. */
  readonly source?: () => SourceStatus | undefined;
  /** What is judged where the kernel routes or bridges it; absent where nothing is. */
  readonly inPlace?: InPlaceSubject | undefined;
  /** Where flows go beside the ring; absent where nothing can be told to. */
  readonly sinks?: () => readonly FlowSinkStatus[];
  /** What is counted of Hubble's clients; undefined where none may come. */
  readonly hubble?: () => Readonly<Record<string, number>> | undefined;
  /** What the CNI plugin has asked; absent where none may. */
  readonly plugin?: PluginMeasures | undefined;
}

export interface InPlaceSubject {
  readonly isAttached: boolean;
  /** The interfaces of the node's pods. Read from the kernel each time. */
  readonly podInterfaces: readonly PodInterfaceItem[];
  /** From a pod's new interface until the pod is in force, where no plugin has told of it. Units: seconds. */
  readonly unknownTimes: Histogram | undefined;
  /** Read from the kernel each time. */
  readonly counts: ForwardCounts;
  /** What the sender of a denied packet gets. */
  readonly deny: Deny;
  statusOf(counts: ForwardCounts): InPlaceStatus;
  /** ConnectionRecords of the pods' connections, which the kernel tracks. */
  connections(): AsyncGenerator<Uint8Array>;
}

/** All pods of a node, judged where the kernel routes or bridges their packets. */
export interface InPlaceStatus {
  /** Whether the programs are attached, and judge by the table in force. */
  readonly attached: boolean;
  /** What judges there; and what the kernel lacks for a better one, null where there is none. */
  readonly hook: Exclude<Choice<"hook">, "auto">;
  readonly hookReason: string | null;
  /** Why the senders of denied packets get no answer although one is asked for; null where they get it. */
  readonly denyReason: string | null;
  /** The folder that keeps them attached when the process ends. */
  readonly pinFolder: string;
  /** Packets judged since they were first attached, and their bytes. */
  readonly packets: number;
  readonly bytes: number;
  /** What passes to and from addresses of these ranges that no pod is known to have. */
  readonly unknownPods: Choice<"unknownPods">;
  readonly podRanges: readonly string[];
  /** What is not judged, because the kernel does not show it; null when nothing is known to bypass the hook. */
  readonly bypass: string | null;
  /** For how long the table goes on judging without a process, and what passes then; null: as long as it takes. */
  readonly lease: { readonly seconds: number; readonly failMode: Choice<"lapsed"> } | null;
  readonly connectionEnds: ConnectionEndsStatus;
  /** How many interfaces of pods are in each state of their guard. */
  readonly guards: Readonly<Partial<Record<GuardState, number>>>;
}

/** What the kernel's connection tracking tells of the ends of connections. */
export interface ConnectionEndsStatus {
  /** Whether it reports them: net.netfilter.nf_conntrack_events. */
  readonly told: boolean;
  /** Whether it counts packets and bytes: net.netfilter.nf_conntrack_acct. */
  readonly counted: boolean;
  /** How often reports were lost because they came faster than they were read. */
  readonly overruns: number;
}

/**
 * What is known of the interface of a pod. `on`: it is guarded, so that nobody speaks there as somebody else. `off`: it
 * is not to be guarded. `finding`: it is looked for. `missing`: that has taken too long, or it cannot be guarded.
 * `none`: the node has no interface that is this pod's alone.
 */
export type GuardState = "on" | "off" | "finding" | "missing" | "none";

/** The interface of a pod whose packets are judged in place. */
export interface PodInterfaceItem {
  readonly role: "pod";
  /** `namespace/name`; null where the pod is gone and its interface is still there. */
  readonly pod: string | null;
  /** Null while it is not known. */
  readonly name: string | null;
  readonly index: number | null;
  readonly addresses: readonly string[];
  readonly guard: GuardState;
  /** Why it is not on; may be empty. */
  readonly note: string;
  /** Frames dropped there since it was guarded, because they were not the pod's own. */
  readonly droppedFrames: number;
}

/** The largest set of manifests that a request may bring. Units: bytes. */
export const manifestsBytesMax = 64 * 1024 * 1024;

export interface ControlStatus extends Headed {
  readonly name: string;
  readonly version: string;
  readonly pid: number;
  /** Generation of the table in force; 0 before the first. */
  readonly generation: number;
  /** When it was put in force, RFC 3339. */
  readonly since: string | null;
  /** Whether the current manifests are in force on all interfaces. */
  readonly enforced: boolean;
  /** Interfaces that the process does not hold: nothing passes there. */
  readonly notAttached: readonly NotAttached[];
  /** Where pods' interfaces have other addresses than the manifests: those of the interfaces count. */
  readonly otherAddresses: readonly string[];
  /** Null when the process makes the interfaces itself. */
  readonly nameGuard: NameGuardStatus | null;
  /** Why the last reload changed nothing. */
  readonly lastError: string | null;
  readonly established: Established;
  readonly deny: Deny;
  readonly mode: Mode;
  /** Interfaces towards pods whose mode differs from the process's. */
  readonly otherModes: readonly OtherMode[];
  readonly endpoints: number;
  /** Interfaces that pass everything when the process is gone without a clean end. */
  readonly failOpen: readonly string[];
  readonly connections: number;
  /** Each endpoint's use of the connection table. */
  readonly connectionsByEndpoint: readonly EndpointUse[];
  /** Connections since the start that were evicted for new ones, by class. */
  readonly evictions: Readonly<Record<string, number>>;
  /** Fragmented datagrams since the start that gave way to new ones. */
  readonly fragmentsEvicted: number;
  readonly fragmentsByEndpoint: readonly FragmentUse[];
  readonly flowsLost: number;
  readonly flowSinks: readonly FlowSinkStatus[];
  readonly implementationDelay: DelayItem;
  /** Null where the manifests are files. */
  readonly source: SourceStatus | null;
  /** Null where nothing is judged in place. */
  readonly inPlace: InPlaceStatus | null;
  /** What only policies in audit mode would have denied, since the start. */
  readonly audited: number;
  /** Messages that passed because no policy judges them, by kind. */
  readonly exempt: Readonly<Record<string, number>>;
  /** Frames dropped, by reason. */
  readonly drops: Readonly<Record<string, number>>;
}

/** A place where flows go, beside the ring that observe reads. */
export interface FlowSinkStatus {
  readonly kind: "file" | "otlp" | "drops";
  /** A path, or an address. */
  readonly to: string;
  /** Flows written since the start of the sink, lost, and waiting. */
  readonly written: number;
  readonly lost: number;
  readonly waiting: number;
  /** Why the last delivery failed; null after one that did not. */
  readonly error: string | null;
}

/** The use of the connection table by the endpoint behind an interface. */
export interface EndpointUse {
  /** `namespace/name`; null where the pod is not known. */
  readonly pod: string | null;
  readonly interface: string;
  /** Connections tracked now, and their limit. */
  readonly used: number;
  readonly quota: number;
  /** Since the start: connections evicted for new ones, and new ones refused at the quota. */
  readonly evicted: number;
  readonly refused: number;
}

/** The fragmented datagrams of the endpoint behind an interface. */
export interface FragmentUse {
  /** `namespace/name`; null where the pod is not known. */
  readonly pod: string | null;
  readonly interface: string;
  /** Datagrams that have begun and are not whole, and the endpoint's share of their table. */
  readonly used: number;
  readonly share: number;
  /** Since the start: datagrams that gave way to new ones. */
  readonly evicted: number;
}

export interface OtherMode {
  readonly name: string;
  readonly pod: string | null;
  readonly mode: Mode;
}

export interface NotAttached {
  readonly name: string;
  readonly state: AttachedState;
  readonly note: string;
}

/** How long changes took, from their event until they were in force. */
export interface DelayItem {
  readonly events: number;
  /** Units: seconds; null while there are no events. */
  readonly p50Seconds: number | null;
  readonly p99Seconds: number | null;
}

export interface ControlList<Item> extends Headed {
  readonly items: readonly Item[];
}

export interface EndpointItem {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly interface: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly ingress: DirectionItem;
  readonly egress: DirectionItem;
}

export interface DirectionItem extends Isolation {
  readonly isolated: boolean;
  readonly rules: number;
  /** The same with audited policies enforced too; absent when there is no difference. */
  readonly audit?: Omit<DirectionItem, "audit">;
}

export interface ConnectionItem {
  /**
   * The interface towards the pod, on the wire that the connection crosses; null in a lab. A connection that
   * crosses two wires is listed twice.
   */
  readonly interface: string | null;
  readonly protocol: string;
  readonly state: string;
  readonly source: ConnectionEnd;
  readonly destination: ConnectionEnd;
  readonly assured: boolean;
  /** The sides that would deny it if audited policies were enforced. */
  readonly auditedBy: readonly ("egress" | "ingress")[];
  readonly generation: number;
  readonly expiresInMs: number;
  /** Frames so far, both ways; absent where the kernel tracks the connection and does not count. */
  readonly packets?: number;
  readonly bytes?: number;
  /**
   * What passes its packets now: the kernel itself, by what this process has admitted (`--link kernel`), or this
   * process; absent where the kernel tracks the connection.
   */
  readonly path?: "kernel" | "userspace";
}

export interface ConnectionEnd {
  readonly address: string;
  /** 0 when the protocol has none. */
  readonly port: number;
  /** `namespace/name`, or null when no pod has the address. */
  readonly pod: string | null;
}

export interface InterfaceItem {
  /** Mode of policies that do not set one. */
  readonly mode: Mode;
  /** What passes there when the process is gone without a clean end: nothing, or everything. */
  readonly failMode: Choice<"failMode">;
  readonly name: string;
  readonly role: "endpoint" | "uplink";
  readonly pod: string | null;
  readonly state: AttachedState;
  /** A note on that state; may be empty. */
  readonly note: string;
  readonly receivedFrames: number;
  readonly receivedBytes: number;
  /** Of the received ones, those that the kernel passed itself (`--link kernel`). */
  readonly kernelFrames: number;
  readonly kernelBytes: number;
  readonly sentFrames: number;
  readonly sentBytes: number;
  readonly droppedFrames: number;
  readonly refusedFrames: number;
  readonly lostFrames: number;
}

export interface TableItem {
  readonly name: string;
  readonly generation: number;
  readonly since: string | null;
  readonly bytes: number;
  readonly endpoints: number;
  readonly rows: number;
  readonly portSets: number;
  readonly addressClasses: number;
}

/** A connection that a change would cut, and why. */
export interface CutItem extends ConnectionItem, Omit<Denial, "index"> {}

export interface DryRunAnswer extends Headed {
  readonly ok: boolean;
  readonly diagnostics: readonly Diagnostic[];
  /** Generation of the table that judges the connections now. */
  readonly generation: number;
  readonly established: Established;
  /** Connections checked. */
  readonly connections: number;
  readonly cut: readonly CutItem[];
}

export interface ReloadAnswer extends Headed {
  readonly ok: boolean;
  readonly generation: number;
  readonly diagnostics: readonly Diagnostic[];
  readonly refused?: Refusal;
  /** Interfaces on which nothing is in force, and nothing passes. */
  readonly notAttached: readonly NotAttached[];
}

/** Names in a filter that no pod or namespace has now. */
export interface UnknownNamesAnswer extends Headed {
  readonly unknown: readonly UnknownName[];
}

/** The table in force; its objects are the items, as `toJson` writes them, and so is `local`. */
export interface ManifestListHead extends Headed {
  readonly generation: number;
  /** Why the last reload changed nothing; the policies may then be others than those in force. */
  readonly lastError: string | null;
  readonly mode: Mode;
  /** Whose traffic the table judges. */
  readonly local: unknown;
  /** The blob, in base64. */
  readonly table: string;
}

/** Where a successor must connect. */
export interface TakeOverAnswer extends Headed {
  readonly path: string;
}

export interface FlushAnswer extends Headed {
  readonly flushed: number;
}

/**
 * Makes the routes of every enforcing process's control socket.
 *
 * They are described in docs/control.md.
 */
export function controlRoutes(subject: ControlSubject, hitSeries?: HitSeries): Required<Routes> {
  return {
    handlers: {
      "GET /status": () => controlStatus(subject),
      "GET /endpoints": () => list("EndpointList", endpointPieces(subject)),
      "GET /policies": () => policiesAnswer(subject),
      "GET /rules": () => rulesAnswer(subject),
      "GET /interfaces": () =>
        list("InterfaceList", [...interfacePieces(subject), ...podInterfacePieces(subject)]),
      "GET /manifests": () => manifestList(subject),
      "GET /tables": () => list("TableList", [() => tableItems(subject)]),
      "GET /unknown-names": ({ query, time }) => unknownNames(subject, query, time),
      "GET /connections": ({ query }) =>
        list("ConnectionList", connectionPieces(subject, filterOf(query))),
      "POST /connections/flush": ({ query, time }) => flush(subject, filterOf(query), time),
      "POST /dry-run": (asked) => dryRun(subject, asked),
      "POST /reload": async () => reloadAnswer(subject, await subject.reload()),
      "POST /take-over": (): TakeOverAnswer => {
        if (subject.offerPlace === undefined) {
          throw new RefusalError("usage", `${subject.name} cannot be taken over`);
        }
        return { apiVersion, kind: "TakeOver", path: subject.offerPlace() };
      },
      ...metricsHandlers(subject, hitSeries),
    },
    streams: { "GET /flows": flowStream(subject.flows), "GET /drops": dropStream(subject) },
    bodies: { "POST /dry-run": manifestsBytesMax },
  };
}

/**
 * Makes the routes for Prometheus and for health checks. They are on the control socket, and on the metrics
 * port, which untrusted clients may reach. With `hitSeries`, metrics have the hits of policies too.
 */
export function metricsHandlers(
  subject: ControlSubject,
  hitSeries?: HitSeries,
): Readonly<Record<string, PlainHandler>> {
  const packets = new Heartbeat(() => subject.dataplane.progress());
  return {
    "GET /metrics": async () => {
      if (hitSeries !== undefined) await subject.hits.refresh();
      return new PlainAnswer(200, metricsText(subject, hitSeries), expositionType);
    },
    "GET /healthz": () =>
      // Before the first table no packet moves, so a still worker is no fault.
      subject.controller.status.generation > 0 && packets.hangs
        ? new PlainAnswer(503, "packets stand still\n")
        : new PlainAnswer(200, "ok\n"),
    "GET /readyz": () => {
      const status = controlStatus(subject);
      const { enforced, generation, source } = status;
      if (enforced) {
        // Still healthy: the table in force is the best known, and a restart would know less.
        const doubts = [staleText(source ?? undefined) ?? [], status.otherAddresses].flat();
        const how = doubts.length === 0 ? "ok" : "degraded";
        const parts = [`${how}: generation ${generation} is in force`, ...doubts];
        return new PlainAnswer(200, `${parts.join("; ")}\n`);
      }
      return new PlainAnswer(503, `not ready: ${unreadyText(status)}\n`);
    },
  };
}

/** Says why a process does not enforce everything. */
export function unreadyText(
  status: Pick<ControlStatus, "lastError" | "notAttached" | "generation" | "inPlace">,
): string {
  if (status.lastError !== null) return status.lastError;
  if (status.notAttached.length > 0) return notAttachedText(status.notAttached);
  const missing = status.inPlace?.guards?.missing ?? 0;
  if (missing > 0) return `the interfaces of ${count(missing, "pod")} are not guarded`;
  return status.generation === 0
    ? "the manifests have not been read yet"
    : `generation ${status.generation} is in force, and not the latest`;
}

/** Names the interfaces on which nothing is in force. */
export function notAttachedText(interfaces: readonly NotAttached[]): string {
  return `nothing passes ${interfaces.map(({ name, note }) => `${name} (${note})`).join(", ")}`;
}

/** The interfaces that the process does not hold. */
export function notAttached(interfaces: readonly FilteredInterface[]): NotAttached[] {
  return interfaces.flatMap(({ name, state = "attached", note = "" }) => {
    return state === "absent" || state === "waiting" ? [{ name, state, note }] : [];
  });
}

function otherModes({ interfaces, mode }: ControlSubject): OtherMode[] {
  const usual = mode();
  return interfaces().flatMap(({ name, role, pod, mode: own = usual }) =>
    role === "endpoint" && own !== usual ? [{ name, pod, mode: own }] : [],
  );
}

/** The status of an enforcing process. */
export function controlStatus(subject: ControlSubject): ControlStatus {
  const { controller, flows, established, inPlace, name, version } = subject;
  const { generation, since, lastError, endpoints } = controller.status;
  const { delay } = controller.measures;
  const inKernel = inPlace?.counts;
  const counters = countersOf(subject, inKernel);
  const interfaces = subject.interfaces();
  return {
    apiVersion,
    kind: "Status",
    name,
    version,
    pid: process.pid,
    generation,
    since: since?.toISOString() ?? null,
    enforced: isEnforced(subject, interfaces),
    notAttached: notAttached(interfaces),
    otherAddresses: subject.otherAddresses?.() ?? [],
    nameGuard: subject.nameGuard?.() ?? null,
    lastError: lastError ?? null,
    established,
    deny: inPlace?.deny ?? subject.deny,
    mode: subject.mode(),
    otherModes: otherModes(subject),
    endpoints,
    failOpen: interfaces.filter(({ failMode }) => failMode === "open").map((each) => each.name),
    connections: counters.connections,
    connectionsByEndpoint: endpointUses(interfaces, counters),
    evictions: counters.evictions,
    fragmentsEvicted: counters.fragmentsEvicted,
    fragmentsByEndpoint: fragmentUses(interfaces, counters),
    flowsLost: counters.eventsLost + flows.lost,
    flowSinks: subject.sinks?.() ?? [],
    implementationDelay: {
      events: delay.count,
      p50Seconds: delay.quantile(0.5) ?? null,
      p99Seconds: delay.quantile(0.99) ?? null,
    },
    source: subject.source?.() ?? null,
    inPlace: inPlace === undefined || inKernel === undefined ? null : inPlace.statusOf(inKernel),
    audited: counters.audited,
    exempt: counters.exempt,
    drops: counters.drops,
  };
}

/** Whether the current manifests are in force everywhere. */
function isEnforced(
  { controller, isBehind, inPlace }: ControlSubject,
  interfaces: readonly FilteredInterface[],
): boolean {
  const { generation, lastError, pending } = controller.status;
  const isCurrent = lastError === undefined && pending === 0 && !isBehind();
  const isWhole = notAttached(interfaces).length === 0 && (inPlace?.isAttached ?? true);
  return generation > 0 && isCurrent && isWhole && unguarded(inPlace).length === 0;
}

/** How many interfaces of pods are in each state of their guard. */
export function guardsOf(
  inPlace: Pick<InPlaceSubject, "podInterfaces"> | undefined,
): InPlaceStatus["guards"] {
  const guards: Partial<Record<GuardState, number>> = {};
  for (const { guard } of inPlace?.podInterfaces ?? []) guards[guard] = (guards[guard] ?? 0) + 1;
  return guards;
}

/** The pods in whose name others may speak, although that should not be. */
function unguarded(inPlace: InPlaceSubject | undefined): readonly PodInterfaceItem[] {
  return inPlace?.podInterfaces.filter(({ guard }) => guard === "missing") ?? [];
}

/** What the data plane's links and the programs in the kernel have counted. */
function countersOf({ dataplane }: ControlSubject, inKernel: ForwardCounts | undefined): Counters {
  const counters = dataplane.counters();
  if (inKernel === undefined) return counters;
  const { drops, exempt, audited, opened, rejected, eventsLost } = inKernel;
  return {
    ...counters,
    drops: sumByKey(counters.drops, drops),
    exempt: sumByKey(counters.exempt, exempt),
    audited: counters.audited + audited,
    opened: counters.opened + opened,
    rejected: counters.rejected + rejected,
    eventsLost: counters.eventsLost + eventsLost,
  };
}

function sumByKey<Counts extends Readonly<Record<string, number>>>(
  a: Counts,
  b: Readonly<Record<string, number>>,
): Counts {
  const sum: Record<string, number> = { ...a };
  for (const [key, count] of Object.entries(b)) sum[key] = (sum[key] ?? 0) + count;
  return sum as Counts;
}

function endpointUses(
  interfaces: readonly FilteredInterface[],
  { links }: Counters,
): readonly EndpointUse[] {
  return interfaces.flatMap(({ name, pod, linkId }) => {
    const counts = links.get(linkId);
    if (counts === undefined || counts.connectionQuota === 0) return [];
    const { connections, connectionQuota, evictedConnections, refusedConnections } = counts;
    return [
      {
        ...{ pod, interface: name, used: connections, quota: connectionQuota },
        ...{ evicted: evictedConnections, refused: refusedConnections },
      },
    ];
  });
}

function fragmentUses(
  interfaces: readonly FilteredInterface[],
  { links }: Counters,
): readonly FragmentUse[] {
  return interfaces.flatMap(({ name, pod, linkId }) => {
    const counts = links.get(linkId);
    if (counts === undefined || counts.fragmentShare === 0) return [];
    const { fragments, fragmentShare, evictedFragments } = counts;
    const use = { used: fragments, share: fragmentShare, evicted: evictedFragments };
    return [{ pod, interface: name, ...use }];
  });
}

function metricsText(subject: ControlSubject, hitSeries: HitSeries | undefined): string {
  const { controller, dataplane, flows, version } = subject;
  const { measures, table } = controller;
  const inKernel = subject.inPlace?.counts;
  const interfaces = subject.interfaces();
  return exposition(
    sluiceMetrics({
      version,
      counters: countersOf(subject, inKernel),
      inPlace: inKernel && { ...inKernel, guards: guardsOf(subject.inPlace) },
      unknownTimes: subject.inPlace?.unknownTimes,
      plugin: subject.plugin,
      interfaces,
      connectionsMax: dataplane.connectionsMax,
      tableBytes: table?.blob.byteLength ?? 0,
      endpoints: controller.status.endpoints,
      isReady: isEnforced(subject, interfaces),
      retaken: subject.retaken?.() ?? 0,
      reloads: measures,
      compile: measures.compile,
      compiles: measures.compiles,
      delay: measures.delay,
      flowsLost: flows.lost,
      sinks: subject.sinks?.() ?? [],
      hubble: subject.hubble?.(),
      source: subject.source?.(),
      policies: hitSeries?.families(subject.hits.bySide()) ?? [],
    }),
  );
}

function* endpointPieces({ controller, interfaces }: ControlSubject): Generator<ListPiece> {
  const { table } = controller;
  if (table === undefined) return;
  const byPod = new Map(interfaces().map(({ pod, name }) => [pod, name]));
  const labels: PodLabels = new Map();
  yield* piecesOf(table.objects, (some) => {
    for (const { kind, meta } of some) {
      if (kind === "Pod") labels.set(`${meta.namespace}/${meta.name}`, meta.labels);
    }
    return [];
  });
  yield* piecesOf(table.ruleset.endpoints, (some) =>
    some.map((endpoint) => endpointItem(endpoint, byPod, labels)),
  );
}

/** By `namespace/name`. */
type PodLabels = Map<string, ReadonlyMap<string, string>>;

function endpointItem(
  endpoint: EndpointSummary,
  byPod: ReadonlyMap<string | null, string>,
  labels: Readonly<PodLabels>,
): EndpointItem {
  const pod = `${endpoint.namespace}/${endpoint.name}`;
  return {
    namespace: endpoint.namespace,
    name: endpoint.name,
    addresses: endpoint.addresses.map(formatAddress),
    interface: byPod.get(pod) ?? null,
    labels: Object.fromEntries(labels.get(pod) ?? []),
    ingress: directionItem(endpoint, "ingress"),
    egress: directionItem(endpoint, "egress"),
  };
}

function directionItem(endpoint: EndpointSummary, side: "ingress" | "egress"): DirectionItem {
  const audit = endpoint.audit?.[side] ?? endpoint[side];
  return {
    ...rulesItem(endpoint[side]),
    ...(audit === endpoint[side] ? {} : { audit: rulesItem(audit) }),
  };
}

function rulesItem({ isolatedBy, rules }: RulesSummary): Omit<DirectionItem, "audit"> {
  return {
    isolated: isolatedBy.length > 0,
    ...isolationOf(isolatedBy.map(policyPlace)),
    rules,
  };
}

/** The table in force with what it was made from, for whoever puts questions to it elsewhere. */
async function manifestList({ controller }: ControlSubject): Promise<ListAnswer> {
  const { table, generation, policies } = await controller.inForce();
  if (table === undefined) {
    throw new RefusalError("environment", "the manifests have not been read yet");
  }
  const { lastError } = controller.status;
  const { local, mode } = controller.dryRunTask;
  const whole = new Map<string, unknown>(
    policies.map((each) => [policyKey({ kind: each.kind, ...each.meta }), each]),
  );
  const head: ManifestListHead = {
    ...({ apiVersion, kind: "ManifestList" } as const),
    ...{ generation, lastError: lastError ?? null, mode, local: toJson(local) },
    table: Buffer.from(table.blob.bytes).toString("base64"),
  };
  const pieces = piecesOf([...table.objects, ...(table.services ?? [])], (some) =>
    some.map((each) => toJson(whole.get(policyKey({ kind: each.kind, ...each.meta })) ?? each)),
  );
  return new ListAnswer({ ...head }, pieces);
}

function interfacePieces({ dataplane, interfaces, mode }: ControlSubject): Generator<ListPiece> {
  const { links } = dataplane.counters();
  const itemOf = (each: FilteredInterface): InterfaceItem => {
    const { name, role, pod, linkId, failMode, state, note } = each;
    const counts = links.get(linkId);
    return {
      name,
      role,
      pod,
      state: state ?? "attached",
      note: note ?? "",
      failMode: failMode ?? "closed",
      mode: each.mode ?? mode(),
      receivedFrames: counts?.receivedFrames ?? 0,
      receivedBytes: counts?.receivedBytes ?? 0,
      kernelFrames: counts?.kernelFrames ?? 0,
      kernelBytes: counts?.kernelBytes ?? 0,
      sentFrames: counts?.sentFrames ?? 0,
      sentBytes: counts?.sentBytes ?? 0,
      droppedFrames: counts?.droppedFrames ?? 0,
      refusedFrames: counts?.refusedFrames ?? 0,
      lostFrames: counts?.lostFrames ?? 0,
    };
  };
  return piecesOf(interfaces(), (some) => some.map(itemOf));
}

function podInterfacePieces({ inPlace }: ControlSubject): Generator<ListPiece> {
  return piecesOf(inPlace?.podInterfaces ?? [], (some) => some);
}

function tableItems({ controller }: ControlSubject): TableItem[] {
  const { table, status } = controller;
  if (table === undefined) return [];
  const { generation, since } = status;
  return [{ name: "policy", generation, since: since?.toISOString() ?? null, ...table.stats }];
}

/** Reads a filter from a query. Errors: RefusalError (usage). */
function filterOf(query: URLSearchParams): FlowFilter {
  const filter = readFlowFilter((flag) => query.getAll(flag));
  if (typeof filter === "string") throw new RefusalError("usage", filter);
  return filter;
}

async function unknownNames(
  { controller }: ControlSubject,
  query: URLSearchParams,
  time: ClientTime,
): Promise<UnknownNamesAnswer> {
  const names = new KnownNames((flag) => query.getAll(flag));
  if (names.size > namesMax) {
    const got = `got ${names.size} names of pods and namespaces`;
    throw new RefusalError("usage", `${got}, want at most ${namesMax} in a request`);
  }
  const head = { apiVersion, kind: "UnknownNames" } as const;
  const objects = controller.table?.objects;
  // Before the first table no name is known, so none is reported.
  if (objects === undefined) return { ...head, unknown: [] };
  for (const step of names.steps(objects)) await time.step(step);
  return { ...head, unknown: names.unknown };
}

interface FoundConnection {
  readonly connection: Connection;
  readonly item: ConnectionItem;
}

type ConnectionFinder = (records: Uint8Array) => FoundConnection[];

/** Reads records, and keeps those that a filter lets through. Cost: some 15 microseconds each. */
function connectionFinder(
  { flows, interfaces }: ControlSubject,
  filter: FlowFilter,
): ConnectionFinder {
  const byZone = new Map(
    interfaces().map(({ zone, role, name }) => [role === "endpoint" ? zone : undefined, name]),
  );
  const { snapshot } = flows;
  return (records) =>
    decodeConnections(records).flatMap((connection) => {
      const { source, destination } = connection;
      const owners = [snapshot?.ownerOf(source), snapshot?.ownerOf(destination)] as const;
      const isWanted = filter({
        source: endpointOf(owners[0]),
        destination: endpointOf(owners[1]),
        IP: {
          source: formatAddress(source),
          destination: formatAddress(destination),
          ipVersion: source.family === 4 ? "IPv4" : "IPv6",
        },
        ...l4Of(connection),
      });
      if (!isWanted) return [];
      const end = (address: Address, port: number, side: 0 | 1): ConnectionEnd => {
        const owner = owners[side];
        const pod = owner?.kind === "pod" ? `${owner.namespace}/${owner.name}` : null;
        // An ICMP query has its identifier in place of a port.
        return { address: formatAddress(address), port: hasPorts(connection) ? port : 0, pod };
      };
      const item: ConnectionItem = {
        interface: byZone.get(connection.zone) ?? null,
        protocol: protocolName(connection.protocol),
        state: connection.state,
        source: end(source, connection.sourcePort, 0),
        destination: end(destination, connection.destinationPort, 1),
        assured: connection.isAssured,
        auditedBy: connection.auditedBy,
        generation: connection.generation,
        expiresInMs: connection.expiresInMs,
        ...(connection.packets === 0
          ? {}
          : {
              packets: connection.packets,
              bytes: connection.bytes,
              path: connection.isInKernel ? "kernel" : "userspace",
            }),
      };
      return [{ connection, item }];
    });
}

/** ConnectionRecords, in pieces: of the data plane, or of the kernel where it tracks them. */
function connectionsOf({ dataplane, inPlace }: ControlSubject): AsyncGenerator<Uint8Array> {
  return inPlace === undefined ? dataplane.connections() : inPlace.connections();
}

async function* connectionPieces(
  subject: ControlSubject,
  filter: FlowFilter,
): AsyncGenerator<ListPiece> {
  const find = connectionFinder(subject, filter);
  for await (const records of connectionsOf(subject)) {
    yield () => find(records).map(({ item }) => item);
  }
}

async function flush(
  subject: ControlSubject,
  filter: FlowFilter,
  time: ClientTime,
): Promise<FlushAnswer> {
  const { dataplane, inPlace } = subject;
  if (inPlace !== undefined) {
    throw new RefusalError(
      "usage",
      "the kernel tracks the connections, and nothing has to be forgotten: each packet is judged by the table in force",
    );
  }
  const find = connectionFinder(subject, filter);
  let flushed = 0;
  for await (const records of dataplane.connections()) {
    const keys = await time.step(() => find(records).map(({ connection }) => connection.key));
    if (keys.length > 0) flushed += await dataplane.forget(keys);
  }
  return { apiVersion, kind: "Flush", flushed };
}

/** Judges the live connections by other manifests, without changing anything. */
async function dryRun(subject: ControlSubject, asked: Asked): Promise<DryRunAnswer | ListAnswer> {
  const { controller, established, inPlace } = subject;
  const judge = new DryRunProcess(controller.dryRunTask, asked.bytes);
  const { ok, diagnostics } = await judge.compiled();
  const { generation } = controller.status;
  const head = { apiVersion, kind: "DryRun", diagnostics, generation, established } as const;
  if (!ok) return { ...head, ok, connections: 0, cut: [] };

  const find = connectionFinder(subject, () => true);
  let connections = 0;
  const pieces = async function* (): AsyncGenerator<ListPiece> {
    try {
      for await (const records of connectionsOf(subject)) {
        connections += records.length / ConnectionRecord.bytes;
        // With `established: keep` a new table cuts no connection; the kernel's programs keep none.
        const keeps = established === "keep" && inPlace === undefined;
        const denials = keeps ? [] : await judge.denials(records);
        if (denials.length === 0) continue;
        yield () => {
          const found = find(records);
          return denials.map(({ index, ...why }): CutItem => ({ ...found[index]!.item, ...why }));
        };
      }
    } finally {
      judge.close();
    }
  };
  const tail = () => ({ connections });
  return new ListAnswer({ ...head, ok: true }, pieces(), { member: "cut", tail });
}

function reloadAnswer(subject: ControlSubject, reload: Reload): ReloadAnswer {
  const { ok, diagnostics } = reload;
  const { generation } = subject.controller.status;
  const missing = notAttached(subject.interfaces());
  const head = {
    ...({ apiVersion, kind: "Reload" } as const),
    ...{ ok, generation, diagnostics, notAttached: missing },
  };
  return reload.ok || reload.refused === undefined
    ? head
    : { ...head, refused: refusalOf(reload.refused) };
}

function flowStream(flows: FlowLog): Stream {
  return (reader, query) => {
    const count = numberOf(query, "last");
    const sinceUs = timeOf(query, "since");
    const untilUs = timeOf(query, "until");
    const request: FlowRequest = {
      filter: filterOf(query),
      follow: query.get("follow") === "true",
      ...(count === undefined ? {} : { last: count }),
      ...(sinceUs === undefined ? {} : { sinceUs }),
      ...(untilUs === undefined ? {} : { untilUs }),
    };
    return flows.read(request, reader);
  };
}

function dropStream({ droppedFrames }: ControlSubject): Stream {
  return (reader, query) => droppedFrames.read(filterOf(query), reader);
}

function numberOf(query: URLSearchParams, key: string): number | undefined {
  const text = query.get(key);
  if (text === null) return undefined;
  if (!/^\d{1,9}$/.test(text)) {
    throw new RefusalError("usage", `${key}: got "${text}", want a whole number`);
  }
  return Number(text);
}

/** Reads an RFC 3339 time into microseconds. */
function timeOf(query: URLSearchParams, key: string): number | undefined {
  const text = query.get(key);
  if (text === null) return undefined;
  const time = Date.parse(text);
  if (Number.isNaN(time)) {
    throw new RefusalError(
      "usage",
      `${key}: got "${text}", want a time such as 2026-01-02T15:04:05Z`,
    );
  }
  return time * 1_000;
}
