import type { ControlListen } from "../control/open-control.js";
import type { Choice } from "../control/settings.js";
import type { DataplaneOptions, Deny, Established } from "../dataplane/dataplane.js";
import type { Span } from "../diagnostics/diagnostic.js";
import type { Mode } from "../manifest/annotations.js";

/**
 * What stands on a node's interfaces, and by which manifests it judges.
 *
 * `run --wire`, `run --config` and `sidecar` are three ways to one of these.
 */
export interface NodeConfig {
  readonly source: SourceConfig;
  readonly wires: readonly WireConfig[];
  readonly sidecars: readonly SidecarConfig[];
  /** What becomes of a pod that the manifests do not have: no start, or an attachment that passes nothing. */
  readonly missingPods: "refuse" | "wait";
  readonly dataplane: DataplaneOptions & {
    readonly established: Established;
    readonly deny: Deny;
  };
  /** Of policies that neither they nor their pod nor its attachment say more about. */
  readonly mode: Mode;
  readonly control: ControlListen;
}

/** Where manifests come from. */
export interface SourceConfig {
  /** Files and folders; `-` is standard input, read once. */
  readonly paths: readonly string[];
  /** Whether they are read again when they change on disk. */
  readonly watch: Choice<"watch">;
  /** An API server that is followed instead; there are no paths then. */
  readonly kubernetes?: KubernetesConfig;
}

/** Which cluster to follow, and for which node. */
export interface KubernetesConfig {
  /** Absent: `KUBECONFIG`, the pod's own service account, or `~/.kube/config`. */
  readonly kubeconfig?: string;
  /** Absent: the kubeconfig's current one. */
  readonly context?: string;
  /** Pods count as there only while they run on this node; absent: wherever they run. */
  readonly node?: string;
}

/** A pod, by its names. */
export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

/** Nothing passes, or everything, unjudged. */
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
  /** Absent: the pod's frames are not held to one MAC. */
  readonly podMac?: string;
  readonly link: Choice<"link">;
  /** What becomes of traffic when the process is gone without a clean end. */
  readonly failMode: FailMode;
  /** Whether those of the network reach the pod. */
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
  /** Whether connections that the workload has already are taken up at the start. */
  readonly adopt: boolean;
  /**
   * At a clean end: all is put back as it was; or it stays in place, and nothing passes. Absent: the
   * first where the process has a terminal, else the second.
   */
  readonly onStop?: "restore" | "block";
  /** Where it is written down how the interface was. */
  readonly stateFolder: string;
  /** Absent: they pass where the interface has a route that a router told of. */
  readonly routerAdvertisements?: RouterAdvertisements;
  /** Of policies that neither they nor the pod say more about; absent: the process's. */
  readonly mode?: Mode;
  /** Where it was written. */
  readonly span: Span;
}

/** Writes a pod as users do. */
export function podText({ namespace, name }: PodName): string {
  return `${namespace}/${name}`;
}
