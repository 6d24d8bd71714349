import type { Counters } from "../dataplane/dataplane.js";
import type { Family, HistogramFamily, Labels, Sample } from "./exposition.js";
import { Histogram } from "./histogram.js";

/** An interface, by the name that it has in metrics. */
export interface MeasuredInterface {
  readonly name: string;
  readonly linkId: number;
  /** Absent: attached. */
  readonly state?: "attached" | "down" | "absent" | "waiting";
  /** Absent: closed. */
  readonly failMode?: "closed" | "open";
}

/** All that metrics are made from. */
export interface Measured {
  readonly version: string;
  readonly counters: Counters;
  readonly interfaces: readonly MeasuredInterface[];
  readonly connectionsMax: number;
  readonly tableBytes: number;
  readonly endpoints: number;
  /** Whether the current manifests are in force. */
  readonly isReady: boolean;
  /** Interfaces that were created and taken again. */
  readonly retaken: number;
  readonly reloads: { readonly succeeded: number; readonly failed: number };
  /** Units: seconds. */
  readonly compile: Histogram;
  /** Tables that were compiled: without effect, in part, or from nothing. */
  readonly compiles: Readonly<Record<"none" | "patch" | "rebuild", number>>;
  /** Units: seconds. */
  readonly delay: Histogram;
  /** Records that slow readers of flows have lost. */
  readonly flowsLost: number;
  /** Where flows go, beside the ring. */
  readonly sinks?: readonly {
    readonly kind: string;
    readonly written: number;
    readonly lost: number;
    readonly waiting: number;
  }[];
  /** What is counted of Hubble's clients, where any may come; refusals by `refused:` and the reason. */
  readonly hubble?: Readonly<Record<string, number>> | undefined;
  /** The hits of policies, where they are asked for. */
  readonly policies?: readonly Family[];
  /** Where the manifests come from, when they are no files. */
  readonly source: MeasuredSource | undefined;
  /** What programs in the kernel have judged, where there are any. */
  readonly inPlace?:
    | {
        readonly totalPackets: number;
        readonly totalBytes: number;
        /** Interfaces of pods by the state of their guard. */
        readonly guards: Readonly<Record<string, number>>;
      }
    | undefined;
  /** From a pod's new interface until the pod was in force, where no plugin told of it. Units: seconds. */
  readonly unknownTimes?: Histogram | undefined;
  /** What the CNI plugin has asked, where it may. */
  readonly plugin?: PluginMeasures | undefined;
}

/** New pods that the CNI plugin has told of. */
export interface PluginMeasures {
  /** From a plugin's question until the pod's policy was in force. Units: seconds. */
  readonly added: Histogram;
  /** Questions about new pods that ended with an error. */
  readonly failed: number;
}

/** A source that is followed over a network. */
export interface MeasuredSource {
  readonly connected: boolean;
  readonly ageSeconds: number | null;
  readonly unreadable: number;
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number;
  readonly resources: readonly {
    readonly resource: string;
    readonly ageSeconds: number | null;
    readonly objects: number;
    readonly events: number;
    readonly lists: number;
  }[];
}

const perInterface = [
  ["sluice_rx_ring_drops_total", "lostFrames", "Frames that the kernel could not keep for us."],
  ["sluice_tx_refused_packets_total", "refusedFrames", "Frames that the interface could not take."],
  [
    "sluice_neighbour_answers_total",
    "answeredFrames",
    "ARP and neighbour requests answered for the gateway.",
  ],
  [
    "sluice_rx_kernel_packets_total",
    "kernelFrames",
    "Frames received there that the kernel passed itself (--link kernel); they count as received too.",
  ],
  ["sluice_rx_kernel_bytes_total", "kernelBytes", "Their bytes."],
] as const;

/** Counts of the endpoint behind an interface, which identifies the endpoint. */
const perEndpoint = [
  [
    "gauge",
    "sluice_conntrack_endpoint_entries",
    "connections",
    "Connections tracked now that count for the endpoint behind the interface.",
  ],
  [
    "gauge",
    "sluice_conntrack_endpoint_entries_limit",
    "connectionQuota",
    "Connections that the endpoint may have.",
  ],
  [
    "counter",
    "sluice_conntrack_endpoint_evictions_total",
    "evictedConnections",
    "Connections of the endpoint that gave way to new ones.",
  ],
  [
    "counter",
    "sluice_conntrack_endpoint_refused_total",
    "refusedConnections",
    "New connections of the endpoint that were refused at its limit.",
  ],
  [
    "gauge",
    "sluice_fragment_endpoint_entries",
    "fragments",
    "Fragmented datagrams of the endpoint that have begun and are not whole.",
  ],
  [
    "gauge",
    "sluice_fragment_endpoint_entries_limit",
    "fragmentShare",
    "Fragmented datagrams that the endpoint may have.",
  ],
  [
    "counter",
    "sluice_fragment_endpoint_evictions_total",
    "evictedFragments",
    "Fragmented datagrams of the endpoint that gave way to new ones.",
  ],
] as const;

/**
 * Makes every metric of a process that enforces.
 *
 * Shape: the same names always, so that a dashboard never lacks one; no label holds a pod, an address
 *        or a port. Interfaces of one name (all pods of a lab have eth0) are one series.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: a list of metrics, one literal each
export function sluiceMetrics(measured: Measured): readonly (Family | HistogramFamily)[] {
  const { counters, interfaces } = measured;
  const byName = new Map<string, { -readonly [Name in keyof LinkCounts]: number }>();
  for (const { name, linkId } of interfaces) {
    const counts = counters.links.get(linkId);
    if (counts === undefined) continue;
    const sum = byName.get(name);
    if (sum === undefined) byName.set(name, { ...counts });
    else for (const key of Object.keys(counts) as (keyof LinkCounts)[]) sum[key] += counts[key];
  }
  const links = [...byName];
  const endpoints = links.filter(([, { connectionQuota }]) => connectionQuota > 0);
  const failModes = new Map(interfaces.map(({ name, failMode }) => [name, failMode ?? "closed"]));
  const unattached = new Set(
    interfaces.flatMap(({ name, state }) => ((state ?? "attached") === "attached" ? [] : [name])),
  );
  const drops = Object.entries(counters.drops).sort(([a], [b]) => (a < b ? -1 : 1));

  return [
    gauge("sluice_build_info", "Which sluice this is; always 1.", [
      { labels: { version: measured.version, node: process.versions.node }, value: 1 },
    ]),
    gauge("sluice_ready", "Whether the manifests as they are now are in force everywhere.", [
      { value: measured.isReady ? 1 : 0 },
    ]),
    gauge(
      "sluice_interface_attached",
      "Whether an interface is there, up, and in this process's hands; nothing passes it otherwise.",
      links.map(([name]) => labelled({ interface: name }, unattached.has(name) ? 0 : 1)),
    ),
    counter(
      "sluice_interfaces_retaken_total",
      "Interfaces that were made anew, and taken again without a reload.",
      [{ value: measured.retaken }],
    ),
    counter(
      "sluice_packets_total",
      "Frames by what became of them: in is taken from the interface, out given to it.",
      links.flatMap(([name, counts]) => [
        {
          labels: { interface: name, direction: "in", verdict: "forwarded" },
          value: Math.max(0, counts.receivedFrames - counts.droppedFrames),
        },
        {
          labels: { interface: name, direction: "in", verdict: "dropped" },
          value: counts.droppedFrames,
        },
        {
          labels: { interface: name, direction: "out", verdict: "forwarded" },
          value: counts.sentFrames,
        },
      ]),
    ),
    counter(
      "sluice_bytes_total",
      "Bytes taken from the interface (in, dropped ones included) and given to it (out).",
      links.flatMap(([name, counts]) => [
        { labels: { interface: name, direction: "in" }, value: counts.receivedBytes },
        { labels: { interface: name, direction: "out" }, value: counts.sentBytes },
      ]),
    ),
    counter(
      "sluice_drop_packets_total",
      "Frames dropped, by reason; direction is known where policy dropped them.",
      drops.map(([reason, value]) => ({
        labels: { reason, direction: directionOf(reason) },
        value,
      })),
    ),
    counter(
      "sluice_in_place_packets_total",
      "Packets that the kernel routes or bridges, judged on their way.",
      [{ value: measured.inPlace?.totalPackets ?? 0 }],
    ),
    counter("sluice_in_place_bytes_total", "Their bytes, from the IP header on.", [
      { value: measured.inPlace?.totalBytes ?? 0 },
    ]),
    gauge(
      "sluice_in_place_interfaces",
      "Interfaces of pods that are judged in place, by the state of the guard that keeps a pod from speaking as another.",
      Object.entries(measured.inPlace?.guards ?? {}).map(([guard, value]) =>
        labelled({ guard }, value),
      ),
    ),
    ...perInterface.map(([name, key, help]) =>
      counter(
        name,
        help,
        links.map(([link, counts]) => labelled({ interface: link }, counts[key])),
      ),
    ),
    gauge("sluice_fail_mode", "What happens to traffic when this process ends; always 1.", [
      ...links.map(([name]) => {
        const mode = failModes.get(name) ?? "closed";
        return labelled({ interface: name, mode }, 1);
      }),
    ]),
    gauge("sluice_conntrack_entries", "Connections tracked now.", [
      { value: counters.connections },
    ]),
    gauge("sluice_conntrack_entries_limit", "Connections that can be tracked at once.", [
      { value: measured.connectionsMax },
    ]),
    counter(
      "sluice_conntrack_insert_failed_total",
      "New connections refused: the table is full, or their endpoint is at its quota.",
      [
        labelled({ reason: "full" }, counters.drops["conntrack-full"] ?? 0),
        labelled({ reason: "quota" }, counters.drops["connection-quota"] ?? 0),
      ],
    ),
    ...perEndpoint.map(([type, name, key, help]) => ({
      ...{ name, type, help },
      samples: endpoints.map(([link, counts]) => labelled({ interface: link }, counts[key])),
    })),
    counter("sluice_conntrack_opened_total", "Connections allowed.", [{ value: counters.opened }]),
    counter("sluice_conntrack_closed_total", "Connections that ended or timed out.", [
      { value: counters.closed },
    ]),
    counter("sluice_conntrack_cut_total", "Connections that a newer table denied.", [
      { value: counters.cut },
    ]),
    counter(
      "sluice_audit_verdicts_total",
      "New connections, and packets of none, that passed only since the policies that deny them are audited.",
      [{ value: counters.audited }],
    ),
    counter(
      "sluice_exempt_packets_total",
      "Messages that passed and no policy judges, by kind.",
      Object.entries(counters.exempt).map(([kind, value]) => labelled({ kind }, value)),
    ),
    counter("sluice_rejects_total", "Resets and ICMP errors sent for what policy denied.", [
      { value: counters.rejected },
    ]),
    counter(
      "sluice_conntrack_resets_total",
      "TCP segments of connections that policy allows and that are not known here: their ends were reset.",
      [{ value: counters.reset }],
    ),
    counter(
      "sluice_conntrack_evictions_total",
      "Connections that gave way to new ones, by what they were.",
      Object.entries(counters.evictions).map(([each, value]) => labelled({ class: each }, value)),
    ),
    counter(
      "sluice_fragment_evictions_total",
      "Fragmented datagrams that gave way to new ones before they were whole.",
      [{ value: counters.fragmentsEvicted }],
    ),
    gauge("sluice_table_generation", "Generation of the table in force; 0 before the first.", [
      { value: counters.generation },
    ]),
    gauge("sluice_table_bytes", "Size of the table in force.", [
      labelled({ table: "policy" }, measured.tableBytes),
    ]),
    gauge("sluice_endpoints", "Pods whose traffic is judged here.", [
      { value: measured.endpoints },
    ]),
    counter("sluice_reloads_total", "Reloads of the manifests, by how they ended.", [
      labelled({ result: "enforced" }, measured.reloads.succeeded),
      labelled({ result: "refused" }, measured.reloads.failed),
    ]),
    counter(
      "sluice_compiles_total",
      "Tables that were compiled: nothing was other, parts of the last table, or all anew.",
      Object.entries(measured.compiles).map(([effort, count]) => labelled({ effort }, count)),
    ),
    {
      name: "sluice_compile_duration_seconds",
      type: "histogram",
      help: "Time to compile a set of manifests.",
      histogram: measured.compile,
    },
    {
      name: "sluice_policy_implementation_delay_seconds",
      type: "histogram",
      help: "Time from a reload's request, or a source's event, until it is in force.",
      histogram: measured.delay,
    },
    {
      name: "sluice_pod_unknown_seconds",
      type: "histogram",
      help: "Time from a pod's new interface until its address is in force, where no CNI plugin reported it.",
      histogram: measured.unknownTimes ?? new Histogram(),
    },
    {
      name: "sluice_cni_add_duration_seconds",
      type: "histogram",
      help: "Time from the CNI plugin's question about a new pod until its policy is in force.",
      histogram: measured.plugin?.added ?? new Histogram(),
    },
    counter("sluice_cni_add_failed_total", "New pods that the CNI plugin was refused.", [
      { value: measured.plugin?.failed ?? 0 },
    ]),
    ...sourceMetrics(measured.source),
    counter("sluice_events_suppressed_total", "Flow records lost, by who was too slow.", [
      labelled({ kind: "ring" }, counters.eventsLost),
      labelled({ kind: "reader" }, measured.flowsLost),
    ]),
    ...sinkMetrics(measured.sinks),
    ...hubbleMetrics(measured.hubble),
    ...(measured.policies ?? []),
    ...processMetrics(),
  ];
}

function sinkMetrics(sinks: Measured["sinks"] = []): readonly Family[] {
  const each = (count: "written" | "lost" | "waiting"): readonly Sample[] =>
    sinks.map((sink, index) => labelled({ sink: `${index}`, kind: sink.kind }, sink[count]));
  const what = "by the sink's number in the config";
  return [
    counter(
      "sluice_flow_sink_written_total",
      `Flows written to files and collectors, ${what}.`,
      each("written"),
    ),
    counter("sluice_flow_sink_lost_total", `Flows that a sink has lost, ${what}.`, each("lost")),
    gauge("sluice_flow_sink_waiting", `Flows that wait for a sink, ${what}.`, each("waiting")),
  ];
}

type LinkCounts = Counters["links"] extends ReadonlyMap<number, infer Counts> ? Counts : never;

function hubbleMetrics(hubble: Measured["hubble"]): readonly Family[] {
  const one = (name: string): readonly Sample[] =>
    hubble === undefined ? [] : [{ value: hubble[name] ?? 0 }];
  const refused = Object.entries(hubble ?? {}).flatMap(([name, value]) => {
    const [, reason] = /^refused:(.+)$/.exec(name) ?? [];
    return reason === undefined ? [] : [labelled({ reason }, value)];
  });
  return [
    gauge("sluice_hubble_connections", "Connections of Hubble's clients.", one("connections")),
    gauge("sluice_hubble_active_calls", "Calls of theirs that go on.", one("activeCalls")),
    counter("sluice_hubble_calls_total", "Calls of theirs that were let in.", one("calls")),
    counter(
      "sluice_hubble_refused_total",
      "Connections and calls of Hubble's clients that were refused, by the bound.",
      refused,
    ),
    counter("sluice_hubble_flows_total", "Flows sent to Hubble's clients.", one("flows")),
    counter(
      "sluice_hubble_flows_lost_total",
      "Flows that Hubble's clients were told they have lost.",
      one("lostFlows"),
    ),
    counter("sluice_hubble_bytes_total", "Bytes of the messages sent to them.", one("bytes")),
  ];
}

function sourceMetrics(source: MeasuredSource | undefined): readonly Family[] {
  const one = (value: number | null | undefined): readonly Sample[] =>
    value === undefined || value === null ? [] : [{ value }];
  const each = (count: "objects" | "events" | "lists" | "ageSeconds"): readonly Sample[] =>
    (source?.resources ?? []).flatMap((resource) => {
      const value = resource[count];
      return value === null ? [] : [labelled({ resource: resource.resource }, value)];
    });
  return [
    gauge(
      "sluice_source_connected",
      "Whether every resource of the API server is followed at this moment.",
      one(source === undefined ? undefined : Number(source.connected)),
    ),
    gauge(
      "sluice_source_age_seconds",
      "Time since the API server last said anything.",
      one(source?.ageSeconds),
    ),
    gauge(
      "sluice_source_resource_age_seconds",
      "Time since what is known of a resource was last proved to be current.",
      each("ageSeconds"),
    ),
    gauge(
      "sluice_source_memory_bytes",
      "What the objects of the API server take, estimated.",
      one(source?.memoryBytes),
    ),
    gauge(
      "sluice_source_memory_limit_bytes",
      "What the objects of the API server may take.",
      one(source?.memoryLimitBytes),
    ),
    gauge(
      "sluice_source_unreadable_objects",
      "Objects of the API server that are not understood, and allow nothing.",
      one(source?.unreadable),
    ),
    gauge("sluice_source_objects", "Objects of the API server that are kept.", each("objects")),
    counter("sluice_source_events_total", "Events of watches, bookmarks included.", each("events")),
    counter("sluice_source_lists_total", "Whole lists read.", each("lists")),
  ];
}

/** The metrics of every process that Prometheus' client libraries export too. */
function processMetrics(): readonly Family[] {
  const { user, system } = process.cpuUsage();
  return [
    counter("process_cpu_seconds_total", "Processor time, user and system.", [
      { value: (user + system) / 1e6 },
    ]),
    gauge("process_resident_memory_bytes", "Memory in use.", [
      { value: process.memoryUsage.rss() },
    ]),
    gauge("process_start_time_seconds", "Start of the process, since the epoch.", [
      { value: startSeconds },
    ]),
  ];
}

const startSeconds = Math.round(Date.now() / 1_000 - process.uptime());

function directionOf(reason: string): string {
  if (reason === "policy-ingress") return "ingress";
  return reason === "policy-egress" ? "egress" : "unknown";
}

function labelled(labels: Labels, value: number): Sample {
  return { labels, value };
}

function counter(name: string, help: string, samples: readonly Sample[]): Family {
  return { name, type: "counter", help, samples };
}

function gauge(name: string, help: string, samples: readonly Sample[]): Family {
  return { name, type: "gauge", help, samples };
}
