import {
  defaultSocket,
  type NumberSetting,
  runFolder,
  settings,
  type WordSetting,
} from "../control/settings.js";
import { formatPrefix } from "../net/prefix.js";
import { usualRanges } from "../workloads/assign-addresses.js";
import { usualReplicas } from "../workloads/expand.js";
import { type CommandSpec, type OptionSpec, output } from "./command-spec.js";
import { controlCommands } from "./control-commands.js";
import {
  type BenchFloodOptions,
  type BenchNativeOptions,
  type BenchOptions,
  type CaptureOptions,
  type CompileOptions,
  type CompletionOptions,
  type ConfigCheckOptions,
  type DiffOptions,
  type DoctorOptions,
  type ExplainOptions,
  type LabApplyOptions,
  type LabExecOptions,
  type LabOptions,
  type LabProbeOptions,
  type LabStatusOptions,
  type LabUpOptions,
  type LintOptions,
  type MatrixOptions,
  type QueryOptions,
  type ReplayOptions,
  type RunOptions,
  readNamespaceName,
  readPodRanges,
  type SidecarOptions,
  seconds,
  type TestOptions,
  type ValidateOptions,
  type VersionOptions,
  wholeNumber,
} from "./options.js";

/**
 * The command tree as data: the parser, the help, the shell completion and docs/commands.md are all
 * made from it. Each body is imported only when its command runs, so that a short command starts
 * without the rest.
 */

const filename: OptionSpec = {
  flags: "-f, --filename <path...>",
  description:
    "manifests: a file, a folder (recursive: .yaml .yml .json) or - for standard input; repeatable",
  completes: "file",
  required: true,
};

/** What is made of manifests, where no real traffic hangs on them. */
const making: readonly OptionSpec[] = [
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
    description: `where pods without addresses get theirs, one range of each family at most; ${usualRanges.map(formatPrefix).join(",")} when left out`,
    parse: readPodRanges,
  },
];

/** The flag of a setting that has a word for each value. */
function wordFlag(flags: string, { words, fallback, doc }: WordSetting<string>): OptionSpec {
  return { flags, description: doc, values: words, default: fallback };
}

/** The flag of a setting that is a number. */
function numberFlag(flags: string, { least, fallback, doc }: NumberSetting): OptionSpec {
  return { flags, description: `${doc}; ${fallback} when left out`, parse: wholeNumber(least) };
}

const watch = wordFlag("--watch <when>", settings.watch);

const labName: OptionSpec = {
  flags: "--name <name>",
  description: "which lab, when there are several",
  default: "default",
};

const pod: OptionSpec = {
  flags: "--pod <namespace/name>",
  description: "the pod whose traffic is judged",
  required: true,
};

/** Options of the threads that judge packets. */
const waiting: readonly OptionSpec[] = [
  wordFlag("--poll <how>", settings.poll),
  numberFlag("--workers <n>", settings.workers),
  numberFlag("--cpu <n>", settings.cpu),
  numberFlag("--connections <n>", settings.connections),
  numberFlag("--connections-per-endpoint <n>", settings.connectionsPerEndpoint),
  numberFlag("--fragments <n>", settings.fragments),
];

/** Options of how policy is applied. */
const modeOptions: readonly OptionSpec[] = [
  wordFlag("--mode <mode>", settings.mode),
  wordFlag("--deny <how>", settings.deny),
  wordFlag("--established <what>", settings.established),
];

const routerAdvertisements = wordFlag(
  "--router-advertisements <what>",
  settings.routerAdvertisements,
);

/** Options of every command that takes interfaces. */
const enforcing: readonly OptionSpec[] = [
  wordFlag("--link <kind>", settings.link),
  ...waiting,
  {
    flags: "--ready-fd <fd>",
    description: "also write ready to this file descriptor, and close it",
    parse: wholeNumber(0),
  },
  {
    flags: "--take-over",
    description:
      "take the place of the process that answers on --socket: its connections go on (docs/restart.md)",
  },
  ...modeOptions,
  {
    flags: "--loose",
    description: "let a TCP connection be picked up in its middle, not only by its SYN",
  },
  watch,
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
];

const nativeBench =
  "Needs a checkout. Peers are measured where DPDK's headers are (apt-get install libdpdk-dev). A ratio is Sluice's time by the other's.";

function nativeBenchOptions(sizesOf: string): readonly OptionSpec[] {
  return [
    { flags: "--sizes <numbers>", description: `numbers of ${sizesOf}, with commas` },
    {
      flags: "--rounds <n>",
      description: "how often everything is measured, 7 when left out",
      parse: wholeNumber(1),
    },
    { flags: "--without-peers", description: "measure Sluice's own ways only" },
    output("table", "json"),
  ];
}

const offline = "Answers without root, daemon or network";
const live = "Real packets";
const other = "Help";

/** Options that every command has. `--help` comes from the parser. */
export const commonOptions: readonly OptionSpec[] = [
  {
    flags: "--color <when>",
    description: "colour the output; NO_COLOR and FORCE_COLOR are heard too",
    values: ["auto", "always", "never"],
    default: "auto",
  },
];

const lab: CommandSpec = {
  name: "lab",
  summary: "turn manifests into network namespaces with real traffic between them",
  details: [
    "One process holds a network namespace for each pod and enforces the policies between them. Without root it works in a user namespace of its own.",
  ],
  group: live,
  examples: [
    { command: "sluice lab up -f manifests/", effect: "bring the lab up" },
    { command: "sluice lab probe", effect: "compare real connections with the table" },
    { command: "sluice lab down", effect: "leave nothing behind" },
  ],
  commands: [
    {
      name: "up",
      summary: "make a namespace for each pod, wired through one process that enforces",
      options: [
        filename,
        ...making,
        labName,
        {
          flags: "--foreground",
          description: "stay, and take the lab down at Ctrl-C, instead of leaving it running",
        },
        { ...watch, default: "never" },
        ...modeOptions,
        ...waiting,
      ],
      examples: [
        { command: "sluice lab up -f manifests/", effect: "bring it up and return" },
        {
          command: "sluice lab up -f manifests/ --name mine --foreground",
          effect: "hold it in this terminal, under a name",
        },
      ],
      run: async (options: LabUpOptions, io) => (await import("./lab.js")).runLabUp(options, io),
    },
    {
      name: "apply",
      summary: "swap the lab to other manifests while its connections run",
      options: [filename, labName],
      examples: [
        {
          command: "sluice lab apply -f incident/",
          effect: "enforce other manifests; a set with errors changes nothing",
        },
      ],
      run: async (options: LabApplyOptions, io) =>
        (await import("./lab.js")).runLabApply(options, io),
    },
    {
      name: "down",
      summary: "end the lab and remove all that it made, also after a kill -9",
      options: [labName],
      examples: [{ command: "sluice lab down", effect: "end the default lab" }],
      run: async (options: LabOptions, io) => (await import("./lab.js")).runLabDown(options, io),
    },
    {
      name: "status",
      summary: "show pods, addresses, the table's generation and what was dropped, and why",
      options: [labName, output("table", "json")],
      examples: [
        { command: "sluice lab status", effect: "for reading" },
        { command: "sluice lab status -o json", effect: "for a script" },
      ],
      run: async (options: LabStatusOptions, io) =>
        (await import("./lab.js")).runLabStatus(options, io),
    },
    {
      name: "exec",
      summary: "run a program in a pod's network namespace, and exit as it does",
      arguments: [
        { name: "pod", description: "namespace/name, or the name alone where one pod has it" },
        {
          name: "command",
          description: "the program and its arguments",
          several: true,
          completes: "command",
        },
      ],
      options: [labName],
      passThrough: true,
      examples: [
        {
          command: "sluice lab exec shop/frontend -- ping -c 1 10.1.2.20",
          effect: "one echo request from a pod",
        },
      ],
      run: async (options: LabExecOptions, io) =>
        (await import("./lab.js")).runLabExec(options, io),
    },
    {
      name: "probe",
      summary: "try real connections between pods and compare them with the table",
      details: [
        "Without --probes, every pair of pods is tried with ICMP and with each port that a container declares, over both address families. Exit 1 when one connection behaves otherwise than the table says.",
      ],
      options: [
        labName,
        {
          flags: "--probes <file>",
          description: 'what to try: {"probes":[{"id","src","dst","protocol","port"}]}',
          completes: "file",
        },
        output("table", "json"),
      ],
      examples: [
        { command: "sluice lab probe", effect: "all pairs" },
        { command: "sluice lab probe --probes probes.json -o json", effect: "the ones in a file" },
      ],
      run: async (options: LabProbeOptions, io) =>
        (await import("./lab.js")).runLabProbe(options, io),
    },
  ],
};

export const root: CommandSpec = {
  name: "sluice",
  summary: "enforce Kubernetes network policy on any Linux interface, without a cluster",
  examples: [
    { command: "sluice demo", effect: "see it work, in under a minute" },
    {
      command:
        "sluice explain -f manifests/ --from shop/frontend --to shop/database --port 5432/tcp",
      effect: "ask why a connection is refused",
    },
  ],
  commands: [
    {
      name: "validate",
      summary: "check manifests as the Kubernetes API server does",
      details: [
        "Every error at once, each with its file, line, column and the field that the API server names. Exit 3 when there is one.",
      ],
      group: offline,
      options: [filename, ...making, output("text", "json")],
      examples: [
        { command: "sluice validate -f manifests/", effect: "a folder" },
        { command: "kubectl get netpol -A -o yaml | sluice validate -f -", effect: "a cluster's" },
      ],
      run: async (options: ValidateOptions, io) =>
        (await import("./validate.js")).runValidate(options, io),
    },
    {
      name: "compile",
      summary: "compile manifests to the decision table",
      group: offline,
      options: [
        filename,
        { flags: "--node <name>", description: "only pods on this node are judged here" },
        { flags: "--out <file>", description: "write the table to a file", completes: "file" },
        {
          flags: "--stage <stage>",
          description: "print what a step of the compiler made",
          values: ["ruleset", "table"],
        },
        output("text", "json"),
      ],
      examples: [
        { command: "sluice compile -f manifests/ --out policy.tbl", effect: "write the table" },
        { command: "sluice compile -f manifests/ --stage ruleset", effect: "who may reach whom" },
      ],
      run: async (options: CompileOptions, io) =>
        (await import("./compile.js")).runCompile(options, io),
    },
    {
      name: "query",
      summary: "judge a list of connections with the native table",
      group: offline,
      options: [
        filename,
        ...making,
        {
          flags: "--probes <file>",
          description:
            '{"probes":[{"id","src","dst","srcIP","dstIP","protocol","port"}]}; src and dst are namespace/pod',
          completes: "file",
          required: true,
        },
        output("table", "json"),
      ],
      examples: [
        { command: "sluice query -f manifests/ --probes probes.json", effect: "for reading" },
        {
          command: "sluice query -f manifests/ --probes probes.json -o json",
          effect: "for a script",
        },
      ],
      run: async (options: QueryOptions, io) => (await import("./query.js")).runQuery(options, io),
    },
    {
      name: "explain",
      summary: "say which rule allows a connection, or why each rule does not",
      group: offline,
      options: [
        filename,
        ...making,
        {
          flags: "--from <ref>",
          description: "namespace/pod, namespace/workload or an address",
          required: true,
        },
        {
          flags: "--to <ref>",
          description: "namespace/pod, namespace/workload or an address",
          required: true,
        },
        {
          flags: "--port <port/protocol>",
          description:
            "such as 5432/tcp, 53/udp, icmp, or the name of a port of the receiving pod; left out: say what passes",
        },
        { flags: "--exit-code", description: "exit 1 when the connection is denied" },
        output("text", "tree", "json"),
      ],
      examples: [
        {
          command:
            "sluice explain -f manifests/ --from shop/frontend --to shop/database --port 5432/tcp",
          effect: "between two pods",
        },
        {
          command:
            "sluice explain -f manifests/ --from 192.0.2.7 --to shop/frontend --port 80/tcp --exit-code",
          effect: "from outside, as a check in a script",
        },
      ],
      run: async (options: ExplainOptions, io) =>
        (await import("./explain.js")).runExplain(options, io),
    },
    {
      name: "matrix",
      summary: "show who can reach whom, as a table, a graph or a picture",
      details: [
        "Read out of the compiled table, so it is what would be enforced. The outside stands in it by the address blocks that policies tell apart. See matrix.md.",
      ],
      group: offline,
      options: [
        filename,
        ...making,
        {
          flags: "--by <what>",
          description:
            "what rows and columns are; the workload of a pod that names no owner is guessed from its name",
          values: ["pod", "workload", "namespace"],
          default: "pod",
        },
        {
          flags: "--port <ports/protocol>",
          description: "only these ports, such as 80/tcp, 8000-8080/udp, sctp or icmp",
        },
        { flags: "--out <file>", description: "write to a file instead", completes: "file" },
        output("table", "json", "csv", "md", "dot", "mermaid", "svg"),
      ],
      examples: [
        { command: "sluice matrix -f manifests/", effect: "for reading" },
        {
          command: "sluice matrix -f manifests/ --by namespace -o svg --out matrix.svg",
          effect: "a picture, a box for each namespace",
        },
        {
          command: "sluice matrix -f manifests/ --port 5432/tcp -o csv",
          effect: "who can reach a database, for a spreadsheet",
        },
      ],
      run: async (options: MatrixOptions, io) =>
        (await import("./matrix.js")).runMatrix(options, io),
    },
    {
      name: "test",
      summary: "check assertions about who may reach whom",
      details: [
        "Assertions are YAML files of kind PolicyTest (see testing.md). Every connection that an assertion selects is judged by the native table; one that selects nothing fails. Exit 1 when an assertion fails, 3 when a file cannot be read.",
      ],
      group: offline,
      arguments: [{ name: "file", description: "test files", several: true, completes: "file" }],
      options: [
        filename,
        ...making,
        {
          flags: "--live",
          description: "make the connections with real packets, in a lab that is brought up for it",
        },
        {
          flags: "--reporter <format>",
          description: "how to print the results",
          values: ["pretty", "tap", "junit", "json"],
          default: "pretty",
        },
      ],
      examples: [
        {
          command: "sluice test tests.yaml -f manifests/",
          effect: "for reading",
        },
        {
          command: "sluice test tests/*.yaml -f manifests/ --reporter junit > results.xml",
          effect: "for a CI server",
        },
      ],
      run: async (options: TestOptions, io) => (await import("./test.js")).runTest(options, io),
    },
    {
      name: "lint",
      summary: "find likely mistakes in valid policies",
      details: [
        "Findings are computed on the compiled table: a rule that is said to change nothing changes nothing. The rules are described in lint/README.md. Exit 1 when a finding is as grave as --fail-on says.",
      ],
      group: offline,
      options: [
        filename,
        ...making,
        {
          flags: "--fail-on <severity>",
          description: "the least grave finding that makes the command fail",
          values: ["error", "warning", "info", "never"],
          default: "error",
        },
        { flags: "--disable <rule...>", description: "rules not to ask, by id or name" },
        {
          flags: "--baseline <file>",
          description: "leave out what an earlier -o json document has",
          completes: "file",
        },
        {
          flags: "--widest-v4 <bits>",
          description: "the shortest IPv4 prefix that is not called wide; 8 when left out",
          parse: wholeNumber(0),
        },
        {
          flags: "--widest-v6 <bits>",
          description: "the shortest IPv6 prefix that is not called wide; 16 when left out",
          parse: wholeNumber(0),
        },
        {
          flags: "-o, --output <format>",
          description: "how to print the findings; text, or github inside a GitHub workflow",
          values: ["text", "json", "sarif", "github"],
        },
      ],
      examples: [
        { command: "sluice lint -f manifests/", effect: "one finding a line" },
        {
          command: "sluice lint -f manifests/ -o sarif --fail-on never > lint.sarif",
          effect: "for code scanning",
        },
        {
          command: "sluice lint -f manifests/ --disable SL3004 --baseline known.json",
          effect: "only what is new",
        },
      ],
      run: async (options: LintOptions, io) => (await import("./lint.js")).runLint(options, io),
    },
    {
      name: "diff",
      summary:
        "show which connections two sets of manifests judge otherwise, with a packet for each",
      details: [
        "Exact over addresses, protocols and ports. Pods are compared by their names. Exit 0 when the two are equivalent, 1 when they differ, 3 when one of them is invalid. See diff.md.",
      ],
      group: offline,
      options: [
        { ...filename, description: `the old ${filename.description}` },
        ...making,
        {
          ...filename,
          flags: "-F, --new <path...>",
          description: "the new manifests, given in the same ways",
        },
        output("table", "json"),
      ],
      examples: [
        {
          command: "sluice diff -f manifests/ -F manifests/",
          effect: "nothing changes: exit 0",
        },
        {
          command: "sluice diff -f manifests/ -F incident/",
          effect: "what an incident's policies cut off",
        },
      ],
      run: async (options: DiffOptions, io) => (await import("./diff.js")).runDiff(options, io),
    },
    {
      name: "replay",
      summary: "send a capture through the filter, on the capture's own clock",
      details: [
        "In a pcapng file, the interface called pod (or the one named) is the pod's side. In a plain pcap, a frame whose source is the pod's MAC or address comes from the pod.",
      ],
      group: offline,
      arguments: [{ name: "file", description: "a pcap or pcapng file", completes: "file" }],
      options: [
        filename,
        pod,
        { flags: "--pod-mac <mac>", description: "the pod's MAC, where the capture has one" },
        { flags: "--pod-interface <name>", description: "the pcapng interface on the pod's side" },
        {
          flags: "-w, --write <file>",
          description: "write the packets to a pcapng file, each with its verdict as a comment",
          completes: "file",
        },
        {
          flags: "--write-packets <which>",
          description: "which packets -w writes; all when left out",
          values: ["all", "passed", "dropped"],
        },
        output("table", "json"),
      ],
      examples: [
        {
          command: "sluice replay traffic.pcapng -f manifests/ --pod shop/database",
          effect: "what would have been dropped, and why",
        },
        {
          command:
            "sluice replay traffic.pcap -f manifests/ --pod shop/database -w dropped.pcapng --write-packets dropped",
          effect: "what is dropped, to look at in Wireshark",
        },
      ],
      run: async (options: ReplayOptions, io) =>
        (await import("./replay.js")).runReplay(options, io),
    },
    {
      name: "run",
      summary: "stand between interfaces and enforce",
      details: [
        "A config file names any number of wires; --wire, --pod and -f are the short way to one of them.",
        "Prints ready on standard output once it enforces. SIGHUP reads the config and the manifests again and changes nothing when they have errors; SIGTERM and Ctrl-C end it. When the process ends, traffic stops, unless it was told to fail open and did not end cleanly.",
      ],
      group: live,
      options: [
        {
          flags: "--config <file>",
          description:
            "a config file, instead of the flags that say what to stand on and how; see docs/node.md",
          completes: "file",
        },
        {
          flags: "--wire <inside,outside>",
          description: "the interface towards the pod, and the one towards the network",
          completes: "interface",
        },
        { ...filename, required: false },
        {
          flags: "--source <kind>",
          description: "where the manifests come from: files (-f), or a Kubernetes API server",
          values: ["files", "kubernetes"],
          default: "files",
        },
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
        {
          flags: "--node <name>",
          description: "the API server's name of this node: pods count only while they run on it",
        },
        { ...pod, required: false },
        {
          flags: "--pod-mac <mac>",
          description: "the pod's MAC: frames from it that carry another are dropped",
        },
        wordFlag("--fail-mode <mode>", settings.failMode),
        routerAdvertisements,
        ...enforcing,
      ],
      examples: [
        {
          command: "sluice run --wire veth-pod,veth-net -f manifests/ --pod shop/database",
          effect: "enforce for one pod",
        },
        {
          command:
            "sluice run --wire veth-pod,veth-net --source kubernetes --node $(hostname) --pod shop/database",
          effect: "follow a cluster's policies",
        },
        { command: "sluice run --config /etc/sluice/sluice.yaml", effect: "for several" },
      ],
      run: async (options: RunOptions, io, given) =>
        (await import("./run.js")).runRun(options, io, given),
    },
    {
      name: "sidecar",
      summary: "stand between one workload and its network, inside its network namespace",
      details: [
        "Another interface takes the name, MAC, MTU, addresses, routes and neighbour entries of the workload's own, which becomes the uplink: the workload notices nothing. Starts before the workload or after it. Prints ready on standard output once it enforces; SIGHUP reads the manifests again; SIGTERM and Ctrl-C end it: --on-stop says what becomes of the interface then.",
        "When the process is killed, traffic stops: the workload keeps its interface, and the next start goes on with it. With --restore the command only puts back what a killed process has left.",
      ],
      group: live,
      options: [
        {
          flags: "--interface <name>",
          description: "the workload's interface",
          completes: "interface",
          required: true,
        },
        { ...filename, required: false },
        { ...pod, required: false },
        {
          flags: "--adopt",
          description:
            "take up the connections that the workload has at the start, as far as policy allows them",
        },
        {
          flags: "--on-stop <what>",
          description:
            "at a clean end: put the interface back as it was, or leave all in place and let nothing pass, as for a restart; when left out: restore where standard input and standard error are a terminal, else block",
          values: ["restore", "block"],
        },
        {
          flags: "--restore",
          description: "put back what a killed process has left, and do nothing else",
        },
        {
          flags: "--state-dir <folder>",
          description: "folder of the record with the interface's original state",
          completes: "folder",
          default: runFolder,
        },
        {
          flags: routerAdvertisements.flags,
          description: `${settings.routerAdvertisements.doc}; when left out, they do if the interface has a route from a router advertisement`,
          values: settings.routerAdvertisements.words,
        },
        ...enforcing,
      ],
      examples: [
        {
          command: "sluice sidecar --interface eth0 -f manifests/ --pod shop/database",
          effect: "enforce for the workload whose network namespace this is",
        },
        {
          command: "sluice sidecar --interface eth0 --restore",
          effect: "undo what a killed sidecar has left",
        },
      ],
      run: async (options: SidecarOptions, io) =>
        (await import("./sidecar.js")).runSidecar(options, io),
    },
    ...controlCommands,
    {
      name: "config",
      summary: "check a config file of sluice run, and what one may hold",
      group: live,
      examples: [
        { command: "sluice config check /etc/sluice/sluice.yaml", effect: "before a reload" },
      ],
      commands: [
        {
          name: "check",
          summary: "check a config file, all errors at once, without touching what it names",
          arguments: [{ name: "file", description: "the config file", completes: "file" }],
          options: [output("text", "json")],
          examples: [{ command: "sluice config check sluice.yaml", effect: "one file" }],
          run: async (options: ConfigCheckOptions, io) =>
            (await import("./config.js")).runConfigCheck(options, io),
        },
        {
          name: "schema",
          summary: "print the JSON Schema of a config file",
          examples: [
            { command: "sluice config schema > sluice.schema.json", effect: "for an editor" },
          ],
          run: async (options: object, io) =>
            (await import("./config.js")).runConfigSchema(options, io),
        },
      ],
    },
    lab,
    {
      name: "capture",
      summary: "watch an interface, each packet beside the verdict of the table",
      details: [
        "The packet filter of sluice run judges what goes by, both ways and without a source guard. Nothing is dropped: this only watches. A reply carries the verdict of the connection that it belongs to. A connection that began before is joined midway, as with --loose: whoever sends first is taken for its opener. Needs the optional package cap. Ctrl-C ends it with a summary.",
      ],
      group: live,
      options: [
        {
          flags: "-i, --interface <name>",
          description: "the interface to watch",
          completes: "interface",
          required: true,
        },
        filename,
        { flags: "--pod <namespace/name>", description: "judge for this pod alone" },
        {
          flags: "-c, --count <n>",
          description: "end after this many packets",
          parse: wholeNumber(1),
        },
        { flags: "--filter <bpf>", description: "only these packets, as tcpdump understands it" },
        {
          flags: "-w, --write <file>",
          description: "write the packets to a pcapng file, each with its verdict as a comment",
          completes: "file",
        },
        output("table", "json"),
      ],
      examples: [
        {
          command: "sluice capture -i eth0 -f manifests/ --filter 'tcp port 5432'",
          effect: "one service",
        },
        {
          command: "sluice capture -i eth0 -f manifests/ --count 100 -w seen.pcapng -o json",
          effect: "the next hundred packets",
        },
      ],
      run: async (options: CaptureOptions, io) =>
        (await import("./capture.js")).runCapture(options, io),
    },
    {
      name: "demo",
      summary: "bring up a lab of three tiers, send traffic, swap policies, and clean up",
      group: live,
      examples: [{ command: "sluice demo", effect: "all of it, in under a minute" }],
      run: async (options: object, io) => (await import("./demo.js")).runDemo(options, io),
    },
    {
      name: "bench",
      summary: "measure Sluice beside the kernel's own ways, in namespaces of its own",
      details: [
        "Round trips, packets a second, bulk TCP, connections a second, CPU time and memory, for Sluice, a bare veth, a bridge, nftables, iptables and an eBPF filter that enforce the same policy. Everything is measured in rounds, one behind the other, and shown as ratios first. See benchmarks.md.",
      ],
      group: live,
      options: [
        { flags: "--quick", description: "fewer and shorter rounds: within two minutes" },
        {
          flags: "--peers <names>",
          description:
            "what to measure beside, with commas: direct, bridge, routed, nft-sets, nft-linear, iptables, tc-ebpf; none for none; all when left out",
        },
        {
          flags: "--links <names>",
          description:
            "ways of running Sluice, with commas: values of run --link, and tap for the switch of a lab",
        },
        {
          flags: "--policies <numbers>",
          description: "sizes of the policy, with commas; everything is measured with the largest",
        },
        {
          flags: "--rounds <n>",
          description: "how often everything is measured",
          parse: wholeNumber(1),
        },
        {
          flags: "--seconds <s>",
          description: "how long each measurement takes",
          parse: seconds(0.02, 60),
        },
        {
          flags: "--out <file>",
          description: "write the answer to a file; with html, the table is still printed",
          completes: "file",
        },
        output("table", "json", "html"),
      ],
      examples: [
        { command: "sluice bench --quick", effect: "a first look" },
        {
          command: "sluice bench -o html --out bench.html",
          effect: "everything, as a page with plots",
        },
        {
          command: "sluice bench --quick --peers bridge,nft-sets --links af-packet -o json",
          effect: "one link beside two peers, for a script",
        },
      ],
      commands: [
        {
          name: "lookup",
          summary:
            "time the table alone: nanoseconds a verdict, beside DPDK's rte_acl and rte_fib6",
          details: [nativeBench],
          options: nativeBenchOptions("entries: pairs of a rule and a peer prefix"),
          examples: [
            { command: "sluice bench lookup", effect: "10 to 100,000 entries" },
            {
              command: "sluice bench lookup --sizes 10,1000 -o json",
              effect: "two sizes, for a script",
            },
          ],
          run: async (options: BenchNativeOptions, io) =>
            (await import("./bench-native.js")).runBenchLookup(options, io),
        },
        {
          name: "conntrack",
          summary:
            "time the connection table alone, beside DPDK's rte_hash, and the path it is part of",
          details: [nativeBench],
          options: nativeBenchOptions("tracked flows"),
          examples: [{ command: "sluice bench conntrack", effect: "1,000 to 10,000,000 flows" }],
          run: async (options: BenchNativeOptions, io) =>
            (await import("./bench-native.js")).runBenchConntrack(options, io),
        },
        {
          name: "flood",
          summary:
            "time what an attacker may choose: a flood of SYNs, and connections that would collide",
          details: [
            "Says how many of the established and of the new connections were served during the flood, and what memory it took.",
            "Then floods of all kinds at once, in simulated time: 10,000 short TCP connections a second to one pod, 4,000 echo requests and 65,000 DNS queries a second of one stranger to another, a third that opens all it can with an ally, beside 50 pods with new and established connections. Says what each of them lost, and why. See benchmarks.md.",
          ],
          options: [
            ...nativeBenchOptions("SYNs of a flood"),
            {
              flags: "--seconds <n>",
              description: "how long the floods at once last, in simulated time; 180 when left out",
              parse: wholeNumber(1),
            },
            {
              flags: "--connections <n>",
              description:
                "what the connection table of both has room for, 65536 when left out; no less than 8192",
              parse: wholeNumber(8_192),
            },
          ],
          examples: [
            {
              command: "sluice bench flood",
              effect: "10,000,000 SYNs a round, then three minutes of floods at once",
            },
            {
              command: "sluice bench flood --sizes 1000000 --rounds 3 --seconds 20 -o json",
              effect: "a short one, for a script",
            },
          ],
          run: async (options: BenchFloodOptions, io) =>
            (await import("./bench-native.js")).runBenchFlood(options, io),
        },
      ],
      run: async (options: BenchOptions, io) => (await import("./bench.js")).runBench(options, io),
    },
    {
      name: "doctor",
      summary: "say what this machine lacks, and the line that grants it",
      details: [
        "Tries what the data plane asks of the kernel, and leaves nothing behind. Exit 0 when the machine is ready for everything that --for names, 4 when something is missing. See deploy.md.",
      ],
      group: live,
      options: [
        {
          flags: "--for <purpose...>",
          description:
            "what it has to be ready for: lab, run, af-xdp, capture; lab and run when left out",
        },
        output("table", "json"),
      ],
      examples: [
        { command: "sluice doctor", effect: "before the first lab" },
        { command: "sluice doctor --for run af-xdp -o json", effect: "before a deployment" },
      ],
      run: async (options: DoctorOptions, io) =>
        (await import("./doctor.js")).runDoctor(options, io),
    },
    {
      name: "completion",
      summary: "print a shell's completion script",
      group: other,
      arguments: [{ name: "shell", description: "which shell", values: ["bash", "zsh", "fish"] }],
      examples: [
        { command: "source <(sluice completion bash)", effect: "for this bash" },
        { command: "sluice completion zsh > ~/.zfunc/_sluice", effect: "for every zsh" },
        {
          command: "sluice completion fish > ~/.config/fish/completions/sluice.fish",
          effect: "for every fish",
        },
      ],
      run: async (options: CompletionOptions, io) =>
        (await import("./completion.js")).runCompletion(options, io),
    },
    {
      name: "version",
      summary: "print the version of sluice, its table layout, and node",
      group: other,
      options: [output("text", "json")],
      examples: [{ command: "sluice version -o json", effect: "for a bug report" }],
      run: async (options: VersionOptions, io) =>
        (await import("./version.js")).runVersion(options, io),
    },
  ],
};
