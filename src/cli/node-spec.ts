import { settings } from "../control/settings.js";
import { command, type OptionsOf } from "./command-spec.js";
import {
  filename,
  following,
  listening,
  live,
  readyFd,
  takeOver,
  watch,
  wordFlag,
} from "./shared-options.js";

/** Where the programs are pinned when nothing else is said. */
const pinFolder = "/sys/fs/bpf/sluice";

const flags = [
  {
    flags: "--node <name>",
    description:
      "the API server's name of this node, whose pods are judged; its host name when left out",
  },
  {
    ...filename,
    description: `${filename.description}; an API server is followed when left out`,
    required: false,
  },
  ...following,
  wordFlag("--unknown-pods <what>", settings.unknownPods),
  wordFlag("--source-guard <what>", settings.sourceGuard),
  wordFlag("--hook <what>", settings.hook),
  {
    flags: "--lease <time>",
    description:
      "for how long the last table goes on judging when there is no process; as long as it takes when left out",
  },
  wordFlag("--fail-mode <mode>", settings.lapsed),
  wordFlag("--mode <mode>", settings.mode),
  wordFlag("--deny <how>", settings.deny),
  {
    flags: "--pin-folder <folder>",
    description:
      "a folder in a bpf file system: what is attached stays there when the process ends",
    completes: "folder",
    default: pinFolder,
  },
  {
    flags: "--cni-socket <path>",
    description:
      "where the CNI plugin asks for the policy of a new pod, before its first packet; with --install-cni /run/sluice/cni.sock, else no plugin is answered when left out",
    completes: "file",
  },
  {
    flags: "--install-cni",
    description:
      "install the CNI plugin, and keep it at the end of the network plugin's chain; it stays when the process ends",
  },
  {
    flags: "--cni-bin <folder>",
    description: "where the container runtime looks for CNI plugins",
    completes: "folder",
    default: "/opt/cni/bin",
  },
  {
    flags: "--cni-conf <folder>",
    description: "where the container runtime looks for its network's chain",
    completes: "folder",
    default: "/etc/cni/net.d",
  },
  {
    flags: "--remove",
    description:
      "detach what an earlier process has left, take the CNI plugin out of the chain, and do nothing else",
  },
  readyFd,
  takeOver,
  {
    flags: "--stay",
    description:
      "when another process has taken over, wait for a signal: for what starts an ended process again, as a kubelet does",
  },
  watch,
  ...listening,
] as const;

export type NodeOptions = OptionsOf<typeof flags>;

export const node = command({
  name: "node",
  summary: "enforce for every pod of a node, where its kernel routes or bridges their packets",
  details: [
    "The kernel goes on routing or bridging, and translating Services; programs at netfilter's forward hook judge each packet by the table. No interface is named and none is changed. Needs Linux 5.10 or later; before 6.4, rules of nftables lead to the programs (--hook). See docs/in-place.md.",
    "Prints ready on standard output once it enforces. When the process ends, whatever ends it, the programs go on judging by the last table, new connections too, until the next process has another one. --remove takes them away.",
  ],
  group: live,
  options: flags,
  examples: [
    { command: "sluice node", effect: "follow the API server, for the pods of this node" },
    {
      command: "sluice node --install-cni",
      effect: "enforce for each new pod before its first packet",
    },
    { command: "sluice node -f manifests/", effect: "judge all that the manifests have" },
    { command: "sluice node --remove", effect: "leave nothing behind" },
  ],
  run: async (options, io) => (await import("./node.js")).runNodeCommand(options, io),
});
