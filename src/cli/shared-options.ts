import {
  defaultSocket,
  type NumberSetting,
  settings,
  type WordSetting,
} from "../control/settings.js";
import { usualRanges, usualReplicas } from "../workloads/assign-addresses.js";
import type { OptionSpec, OptionsOf } from "./command-spec.js";
import { formatPodRanges, readNamespaceName, readPodRanges, wholeNumber } from "./readers.js";

/** Options that several commands have, and the headings that the help puts commands under. */

export const offline = "Answers without root, daemon or network";
export const live = "Real packets";
export const enforcer = "A process that enforces";
export const other = "Help";

/** Options that every command has. `--help` comes from the parser. */
export const commonOptions: readonly OptionSpec[] = [
  {
    flags: "--color <when>",
    description: "colour the output; NO_COLOR and FORCE_COLOR are heard too",
    values: ["auto", "always", "never"],
    default: "auto",
  },
];

export const filename = {
  flags: "-f, --filename <path>",
  repeatable: true,
  description:
    "manifests: a file, a folder (to the bottom: .yaml .yml .json, charts, kustomizations), an address such as https://…, or - for standard input; repeatable",
  completes: "file",
  required: true,
} as const;

/** Which files of folders are read. */
export const folders = [
  {
    flags: "--ignore <glob>",
    repeatable: true,
    description:
      "files and folders to leave out of every folder, as in a .gitignore; repeatable, and a .sluiceignore says the same",
  },
  {
    flags: "--strict",
    description:
      "pass over nothing: a file that is no manifest is an error, as if it had been named",
  },
] as const;

/** How charts and kustomizations are rendered. */
export const rendering = [
  {
    flags: "--render <when>",
    description:
      "charts by helm, kustomizations by kustomize or kubectl, where they are there: auto or never",
    values: ["auto", "never"],
    default: "auto",
  },
  {
    flags: "--values <file>",
    repeatable: true,
    description: "values for the charts; repeatable",
    completes: "file",
  },
  {
    flags: "-v, --verbose",
    description: "list the files that were passed over",
  },
] as const;

/** What a cluster has, in the place of manifests. */
export const cluster = [
  {
    flags: "--cluster",
    description:
      "what the cluster has, listed once, in the place of -f; it takes the right to list what policy depends on",
  },
  {
    flags: "--kubeconfig <file>",
    description: "how to reach the API server of --cluster; as kubectl does when left out",
    completes: "file",
  },
  {
    flags: "--context <name>",
    description: "a context of the kubeconfig; its current one when left out",
  },
] as const;

export type ClusterOptions = Omit<OptionsOf<typeof cluster>, "cluster">;

/** What is read, and how: of every command that reads and ends. */
export const reading = [filename, ...folders, ...rendering] as const;

/** The same, where the input may be a cluster. */
export const input = [
  { ...filename, required: false, unless: ["--cluster"] },
  ...cluster,
  ...folders,
  ...rendering,
] as const;

/** The same, where a process can answer by its table in force. No variable chooses the process: -f may be meant. */
export const inputOrProcess = [
  { ...filename, required: false, unless: ["--cluster", "--socket", "--lab"] },
  ...cluster,
  {
    flags: "--socket <path>",
    description:
      "the table in force of the process with this control socket, in the place of -f; no manifests are needed",
    completes: "file",
    variable: false,
  },
  {
    flags: "--lab <name>",
    description: "the table in force of this lab, in the place of -f",
    variable: false,
  },
  ...folders,
  ...rendering,
] as const;

/** Some commands take no cluster. */
export type InputOptions = Omit<OptionsOf<typeof input>, "cluster"> & {
  readonly cluster?: boolean;
};

export type ReadingOptions = OptionsOf<typeof reading>;

/** What is made of manifests, where no real traffic hangs on them. */
export const making = [
  {
    flags: "-n, --namespace <name>",
    description: "the namespace of objects that name none; default when left out",
    parse: readNamespaceName,
  },
  {
    flags: "--replicas <n>",
    description: `pods that stand for a workload at most; ${usualReplicas} when left out`,
    parse: wholeNumber(1),
  },
  {
    flags: "--pod-cidr <ranges>",
    description: `where pods without addresses get theirs, one range of each family at most; ${formatPodRanges(usualRanges)} when left out`,
    parse: readPodRanges,
    format: formatPodRanges,
  },
] as const;

export type PodOptions = OptionsOf<[...typeof input, ...typeof making]>;

/** How a command prints its answer; the first format is the default. */
export function output<const Formats extends readonly [string, ...string[]]>(...values: Formats) {
  return {
    flags: "-o, --output <format>",
    description: "how to print the answer; json is one document",
    values,
    default: values[0],
  } as const;
}

/** The flag of a setting that has a word for each value. */
export function wordFlag<const Flags extends string, Word extends string>(
  flags: Flags,
  { words, fallback, doc }: WordSetting<Word>,
) {
  return { flags, description: doc, values: words, default: fallback } as const;
}

/** The flag of a setting that is a number. */
function numberFlag<const Flags extends string>(
  flags: Flags,
  { least, fallback, doc }: NumberSetting,
) {
  const description = `${doc}; ${fallback} when left out`;
  return { flags, description, parse: wholeNumber(least) } as const;
}

export const watch = wordFlag("--watch <when>", settings.watch);

export const pod = {
  flags: "--pod <namespace/name>",
  description: "the pod whose traffic is judged",
  required: true,
} as const;

/** Options of the threads that judge packets. */
export const waiting = [
  wordFlag("--poll <how>", settings.poll),
  numberFlag("--workers <n>", settings.workers),
  numberFlag("--cpu <n>", settings.cpu),
  numberFlag("--connections <n>", settings.connections),
  numberFlag("--connections-per-endpoint <n>", settings.connectionsPerEndpoint),
  numberFlag("--fragments <n>", settings.fragments),
] as const;

export type WorkerOptions = OptionsOf<typeof waiting>;

/** Options of how policy is applied. */
export const modeOptions = [
  wordFlag("--mode <mode>", settings.mode),
  wordFlag("--deny <how>", settings.deny),
  wordFlag("--established <what>", settings.established),
] as const;

export const routerAdvertisements = wordFlag(
  "--router-advertisements <what>",
  settings.routerAdvertisements,
);

export const readyFd = {
  flags: "--ready-fd <fd>",
  description: "also write ready to this file descriptor, and close it",
  parse: wholeNumber(0),
} as const;

export const hubbleListen = {
  flags: "--hubble-listen <address>",
  description:
    "also answer Hubble's clients, at a host and port such as 127.0.0.1:4245 or at unix:/PATH (docs/hubble.md)",
} as const;

/** Where a process that enforces answers. */
export const listening = [
  {
    flags: "--socket <path>",
    description: `where to answer sluice status, observe and so on; ${defaultSocket} when left out, none for no socket`,
    completes: "file",
  },
  {
    flags: "--metrics-listen <address>",
    description:
      "also serve /metrics, /healthz and /readyz on this host and port, such as 127.0.0.1:9871",
  },
  {
    flags: "--metrics-hits",
    description:
      "metrics have the packets, bytes and connections of each policy too (docs/metrics.md)",
  },
  hubbleListen,
  {
    flags: "--flow-log <where...>",
    description:
      "also write flows to a file, a JSON document a line, or to an OpenTelemetry collector's address such as http://127.0.0.1:4318/v1/logs (docs/observe.md)",
    completes: "file",
  },
] as const;

export const sourceKind = {
  flags: "--source <kind>",
  description: "where the manifests come from: files (-f), or a Kubernetes API server",
  values: ["files", "kubernetes"],
  default: "files",
} as const;

/** Which cluster a process follows. */
export const following = [
  {
    flags: "--kubeconfig <file>",
    description:
      "how to reach the API server; KUBECONFIG, the pod's service account or ~/.kube/config when left out",
    completes: "file",
  },
  {
    flags: "--context <name>",
    description: "a context of the kubeconfig; its current one when left out",
  },
] as const;

export const takeOver = {
  flags: "--take-over",
  description:
    "take the place of the process that answers on --socket: its connections go on (docs/restart.md)",
} as const;

/** Options of every command that takes interfaces. */
export const enforcing = [
  wordFlag("--link <kind>", settings.link),
  ...waiting,
  readyFd,
  takeOver,
  ...modeOptions,
  {
    flags: "--loose",
    description: "let a TCP connection be picked up in its middle, not only by its SYN",
  },
  watch,
  ...listening,
] as const;

export type EnforcingOptions = OptionsOf<typeof enforcing>;

/** Which process that enforces a command is for. */
export const where = [
  {
    flags: "--socket <path>",
    description: `the control socket of the process; ${defaultSocket} when left out`,
    completes: "file",
  },
  { flags: "--lab <name>", description: "a lab's process instead" },
] as const;

export type ControlOptions = OptionsOf<typeof where>;

/**
 * A flag that chooses what is listed or shown. No variable sets it: SLUICE_POD is the pod of a container that
 * filters.
 */
function choice<const Flags extends string>(flags: Flags, description: string) {
  return { flags, description, variable: false } as const;
}

/** Of `choosing`, all that only flows and connections have. */
export const choosingEnds = [
  choice("--pod <pod...>", "from or to pods: [namespace/]name, or how the name begins"),
  choice("--from-pod <pod...>", "from these pods"),
  choice("--to-pod <pod...>", "to these pods"),
  choice("--from-namespace <name...>", "from pods of this namespace"),
  choice("--to-namespace <name...>", "to pods of this namespace"),
  choice("--ip <address...>", "from or to an address or a block"),
  choice("--from-ip <address...>", "from an address or a block"),
  choice("--to-ip <address...>", "to an address or a block"),
  choice("--port <port...>", "from or to this port"),
  choice("--from-port <port...>", "from this port"),
  choice("--to-port <port...>", "to this port"),
  choice("--protocol <protocol...>", "tcp, udp, sctp, icmp or icmpv6"),
] as const;

export const choosing = [
  choice("--namespace <name...>", "from or to pods of this namespace"),
  ...choosingEnds,
] as const;

/** What flows have that connections have not. */
export const choosingFlows = [
  choice("--verdict <verdict...>", "FORWARDED, DROPPED or AUDIT"),
  choice("--reason <reason...>", "dropped for this reason"),
] as const;

/** Each may be given several times: one matching value is enough. */
export type FlowFilterOptions = OptionsOf<[...typeof choosing, ...typeof choosingFlows]>;
