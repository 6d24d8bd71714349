import { count } from "../../diagnostics/count.js";
import { formatPrefix, prefixCovers } from "../../net/prefix.js";
import type { PodGroup } from "../../policy/cluster.js";
import type { Direction } from "../../policy/ruleset.js";
import { matchesSelector, selectorText } from "../../policy/selectors.js";
import { type Finding, finding, listNames } from "./finding.js";
import {
  type AnyPolicy,
  countedRules,
  directions,
  hasDirection,
  type LintScope,
  type PlacedRule,
  podName,
  podPeers,
  refOf,
  rulesOf,
  subjectTerm,
} from "./scope.js";

/** Finds policies that are for no pod. SL3002, SL3012. */
export function checkSubjects(scope: LintScope): readonly Finding[] {
  return scope.policies.flatMap((policy) => {
    if (scope.subjects(policy).length > 0) return [];
    const term = subjectTerm(policy);
    const isNetworkPolicy = policy.kind === "NetworkPolicy";
    const place = {
      span: isNetworkPolicy ? policy.podSelector.span : policy.subject.span,
      object: refOf(policy),
      field: isNetworkPolicy ? "spec.podSelector" : "spec.subject",
    };
    const hosts = [...new Set(scope.hostPods(term).map(podName))];
    if (hosts.length > 0) {
      const message = `got a policy for ${listNames(hosts)} alone, which the host's network serves: no policy applies there`;
      return [finding("SL3012", place, message)];
    }
    return [finding("SL3002", place, `got a policy that selects no pod: ${whyNone(scope, term)}`)];
  });
}

/** Finds peers that stand for no address. SL3003, SL3012, SL3019. */
export function checkPeers(scope: LintScope): readonly Finding[] {
  return countedRules(scope.policies).flatMap((placed) => [
    ...podPeers(placed).flatMap((peer): Finding[] => {
      if (scope.matching([peer.term]).length > 0) return [];
      const place = {
        span: peer.span,
        object: refOf(placed.policy),
        field: `${placed.field}.${peer.field}`,
      };
      const hosts = [...new Set(scope.hostPods(peer.term).map(podName))];
      if (hosts.length > 0) {
        const message = `got a peer for ${listNames(hosts)} alone, which the host's network serves: no selector matches there, name the node's address`;
        return [finding("SL3012", place, message)];
      }
      const why = whyNone(scope, peer.term);
      return scope.isElsewhere(peer.term)
        ? [finding("SL3019", place, `got a peer that is not here: ${why}`)]
        : [finding("SL3003", place, `got a peer that matches no pod: ${why}`)];
    }),
    ...checkAddressPeers(scope, placed),
  ]);
}

function checkAddressPeers(scope: LintScope, placed: PlacedRule): readonly Finding[] {
  const list = placed.direction === "Ingress" ? "from" : "to";
  return placed.rule.peers.flatMap((peer, index): Finding[] => {
    const place = {
      span: peer.span,
      object: refOf(placed.policy),
      field: `${placed.field}.${list}[${index}]`,
    };
    if (!("by" in peer)) {
      const { ipBlock } = peer;
      if (ipBlock === undefined || !takesAll(ipBlock.cidr.length, ipBlock.except)) return [];
      const cidr = formatPrefix(ipBlock.cidr);
      const message = `got a block without an address: its excepts together are all of ${cidr}`;
      return [finding("SL3003", { ...place, field: `${place.field}.ipBlock` }, message)];
    }
    if (peer.by !== "nodes") return [];
    const nodes = [...scope.compiled.cluster.nodes.values()].filter((node) =>
      matchesSelector(peer.selector, node.meta.labels),
    );
    if (nodes.some((node) => node.addresses.length > 0)) return [];
    const why = nodes.length === 0 ? `has ${selectorText(peer.selector)}` : "chosen has an address";
    return [finding("SL3003", place, `got a peer that matches nothing: no node ${why}`)];
  });
}

/** Reports whether prefixes inside a block of `length` bits make up all of it. */
function takesAll(length: number, except: readonly Parameters<typeof prefixCovers>[0][]): boolean {
  const maximal = except.filter(
    (hole, at) =>
      !except.some(
        (other, place) => prefixCovers(other, hole) && (other.length < hole.length || place < at),
      ),
  );
  const parts = maximal.reduce((sum, hole) => sum + (1n << BigInt(128 + length - hole.length)), 0n);
  return parts === 1n << 128n;
}

/** Finds pods that no policy covers in a direction. SL3004. */
export function checkUncovered(scope: LintScope): readonly Finding[] {
  const covered = new Map<PodGroup, Set<Direction>>(
    scope.groups.map((group) => [group, new Set()]),
  );
  for (const policy of scope.policies) {
    const counted = directions.filter((direction) => speaksOf(policy, direction));
    for (const group of scope.subjects(policy)) {
      for (const direction of counted) covered.get(group)!.add(direction);
    }
  }
  // Numbered pods of one workload differ by a label, and the manifests have the workload alone.
  const said = new Set<string>();
  return scope.groups.flatMap((group) => {
    const open = directions.filter((direction) => !covered.get(group)!.has(direction));
    if (open.length === 0) return [];
    const { pod } = group.pods[0]!;
    const { meta } = pod;
    if (scope.isStandIn(meta.span)) return [];
    const kind = (pod.isMade && meta.owner?.kind) || "Pod";
    const name = podName(pod);
    const sentence = `${open.join()} ${kind} ${name}`;
    if (said.has(sentence)) return [];
    if (pod.isMade) said.add(sentence);
    const alike = group.pods.filter((other) => podName(other.pod) !== name).length;
    const who = alike === 0 ? name : `${name} and ${count(alike, "pod")} like it`;
    const what = open.map((direction) => direction.toLowerCase()).join(" and ");
    const place = {
      span: meta.span,
      object: { kind, namespace: meta.namespace, name: name.slice(meta.namespace.length + 1) },
      field: "",
    };
    return [
      finding("SL3004", place, `got no policy for the ${what} of ${who}: everyone is allowed`),
    ];
  });
}

/** A cluster policy says something about a direction only by its rules; it isolates nobody. */
function speaksOf(policy: AnyPolicy, direction: Direction): boolean {
  if (policy.kind === "NetworkPolicy") return hasDirection(policy, direction);
  return rulesOf(policy, direction).length > 0;
}

/** Says at which step a term matches nothing. */
function whyNone(scope: LintScope, term: ReturnType<typeof subjectTerm>): string {
  const { namespaces, pods } = term;
  const wanted = pods === undefined ? "" : ` with ${selectorText(pods)}`;
  if (typeof namespaces === "string") return `namespace ${namespaces} has no pod${wanted}`;
  const found = scope.namespacesOf(namespaces);
  if (found.length === 0) return `no namespace has ${selectorText(namespaces)}`;
  return `no pod${wanted} in ${listNames(found)}`;
}
