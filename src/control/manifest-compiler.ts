import { IncrementalCompiler, type IncrementalResult } from "../compiler/incremental.js";
import { type BlobUpdate, linesOf, TableBlob } from "../dataplane/table-blob.js";
import type { Mode } from "../manifest/annotations.js";
import type { KubernetesObject } from "../manifest/objects.js";
import type { LocalPods } from "../policy/cluster.js";
import type { ObjectChange } from "../policy/live-cluster.js";
import { type Ruleset, type RulesetSummary, summarize } from "../policy/ruleset.js";
import { keyOf, type ObjectView } from "./object-list.js";
import type { FindObject, Outcome, TableCompiler, WholePolicy } from "./table-compiler.js";

/** An outcome whose table is told by what became of the one before. */
export type UpdateOutcome =
  | (Omit<Outcome & { ok: true }, "blob"> & { readonly blob: BlobUpdate })
  | (Outcome & { ok: false });

/**
 * Compiles a cluster's manifests repeatedly; the cost is proportional to the change.
 *
 * Errors: those of the compiler. Refused objects count as seen; the next step builds on them.
 */
export class ManifestCompiler implements TableCompiler {
  readonly #updates: UpdateCompiler;
  #blob: TableBlob | undefined;

  constructor(mode?: Mode) {
    this.#updates = new UpdateCompiler(mode);
  }

  view(): ObjectView<KubernetesObject> {
    const { objects } = this.#updates;
    return { all: objects, pieces: [objects] };
  }

  readonly find: FindObject = (kind, name) => this.#updates.find(kind, name);

  compile(objects: readonly KubernetesObject[], local: LocalPods): Outcome {
    return this.#next(this.#updates.compile(objects, local));
  }

  change(changes: readonly ObjectChange[], local: LocalPods): Outcome {
    return this.#next(this.#updates.change(changes, local));
  }

  policies(): readonly WholePolicy[] {
    return this.#updates.policies();
  }

  #next(outcome: UpdateOutcome): Outcome {
    if (!outcome.ok) return outcome;
    this.#blob = TableBlob.next(this.#blob, outcome.blob);
    return { ...outcome, blob: this.#blob };
  }

  close(): void {}
}

/** The same, telling only what became of the table before: who asks has that. */
export class UpdateCompiler {
  readonly #mode: Mode;
  #compiler: IncrementalCompiler | undefined;
  #objects = new Map<string, KubernetesObject>();
  #summary: { readonly of: Ruleset; readonly is: RulesetSummary } | undefined;

  constructor(mode: Mode = "enforce") {
    this.#mode = mode;
  }

  /** The objects that were seen and not removed. */
  get objects(): readonly KubernetesObject[] {
    return [...this.#objects.values()];
  }

  readonly find: FindObject = (kind, name) => this.#objects.get(keyOf(kind, name));

  /**
   * Compiles these objects for `local`, independent of earlier ones.
   *
   * Cost: what has changed; all steps from the policies on when `local` is another object than last time.
   */
  compile(objects: readonly KubernetesObject[], local: LocalPods): UpdateOutcome {
    // Of objects with the same name the last counts, as in a full compile.
    const next = new Map(objects.map((object) => [keyOf(object.kind, object.meta), object]));
    const changes = changesBetween(this.#objects, next);
    this.#objects = next;
    return this.#update(changes, local);
  }

  /** Applies changes, and compiles the resulting objects. */
  change(changes: readonly ObjectChange[], local: LocalPods): UpdateOutcome {
    for (const change of changes) {
      if ("put" in change) this.#objects.set(keyOf(change.put.kind, change.put.meta), change.put);
      else this.#objects.delete(keyOf(change.remove.kind, change.remove));
    }
    return this.#update(changes, local);
  }

  policies(): readonly WholePolicy[] {
    return this.objects.filter((each): each is WholePolicy => "ingress" in each);
  }

  #update(changes: readonly ObjectChange[], local: LocalPods): UpdateOutcome {
    const known = this.#compiler;
    const compiler = known ?? new IncrementalCompiler({ local, mode: this.#mode });
    // If the update throws, its state is unknown, so the next one starts from scratch.
    this.#compiler = undefined;
    const result = compiler.update(
      known === undefined ? this.objects.map((put) => ({ put })) : changes,
      local,
    );
    this.#compiler = compiler;
    if (!result.ok) return result;
    const { ruleset, stats, diagnostics, effort } = result;
    if (this.#summary?.of !== ruleset) this.#summary = { of: ruleset, is: summarize(ruleset) };
    const blob = updateOf(result);
    return { ok: true, blob, stats, diagnostics, effort, ruleset: this.#summary.is };
  }
}

/** What became of the bytes, as a copy of those that are other ones. */
function updateOf({ blob, changedLines }: IncrementalResult & { ok: true }): BlobUpdate {
  if (changedLines === undefined) return { whole: blob.slice() };
  return changedLines.length === 0 ? "same" : { lines: linesOf(blob, changedLines) };
}

/** Finds the changes between two sets of objects. An object's place in a file is part of it. */
function changesBetween(
  before: ReadonlyMap<string, KubernetesObject>,
  after: ReadonlyMap<string, KubernetesObject>,
): readonly ObjectChange[] {
  const changes: ObjectChange[] = [];
  for (const [key, { kind, meta }] of before) {
    if (after.has(key)) continue;
    changes.push({ remove: { kind, namespace: meta.namespace, name: meta.name } });
  }
  for (const [key, put] of after) {
    if (!isEqual(before.get(key), put)) changes.push({ put });
  }
  return changes;
}

/** Compares plain objects, arrays, typed arrays, maps and sets by what they hold, but for one field. */
export function isEqual(a: unknown, b: unknown, butFor?: string): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size && [...a].every(([key, value]) => isEqual(value, b.get(key), butFor));
  }
  if (a instanceof Set && b instanceof Set) {
    return a.size === b.size && [...a].every((value) => b.has(value));
  }
  const keys = Object.keys(a);
  return (
    Array.isArray(a) === Array.isArray(b) &&
    keys.length === Object.keys(b).length &&
    keys.every((key) => key === butFor || isEqual((a as Fields)[key], (b as Fields)[key], butFor))
  );
}

type Fields = Readonly<Record<string, unknown>>;
