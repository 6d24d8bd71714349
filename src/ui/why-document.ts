import type { Explanation, RuleFinding, Side, SideFinding } from "../analysis/explain.js";
import type { WhyDocument, WhyPlace, WhyRule, WhySide } from "./documents.js";
import type { Excerpts } from "./excerpts.js";

/** Rules of one side that are shown at most, those that match and near misses first. */
const rulesMax = 40;

/** Writes an explanation for the page, with the lines of the manifests. */
export function whyDocument(
  explanation: Explanation,
  passes: string,
  generation: number,
  excerpts: Excerpts,
): WhyDocument {
  const { from, to, protocol, port, verdict, self, direction, nearest, differs } = explanation;
  return {
    ...{ from, to, protocol, port, verdict, self, passes, generation },
    sides: direction.map((side) => sideDocument(side, excerpts)),
    nearest: nearest === null ? null : ruleDocument(nearest, nearest.direction, excerpts),
    differs: differs.map((pair) => `${pair.from} to ${pair.to}: ${pair.verdict}`),
  };
}

function sideDocument(side: SideFinding, excerpts: Excerpts): WhySide {
  const { direction, endpoint, verdict, judged, isolatedBy, decidedBy, rules } = side;
  const ranked = [...rules].sort(
    (a, b) => Number(b.failed === null) - Number(a.failed === null) || b.closeness - a.closeness,
  );
  const shown = new Set(ranked.slice(0, rulesMax));
  return {
    ...{ direction, endpoint, verdict, judged },
    isolatedBy: isolatedBy.map((policy) => placeDocument(policy, excerpts)),
    decidedBy:
      decidedBy === null
        ? null
        : {
            ...placeDocument(decidedBy, excerpts),
            tier: decidedBy.tier,
            action: decidedBy.action,
          },
    // In the order of evaluation.
    rules: rules
      .filter((rule) => shown.has(rule))
      .map((rule) => ruleDocument(rule, direction, excerpts)),
  };
}

function placeDocument(
  { ref, file, line }: Pick<RuleFinding, "ref" | "file" | "line">,
  excerpts: Excerpts,
): WhyPlace {
  return { ref, file, line, excerpt: excerpts.node(file, line) };
}

function ruleDocument(rule: RuleFinding, direction: Side, excerpts: Excerpts): WhyRule {
  return {
    ...placeDocument(rule, excerpts),
    direction,
    action: rule.action,
    matches: rule.failed === null,
    peer: { ok: rule.peer === "ok", detail: rule.peerDetail },
    ports: { ok: rule.port === "ok", detail: rule.portDetail },
    advice: rule.advice,
  };
}
