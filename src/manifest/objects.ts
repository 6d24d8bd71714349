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

/** The label that a server gives each namespace. */
export const namespaceNameLabel = "kubernetes.io/metadata.name";

export interface Namespace {
  readonly kind: "Namespace";
  readonly meta: Meta;
}

export interface Node {
  readonly kind: "Node";
  readonly meta: Meta;
  /** InternalIP and ExternalIP entries of `status.addresses`. */
  readonly addresses: readonly Address[];
  /** `spec.podCIDRs`, or `spec.podCIDR` where that is all there is or says otherwise. */
  readonly podCidrs: readonly Prefix[];
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
  /** Its name within itself, and below a headless Service of the name `subdomain`; absent: its own name, and none. */
  readonly hostname?: string;
  readonly subdomain?: string;
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
  /** The Service below which numbered pods have names; empty when there is none. */
  readonly serviceName: string;
  /** Labels by which it knows its pods, as far as it selects by equality alone; empty where it names none. */
  readonly matchLabels: ReadonlyMap<string, string>;
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
export interface PodTemplate
  extends Pick<Pod, "hostNetwork" | "nodeName" | "ports" | "hostname" | "subdomain"> {
  readonly labels: Meta["labels"];
  readonly annotations: Meta["annotations"];
}

export const serviceTypes = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] as const;
export type ServiceType = (typeof serviceTypes)[number];

/** A name and addresses that stand for pods. Policies see the pods. */
export interface Service {
  readonly kind: "Service";
  readonly meta: Meta;
  readonly type: ServiceType;
  /** `clusterIP: None`: the name stands for the pods' own addresses, and no port is translated. */
  readonly isHeadless: boolean;
  /** One of each family at most; empty where the server is still to choose. */
  readonly clusterIPs: readonly Address[];
  /** Those that `ipFamilies` asks for; empty where it asks for none. */
  readonly families: readonly Address["family"][];
  /** Addresses from outside that lead to it as well: `externalIPs`, and the load balancer's. */
  readonly externalIPs: readonly Address[];
  /** Of type ExternalName; empty otherwise. */
  readonly externalName: string;
  /** Labels of its pods; undefined where objects of their own say what is behind it. */
  readonly selector?: ReadonlyMap<string, string>;
  readonly ports: readonly ServicePort[];
  readonly publishNotReadyAddresses: boolean;
  readonly sessionAffinity: "None" | "ClientIP";
}

export interface ServicePort {
  /** Empty where a Service's only port has none. */
  readonly name: string;
  readonly protocol: TransportProtocol;
  readonly port: number;
  /** A text is the name of a port of each pod's own. */
  readonly targetPort: number | string;
  /** Where every node answers for it; absent when none was chosen. */
  readonly nodePort?: number;
  readonly span: Span;
}

/** What is behind a Service, one by one: an EndpointSlice, or the older Endpoints. */
export interface ServiceEndpoints {
  readonly kind: "EndpointSlice" | "Endpoints";
  readonly meta: Meta;
  /** Name of the Service, in the same namespace; empty where it says none. */
  readonly service: string;
  readonly subsets: readonly EndpointSubset[];
}

/** Endpoints with equal ports. */
export interface EndpointSubset {
  readonly endpoints: readonly ServiceEndpoint[];
  /** By the names of the Service's ports; one without a number is every port. */
  readonly ports: readonly {
    readonly name: string;
    readonly protocol: TransportProtocol;
    readonly port?: number;
  }[];
}

export interface ServiceEndpoint {
  readonly addresses: readonly Address[];
  readonly isReady: boolean;
}

/** Which Services are offered to the outside, by a controller that opens connections to their pods. */
export interface Ingress {
  readonly kind: "Ingress";
  readonly meta: Meta;
  /** `spec.ingressClassName`, or the annotation from before; empty where it names none. */
  readonly className: string;
  readonly backends: readonly IngressBackend[];
}

export interface IngressBackend {
  /** Of the same namespace. */
  readonly service: string;
  /** A port of the Service: its number, or its name. */
  readonly port: number | string;
  /** Such as `spec.rules[0].http.paths[0].backend`. */
  readonly field: string;
  readonly span: Span;
}

/** What gives pods names and addresses of a second sort. No table is made of it. */
export type ServiceObject = Service | ServiceEndpoints | Ingress;

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
  readonly priority?: number;
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
      return {
        kind: object.kind,
        meta: object.meta,
        tier: object.tier,
        priority: object.priority,
        ...hostsOf(object),
      };
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
