import type { Address } from "../net/address.js";
import { remember } from "../policy/remember.js";
import type { AddressGroup, AddressSet } from "../policy/ruleset.js";
import { byteAt, type PrefixList } from "./prefix-list.js";

/** The combination of sets that hold no pod. */
export const NO_SETS = 0;

/** Where an address stands among the blocks. */
export interface BlockPlace {
  /** State inside the block or hole that is this very address, else `around`. */
  readonly own: number;
  /** State of the narrowest block or hole around the address, wider than it. */
  readonly around: number;
  /** Whether a block or hole is this very address. */
  readonly isBlock: boolean;
}

type Block = AddressSet["blocks"][number];

/** The origin classes in their order: the signature of each, and the places of its sets, ascending. */
export interface OriginClasses {
  readonly signatures: readonly number[];
  readonly origins: readonly (readonly number[])[];
}

/**
 * Numbers the distinct memberships of addresses in sets, and counts what has them.
 *
 * A *state* is a set of blocks that are open at a place, a *combination* a set of sets that hold the
 * pods of a group, and a *signature* a set of sets. What is counted are prefixes: blocks, holes,
 * addresses of pods that some set holds, and addresses of endpoints. A signature that counts none is
 * no class of the table.
 */
export class Signatures {
  readonly blocks: readonly Block[];
  readonly #blockSets: readonly number[];
  readonly #openBlocks = new Lists();
  readonly #combinations = new Lists();
  readonly #signatures = new Lists();
  readonly #groups = new Map<AddressGroup, number>();
  readonly #setIds = new Map<AddressSet, number>();
  /** By the number of a set: its place among those that rules name. */
  #ranks: readonly number[] = [];
  readonly #known = new Map<number, number>();
  readonly #counts: number[] = [];
  readonly #states = { 4: new StatesByPrefix(4), 6: new StatesByPrefix(16) };
  #origins = new Uint32Array();

  constructor(sets: readonly AddressSet[]) {
    const all = sets.flatMap(({ blocks }, setId) => blocks.map((block) => ({ block, setId })));
    this.blocks = all.map(({ block }) => block);
    this.#blockSets = all.map(({ setId }) => setId);
    this.rank(sets);
    this.#openBlocks.idOf([]);
    this.#combinations.idOf([]);
    // What lies outside of everything.
    this.count(this.of(0, NO_SETS), 1);
  }

  /** How many combinations and memberships are kept, also those that no address has any more. */
  get size(): number {
    return this.#combinations.lists.length + this.#known.size;
  }

  /** Returns the number of a set, a new one when it has none yet. No blocks are known of those that came later. */
  idOf(set: AddressSet): number {
    return remember(this.#setIds, set, () => this.#setIds.size);
  }

  /** Notes which sets rules name from now on, in the order of their keys. */
  rank(sets: readonly AddressSet[]): void {
    const ranks: number[] = [];
    sets.forEach((set, rank) => {
      ranks[this.idOf(set)] = rank;
    });
    this.#ranks = ranks;
  }

  /** Notes which sets, ascending, hold the pods of a group; returns the combination. */
  setGroup(group: AddressGroup, sets: readonly number[]): number {
    const id = this.#combinations.idOf(sets);
    if (id === NO_SETS) this.#groups.delete(group);
    else this.#groups.set(group, id);
    return id;
  }

  /** Returns the combination of sets that hold the pods of a group. */
  setsOfGroup(group: AddressGroup): number {
    return this.#groups.get(group) ?? NO_SETS;
  }

  /** Returns the sets of a combination, ascending. */
  setsIn(combination: number): readonly number[] {
    return this.#combinations.list(combination);
  }

  /** Returns the state inside a prefix that starts and ends blocks; ends win. */
  nextState(state: number, starts: readonly number[], ends: readonly number[]): number {
    const open = new Set([...this.#openBlocks.list(state), ...starts]);
    for (const block of ends) open.delete(block);
    return this.#openBlocks.idOf([...open].sort((a, b) => a - b));
  }

  /** Notes the state inside the prefix at `index` of a list. */
  setState(family: 4 | 6, list: PrefixList, index: number, state: number): void {
    this.#states[family].set(list, index, state);
  }

  /** Finds the states at and around an address. */
  place(address: Address): BlockPlace {
    return this.#states[address.family].place(address.bytes);
  }

  /** Returns the signature of an address of which the state and the combination are known. */
  of(state: number, combination: number): number {
    const key = state * 2 ** 26 + combination;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const sets = new Set(this.#openBlocks.list(state).map((block) => this.#blockSets[block]!));
    for (const set of this.#combinations.list(combination)) sets.add(set);
    const id = this.#signatures.idOf([...sets].sort((a, b) => a - b));
    this.#known.set(key, id);
    return id;
  }

  /** Counts prefixes of a signature in, or out; returns how many there are now. */
  count(signature: number, by: number): number {
    const count = (this.#counts[signature] ?? 0) + by;
    this.#counts[signature] = count;
    return count;
  }

  /** Orders the signatures that count something by their sets, and calls them origin classes. */
  number(): OriginClasses {
    const counted = this.#signatures.lists.flatMap((list, signature) =>
      this.count(signature, 0) > 0
        ? { signature, sets: list.map((set) => this.#ranks[set]!).sort((a, b) => a - b) }
        : [],
    );
    counted.sort((a, b) => compareLists(a.sets, b.sets));
    this.#origins = new Uint32Array(this.#signatures.lists.length);
    counted.forEach(({ signature }, place) => {
      this.#origins[signature] = place;
    });
    return {
      signatures: counted.map(({ signature }) => signature),
      origins: counted.map(({ sets }) => sets),
    };
  }

  /** Returns the origin class of a signature that counted something at the last numbering. */
  originOf(signature: number): number {
    return this.#origins[signature]!;
  }
}

/** Lists of numbers, equal ones stored once. */
class Lists {
  readonly lists: (readonly number[])[] = [];
  readonly #ids = new Map<string, number>();

  idOf(list: readonly number[]): number {
    const key = list.join(",");
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.lists.push(list) - 1;
      this.#ids.set(key, id);
    }
    return id;
  }

  list(id: number): readonly number[] {
    return this.lists[id]!;
  }
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  for (let at = 0; at < a.length && at < b.length; at++) {
    const difference = a[at]! - b[at]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** States by prefix, looked up by address: the narrowest counts. */
class StatesByPrefix {
  readonly #bytes: number;
  /** By length, then by the bytes as text. */
  readonly #byLength = new Map<number, Map<string, number>>();
  #lengths: readonly number[] = [];

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  set(list: PrefixList, index: number, state: number): void {
    const length = list.lengths[index]!;
    let states = this.#byLength.get(length);
    if (states === undefined) {
      states = new Map();
      this.#byLength.set(length, states);
      this.#lengths = [...this.#byLength.keys()].sort((a, b) => b - a);
    }
    const bytes = Uint8Array.from({ length: this.#bytes }, (_, byte) => byteAt(list, index, byte));
    states.set(keyOf(bytes, length), state);
  }

  place(bytes: Uint8Array): BlockPlace {
    let own: number | undefined;
    let around: number | undefined;
    for (const length of this.#lengths) {
      const state = this.#byLength.get(length)!.get(keyOf(bytes, length));
      if (state === undefined) continue;
      if (length === this.#bytes * 8) {
        own = state;
      } else {
        around = state;
        break;
      }
    }
    around ??= 0;
    return { own: own ?? around, around, isBlock: own !== undefined };
  }
}

/** A text of the first `length` bits. */
function keyOf(bytes: Uint8Array, length: number): string {
  let key = "";
  const whole = length >> 3;
  for (let byte = 0; byte < whole; byte++) key += String.fromCharCode(bytes[byte]!);
  const rest = length & 7;
  return rest === 0 ? key : key + String.fromCharCode(bytes[whole]! & (0xff00 >> rest));
}
