import type { Choice } from "../control/settings.js";
import type { DataplaneOptions, Deny, Established } from "../dataplane/dataplane.js";
import type { Span } from "../diagnostics/diagnostic.js";
import type { Mode } from "../manifest/annotations.js";
import type { Address } from "../net/address.js";
import type { SinkConfig } from "../sinks/sink-config.js";
import type { Listen } from "./listeners.js";

/**
 * Which interfaces of a node Sluice takes, and which manifests it enforces.
 *
 * `run --wire`, `run --config` and `sidecar` each make one.
 */
export interface NodeConfig {
  readonly source: SourceConfig;
  readonly wires: readonly WireConfig[];
  readonly sidecars: readonly SidecarConfig[];
  /** Absent: nothing is judged where the kernel routes or bridges it. */
  readonly inPlace?: InPlaceConfig;
  /** When the manifests lack an attachment's pod: refuse to start, or attach and pass nothing. */
  readonly missingPods: "refuse" | "wait";
  /** Addresses of the node beside those of its interfaces and of its Node object. */
  readonly nodeAddresses: readonly Address[];
  readonly dataplane: DataplaneOptions & {
    readonly established: Established;
    readonly deny: Deny;
  };
  /** Mode of a policy when neither the policy, its pod nor the attachment sets one. */
  readonly mode: Mode;
  readonly control: Listen;
  /** Where flows go, beside the ring that observe reads. */
  readonly flows: readonly SinkConfig[];
}

/** Where manifests come from. */
export interface SourceConfig {
  /** Files and folders; `-` is standard input, read once. */
  readonly paths: readonly string[];
  /** Patterns of files to leave out of folders. */
  readonly ignore?: readonly string[];
  /** Whether nothing in a folder is passed over. */
  readonly strict?: boolean;
  /** Whether they are read again when they change on disk. */
  readonly watch: Choice<"watch">;
  /** An API server to follow instead; `paths` is then empty. */
  readonly kubernetes?: KubernetesConfig;
}

/** Which cluster to follow, and for which node. */
export interface KubernetesConfig {
  /** Absent: `KUBECONFIG`, the pod's own service account, or `~/.kube/config`. */
  readonly kubeconfig?: string;
  /** Absent: the kubeconfig's current one. */
  readonly context?: string;
  /** Only pods that run on this node count; absent: pods on any node. */
  readonly node?: string;
}

/** A pod, by its names. */
export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

/** After a crash nothing passes (`closed`), or everything passes unjudged (`open`). */
export type FailMode = Choice<"failMode">;

export type RouterAdvertisements = Choice<"routerAdvertisements">;

/** Two interfaces that exist, between which one pod's traffic is judged. */
export interface WireConfig {
  readonly pod: PodName;
  /** The interface towards the pod. */
  readonly inside: string;
  /** The interface towards the network. */
  readonly outside: string;
  /** Where each was written. */
  readonly places: { readonly inside: Span; readonly outside: Span };
  /** Absent: the source MAC of the pod's frames is not checked. */
  readonly podMac?: string;
  readonly link: Choice<"link">;
  /** What passes when the process is gone without a clean end. */
  readonly failMode: FailMode;
  /** Whether the network's router advertisements reach the pod. */
  readonly routerAdvertisements: RouterAdvertisements;
  /** Of policies that neither they nor the pod say more about; absent: the process's. */
  readonly mode?: Mode;
  /** Where it was written. */
  readonly span: Span;
}

/** A workload's own interface, in the network namespace that this process shares with it. */
export interface SidecarConfig {
  readonly pod: PodName;
  readonly interface: string;
  /** Where that was written. */
  readonly place: Span;
  /** How packets are received from the network and sent to it. */
  readonly link: Choice<"link">;
  /** Whether the workload's existing connections are adopted at the start. */
  readonly adopt: boolean;
  /**
   * At a clean end: `restore` puts the interface back as it was; `block` leaves all in place, and nothing
   * passes. Absent: `restore` when the process has a terminal, else `block`.
   */
  readonly onStop?: "restore" | "block";
  /** The folder of the record with the interface's original state. */
  readonly stateFolder: string;
  /** Absent: they pass if the interface has a route from a router advertisement. */
  readonly routerAdvertisements?: RouterAdvertisements;
  /** Of policies that neither they nor the pod say more about; absent: the process's. */
  readonly mode?: Mode;
  /** Where it was written. */
  readonly span: Span;
}

/** All pods of the node, whose packets the kernel goes on routing or bridging and the table judges on their way. */
export interface InPlaceConfig {
  /** The folder in a bpf file system that holds what stays attached when this process ends. */
  readonly pinFolder: string;
  /** What judges where the kernel forwards. */
  readonly hook: Choice<"hook">;
  /** The API server's name of the node; absent: all pods are taken to be here. */
  readonly node?: string;
  /** What passes to and from an address of the node's pod ranges that no pod is known to have. */
  readonly unknownPods: Choice<"unknownPods">;
  /** Whether a pod's interface passes only what has the pod's own addresses as its source. */
  readonly sourceGuard: Choice<"sourceGuard">;
  /** Absent: no container runtime tells of its pods. */
  readonly cni?: CniConfig;
  /** Absent: without a process the last table goes on judging. */
  readonly lease?: {
    readonly ms: number;
    /** What passes to and from local pods when no process has renewed it for so long. */
    readonly failMode: Choice<"lapsed">;
  };
}

/** How the CNI plugin reaches this process. */
export interface CniConfig {
  /** Where to listen for it. */
  readonly socket: string;
  /** Where to install it; absent: nowhere. */
  readonly install?: {
    /** The runtime's folder of plugins, and that of its networks. */
    readonly programs: string;
    readonly configurations: string;
  };
}

/** `namespace/name`, as users write a pod. */
export function podText({ namespace, name }: PodName): string {
  return `${namespace}/${name}`;
}
