import { count } from "../../diagnostics/count.js";
import type { PolicyPeer } from "../../manifest/objects.js";
import type { PeerTerm } from "../../policy/peer-sets.js";
import { type Finding, finding } from "./finding.js";
import { countedRules, directions, hasDirection, type LintScope, refOf, rulesOf } from "./scope.js";

/** Finds two neighbouring peers, one of each selector, that look like one peer with both. SL3007. */
export function checkSplitPeers(scope: LintScope): readonly Finding[] {
  return countedRules(scope.policies).flatMap(({ policy, direction, rule, field }) => {
    const list = direction === "Ingress" ? "from" : "to";
    return rule.peers.flatMap((peer, index): Finding[] => {
      const next = rule.peers[index + 1];
      if (next === undefined || "by" in peer || "by" in next) return [];
      const pair = splitPair(peer, next) ?? splitPair(next, peer);
      if (pair === undefined) return [];
      const own = policy.meta.namespace;
      const apart = podCount(scope, [
        { by: "pods", namespaces: pair.namespaces, pods: undefined },
        { by: "pods", namespaces: own, pods: pair.pods },
      ]);
      const joined = podCount(scope, [
        { by: "pods", namespaces: pair.namespaces, pods: pair.pods },
      ]);
      const sizes = scope.hasPods
        ? `: they match ${count(apart, "pod")}, one item would match ${joined}`
        : "";
      const place = {
        span: next.span,
        object: refOf(policy),
        field: `${field}.${list}[${index + 1}]`,
      };
      const message = `got a namespaceSelector and a podSelector as two items, which means either${sizes}; want both in one item, without the second dash, if both have to hold`;
      return [finding("SL3007", place, message, [{ span: peer.span, message: "the other item" }])];
    });
  });
}

function splitPair(first: PolicyPeer, second: PolicyPeer) {
  const namespaces = first.namespaceSelector;
  const pods = second.podSelector;
  if (namespaces === undefined || first.podSelector !== undefined) return undefined;
  if (pods === undefined || second.namespaceSelector !== undefined) return undefined;
  // Every pod of the own namespace beside other namespaces: an item with both would say nothing new.
  return pods.requirements.length === 0 ? undefined : { namespaces, pods };
}

function podCount(scope: LintScope, terms: readonly PeerTerm[]): number {
  return scope.matching(terms).reduce((sum, group) => sum + group.pods.length, 0);
}

/** Finds policies with egress rules that leave the default of policyTypes to the reader. SL3009. */
export function checkPolicyTypes(scope: LintScope): readonly Finding[] {
  return scope.policies.flatMap((policy): Finding[] => {
    if (policy.kind !== "NetworkPolicy" || policy.policyTypesGiven) return [];
    if (policy.egress.length === 0) return [];
    const place = { span: policy.meta.span, object: refOf(policy), field: "spec.policyTypes" };
    const message =
      policy.ingress.length === 0
        ? "got egress rules and no policyTypes, which also denies all ingress; want policyTypes: [Egress], or [Ingress, Egress] if that is meant"
        : "got egress rules and no policyTypes, want policyTypes: [Ingress, Egress], which is what it means";
    return [finding("SL3009", place, message)];
  });
}

/** Finds rules of a direction that the policy is not for. SL3011. */
export function checkIgnoredRules(scope: LintScope): readonly Finding[] {
  return scope.policies.flatMap((policy) =>
    directions.flatMap((direction): Finding[] => {
      const rules = rulesOf(policy, direction);
      if (rules.length === 0 || hasDirection(policy, direction)) return [];
      const types = policy.kind === "NetworkPolicy" ? [...policy.policyTypes].join(", ") : "";
      const side = direction.toLowerCase();
      const place = { span: rules[0]!.rule.span, object: refOf(policy), field: `spec.${side}` };
      const message = `got ${count(rules.length, `${side} rule`)} in a policy of policyTypes [${types}], where they are ignored; want ${direction} among policyTypes`;
      return [finding("SL3011", place, message)];
    }),
  );
}
