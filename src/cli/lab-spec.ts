import { type CommandSpec, command, type OptionsOf } from "./command-spec.js";
import {
  hubbleListen,
  live,
  making,
  modeOptions,
  output,
  reading,
  waiting,
  watch,
} from "./shared-options.js";

const labName = {
  flags: "--name <name>",
  description: "which lab, when there are several",
  default: "default",
} as const;

export type LabOptions = OptionsOf<[typeof labName]>;

export const upFlags = [
  ...reading,
  ...making,
  labName,
  {
    flags: "--foreground",
    description: "stay, and take the lab down at Ctrl-C, instead of leaving it running",
  },
  {
    flags: "--serve",
    description:
      "answer at every port that a container declares: HTTP over TCP and echo over UDP, with the pod's name",
  },
  { ...watch, default: "never" },
  ...modeOptions,
  ...waiting,
  hubbleListen,
] as const;

export type LabUpOptions = OptionsOf<typeof upFlags>;

const applyFlags = [...reading, labName] as const;

export type LabApplyOptions = OptionsOf<typeof applyFlags>;

const statusFlags = [labName, output("table", "json")] as const;

export type LabStatusOptions = OptionsOf<typeof statusFlags>;

const execArguments = [
  { name: "pod", description: "namespace/name, or the name alone where one pod has it" },
  {
    name: "command",
    description: "the program and its arguments",
    several: true,
    completes: "command",
  },
] as const;

export type LabExecOptions = OptionsOf<[typeof labName], typeof execArguments>;

const probeFlags = [
  labName,
  {
    flags: "--probes <file>",
    description: 'what to try: {"probes":[{"id","src","dst","protocol","port"}]}',
    completes: "file",
  },
  output("table", "json"),
] as const;

export type LabProbeOptions = OptionsOf<typeof probeFlags>;

export const lab: CommandSpec = {
  name: "lab",
  summary: "turn manifests into network namespaces with real traffic between them",
  details: [
    "One process holds a network namespace for each pod and enforces the policies between them. Without root it works in its own user namespace.",
  ],
  group: live,
  examples: [
    { command: "sluice lab up -f manifests/", effect: "bring the lab up" },
    { command: "sluice lab probe", effect: "compare real connections with the table" },
    { command: "sluice lab down", effect: "leave nothing behind" },
  ],
  commands: [
    command({
      name: "up",
      summary: "make a namespace for each pod, wired through one process that enforces",
      options: upFlags,
      examples: [
        { command: "sluice lab up -f manifests/", effect: "bring it up and return" },
        {
          command: "sluice lab up -f manifests/ --name mine --foreground",
          effect: "hold it in this terminal, under a name",
        },
        {
          command: "sluice lab up -f manifests/ --serve",
          effect: "try a repository without its images",
        },
      ],
      run: async (options, io) => (await import("./lab.js")).runLabUp(options, io),
    }),
    command({
      name: "apply",
      summary: "swap the lab to other manifests while its connections run",
      options: applyFlags,
      examples: [
        {
          command: "sluice lab apply -f incident/",
          effect: "enforce other manifests; a set with errors changes nothing",
        },
      ],
      run: async (options, io) => (await import("./lab.js")).runLabApply(options, io),
    }),
    command({
      name: "down",
      summary: "end the lab and remove all that it made, also after a kill -9",
      options: [labName],
      examples: [{ command: "sluice lab down", effect: "end the default lab" }],
      run: async (options, io) => (await import("./lab.js")).runLabDown(options, io),
    }),
    command({
      name: "status",
      summary: "show pods, addresses, the table's generation and what was dropped, and why",
      options: statusFlags,
      examples: [
        { command: "sluice lab status", effect: "for reading" },
        { command: "sluice lab status -o json", effect: "for a script" },
      ],
      run: async (options, io) => (await import("./lab.js")).runLabStatus(options, io),
    }),
    command({
      name: "exec",
      summary: "run a program in a pod's network namespace, and exit as it does",
      details: [
        "The program finds names as in a cluster: the pod's own, and those of Services. It has its own /etc/resolv.conf and /etc/hosts; the machine's stay as they are.",
      ],
      arguments: execArguments,
      options: [labName],
      passThrough: true,
      examples: [
        {
          command: "sluice lab exec shop/frontend -- ping -c 1 10.1.2.20",
          effect: "one echo request from a pod",
        },
        {
          command: "sluice lab exec shop/frontend -- curl http://payment:9000/",
          effect: "a request to a Service by its name",
        },
      ],
      run: async (options, io) => (await import("./lab.js")).runLabExec(options, io),
    }),
    command({
      name: "probe",
      summary: "try real connections between pods and compare them with the table",
      details: [
        "Without --probes, it tries every pair of pods, with ICMP and with each port that a container declares, over both address families.",
        "Exit 1 if the result of a connection differs from the table.",
      ],
      options: probeFlags,
      examples: [
        { command: "sluice lab probe", effect: "all pairs" },
        { command: "sluice lab probe --probes probes.json -o json", effect: "the ones in a file" },
      ],
      run: async (options, io) => (await import("./lab.js")).runLabProbe(options, io),
    }),
  ],
};
