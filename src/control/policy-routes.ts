import type { RuleRecord } from "../compiler/decode.js";
import { type Mode, modeOf } from "../manifest/annotations.js";
import type { ObjectHead, PolicyHead } from "../manifest/objects.js";
import { type FlowPolicy, type FlowRule, flowRule } from "../observe/flow.js";
import type { FlowLog } from "../observe/flow-log.js";
import type { DefaultHits, HitCount, Hits, PolicyHits, UnknownHits } from "../observe/hits.js";
import type { EndpointSummary, PolicySource } from "../policy/ruleset.js";
import type { Controller } from "./controller.js";
import { list, piecesOf } from "./documents.js";
import type { ListAnswer, ListPiece } from "./server.js";

export interface PolicyItem extends FlowPolicy {
  readonly tier: "Admin" | "NetworkPolicy" | "Baseline";
  /** Lower first within the tier; 0 for NetworkPolicies, which have no order. */
  readonly priority: number;
  /** Pods judged here whose traffic the policy affects, enforced or audited. */
  readonly endpoints: number;
  /** The value of its annotation; null when the pod or the process decides. */
  readonly mode: Mode | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Null where it judges no pod here. */
  readonly hits: PolicyHits | null;
}

/** A rule of the table in force. */
export interface RuleItem extends FlowRule {
  readonly priority: number;
  readonly hits: HitCount;
  /** What passed, and what it would have decided if audited policies were enforced. */
  readonly audited: HitCount;
  /** From when on the policy's hits are counted. */
  readonly since: string;
}

/** What both lists tell beside their items. */
export interface PoliciesTail {
  /** Of the table that they are from; null before the first. */
  readonly generation: number | null;
}

/** What `GET /rules` tells beside the rules. */
export interface RulesTail extends PoliciesTail {
  /** From when on hits are counted. */
  readonly since: string;
  readonly defaults: DefaultHits;
  readonly unknown: UnknownHits;
}

/** The part of a process that its policies are told from. */
interface PolicySubject {
  readonly controller: Pick<Controller, "table">;
  readonly flows: Pick<FlowLog, "snapshot">;
  readonly hits: Hits;
}

const tiers: readonly string[] = ["Node", "Admin", "NetworkPolicy", "Baseline"];

interface Ranked {
  readonly tier: string;
  readonly priority: number;
  readonly namespace: string;
  readonly name: string;
}

/** The order in which policies are evaluated: by tier, priority, and name. */
export function byEvaluation(a: Ranked, b: Ranked): number {
  return (
    tiers.indexOf(a.tier) - tiers.indexOf(b.tier) ||
    a.priority - b.priority ||
    compareText(a.namespace, b.namespace) ||
    compareText(a.name, b.name)
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The policies in force, in the order of evaluation. */
export function policiesAnswer(subject: PolicySubject): ListAnswer {
  let generation: number | null = null;
  const pieces = async function* (): AsyncGenerator<ListPiece> {
    await subject.hits.refreshLiving();
    generation = subject.flows.snapshot?.generation ?? null;
    yield* policyPieces(subject);
  };
  return list("PolicyList", pieces(), () => ({ generation }) satisfies PoliciesTail);
}

function* policyPieces(subject: PolicySubject): Generator<ListPiece> {
  const { table } = subject.controller;
  if (table === undefined) return;
  const counts = new Map<string, number>();
  yield* piecesOf(table.ruleset.endpoints, (some) => {
    for (const endpoint of some) {
      for (const key of policiesOf(endpoint)) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return [];
  });
  const found: { readonly policy: PolicyHead; readonly rank: Ranked }[] = [];
  yield* piecesOf(table.objects, (some) => {
    for (const policy of some.filter(isPolicy)) found.push({ policy, rank: rankOf(policy) });
    return [];
  });
  found.sort((a, b) => byEvaluation(a.rank, b.rank));
  yield* piecesOf(found, (some) =>
    some.map(({ policy: { kind, meta, tier, priority = 0 } }): PolicyItem => {
      const source = { kind, namespace: meta.namespace, name: meta.name, span: meta.span };
      return {
        ...policyPlace(source),
        tier: tier ?? "NetworkPolicy",
        priority,
        endpoints: counts.get(policyKey(source)) ?? 0,
        mode: modeOf(meta) ?? null,
        labels: Object.fromEntries(meta.labels),
        hits: subject.hits.policy(source) ?? null,
      };
    }),
  );
}

/** The rules of the table in force, in the order of evaluation, with what each decided. */
export function rulesAnswer(subject: PolicySubject): ListAnswer {
  const { hits, flows } = subject;
  let generation: number | null = null;
  const pieces = async function* (): AsyncGenerator<ListPiece> {
    await hits.refreshLiving();
    const { snapshot } = flows;
    generation = snapshot?.generation ?? null;
    const rules = [...(snapshot?.provenance.rules() ?? [])];
    rules.sort((a, b) => byEvaluation(rankOfRule(a), rankOfRule(b)) || byPlace(a, b));
    yield* piecesOf(rules, (some) =>
      some.map((rule): RuleItem => {
        const direction = rule.direction === "Egress" ? "egress" : "ingress";
        const { since } = hits.policy(rule.policy) ?? hits;
        const place = flowRule(rule, { direction });
        return { ...place, priority: rule.priority, since, ...hits.rule(rule) };
      }),
    );
  };
  return list("RuleList", pieces(), () => {
    const { since, defaults, unknown } = hits;
    return { generation, since, defaults, unknown } satisfies RulesTail;
  });
}

export function rankOf({ meta, tier, priority = 0 }: PolicyHead): Ranked {
  return { tier: tier ?? "NetworkPolicy", priority, namespace: meta.namespace, name: meta.name };
}

function rankOfRule({ tier, priority, policy: { namespace, name } }: RuleRecord): Ranked {
  return { tier, priority, namespace, name };
}

function byPlace(a: RuleRecord, b: RuleRecord): number {
  return compareText(b.direction, a.direction) || a.index - b.index;
}

export function isPolicy(object: ObjectHead): object is PolicyHead {
  return object.kind !== "Namespace" && object.kind !== "Node" && object.kind !== "Pod";
}

export function policiesOf({ ingress, egress, audit }: EndpointSummary): ReadonlySet<string> {
  const sides = [ingress, egress, ...(audit === undefined ? [] : [audit.ingress, audit.egress])];
  const concerned = sides.flatMap(({ isolatedBy, policies }) => [...isolatedBy, ...policies]);
  return new Set(concerned.map(policyKey));
}

export function policyKey({
  kind,
  namespace,
  name,
}: Pick<PolicySource, "kind" | "namespace" | "name">): string {
  return `${kind} ${namespace}/${name}`;
}

export function policyPlace({ kind, namespace, name, span }: PolicySource): FlowPolicy {
  return { kind, namespace, name, file: span.file, line: span.line };
}
