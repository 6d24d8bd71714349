import { suggest } from "../diagnostics/suggest.js";
import type { ObjectHead } from "../manifest/objects.js";
import { type FlowFilterFlag, flowFilterFlags } from "./flow-filter.js";

/** A name in a filter that no object has. */
export interface UnknownName {
  readonly flag: FlowFilterFlag;
  readonly value: string;
  /** The name that was probably meant; null when none is similar. */
  readonly near: string | null;
}

interface Asked {
  readonly flag: FlowFilterFlag;
  readonly value: string;
  near: string | undefined;
  isKnown: boolean;
}

/** Names of pods and namespaces that are searched for in one request at most. */
export const namesMax = 16;

/** Objects of a step that are searched for a name: some ten nanoseconds each. */
const searchedAtOnce = 4_096;

/** Objects of a step that are compared with a name, letter by letter: some ten microseconds each. */
const comparedAtOnce = 128;

/**
 * Finds the pods and namespaces of a filter that do not exist in a cluster.
 *
 * Shape: a pod is known when some pod's name begins with the filter's, as in `readFlowFilter`.
 */
export class KnownNames {
  readonly #asked: readonly Asked[];

  constructor(values: (flag: FlowFilterFlag) => readonly string[]) {
    this.#asked = flowFilterFlags
      .filter((flag) => /pod$|namespace$/.test(flag))
      .flatMap((flag) =>
        values(flag).map((value) => ({ flag, value, near: undefined, isKnown: false })),
      );
  }

  get size(): number {
    return this.#asked.length;
  }

  /**
   * The search, in steps of some milliseconds that run in order: each takes one name and a part of the
   * objects. What was likely meant is looked for only once nothing has the name.
   */
  *steps(objects: readonly ObjectHead[]): Generator<() => void> {
    for (const asked of this.#asked) {
      for (let at = 0; at < objects.length && !asked.isKnown; at += searchedAtOnce) {
        yield () => {
          asked.isKnown = isAmong(asked, objects.slice(at, at + searchedAtOnce));
        };
      }
      for (let at = 0; at < objects.length && !asked.isKnown; at += comparedAtOnce) {
        yield () => {
          const names = namesFor(asked, objects.slice(at, at + comparedAtOnce));
          // The best suggestion from earlier steps competes again.
          if (asked.near !== undefined) names.unshift(asked.near);
          asked.near = suggest(asked.value, names);
        };
      }
    }
  }

  /** Shape: complete when every step has run. */
  get unknown(): readonly UnknownName[] {
    return this.#asked
      .filter((each) => !each.isKnown)
      .map(({ flag, value, near = null }) => ({ flag, value, near }));
  }
}

function isAmong(asked: Asked, objects: readonly ObjectHead[]): boolean {
  const names = namesFor(asked, objects);
  return asked.flag.endsWith("pod")
    ? names.some((name) => name.startsWith(asked.value))
    : names.includes(asked.value);
}

function namesFor({ flag, value }: Asked, objects: readonly ObjectHead[]): string[] {
  return flag.endsWith("pod") ? podNames(objects, value.includes("/")) : namespaceNames(objects);
}

function podNames(objects: readonly ObjectHead[], withNamespace: boolean): string[] {
  return objects.flatMap(({ kind, meta: { namespace, name } }) =>
    kind !== "Pod" ? [] : [withNamespace ? `${namespace}/${name}` : name],
  );
}

function namespaceNames(objects: readonly ObjectHead[]): string[] {
  const names = objects.map(({ kind, meta: { namespace, name } }) =>
    kind === "Namespace" ? name : namespace,
  );
  return [...new Set(names)];
}
