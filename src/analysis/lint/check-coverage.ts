import { objectName } from "../../diagnostics/object-name.js";
import { type Rule, rulePath } from "../../policy/ruleset.js";
import { hasOwnPort } from "./check-ports.js";
import { type Finding, finding, listNames, type RelatedPlace } from "./finding.js";
import { ruleCoverage, ruleKey } from "./rule-coverage.js";
import { countedRules, type LintScope, type PlacedRule, refOf } from "./scope.js";

/** Finds rules whose removal would not change the table. SL3001, SL3013. */
export function checkCoverage(scope: LintScope): readonly Finding[] {
  const coverage = ruleCoverage(scope.compiled);
  return countedRules(scope.policies).flatMap((placed) => {
    const { policy, direction, index, rule, field } = placed;
    const object = refOf(policy);
    const key = ruleKey(object, direction, index);
    const found = coverage.get(key);
    const place = { span: rule.span, object, field };
    const isolated = "the pods are isolated by NetworkPolicies, which come before";
    if (found === undefined && isBehindIsolation(scope, placed)) {
      return [finding("SL3013", place, `got a rule that decides no packet: ${isolated}`)];
    }
    if (found === undefined || found.needed) return [];

    const others = found.coveredBy.map((other) => ruleName(other, direction));
    const related = found.coveredBy.map(
      (other): RelatedPlace => ({ span: other.span, message: "decides the same packets" }),
    );
    if (!found.reached) {
      const why = !found.meets
        ? "its pods and its peers have no address family in common"
        : others.length > 0
          ? `${listNames(others)} decide${others.length === 1 ? "s" : ""} each that it matches before`
          : isolated;
      return [finding("SL3013", place, `got a rule that decides no packet: ${why}`, related)];
    }
    const mutual =
      found.coveredBy.length === 1 &&
      coverage
        .get(ruleKey(found.coveredBy[0]!.policy, direction, found.coveredBy[0]!.index))
        ?.coveredBy.some((other) => ruleKey(other.policy, direction, other.index) === key);
    const why =
      others.length === 0
        ? "what it decides would be decided alike without it"
        : `${listNames(others)} decide${others.length === 1 ? "s" : ""} alike all that it matches`;
    const hint = mutual === true ? ", and the other way round: keep one of the two" : "";
    return [finding("SL3001", place, `got a rule that changes nothing: ${why}${hint}`, related)];
  });
}

/** Reports whether a rule is of the tier Baseline, and all pods that it could decide for are isolated. */
function isBehindIsolation(scope: LintScope, placed: PlacedRule): boolean {
  const { policy, direction } = placed;
  if (policy.kind === "NetworkPolicy" || policy.tier !== "Baseline") return false;
  const subjects = scope.subjects(policy).filter((group) => hasOwnPort(placed, group));
  return subjects.length > 0 && subjects.every((group) => scope.isIsolated(group, direction));
}

function ruleName({ policy, index }: Rule, direction: "Ingress" | "Egress"): string {
  return `${objectName(policy)} ${rulePath(direction, index)}`;
}
