import type { CompileStats } from "../compiler/compile.js";
import type { BlobUpdate } from "../dataplane/table-blob.js";
import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { Mode } from "../manifest/annotations.js";
import type { KubernetesObject, ObjectHead, ServiceObject } from "../manifest/objects.js";
import type { PassedOver } from "../manifest/passed-over.js";
import type { ReadRequest } from "../manifest/read.js";
import type { Address } from "../net/address.js";
import type { LocalPods } from "../policy/cluster.js";
import type { ObjectChange } from "../policy/live-cluster.js";
import type { PolicySource, RulesetSummary, RulesSummary } from "../policy/ruleset.js";
import type { Effort, WholePolicy } from "./table-compiler.js";

/**
 * Messages between a process and its compiler thread.
 *
 * Lists are sent in parts, of which only a few wait to be taken. So a list of any length costs the receiver only a few
 * milliseconds at a time.
 */

export interface ThreadData {
  readonly mode: Mode;
  readonly making?: MakingOptions;
}

/** What is made of manifests as they are read. Never where traffic of others passes: see docs/workloads.md. */
export interface MakingOptions {
  /** Of objects that name none. */
  readonly namespace?: string;
  /** Pods of a workload at most. */
  readonly replicas?: number;
}

/** An object to compile: a whole one, or the position of one in the last read. */
export type ObjectRef = KubernetesObject | ObjectHead | number;

export type ThreadRequest =
  | { readonly do: "next" }
  /** A part of the objects, or changes, of the next request. */
  | { readonly do: "take"; readonly objects: readonly ObjectRef[] }
  | { readonly do: "take"; readonly changes: readonly ObjectChange[] }
  | { readonly do: "read"; readonly request: ReadRequest }
  /** `local` is absent when it is unchanged. */
  | { readonly do: "compile" | "change"; readonly local?: LocalPods }
  | { readonly do: "policies" };

/** A ruleset's summary, with numbers for shared items. */
export type RulesPart = readonly [isolatedBy: Uint32Array, policies: Uint32Array, rules: number];

export interface EndpointPart {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly Address[];
  readonly stated?: readonly Address[];
  /** Numbers of rules: ingress, egress, and both for audit mode if different. */
  readonly rules: readonly number[];
}

export type ThreadPart =
  | { readonly heads: readonly ObjectHead[] }
  | { readonly services: readonly ServiceObject[] }
  | { readonly whole: readonly WholePolicy[] }
  | { readonly policies: readonly PolicySource[] }
  | { readonly rules: readonly RulesPart[] }
  | { readonly endpoints: readonly EndpointPart[] };

export type ThreadAnswer =
  | { readonly part: ThreadPart }
  | { readonly done: ThreadResult }
  | { readonly failed: string };

export type ThreadResult =
  | {
      readonly kind: "read";
      readonly diagnostics: readonly Diagnostic[];
      readonly passedOver: readonly PassedOver[];
    }
  | { readonly kind: "policies"; readonly diagnostics: readonly [] }
  | { readonly kind: "refused"; readonly diagnostics: readonly Diagnostic[] }
  | {
      readonly kind: "compiled";
      /** Of the table of the result before. */
      readonly blob: BlobUpdate;
      readonly stats: CompileStats;
      readonly diagnostics: readonly Diagnostic[];
      readonly effort: Effort;
      /** Whether parts contained its ruleset; if not, the previous one still holds. */
      readonly hasRuleset: boolean;
    };

/** The size of a part, in objects or in references. */
const partItems = 100;
const partWeight = 5_000;

export function* headParts(heads: readonly ObjectHead[]): Generator<ThreadPart> {
  const weigh = ({ meta }: ObjectHead) => 50 + meta.labels.size + meta.annotations.size;
  for (const part of partsOf(heads, weigh)) yield { heads: part };
}

export function* serviceParts(services: readonly ServiceObject[]): Generator<ThreadPart> {
  const weigh = (each: ServiceObject) =>
    50 + ("subsets" in each ? each.subsets.flatMap(({ endpoints }) => endpoints).length * 10 : 0);
  for (const part of partsOf(services, weigh)) yield { services: part };
}

export function* policyParts(policies: readonly WholePolicy[]): Generator<ThreadPart> {
  const weigh = ({ ingress, egress }: WholePolicy) =>
    50 +
    [...ingress, ...egress].reduce(
      (sum, { peers, ports }) => sum + peers.length + ports.length,
      0,
    ) *
      20;
  for (const part of partsOf(policies, weigh)) yield { whole: part };
}

export function* rulesetParts({ endpoints }: RulesetSummary): Generator<ThreadPart> {
  const policies = new Numbers<PolicySource>();
  const rules = new Numbers<RulesSummary>();
  const summaries = endpoints.map(({ ingress, egress, audit, ...endpoint }) => {
    const sides = [ingress, egress, ...(audit === undefined ? [] : [audit.ingress, audit.egress])];
    return { ...endpoint, rules: sides.map((side) => rules.of(side)) };
  });
  const parts = rules.all.map(
    (each): RulesPart => [
      Uint32Array.from(each.isolatedBy, (policy) => policies.of(policy)),
      Uint32Array.from(each.policies, (policy) => policies.of(policy)),
      each.rules,
    ],
  );
  for (const part of partsOf(policies.all, () => 20)) yield { policies: part };
  // A number costs less than an object does.
  const weigh = ([isolatedBy, named]: RulesPart) => 20 + (isolatedBy.length + named.length) / 100;
  for (const part of partsOf(parts, weigh)) yield { rules: part };
  for (const part of partsOf(summaries, ({ addresses }) => 20 + 10 * addresses.length)) {
    yield { endpoints: part };
  }
}

/** Cuts a list into parts that are about equally heavy. */
export function* partsOf<Item>(
  items: readonly Item[],
  weigh: (item: Item) => number,
): Generator<readonly Item[]> {
  let from = 0;
  let weight = 0;
  for (let at = 0; at < items.length; at++) {
    weight += weigh(items[at]!);
    if (weight < partWeight && at + 1 - from < partItems) continue;
    yield items.slice(from, at + 1);
    from = at + 1;
    weight = 0;
  }
  if (from < items.length) yield items.slice(from);
}

/** Rebuilds a summary from its parts. */
export class RulesetReader {
  readonly #policies: PolicySource[] = [];
  readonly #rules: RulesSummary[] = [];
  readonly #endpoints: RulesetSummary["endpoints"][number][] = [];

  take(part: ThreadPart): void {
    if ("policies" in part) this.#policies.push(...part.policies);
    else if ("rules" in part) this.#rules.push(...part.rules.map((each) => this.#rulesOf(each)));
    else if ("endpoints" in part) {
      for (const { rules, ...endpoint } of part.endpoints) {
        const [ingress, egress, ...audit] = rules.map((number) => this.#rules[number]!);
        this.#endpoints.push({
          ...endpoint,
          ingress: ingress!,
          egress: egress!,
          ...(audit.length === 0 ? {} : { audit: { ingress: audit[0]!, egress: audit[1]! } }),
        });
      }
    }
  }

  get summary(): RulesetSummary {
    return { endpoints: this.#endpoints };
  }

  #rulesOf([isolatedBy, policies, rules]: RulesPart): RulesSummary {
    const all = this.#policies;
    return {
      isolatedBy: Array.from(isolatedBy, (number) => all[number]!),
      policies: Array.from(policies, (number) => all[number]!),
      rules,
    };
  }
}

/** Numbers things in the order in which they are first seen. */
class Numbers<Thing> {
  readonly all: Thing[] = [];
  readonly #numbers = new Map<Thing, number>();

  of(thing: Thing): number {
    let number = this.#numbers.get(thing);
    if (number === undefined) {
      number = this.all.push(thing) - 1;
      this.#numbers.set(thing, number);
    }
    return number;
  }
}
