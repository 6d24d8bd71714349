import { objectName } from "../../diagnostics/object-name.js";
import type { FlowRule } from "../../observe/flow.js";
import { rulePath } from "../../policy/ruleset.js";

/** A rule, shortly. */
export function ruleTextOf(rule: FlowRule): string {
  return rule.field === ""
    ? "the pod's own node"
    : `${objectName(rule)} ${rulePath(rule.direction, rule.index)}`;
}

/** How long ago a time was: `now`, `12s`, `5m`, `3h`, `2d`. */
export function agoText(ms: number): string {
  const seconds = Math.floor(Math.max(0, ms) / 1_000);
  if (seconds < 1) return "now";
  for (const [unit, size] of [
    ["d", 86_400],
    ["h", 3_600],
    ["m", 60],
  ] as const) {
    if (seconds >= size) return `${Math.floor(seconds / size)}${unit}`;
  }
  return `${seconds}s`;
}
