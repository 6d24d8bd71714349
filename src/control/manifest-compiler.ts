import { IncrementalCompiler, type IncrementalResult } from "../compiler/incremental.js";
import type { KubernetesObject } from "../manifest/objects.js";
import type { LocalPods } from "../policy/cluster.js";
import type { ObjectChange } from "../policy/live-cluster.js";

/**
 * Compiles a set of manifests again and again, each time at the price of what has changed.
 *
 * Shape:  the result's blob is the caller's to keep.
 * Errors: those of the compiler; what it refused counts as seen, and the next set is compared with it.
 */
export class ManifestCompiler {
  #local: LocalPods | undefined;
  #compiler: IncrementalCompiler | undefined;
  #objects: ReadonlyMap<string, KubernetesObject> = new Map();

  /** Compiles for `local`; when that is another object than last time, at the price of all. */
  compile(objects: readonly KubernetesObject[], local: LocalPods): IncrementalResult {
    if (local !== this.#local) {
      this.#local = local;
      this.#compiler = undefined;
      this.#objects = new Map();
    }
    // Of objects with one name the last counts, as in a full compile.
    const next = new Map(objects.map((object) => [keyOf(object), object]));
    const compiler = this.#compiler ?? new IncrementalCompiler({ local });
    const changes = changesBetween(this.#objects, next);
    // Should the update throw, nobody knows how far it came: the next set starts anew.
    this.#compiler = undefined;
    this.#objects = new Map();
    const result = compiler.update(changes);
    this.#compiler = compiler;
    this.#objects = next;
    return result.ok ? { ...result, blob: result.blob.slice() } : result;
  }
}

function keyOf({ kind, meta }: KubernetesObject): string {
  return `${kind} ${meta.namespace}/${meta.name}`;
}

/** Finds what turns one set of objects into another. A place in a file is part of an object. */
export function changesBetween(
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

/** Compares plain objects, arrays, typed arrays, maps and sets by what they hold. */
function isEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size && [...a].every(([key, value]) => isEqual(value, b.get(key)));
  }
  if (a instanceof Set && b instanceof Set) {
    return a.size === b.size && [...a].every((value) => b.has(value));
  }
  const keys = Object.keys(a);
  return (
    Array.isArray(a) === Array.isArray(b) &&
    keys.length === Object.keys(b).length &&
    keys.every((key) => isEqual((a as Fields)[key], (b as Fields)[key]))
  );
}

type Fields = Readonly<Record<string, unknown>>;
