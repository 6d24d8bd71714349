import { settings } from "../control/settings.js";
import { command, type OptionsOf } from "./command-spec.js";
import {
  enforcing,
  filename,
  folders,
  following,
  live,
  pod,
  routerAdvertisements,
  sourceKind,
  wordFlag,
} from "./shared-options.js";

const flags = [
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
  ...folders,
  sourceKind,
  ...following,
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
  {
    flags: "--yes",
    description:
      "take interfaces too that this machine needs itself: lo, and those that carry its default route",
  },
  ...enforcing,
] as const;

export type RunOptions = OptionsOf<typeof flags>;

export const run = command({
  name: "run",
  summary: "stand between interfaces and enforce",
  details: [
    "A config file names any number of wires. --wire, --pod and -f are the short form for one wire.",
    "Prints ready on standard output once it enforces. SIGHUP reads the config and the manifests again; if they have errors, nothing changes. SIGTERM and Ctrl-C end the process.",
    "When the process ends, traffic stops. It passes only if --fail-mode is open and the process did not end cleanly.",
  ],
  group: live,
  options: flags,
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
  run: async (options, io, given) => (await import("./run.js")).runRun(options, io, given),
});
