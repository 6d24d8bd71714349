import type { DiagnosticCode } from "../../diagnostics/catalogue.js";

/** Stable ids of the lint rules; each has a page docs/lint/ID.md. */
export type LintRuleId = Extract<DiagnosticCode, `SL30${string}`>;

interface LintRule {
  readonly name: string;
  /** Whether it can only be answered when the manifests say which pods there are. */
  readonly needsPods: boolean;
  /** It is asked of a process, not of manifests. */
  readonly isLive?: true;
}

/** The lint rules by id. Severity and title are the catalogue's; the name is what people write. */
export const lintRules: Readonly<Record<LintRuleId, LintRule>> = {
  SL3000: { name: "no-pods", needsPods: false },
  SL3001: { name: "covered-rule", needsPods: true },
  SL3002: { name: "policy-selects-nothing", needsPods: true },
  SL3003: { name: "peer-matches-nothing", needsPods: true },
  SL3004: { name: "pod-without-policy", needsPods: true },
  SL3005: { name: "egress-without-dns", needsPods: true },
  SL3006: { name: "wide-block", needsPods: false },
  SL3007: { name: "or-instead-of-and", needsPods: false },
  SL3008: { name: "block-holds-pods", needsPods: true },
  SL3009: { name: "policy-types-left-out", needsPods: false },
  SL3010: { name: "unknown-port-name", needsPods: true },
  SL3011: { name: "ignored-rules", needsPods: false },
  SL3012: { name: "host-network-only", needsPods: true },
  SL3013: { name: "unreachable-rule", needsPods: true },
  SL3014: { name: "contradicting-priorities", needsPods: true },
  SL3015: { name: "service-port", needsPods: true },
  SL3016: { name: "service-block", needsPods: false },
  SL3017: { name: "service-leads-nowhere", needsPods: true },
  SL3018: { name: "unreachable-backend", needsPods: true },
  SL3019: { name: "peer-elsewhere", needsPods: true },
  SL3020: { name: "service-pods-elsewhere", needsPods: true },
  SL3021: { name: "rule-without-hits", needsPods: false, isLive: true },
  SL3022: { name: "policy-without-hits", needsPods: false, isLive: true },
  SL3023: { name: "hits-not-known", needsPods: false, isLive: true },
};

export const lintRuleIds = Object.keys(lintRules) as LintRuleId[];

/** Finds a rule by its id or its name; undefined when there is none. */
export function findLintRule(text: string): LintRuleId | undefined {
  return lintRuleIds.find((id) => id === text.toUpperCase() || lintRules[id].name === text);
}

/** Where a rule is described, relative to the repository. */
export function lintPage(id: LintRuleId): string {
  return `docs/lint/${id}.md`;
}
