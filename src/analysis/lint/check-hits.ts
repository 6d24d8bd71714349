import { count } from "../../diagnostics/count.js";
import { compareDiagnostics } from "../../diagnostics/diagnostic.js";
import { remember } from "../../policy/remember.js";
import { type Finding, type FindingPlace, finding } from "./finding.js";

/** What was counted of one thing. */
interface Counted {
  readonly packets: number;
  /** RFC 3339; null: never. */
  readonly lastHit: string | null;
}

type BothSides = Readonly<Record<"ingress" | "egress", Counted>>;

interface PolicyName {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly file: string;
  /** 0 when it is no file. */
  readonly line: number;
}

/** A rule of the table in force, as `GET /rules` has it. */
export interface HitRule extends PolicyName {
  readonly column: number;
  /** Empty for the rule for the pod's own node, which is nobody's to change. */
  readonly field: string;
  readonly action: string;
  readonly hits: Counted;
  readonly audited: Counted;
}

/** A policy in force, as `GET /policies` has it. */
export interface HitPolicy extends PolicyName {
  /** Null where it judges no pod here. */
  readonly hits: {
    readonly since: string;
    readonly rules: Counted;
    readonly denied: BothSides;
    readonly audited: BothSides;
  } | null;
}

/** What a process has counted. */
export interface ProcessHits {
  /** Where it answers. */
  readonly process: string;
  /** From when on it counts, RFC 3339. */
  readonly since: string;
  readonly policies: readonly HitPolicy[];
  readonly rules: readonly HitRule[];
  /** What is counted, and of which it is not known what decided it. */
  readonly unknown: { readonly passed: Counted; readonly denied: Counted };
}

/** The time in which a hit is looked for. */
export interface HitWindow {
  readonly nowMs: number;
  /** How long before; undefined: since each policy is counted. */
  readonly lengthMs: number | undefined;
  /** Writes how long a time was. */
  readonly lengthText: (ms: number) => string;
}

/**
 * Finds rules and policies that decided nothing in a window, by what a process counted.
 *
 * A policy that decided nothing is one finding: its rules are not named again. What was decided by audited policies is
 * a hit too. Where counting began within the window, no answer is given, and SL3023 says so.
 */
export function checkHits(hits: ProcessHits, window: HitWindow): readonly Finding[] {
  const words = new HitWords(window);
  if (words.isShort(hits.since)) {
    const message = `${words.short(hits.since)}: nothing can be said of what has none`;
    return [finding("SL3023", placeOfProcess(hits, ""), message)];
  }
  const rules = new Map<string, HitRule[]>();
  for (const rule of hits.rules) {
    if (rule.field !== "") remember(rules, keyOf(rule), () => []).push(rule);
  }
  const found = hits.policies.flatMap((policy) =>
    checkPolicy(policy, rules.get(keyOf(policy)) ?? [], words),
  );
  const { passed, denied } = hits.unknown;
  if (found.length === 0 || !words.isHit([passed, denied])) return found.sort(compareDiagnostics);
  const packets = count(passed.packets + denied.packets, "packet");
  const message = `got ${packets} of which it is not known what decided them: a rule without hits may have`;
  const unknown = finding("SL3023", placeOfProcess(hits, "unknown"), message);
  return [...found, unknown].sort(compareDiagnostics);
}

function checkPolicy(
  policy: HitPolicy,
  rules: readonly HitRule[],
  words: HitWords,
): readonly Finding[] {
  const { hits } = policy;
  if (hits === null) return [];
  const { since, denied, audited } = hits;
  const sides = [denied.ingress, denied.egress, audited.ingress, audited.egress];
  const all = [hits.rules, ...sides, ...rules.flatMap(countsOf)];
  const idle = rules.filter((rule) => !words.isHit(countsOf(rule)));
  const isIdle = !words.isHit(all);
  const place = placeOf({ ...policy, column: 1, field: "" });
  if (words.isShort(since)) {
    if (!isIdle && idle.length === 0) return [];
    const message = `${words.short(since)}: nothing can be said of what has none`;
    return [finding("SL3023", place, message)];
  }
  if (isIdle) return [finding("SL3022", place, `got a policy that ${words.idle(since, all)}`)];
  return idle.map((rule) => {
    const what = `got a rule (${rule.action}) that ${words.idle(since, countsOf(rule))}`;
    return finding("SL3021", placeOf(rule), what);
  });
}

/** Judges times by a window, and says so. */
class HitWords {
  readonly #window: HitWindow;
  /** Undefined: the window is as long as counting. */
  readonly #fromMs: number | undefined;

  constructor(window: HitWindow) {
    this.#window = window;
    const { nowMs, lengthMs } = window;
    this.#fromMs = lengthMs === undefined ? undefined : nowMs - lengthMs;
  }

  isShort(since: string): boolean {
    return this.#fromMs !== undefined && Date.parse(since) > this.#fromMs;
  }

  isHit(counted: readonly Counted[]): boolean {
    const lastMs = lastOf(counted);
    return lastMs !== undefined && (this.#fromMs === undefined || lastMs >= this.#fromMs);
  }

  short(since: string): string {
    const { lengthMs = 0, lengthText } = this.#window;
    return `got hits of the last ${this.#ago(Date.parse(since))}, want of ${lengthText(lengthMs)}`;
  }

  idle(since: string, counted: readonly Counted[]): string {
    const { lengthMs, lengthText } = this.#window;
    const lastMs = lastOf(counted);
    const whole = `in the ${this.#ago(Date.parse(since))} that are counted`;
    if (lengthMs === undefined || lastMs === undefined) return `decided nothing ${whole}`;
    return `decided nothing in ${lengthText(lengthMs)}: its last hit was ${this.#ago(lastMs)} ago`;
  }

  #ago(timeMs: number): string {
    return this.#window.lengthText(this.#window.nowMs - timeMs);
  }
}

function lastOf(counted: readonly Counted[]): number | undefined {
  const times = counted.flatMap(({ lastHit }) => (lastHit === null ? [] : [Date.parse(lastHit)]));
  return times.length === 0 ? undefined : times.reduce((a, b) => Math.max(a, b));
}

function countsOf({ hits, audited }: HitRule): readonly Counted[] {
  return [hits, audited];
}

function keyOf({ kind, namespace, name }: PolicyName): string {
  return `${kind} ${namespace}/${name}`;
}

function placeOf(item: PolicyName & Pick<HitRule, "column" | "field">): FindingPlace {
  const { kind, namespace, name, file, line, column, field } = item;
  const span = { file, line, column, endLine: line, endColumn: column };
  return { span, object: { kind, namespace, name }, field };
}

function placeOfProcess({ process: file }: ProcessHits, field: string): FindingPlace {
  return placeOf({ kind: "", namespace: "", name: "", file, line: 0, column: 0, field });
}
