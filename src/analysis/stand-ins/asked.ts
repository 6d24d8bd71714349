import type {
  ClusterPeer,
  ClusterPolicy,
  LabelSelector,
  NetworkPolicy,
} from "../../manifest/objects.js";
import { type Cluster, everyPolicy, type Policies } from "../../policy/cluster.js";
import { type PeerTerm, termsHold } from "../../policy/peer-sets.js";
import { peerTerm } from "../../policy/resolve.js";

/** Pods that a policy names: those that it is for, or peers of its rules. */
export type PodsTerm = Extract<PeerTerm, { readonly by: "pods" }>;

type AnyPolicy = NetworkPolicy | ClusterPolicy;

/** What exists and what is asked, of one set of manifests. */
export interface AskedState {
  readonly cluster: Cluster;
  readonly policies: Policies;
}

/**
 * Finds the pods that the policies name which only some of the states have, or have otherwise.
 *
 * Shape: `isEqual` says whether two policies are one but for their places; one may be missing.
 */
export function changedTerms(
  states: readonly AskedState[],
  isEqual: (a: AnyPolicy | undefined, b: AnyPolicy) => boolean,
): readonly PodsTerm[] {
  const all = states.map(
    ({ policies }) =>
      new Map(
        everyPolicy(policies).map((policy) => [
          `${policy.kind} ${policy.meta.namespace}/${policy.meta.name}`,
          policy,
        ]),
      ),
  );
  const isSame = (key: string, policy: AnyPolicy) =>
    all.every((each) => isEqual(each.get(key), policy));
  return all.flatMap((each) =>
    [...each].flatMap(([key, policy]) => (isSame(key, policy) ? [] : termsOf(policy))),
  );
}

function termsOf(policy: AnyPolicy): readonly PodsTerm[] {
  return [subjectTerm(policy), ...peerTerms(policy)];
}

/** Policies of which nothing shows, since pods are missing. */
export interface Unasked {
  /** Those that are for no pod that is there. */
  readonly idle: readonly AnyPolicy[];
  /** Pods that these name, and, of the others, the peers that are not there. */
  readonly terms: readonly PodsTerm[];
}

/**
 * Finds which of a state's policies select no pod of it, and the pods that they name.
 *
 * Shape: `alsoPeers`: peers that are not there count too, of policies that do select pods.
 */
export function unaskedOf({ cluster, policies }: AskedState, alsoPeers: boolean): Unasked {
  const groups = [...cluster.namespaces.values()].flatMap((each) => each.groups);
  const isThere = (term: PodsTerm) => groups.some((group) => termsHold([term], group));
  const all = everyPolicy(policies);
  const idle = all.filter((policy) => !isThere(subjectTerm(policy)));
  const idleTerms = idle.flatMap(termsOf);
  if (!alsoPeers) return { idle, terms: idleTerms };
  const missing = all.flatMap(peerTerms).filter((term) => !isThere(term));
  return { idle, terms: [...idleTerms, ...missing] };
}

function subjectTerm(policy: AnyPolicy): PodsTerm {
  if ("podSelector" in policy) {
    return { by: "pods", namespaces: policy.meta.namespace, pods: policy.podSelector };
  }
  return clusterTerm(policy.subject)!;
}

function peerTerms(policy: AnyPolicy): readonly PodsTerm[] {
  if ("podSelector" in policy) {
    return [...policy.ingress, ...policy.egress]
      .flatMap((rule) => rule.peers)
      .map((peer) => peerTerm(peer, policy.meta.namespace))
      .filter((term) => term.by === "pods");
  }
  return [...policy.ingress, ...policy.egress]
    .flatMap((rule) => rule.peers)
    .flatMap((peer) => clusterTerm(peer) ?? []);
}

function clusterTerm(peer: ClusterPeer): PodsTerm | undefined {
  if (peer.by === "namespaces") return podsTerm(peer.selector, undefined);
  return peer.by === "pods" ? podsTerm(peer.namespaceSelector, peer.podSelector) : undefined;
}

function podsTerm(namespaces: LabelSelector, pods: LabelSelector | undefined): PodsTerm {
  return { by: "pods", namespaces, pods };
}
