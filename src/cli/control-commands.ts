import { defaultSocket } from "../control/settings.js";
import { type CommandSpec, type OptionSpec, output } from "./command-spec.js";
import {
  type ApplyOptions,
  type ConntrackFlushOptions,
  type ConntrackListOptions,
  type GetOptions,
  type ObserveOptions,
  type ReloadOptions,
  type StatusOptions,
  type WaitOptions,
  wholeNumber,
} from "./options.js";

/** Commands for a process that enforces: they go over its control socket. */

const group = "A process that enforces";

const where: readonly OptionSpec[] = [
  {
    flags: "--socket <path>",
    description: `the control socket of the process; ${defaultSocket} when left out`,
    completes: "file",
  },
  { flags: "--lab <name>", description: "a lab's process instead" },
];

/** What is listed or shown. No variable sets these: SLUICE_POD is the pod of a container that filters. */
const choosing: readonly OptionSpec[] = [
  {
    flags: "--pod <pod...>",
    description: "from or to pods: [namespace/]name, or how the name begins",
  },
  { flags: "--from-pod <pod...>", description: "from these pods" },
  { flags: "--to-pod <pod...>", description: "to these pods" },
  { flags: "--namespace <name...>", description: "from or to pods of this namespace" },
  { flags: "--from-namespace <name...>", description: "from pods of this namespace" },
  { flags: "--to-namespace <name...>", description: "to pods of this namespace" },
  { flags: "--ip <address...>", description: "from or to an address or a block" },
  { flags: "--from-ip <address...>", description: "from an address or a block" },
  { flags: "--to-ip <address...>", description: "to an address or a block" },
  { flags: "--port <port...>", description: "from or to this port" },
  { flags: "--from-port <port...>", description: "from this port" },
  { flags: "--to-port <port...>", description: "to this port" },
  { flags: "--protocol <protocol...>", description: "tcp, udp, sctp, icmp or icmpv6" },
].map((each) => ({ ...each, variable: false }));

export const controlCommands: readonly CommandSpec[] = [
  {
    name: "status",
    summary: "show how a process that enforces is doing",
    group,
    options: [...where, output("table", "json")],
    examples: [
      { command: "sluice status", effect: "of sluice run on this machine" },
      { command: "sluice status --lab default -o json", effect: "of a lab" },
    ],
    run: async (options: StatusOptions, io) => (await import("./status.js")).runStatus(options, io),
  },
  {
    name: "get",
    summary: "list endpoints, policies, connections, interfaces or tables",
    group,
    arguments: [
      {
        name: "what",
        description: "what to list",
        values: ["endpoints", "policies", "connections", "interfaces", "tables"],
        aliases: {
          ...{
            endpoint: "endpoints",
            ep: "endpoints",
            pod: "endpoints",
            pods: "endpoints",
            po: "endpoints",
          },
          ...{ policy: "policies", networkpolicy: "policies", networkpolicies: "policies" },
          ...{ netpol: "policies", connection: "connections", conn: "connections" },
          ...{ interface: "interfaces", table: "tables" },
        },
      },
    ],
    options: [...where, ...choosing, output("table", "json")],
    examples: [
      {
        command: "sluice get endpoints",
        effect: "whose traffic is judged, and what isolates them",
      },
      {
        command: "sluice get connections --to-pod shop/database",
        effect: "who talks to a pod now",
      },
    ],
    run: async (options: GetOptions, io) => (await import("./get.js")).runGet(options, io),
  },
  {
    name: "observe",
    summary: "show flows as they are allowed, dropped, cut and ended",
    details: [
      "Flags and JSON are Hubble's, with what it has no word for under ext. Values of one flag are alternatives; all flags must hold. A reader that is too slow loses records, and the next one says how many; packets never wait. See observe.md.",
    ],
    group,
    options: [
      ...where,
      { flags: "-f, --follow", description: "go on with what comes, until Ctrl-C" },
      {
        flags: "--last <n>",
        description: "as many as this of those that are kept; 20 when nothing is said",
        parse: wholeNumber(1),
      },
      { flags: "--since <when>", description: "not before this: a time, or how long ago (5m)" },
      { flags: "--until <when>", description: "not after this" },
      ...choosing,
      {
        flags: "--verdict <verdict...>",
        description: "FORWARDED, DROPPED or AUDIT",
        variable: false,
      },
      { flags: "--reason <reason...>", description: "dropped for this reason", variable: false },
      {
        flags: "-o, --output <format>",
        description: "one line a flow for reading, or one JSON document a line",
        values: ["compact", "json", "jsonpb"],
        default: "compact",
      },
    ],
    examples: [
      { command: "sluice observe --follow --verdict DROPPED", effect: "what is being refused" },
      {
        command: "sluice observe --since 5m --to-pod shop/database -o json",
        effect: "what came to a pod, for jq",
      },
    ],
    run: async (options: ObserveOptions, io) =>
      (await import("./observe.js")).runObserve(options, io),
  },
  {
    name: "conntrack",
    summary: "list tracked connections, or forget some",
    group,
    examples: [{ command: "sluice conntrack list", effect: "all of them" }],
    commands: [
      {
        name: "list",
        summary: "list tracked connections, the same as get connections",
        options: [...where, ...choosing, output("table", "json")],
        examples: [{ command: "sluice conntrack list --protocol udp", effect: "those over UDP" }],
        run: async (options: ConntrackListOptions, io) =>
          (await import("./conntrack.js")).runConntrackList(options, io),
      },
      {
        name: "flush",
        summary: "forget connections: their next packets are judged as if they were the first",
        details: [
          "A TCP connection that is forgotten ends, unless the process runs with --loose: only a SYN opens one.",
        ],
        options: [
          ...where,
          ...choosing,
          { flags: "--all", description: "every connection" },
          output("table", "json"),
        ],
        examples: [
          { command: "sluice conntrack flush --from-pod shop/frontend", effect: "those of a pod" },
        ],
        run: async (options: ConntrackFlushOptions, io) =>
          (await import("./conntrack.js")).runConntrackFlush(options, io),
      },
    ],
  },
  {
    name: "apply",
    summary: "say which live connections a change of manifests would cut, before it is made",
    details: [
      "Give all manifests as they would be, not only those that change. Exit 1 when a connection would be cut. Nothing is changed: a process takes its manifests from where it was told to.",
    ],
    group,
    options: [
      ...where,
      {
        flags: "-f, --filename <path...>",
        description: "the manifests as they would be; like those of every command",
        completes: "file",
        required: true,
      },
      {
        flags: "--dry-run <what>",
        description: "live: judge the connections that are there now",
        values: ["live"],
        required: true,
      },
      output("table", "json"),
    ],
    examples: [
      {
        command: "sluice apply -f manifests/ --dry-run live",
        effect: "before the files are copied",
      },
    ],
    run: async (options: ApplyOptions, io) => (await import("./apply.js")).runApply(options, io),
  },
  {
    name: "wait",
    summary: "wait until the manifests as they are now are in force",
    details: ["Exit 124 when that does not come in time."],
    group,
    options: [
      ...where,
      {
        flags: "--for <condition>",
        description: "enforced, or enforced=GENERATION",
        default: "enforced",
      },
      { flags: "--timeout <time>", description: "how long, such as 30s", default: "30s" },
    ],
    examples: [
      { command: "sluice wait --for enforced --timeout 10s", effect: "after a file was changed" },
    ],
    run: async (options: WaitOptions, io) => (await import("./wait.js")).runWait(options, io),
  },
  {
    name: "reload",
    summary: "have a process read its manifests again",
    details: ["Exit 3 when they have errors; the old table stays in force then."],
    group,
    options: [...where, output("table", "json")],
    examples: [{ command: "sluice reload", effect: "the same as SIGHUP, with an answer" }],
    run: async (options: ReloadOptions, io) => (await import("./reload.js")).runReload(options, io),
  },
];
