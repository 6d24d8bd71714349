import {
  allPorts,
  intersectPorts,
  isNoPorts,
  noPorts,
  type PortSet,
  subtractPorts,
  unionPorts,
} from "../net/port-set.js";
import type { EndpointRules, Rule } from "../policy/ruleset.js";

/**
 * Finds what the rules allow from, or to, addresses of one class.
 *
 * Tiers come in the order Node, Admin, NetworkPolicy, Baseline. In all but NetworkPolicy the first rule that
 * matches decides, and Pass goes on with the next tier. NetworkPolicy allows the union of its rules, and is
 * final if it isolates; a flow that no tier decides is allowed.
 *
 * Shape:  `matching` are those of `rules.rules` whose peers hold the class, in their order.
 * Source: network-policy-api, "ClusterNetworkPolicy"; conformance/policy/README.md.
 */
export function allowedPorts(rules: EndpointRules, matching: readonly Rule[]): PortSet {
  const ofTier = (tier: Rule["tier"]) => matching.filter((rule) => rule.tier === tier);
  let outcome: Outcome = { allowed: noPorts, undecided: allPorts };
  outcome = firstMatch(outcome, ofTier("Node"));
  outcome = firstMatch(outcome, ofTier("Admin"));
  if (rules.isolatedBy.length > 0) {
    const accepted = ofTier("NetworkPolicy").reduce(
      (ports, rule) => unionPorts(ports, rule.ports),
      noPorts,
    );
    return unionPorts(outcome.allowed, intersectPorts(outcome.undecided, accepted));
  }
  outcome = firstMatch(outcome, ofTier("Baseline"));
  return unionPorts(outcome.allowed, outcome.undecided);
}

/**
 * Finds the rule that decides one flow, as allowedPorts() does for a whole set of ports.
 *
 * Shape:  `rules` in the order of evaluation, as EndpointRules has them; `matches` is asked only of
 *         rules whose turn comes. The rule is undefined where none decides: isolation, or its absence, does.
 */
export function decideFlow<Each extends Pick<Rule, "tier" | "action">>(
  isIsolated: boolean,
  rules: Iterable<Each>,
  matches: (rule: Each) => boolean,
): { readonly verdict: "allow" | "deny"; readonly rule: Each | undefined } {
  let passed: Rule["tier"] | undefined;
  for (const rule of rules) {
    if (rule.tier === passed) continue;
    if (rule.tier === "Baseline" && isIsolated) break;
    if (!matches(rule)) continue;
    if (rule.action !== "Pass")
      return { verdict: rule.action === "Accept" ? "allow" : "deny", rule };
    passed = rule.tier;
  }
  return { verdict: isIsolated ? "deny" : "allow", rule: undefined };
}

interface Outcome {
  readonly allowed: PortSet;
  readonly undecided: PortSet;
}

function firstMatch(before: Outcome, rules: readonly Rule[]): Outcome {
  let { allowed, undecided } = before;
  let passed = noPorts;
  for (const rule of rules) {
    const decided = intersectPorts(undecided, rule.ports);
    if (isNoPorts(decided)) continue;
    if (rule.action === "Accept") allowed = unionPorts(allowed, decided);
    if (rule.action === "Pass") passed = unionPorts(passed, decided);
    undecided = subtractPorts(undecided, decided);
  }
  return { allowed, undecided: unionPorts(undecided, passed) };
}
