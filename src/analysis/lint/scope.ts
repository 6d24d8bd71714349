import type { CompileResult } from "../../compiler/compile.js";
import { sidesOf } from "../../dataplane/events.js";
import { Table, TupleBatch } from "../../dataplane/table.js";
import type { ObjectRef, Span } from "../../diagnostics/diagnostic.js";
import { objectName } from "../../diagnostics/object-name.js";
import { suggest } from "../../diagnostics/suggest.js";
import {
  type ClusterPolicy,
  type ClusterRule,
  type LabelSelector,
  type NetworkPolicy,
  namespaceNameLabel,
  type Pod,
  type PolicyRule,
  type ServiceObject,
} from "../../manifest/objects.js";
import type { Address } from "../../net/address.js";
import type { Prefix } from "../../net/prefix.js";
import { protocolNumbers, type TransportProtocol } from "../../net/protocol.js";
import type { ClusterObjects, LivePod, PodGroup } from "../../policy/cluster.js";
import { PeerSets, type PeerTerm } from "../../policy/peer-sets.js";
import { remember } from "../../policy/remember.js";
import { peerTerm } from "../../policy/resolve.js";
import { type Direction, type Endpoint, rulePath } from "../../policy/ruleset.js";
import { matchesSelector } from "../../policy/selectors.js";
import { ServiceIndex } from "../../services/service-index.js";
import { hasEnded } from "../../workloads/assign-addresses.js";
import type { Side } from "../explain.js";

export type AnyPolicy = NetworkPolicy | ClusterPolicy;

export const directions = ["Ingress", "Egress"] as const;

/** A connection to a port. */
export interface Connection {
  readonly source: Address;
  /** Of the same family. */
  readonly destination: Address;
  readonly protocol: TransportProtocol;
  readonly port: number;
}

/** One rule of a policy, with its place. */
export interface PlacedRule {
  readonly policy: AnyPolicy;
  readonly direction: Direction;
  readonly index: number;
  readonly rule: PolicyRule | ClusterRule;
  /** Such as `spec.ingress[0]`. */
  readonly field: string;
}

/** One peer of a rule that selects pods. */
export interface PodPeer {
  readonly term: PeerTerm & { readonly by: "pods" };
  readonly span: Span;
  /** Within the rule, such as `from[1]`. */
  readonly field: string;
}

/** What stands beside the policies and pods. */
export interface Surroundings {
  readonly services?: readonly ServiceObject[];
  /** Blocks in which Services have their addresses, as far as the user said. */
  readonly serviceRanges?: readonly Prefix[];
  /** Names of files whose objects are somewhere else: they count as peers, and nothing is found in them. */
  readonly standIns?: ReadonlySet<string>;
  /** Whether there are objects of kinds that are not Kubernetes' own, of which an operator may make pods. */
  readonly hasCustomObjects?: boolean;
}

/** What all checks look at. */
export class LintScope {
  readonly compiled: CompileResult & { readonly ok: true };
  readonly policies: readonly AnyPolicy[];
  /** Groups of pods that have traffic of their own, in the order of their first pod. */
  readonly groups: readonly PodGroup[];
  readonly #peers: PeerSets;
  readonly #endpoints: ReadonlyMap<string, Endpoint>;
  readonly #hostPods: readonly Pod[];
  readonly surroundings: Surroundings;
  #services: ServiceIndex | undefined;
  #table: Table | undefined;
  #podsIn: Map<string, Pod[]> | undefined;
  #here: ReadonlySet<string> | undefined;
  readonly #objects: ClusterObjects;

  constructor(
    objects: ClusterObjects,
    compiled: CompileResult & { readonly ok: true },
    surroundings: Surroundings = {},
  ) {
    this.compiled = compiled;
    this.surroundings = surroundings;
    this.#objects = objects;
    const { networkPolicies, clusterPolicies } = compiled.policies;
    this.policies = [...networkPolicies, ...clusterPolicies];
    this.groups = [...new Set(compiled.cluster.pods.map((live) => live.group))];
    this.#peers = new PeerSets(compiled.cluster);
    this.#endpoints = new Map(
      compiled.ruleset.endpoints.map((endpoint) => [objectName(endpoint), endpoint]),
    );
    this.#hostPods = objects.filter(
      (object): object is Pod => object.kind === "Pod" && object.hostNetwork && !hasEnded(object),
    );
  }

  /** Whether the manifests say anything about pods. */
  get hasPods(): boolean {
    const live = this.compiled.cluster.pods.map(({ pod }) => pod);
    return [...live, ...this.#hostPods].some(({ meta }) => !this.isStandIn(meta.span));
  }

  /** Services, with the pods behind them. */
  get services(): ServiceIndex {
    this.#services ??= new ServiceIndex(this.#objects, this.surroundings.services ?? []);
    return this.#services;
  }

  /** Whether something stands for what is somewhere else. */
  isStandIn({ file }: Span): boolean {
    return this.surroundings.standIns?.has(file) ?? false;
  }

  /** Pods of a namespace that have not ended, on their hosts' network too. */
  podsIn(namespace: string): readonly Pod[] {
    if (this.#podsIn === undefined) {
      this.#podsIn = new Map();
      for (const object of this.#objects) {
        if (object.kind !== "Pod" || hasEnded(object)) continue;
        remember(this.#podsIn, object.meta.namespace, () => [] as Pod[]).push(object);
      }
    }
    return this.#podsIn.get(namespace) ?? [];
  }

  /** Says who denies the first packet of a connection, by the table; nobody where it is allowed. */
  deniedBy(connection: Connection): readonly Side[] {
    const { source, destination, protocol, port } = connection;
    this.#table ??= Table.open(this.compiled.blob);
    const batch = new TupleBatch(1);
    batch.push(source, destination, protocolNumbers[protocol]!, port);
    return sidesOf(this.#table.classify(batch)[0]!);
  }

  /**
   * Reports whether a term names namespaces of which the manifests have nothing, so that its pods may be somewhere
   * else. A name that is here under another key, or that is nearly here, is a mistake.
   */
  isElsewhere({ namespaces }: PeerTerm & { readonly by: "pods" }): boolean {
    if (typeof namespaces === "string") return false;
    const here = this.#namespacesHere();
    if (this.namespacesOf(namespaces).some((name) => here.has(name))) return false;
    return namespaces.requirements.every(({ key, operator, values }) => {
      if (operator !== "In") return true;
      const known = [...here].flatMap((name) => {
        const label = this.compiled.cluster.namespaces.get(name)?.labels.get(key);
        return label === undefined ? [name] : [name, label];
      });
      return values.every((value) => suggest(value, known) === undefined);
    });
  }

  /** Namespaces of which there is more than stand-ins. */
  #namespacesHere(): ReadonlySet<string> {
    this.#here ??= new Set(
      this.#objects.flatMap(({ kind, meta }) => {
        if (this.isStandIn(meta.span)) return [];
        return kind === "Namespace" ? [meta.name] : [meta.namespace];
      }),
    );
    return this.#here;
  }

  /** The groups that a policy is for. */
  subjects(policy: AnyPolicy): readonly PodGroup[] {
    return this.matching([subjectTerm(policy)]);
  }

  /** Whether policies that are enforced isolate every pod of a group in one direction. */
  isIsolated(group: PodGroup, direction: Direction): boolean {
    const side = direction === "Ingress" ? "ingress" : "egress";
    return this.compiled.cluster.pods.every(
      (live) => live.group !== group || this.#endpointOf(live)[side].isolatedBy.length > 0,
    );
  }

  #endpointOf({ pod }: LivePod): Endpoint {
    return this.#endpoints.get(objectName(pod.meta))!;
  }

  /** The groups that any of the terms stands for. */
  matching(terms: readonly PeerTerm[]): readonly PodGroup[] {
    return this.#peers.groups(terms);
  }

  /** Pods on the host's network that a term would select if they could be selected. */
  hostPods({ namespaces, pods }: PeerTerm & { readonly by: "pods" }): readonly Pod[] {
    return this.#hostPods.filter(({ meta }) => {
      const inNamespace =
        typeof namespaces === "string"
          ? meta.namespace === namespaces
          : matchesSelector(namespaces, this.#namespaceLabels(meta.namespace));
      return inNamespace && (pods === undefined || matchesSelector(pods, meta.labels));
    });
  }

  /** Names of the namespaces that a selector chooses. */
  namespacesOf(selector: LabelSelector): readonly string[] {
    return [...this.compiled.cluster.namespaces.values()]
      .filter(({ labels }) => matchesSelector(selector, labels))
      .map(({ name }) => name);
  }

  #namespaceLabels(name: string): ReadonlyMap<string, string> {
    const known = this.compiled.cluster.namespaces.get(name);
    return known?.labels ?? new Map([[namespaceNameLabel, name]]);
  }
}

export function refOf({ kind, meta }: AnyPolicy | Pod | ServiceObject): ObjectRef {
  return { kind, namespace: meta.namespace, name: meta.name };
}

/** Calls a pod by its name, and one that was made of a workload by the workload's: that is what the manifests have. */
export function podName({ meta, isMade }: Pod): string {
  return isMade && meta.owner !== undefined
    ? `${meta.namespace}/${meta.owner.name}`
    : objectName(meta);
}

/** Writes a port of a pod's own as `8080 (http)`, or `8080` where the pod has no name for it. */
export function ownPortText({ ports }: Pod, protocol: TransportProtocol, port: number): string {
  const declared = ports.find((each) => each.port === port && each.protocol === protocol);
  return declared === undefined || declared.name === "" ? `${port}` : `${port} (${declared.name})`;
}

/** Reports whether rules of this direction count in a policy at all. */
export function hasDirection(policy: AnyPolicy, direction: Direction): boolean {
  return policy.kind !== "NetworkPolicy" || policy.policyTypes.has(direction);
}

/** Lists a policy's rules of one direction, whether they count or not. */
export function rulesOf(policy: AnyPolicy, direction: Direction): readonly PlacedRule[] {
  const side = direction === "Ingress" ? "ingress" : "egress";
  return policy[side].map((rule, index) => ({
    policy,
    direction,
    index,
    rule,
    field: `spec.${rulePath(side, index)}`,
  }));
}

/** Lists the rules of all policies that count. */
export function countedRules(policies: readonly AnyPolicy[]): readonly PlacedRule[] {
  return policies.flatMap((policy) =>
    directions.flatMap((direction) =>
      hasDirection(policy, direction) ? rulesOf(policy, direction) : [],
    ),
  );
}

/** Which pods a policy is for, as a term. */
export function subjectTerm(policy: AnyPolicy): PeerTerm & { readonly by: "pods" } {
  if (policy.kind === "NetworkPolicy") {
    return { by: "pods", namespaces: policy.meta.namespace, pods: policy.podSelector };
  }
  const { subject } = policy;
  return subject.by === "namespaces"
    ? { by: "pods", namespaces: subject.selector, pods: undefined }
    : { by: "pods", namespaces: subject.namespaceSelector, pods: subject.podSelector };
}

/** Lists the peers of a rule that select pods. */
export function podPeers({ policy, direction, rule }: PlacedRule): readonly PodPeer[] {
  const list = direction === "Ingress" ? "from" : "to";
  return rule.peers.flatMap((peer, index): PodPeer[] => {
    const place = { span: peer.span, field: `${list}[${index}]` };
    if (!("by" in peer)) {
      const term = peerTerm(peer, policy.meta.namespace);
      return term.by === "pods" ? [{ ...place, term }] : [];
    }
    if (peer.by === "namespaces") {
      return [{ ...place, term: { by: "pods", namespaces: peer.selector, pods: undefined } }];
    }
    if (peer.by !== "pods") return [];
    return [
      {
        ...place,
        term: { by: "pods", namespaces: peer.namespaceSelector, pods: peer.podSelector },
      },
    ];
  });
}
