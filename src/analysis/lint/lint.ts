import type { CompileResult } from "../../compiler/compile.js";
import { compareDiagnostics } from "../../diagnostics/diagnostic.js";
import type { ClusterObjects } from "../../policy/cluster.js";
import {
  checkBlocksOfServices,
  checkBlocksWithPods,
  checkWideBlocks,
  type WidthLimits,
} from "./check-blocks.js";
import { checkCoverage } from "./check-coverage.js";
import { checkDns } from "./check-dns.js";
import { checkIngresses } from "./check-ingresses.js";
import { checkPortNames } from "./check-ports.js";
import { checkPeers, checkSubjects, checkUncovered } from "./check-selection.js";
import { checkServicePorts } from "./check-service-ports.js";
import { checkServices } from "./check-services.js";
import { checkIgnoredRules, checkPolicyTypes, checkSplitPeers } from "./check-shape.js";
import { checkTies } from "./check-ties.js";
import { type Finding, finding } from "./finding.js";
import { type LintRuleId, lintRules } from "./rules.js";
import { LintScope, refOf, type Surroundings } from "./scope.js";

export interface LintOptions extends Surroundings {
  /** Rules that are turned off. */
  readonly disabled?: ReadonlySet<LintRuleId>;
  readonly widest?: WidthLimits;
}

/** The default for a wide block: larger than a /8, or than a /16 of IPv6. */
export const defaultWidest: WidthLimits = { v4: 8, v6: 16 };

/**
 * Finds likely mistakes in valid manifests.
 *
 * What a finding claims is computed on the compiled table and the resolved selectors, not guessed
 * from the text. It holds for the pods, namespaces and nodes that the manifests have: where they
 * have no pods, the rules that need some are left out, and SL3000 says so.
 *
 * Shape: `compiled` is of all pods (`local: "all"`). Findings in the order of their places.
 */
export function lint(
  objects: ClusterObjects,
  compiled: CompileResult & { readonly ok: true },
  options: LintOptions = {},
): readonly Finding[] {
  const scope = new LintScope(objects, compiled, options);
  const { disabled = new Set(), widest = defaultWidest } = options;
  const findings = [
    ...checkWideBlocks(scope, widest),
    ...checkBlocksOfServices(scope),
    ...checkSplitPeers(scope),
    ...checkPolicyTypes(scope),
    ...checkIgnoredRules(scope),
    ...(scope.hasPods ? podChecks(scope, widest) : noPods(scope)),
  ];
  return findings
    .filter(({ code, span }) => !disabled.has(code) && !scope.isStandIn(span))
    .sort(compareDiagnostics);
}

function podChecks(scope: LintScope, widest: WidthLimits): readonly Finding[] {
  return [
    ...checkCoverage(scope),
    ...checkTies(scope),
    ...checkSubjects(scope),
    ...checkPeers(scope),
    ...checkUncovered(scope),
    ...checkDns(scope),
    ...checkBlocksWithPods(scope, widest),
    ...checkPortNames(scope),
    ...checkServicePorts(scope),
    ...checkServices(scope),
    ...checkIngresses(scope),
  ];
}

function noPods(scope: LintScope): readonly Finding[] {
  const policy = scope.policies[0];
  if (policy === undefined) return [];
  const left = Object.entries(lintRules).filter(([, rule]) => rule.needsPods);
  const place = { span: policy.meta.span, object: refOf(policy), field: "" };
  const ids = left.map(([id]) => id).join(", ");
  return [finding("SL3000", place, `got policies and no pods, want both: ${ids} were left out`)];
}
