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

/**
 * Finds the pods and namespaces of a filter that do not exist in a cluster.
 *
 * Shape: a pod is known when some pod's name begins with the filter's, as in `readFlowFilter`. Objects come
 *        in pieces of any size: a cluster may be large.
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

  /** Whether every name has been found. */
  get isDone(): boolean {
    return this.#asked.every((each) => each.isKnown);
  }

  look(objects: readonly ObjectHead[]): void {
    for (const asked of this.#asked) {
      if (asked.isKnown) continue;
      const names = asked.flag.endsWith("pod")
        ? podNames(objects, asked.value.includes("/"))
        : namespaceNames(objects);
      asked.isKnown = asked.flag.endsWith("pod")
        ? names.some((name) => name.startsWith(asked.value))
        : names.includes(asked.value);
      if (asked.isKnown) continue;
      // The best suggestion from earlier pieces competes again.
      asked.near = suggest(asked.value, asked.near === undefined ? names : [asked.near, ...names]);
    }
  }

  get unknown(): readonly UnknownName[] {
    return this.#asked
      .filter((each) => !each.isKnown)
      .map(({ flag, value, near = null }) => ({ flag, value, near }));
  }
}

function podNames(objects: readonly ObjectHead[], withNamespace: boolean): readonly string[] {
  return objects.flatMap(({ kind, meta: { namespace, name } }) =>
    kind !== "Pod" ? [] : [withNamespace ? `${namespace}/${name}` : name],
  );
}

function namespaceNames(objects: readonly ObjectHead[]): readonly string[] {
  const names = objects.map(({ kind, meta: { namespace, name } }) =>
    kind === "Namespace" ? name : namespace,
  );
  return [...new Set(names)];
}
