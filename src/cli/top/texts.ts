import type { FlowPolicy, FlowRule } from "../../observe/flow.js";
import { rulePath } from "../../policy/ruleset.js";

/** A policy, shortly. */
export function policyTextOf({ namespace, name }: Pick<FlowPolicy, "namespace" | "name">): string {
  return namespace === "" ? name : `${namespace}/${name}`;
}

/** A rule, shortly. */
export function ruleTextOf(rule: FlowRule): string {
  return rule.field === ""
    ? "the pod's own node"
    : `${policyTextOf(rule)} ${rulePath(rule.direction, rule.index)}`;
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
