import { expect, test } from "vitest";
import {
  checkHits,
  type HitPolicy,
  type HitRule,
  type ProcessHits,
} from "../../../src/analysis/lint/check-hits.js";
import { lintRuleIds, lintRules } from "../../../src/analysis/lint/rules.js";

const hour = 3_600_000;
const nowMs = Date.parse("2026-05-08T12:00:00Z");
const ago = (hours: number) => new Date(nowMs - hours * hour).toISOString();
const hit = (hours: number) => ({ packets: 1, lastHit: ago(hours) });
const none = { packets: 0, lastHit: null };
const noSides = { ingress: none, egress: none };
const db = { kind: "NetworkPolicy", namespace: "shop", name: "db", file: "shop.yaml" };

function policy(
  more: Partial<HitPolicy> = {},
  hits: Partial<NonNullable<HitPolicy["hits"]>> = {},
): HitPolicy {
  const all = { since: ago(200), rules: none, denied: noSides, audited: noSides, ...hits };
  return { ...db, line: 4, hits: all, ...more };
}

function rule(index: number, more: Partial<HitRule> = {}): HitRule {
  const field = `spec.ingress[${index}]`;
  const place = { ...db, line: 10 + index, column: 7, field, action: "Accept" };
  return { ...place, hits: none, audited: none, ...more };
}

function found(hits: Partial<ProcessHits>, hours?: number) {
  const lengthMs = hours === undefined ? undefined : hours * hour;
  const process = "control.sock";
  const all = { process, since: ago(300), unknown: { passed: none, denied: none }, rules: [] };
  return checkHits(
    { ...all, policies: [], ...hits },
    { nowMs, lengthMs, lengthText: (ms) => `${ms / hour}h` },
  ).map(({ code, severity, span, field, message }) => {
    return [severity, code, `${span.file}:${span.line}:${span.column}`, field ?? "", message];
  });
}

const rule1 = ["info", "SL3021", "shop.yaml:11:7", "spec.ingress[1]"];
const whole = ["info", "SL3022", "shop.yaml:4:1", ""];

test("a rule without hits is named with its place; one with hits is not", () => {
  const policies = [policy({}, { rules: hit(1) })];
  const rules = [rule(0, { hits: hit(1) }), rule(1), rule(2, { audited: hit(1) })];
  const message = "got a rule (Accept) that decided nothing in the 200h that are counted";
  expect(found({ policies, rules })).toEqual([[...rule1, message]]);
  expect(found({ policies, rules }, 24)).toEqual([[...rule1, message]]);
  expect(found({ policies, rules: rules.filter((_, index) => index !== 1) })).toEqual([]);
});

test("a hit before the window is none, and its age is told", () => {
  const policies = [policy({}, { rules: hit(1) })];
  const rules = [rule(0, { hits: hit(1) }), rule(1, { hits: hit(25) })];
  expect(found({ policies, rules }, 24)).toEqual([
    [...rule1, "got a rule (Accept) that decided nothing in 24h: its last hit was 25h ago"],
  ]);
  expect(found({ policies, rules }, 25)).toEqual([]);
  expect(found({ policies, rules })).toEqual([]);
});

test("a policy that decided nothing is one finding; what it denied is a hit", () => {
  const rules = [rule(0), rule(1)];
  const message = "got a policy that decided nothing in the 200h that are counted";
  expect(found({ policies: [policy()], rules })).toEqual([[...whole, message]]);
  expect(found({ policies: [policy()] })).toEqual([[...whole, message]]);
  for (const side of ["denied", "audited"] as const) {
    const hits = { [side]: { ...noSides, egress: hit(2) } };
    const codes = found({ policies: [policy({}, hits)], rules }, 24).map(([, code]) => code);
    expect(codes).toEqual(["SL3021", "SL3021"]);
    expect(found({ policies: [policy({}, hits)] }, 24)).toEqual([]);
  }
});

test("of a policy that judges nobody here, and of the rule for a pod's node, nothing is said", () => {
  expect(found({ policies: [policy({ hits: null })], rules: [] })).toEqual([]);
  const policies = [policy({}, { rules: hit(1) })];
  expect(found({ policies, rules: [rule(0, { field: "" })] })).toEqual([]);
});

test("where counting is younger than the window, that is said and nothing else", () => {
  const rules = [rule(0), rule(1)];
  expect(found({ policies: [policy()], rules }, 301)).toEqual([
    [
      ...["info", "SL3023", "control.sock:0:0", ""],
      "got hits of the last 300h, want of 301h: nothing can be said of what has none",
    ],
  ]);
  // The process is old enough, and the policy came later.
  expect(found({ policies: [policy()], rules }, 201)).toEqual([
    [
      ...["info", "SL3023", "shop.yaml:4:1", ""],
      "got hits of the last 200h, want of 201h: nothing can be said of what has none",
    ],
  ]);
  const used = [policy({}, { rules: hit(1) })];
  expect(found({ policies: used, rules: [rule(0, { hits: hit(1) })] }, 201)).toEqual([]);
});

test("packets of no known rule are told beside what has no hits", () => {
  const unknown = { passed: { packets: 7, lastHit: ago(30) }, denied: none };
  const codes = (hours: number) =>
    found({ policies: [policy()], unknown }, hours).map(([, code, place, field]) => [
      ...[code, place, field],
    ]);
  expect(codes(48)).toEqual([
    ["SL3023", "control.sock:0:0", "unknown"],
    ["SL3022", "shop.yaml:4:1", ""],
  ]);
  expect(codes(24)).toEqual([["SL3022", "shop.yaml:4:1", ""]]);
  expect(found({ unknown }, 48)).toEqual([]);
});

test("the rules that a process is asked are these", () => {
  const live = lintRuleIds.filter((id) => lintRules[id].isLive);
  expect(live).toEqual(["SL3021", "SL3022", "SL3023"]);
});
