import {
  allPorts,
  intersectPorts,
  noPorts,
  type PortSet,
  portSetKey,
  subtractPorts,
  unionPorts,
} from "../net/port-set.js";

/**
 * Port sets by number, equal ones once, with cached set operations: a table has few distinct sets, and every
 * pair of parties needs the same few combinations.
 */
export class PortSetPool {
  /** Number of the empty set. */
  readonly none: number;
  /** Number of the set of everything. */
  readonly all: number;
  readonly #sets: PortSet[] = [];
  readonly #ids = new Map<string, number>();
  readonly #known = {
    intersect: new Map<number, number>(),
    union: new Map<number, number>(),
    subtract: new Map<number, number>(),
  };

  constructor() {
    this.none = this.idOf(noPorts);
    this.all = this.idOf(allPorts);
  }

  idOf(set: PortSet): number {
    const key = portSetKey(set);
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.#sets.push(set) - 1;
      this.#ids.set(key, id);
    }
    return id;
  }

  get(id: number): PortSet {
    return this.#sets[id]!;
  }

  intersect(a: number, b: number): number {
    if (a === b || b === this.all) return a;
    if (a === this.all) return b;
    if (a === this.none || b === this.none) return this.none;
    return this.#combine("intersect", Math.min(a, b), Math.max(a, b), intersectPorts);
  }

  union(a: number, b: number): number {
    if (a === b || b === this.none) return a;
    if (a === this.none) return b;
    return this.#combine("union", Math.min(a, b), Math.max(a, b), unionPorts);
  }

  /** All that is in `a` and not in `b`. */
  subtract(a: number, b: number): number {
    if (a === b || b === this.all) return this.none;
    if (b === this.none) return a;
    return this.#combine("subtract", a, b, subtractPorts);
  }

  #combine(
    operation: "intersect" | "union" | "subtract",
    a: number,
    b: number,
    combine: (a: PortSet, b: PortSet) => PortSet,
  ): number {
    const known = this.#known[operation];
    const key = a * 2 ** 26 + b;
    let id = known.get(key);
    if (id === undefined) {
      id = this.idOf(combine(this.get(a), this.get(b)));
      known.set(key, id);
    }
    return id;
  }
}
