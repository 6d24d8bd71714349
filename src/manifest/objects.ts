import type { Span } from "../diagnostics/diagnostic.js";
import type { Address } from "../net/address.js";
import type { Prefix } from "../net/prefix.js";
import type { TransportProtocol } from "../net/protocol.js";

/**
 * Kubernetes objects as Sluice uses them: validated, defaulted as the API server does, every part
 * that a user may ask about with its span. Selectors keep their text; nothing is resolved here.
 */

export interface Meta {
  readonly name: string;
  /** Empty for objects that have none (Namespace, Node, cluster policies). */
  readonly namespace: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly annotations: ReadonlyMap<string, string>;
  /** The one of `ownerReferences` that is the controller. */
  readonly owner?: Owner;
  readonly span: Span;
}

/** What made an object and keeps it, in the same namespace. */
export interface Owner {
  /** API group of `kind`; empty for the core group. */
  readonly group: string;
  readonly kind: string;
  readonly name: string;
}

export interface Namespace {
  readonly kind: "Namespace";
  readonly meta: Meta;
}

export interface Node {
  readonly kind: "Node";
  readonly meta: Meta;
  /** InternalIP and ExternalIP entries of `status.addresses`. */
  readonly addresses: readonly Address[];
}

export interface ContainerPort {
  readonly name: string;
  readonly port: number;
  readonly protocol: TransportProtocol;
}

export interface Pod {
  readonly kind: "Pod";
  readonly meta: Meta;
  /** Empty when not scheduled. */
  readonly nodeName: string;
  readonly hostNetwork: boolean;
  /** `status.phase`, or `Running` when absent. */
  readonly phase: string;
  /** `status.podIPs`, or `status.podIP` when that is all there is. */
  readonly addresses: readonly Address[];
  /** Ports of all containers (and of init containers that keep running), named or not. */
  readonly ports: readonly ContainerPort[];
  /** `metadata.creationTimestamp` as text, empty when absent. */
  readonly created: string;
  /** Made here of its owner's template: in a cluster there may be more like it, with other names. */
  readonly isMade?: true;
  /** Its addresses were chosen here, and say nothing about those that it would have in a cluster. */
  readonly isAssigned?: true;
}

/** What pods are made of. */
export interface Workload {
  readonly kind: WorkloadKind;
  readonly meta: Meta;
  /** How people call it: `meta.name`, or the `generateName` that a server would complete. */
  readonly title: string;
  /** Pods wanted at once; of a DaemonSet, on each node. */
  readonly replicas: number;
  /** Ordinal of the first pod, where pods are numbered. */
  readonly firstOrdinal: number;
  /** Absent where the manifest has none, as that of a Rollout that refers to a Deployment. */
  readonly template?: PodTemplate;
}

export type WorkloadKind =
  | "CronJob"
  | "DaemonSet"
  | "Deployment"
  | "DeploymentConfig"
  | "Job"
  | "ReplicaSet"
  | "ReplicationController"
  | "Rollout"
  | "StatefulSet";

/** What the pods of a workload have in common. */
export interface PodTemplate extends Pick<Pod, "hostNetwork" | "nodeName" | "ports"> {
  readonly labels: Meta["labels"];
  readonly annotations: Meta["annotations"];
}

export type SelectorOperator = "In" | "NotIn" | "Exists" | "DoesNotExist";

export interface SelectorRequirement {
  readonly key: string;
  readonly operator: SelectorOperator;
  readonly values: readonly string[];
  readonly span: Span;
}

/** A label selector; no requirements selects everything. `matchLabels` entries are `In` of one value. */
export interface LabelSelector {
  readonly requirements: readonly SelectorRequirement[];
  readonly span: Span;
}

export interface IpBlock {
  readonly cidr: Prefix;
  readonly except: readonly Prefix[];
  readonly span: Span;
}

export interface PolicyPeer {
  readonly podSelector?: LabelSelector;
  readonly namespaceSelector?: LabelSelector;
  readonly ipBlock?: IpBlock;
  readonly span: Span;
}

export interface PolicyPort {
  readonly protocol: TransportProtocol;
  /** Absent: every port of the protocol. A string is a port name. */
  readonly port?: number | string;
  /** Inclusive; only with a numeric port. */
  readonly endPort?: number;
  readonly span: Span;
}

export interface PolicyRule {
  /** Empty: everyone. */
  readonly peers: readonly PolicyPeer[];
  /** Empty: every port of every protocol. */
  readonly ports: readonly PolicyPort[];
  readonly span: Span;
}

export interface NetworkPolicy {
  readonly kind: "NetworkPolicy";
  readonly meta: Meta;
  readonly podSelector: LabelSelector;
  /** Defaulted: Ingress, and Egress when there are egress rules, when the manifest names none. */
  readonly policyTypes: ReadonlySet<"Ingress" | "Egress">;
  /** Whether the manifest itself named them. */
  readonly policyTypesGiven: boolean;
  readonly ingress: readonly PolicyRule[];
  readonly egress: readonly PolicyRule[];
}

/** All pods of the namespaces that the selector chooses. */
export interface NamespacesPeer {
  readonly by: "namespaces";
  readonly selector: LabelSelector;
  readonly span: Span;
}

/** The pods that one selector chooses in the namespaces that the other chooses. */
export interface PodsPeer {
  readonly by: "pods";
  readonly namespaceSelector: LabelSelector;
  readonly podSelector: LabelSelector;
  readonly span: Span;
}

export interface NodesPeer {
  readonly by: "nodes";
  readonly selector: LabelSelector;
  readonly span: Span;
}

export interface NetworksPeer {
  readonly by: "networks";
  readonly networks: readonly Prefix[];
  readonly span: Span;
}

/** Only in Accept rules for egress. `*.` in front stands for one label or more. */
export interface DomainNamesPeer {
  readonly by: "domainNames";
  readonly domainNames: readonly string[];
  readonly span: Span;
}

export type ClusterSubject = NamespacesPeer | PodsPeer;
export type ClusterPeer = NamespacesPeer | PodsPeer | NodesPeer | NetworksPeer | DomainNamesPeer;

export type ClusterPort =
  | {
      readonly by: "number";
      readonly protocol: TransportProtocol;
      /** Inclusive; equal for a single port. A start above the end is a range of no port. */
      readonly start: number;
      readonly end: number;
      readonly span: Span;
    }
  /** A container port's name, of whatever protocol the container gives it. */
  | { readonly by: "name"; readonly name: string; readonly span: Span };

export interface ClusterRule {
  /** Empty when it has none. */
  readonly name: string;
  readonly action: "Accept" | "Deny" | "Pass";
  /** One at least. */
  readonly peers: readonly ClusterPeer[];
  /** Empty: every port of every protocol. */
  readonly ports: readonly ClusterPort[];
  readonly span: Span;
}

/**
 * A cluster-wide policy. The two older kinds are read into the same shape: Allow becomes Accept,
 * AdminNetworkPolicy is of tier Admin, BaselineAdminNetworkPolicy of tier Baseline and priority 0.
 */
export interface ClusterPolicy {
  readonly kind: "ClusterNetworkPolicy" | "AdminNetworkPolicy" | "BaselineAdminNetworkPolicy";
  readonly meta: Meta;
  readonly tier: "Admin" | "Baseline";
  /** 0 to 1000, lower first. */
  readonly priority: number;
  readonly subject: ClusterSubject;
  /** In the order written, which is the order of evaluation. */
  readonly ingress: readonly ClusterRule[];
  readonly egress: readonly ClusterRule[];
}

export type KubernetesObject = Namespace | Node | Pod | NetworkPolicy | ClusterPolicy;

/** What is left to be told of an object once a table has been made of it: a policy's rules are not. */
export type ObjectHead = Namespace | Node | Pod | PolicyHead;

export interface PolicyHead {
  readonly kind: NetworkPolicy["kind"] | ClusterPolicy["kind"];
  readonly meta: Meta;
  /** Of cluster policies. */
  readonly tier?: ClusterPolicy["tier"];
  /** Single addresses that its blocks name: what stands there is no pod of ours to make. */
  readonly hosts?: readonly Address[];
}

export function headOf(object: KubernetesObject): ObjectHead {
  switch (object.kind) {
    case "Namespace":
    case "Node":
    case "Pod":
      return object;
    case "NetworkPolicy":
      return { kind: object.kind, meta: object.meta, ...hostsOf(object) };
    default:
      return { kind: object.kind, meta: object.meta, tier: object.tier, ...hostsOf(object) };
  }
}

function hostsOf({ ingress, egress }: NetworkPolicy | ClusterPolicy): Pick<PolicyHead, "hosts"> {
  const peers = [...ingress, ...egress].flatMap(
    (rule): readonly (PolicyPeer | ClusterPeer)[] => rule.peers,
  );
  const hosts = peers
    .flatMap((peer): readonly Prefix[] => {
      if (!("by" in peer))
        return peer.ipBlock === undefined ? [] : [peer.ipBlock.cidr, ...peer.ipBlock.except];
      return peer.by === "networks" ? peer.networks : [];
    })
    .filter(({ address, length }) => length === address.bytes.length * 8)
    .map(({ address }) => address);
  return hosts.length === 0 ? {} : { hosts };
}
