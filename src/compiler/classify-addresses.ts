import { NONE } from "../layout/layout.gen.js";
import { compareText } from "../net/order.js";
import { hostPrefix } from "../net/prefix.js";
import type { AddressGroup, AddressSet, Ruleset } from "../policy/ruleset.js";
import {
  compareAt,
  coversAt,
  type PrefixList,
  PrefixListBuilder,
  sortedOrder,
} from "./prefix-list.js";

/** Which addresses no rule of the ruleset can tell apart. */
export interface AddressClasses {
  /** Sets that some rule names, in the order of their keys; rules refer to them by place. */
  readonly sets: readonly AddressSet[];
  /**
   * Origin classes: for each, the sets that hold its addresses, ascending. They are ordered by
   * these lists, so that class 0 is what no set holds.
   */
  readonly origins: readonly (readonly number[])[];
  /** Which leaf each prefix starts; addresses outside all of them have leaf 0. */
  readonly v4: PrefixList;
  readonly v6: PrefixList;
  /** What prefixes refer to. The first ones are those of the origin classes, without endpoint. */
  readonly leaves: readonly { readonly originId: number; readonly endpointId: number }[];
}

/**
 * Partitions both address families into classes that all rules treat alike.
 *
 * A sweep over the sorted prefixes keeps the stack of those that enclose the present one, so that
 * each prefix is placed once; sets of sets are stored once, and pods of a group share theirs.
 *
 * Shape: prefixes ascend, the wider first; one that would change nothing is left out.
 * Cost:  O(n log n) for n prefixes; the bits of a signature are looked at once a group and block.
 */
export function classifyAddresses(ruleset: Ruleset): AddressClasses {
  const sets = setsOf(ruleset);
  const groupSets = setsOfGroups(sets);
  const signatures = new Signatures(sets, groupSets.lists);
  const marks = { 4: new PrefixListBuilder(), 6: new PrefixListBuilder() };
  for (const [group, groupId] of groupSets.ids) {
    for (const address of group.addresses) {
      marks[address.family].add(hostPrefix(address), signatures.groupMark(groupId));
    }
  }
  for (const { prefix, mark } of signatures.blockMarks)
    marks[prefix.address.family].add(prefix, mark);
  ruleset.endpoints.forEach(({ addresses }, endpointId) => {
    for (const address of addresses) {
      marks[address.family].add(hostPrefix(address), signatures.endpointMark(endpointId));
    }
  });

  const v4 = sweep(marks[4].list(), signatures);
  const v6 = sweep(marks[6].list(), signatures);
  const { origins, renumbered } = signatures.ordered();
  return { sets, origins, ...numberLeaves(v4, v6, origins.length, renumbered) };
}

function setsOf(ruleset: Ruleset): readonly AddressSet[] {
  const sets = new Set<AddressSet>();
  const seen = new Set<object>();
  for (const { ingress, egress } of ruleset.endpoints) {
    for (const rules of [ingress, egress]) {
      if (seen.has(rules)) continue;
      seen.add(rules);
      for (const { peers } of rules.rules) if (peers !== "any") sets.add(peers);
    }
  }
  return [...sets].sort((a, b) => compareText(a.key, b.key));
}

function setsOfGroups(sets: readonly AddressSet[]): {
  readonly ids: ReadonlyMap<AddressGroup, number>;
  readonly lists: readonly (readonly number[])[];
} {
  const ids = new Map<AddressGroup, number>();
  const lists: number[][] = [];
  sets.forEach((set, setId) => {
    for (const group of set.groups) {
      let id = ids.get(group);
      if (id === undefined) {
        id = lists.length;
        ids.set(group, id);
        lists.push([]);
      }
      lists[id]!.push(setId);
    }
  });
  return { ids, lists };
}

/** What a prefix does to the addresses in it; the lowest bits of a mark. */
const MARK = { group: 0, endpoint: 1, start: 2, end: 3 } as const;
const MARK_KINDS = 4;
const NO_GROUP = 0;

/**
 * Numbers the distinct memberships that the sweep meets.
 *
 * A *state* is a set of blocks that are open at a place; a *signature* is a set of address sets.
 */
class Signatures {
  readonly blockMarks: {
    readonly prefix: AddressSet["blocks"][number]["prefix"];
    readonly mark: number;
  }[] = [];
  readonly #blockSets: number[] = [];
  readonly #groupLists: readonly (readonly number[])[];
  readonly #states = new Map<string, number>();
  readonly #openBlocks: (readonly number[])[] = [];
  readonly #signatureIds = new Map<string, number>();
  readonly #signatures: (readonly number[])[] = [];
  readonly #byStateAndGroup = new Map<number, number>();

  constructor(sets: readonly AddressSet[], groupLists: readonly (readonly number[])[]) {
    this.#groupLists = groupLists;
    sets.forEach((set, setId) => {
      for (const { prefix, except } of set.blocks) {
        const block = this.#blockSets.push(setId) - 1;
        this.blockMarks.push({ prefix, mark: block * MARK_KINDS + MARK.start });
        for (const hole of except) {
          this.blockMarks.push({ prefix: hole, mark: block * MARK_KINDS + MARK.end });
        }
      }
    });
    this.#stateOf([]);
    this.signatureOf(0, NO_GROUP);
  }

  groupMark(groupId: number): number {
    return groupId * MARK_KINDS + MARK.group;
  }

  endpointMark(endpointId: number): number {
    return endpointId * MARK_KINDS + MARK.endpoint;
  }

  /** Returns the state inside a prefix that starts and ends blocks; ends win. */
  nextState(state: number, starts: readonly number[], ends: readonly number[]): number {
    if (starts.length === 0 && ends.length === 0) return state;
    const open = new Set([...this.#openBlocks[state]!, ...starts]);
    for (const block of ends) open.delete(block);
    return this.#stateOf([...open].sort((a, b) => a - b));
  }

  /** Returns the signature of an address in `state`; `group` is a group's number plus one. */
  signatureOf(state: number, group: number): number {
    const key = state * (this.#groupLists.length + 1) + group;
    const known = this.#byStateAndGroup.get(key);
    if (known !== undefined) return known;
    const sets = new Set(this.#openBlocks[state]!.map((block) => this.#blockSets[block]!));
    if (group !== NO_GROUP) for (const set of this.#groupLists[group - 1]!) sets.add(set);
    const list = [...sets].sort((a, b) => a - b);
    const text = list.join(",");
    let id = this.#signatureIds.get(text);
    if (id === undefined) {
      id = this.#signatures.push(list) - 1;
      this.#signatureIds.set(text, id);
    }
    this.#byStateAndGroup.set(key, id);
    return id;
  }

  /** Returns the signatures in their final order, and the new number of each. */
  ordered(): {
    readonly origins: readonly (readonly number[])[];
    readonly renumbered: Uint32Array;
  } {
    const order = this.#signatures.map((_, id) => id);
    order.sort((a, b) => compareLists(this.#signatures[a]!, this.#signatures[b]!));
    const renumbered = new Uint32Array(order.length);
    order.forEach((id, place) => {
      renumbered[id] = place;
    });
    return { origins: order.map((id) => this.#signatures[id]!), renumbered };
  }

  #stateOf(blocks: readonly number[]): number {
    const text = blocks.join(",");
    let id = this.#states.get(text);
    if (id === undefined) {
      id = this.#openBlocks.push(blocks) - 1;
      this.#states.set(text, id);
    }
    return id;
  }
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  for (let at = 0; at < a.length && at < b.length; at++) {
    const difference = a[at]! - b[at]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Distinct prefixes with what holds in them; `prefixes` names the signature, `endpoints` its owner. */
interface Swept {
  readonly prefixes: PrefixList;
  readonly endpoints: readonly number[];
}

function sweep(marks: PrefixList, signatures: Signatures): Swept {
  const order = sortedOrder(marks);
  const prefixes = new PrefixListBuilder();
  const endpoints: number[] = [];
  // The enclosing prefixes of the present one, each with its state and leaf.
  const stack: { prefix: number; state: number; signature: number; endpoint: number }[] = [];
  for (let at = 0; at < order.length; ) {
    const prefix = order[at]!;
    const starts: number[] = [];
    const ends: number[] = [];
    let group = NO_GROUP;
    let endpoint = NONE;
    for (; at < order.length && compareAt(marks, order[at]!, prefix) === 0; at++) {
      const mark = marks.payloads[order[at]!]!;
      const value = Math.floor(mark / MARK_KINDS);
      const kind = mark % MARK_KINDS;
      if (kind === MARK.group) group = value + 1;
      else if (kind === MARK.endpoint) endpoint = value;
      else (kind === MARK.start ? starts : ends).push(value);
    }
    while (stack.length > 0 && !coversAt(marks, stack.at(-1)!.prefix, prefix)) stack.pop();
    const parent = stack.at(-1) ?? { state: 0, signature: 0, endpoint: NONE };
    const state = signatures.nextState(parent.state, starts, ends);
    const signature = signatures.signatureOf(state, group);
    stack.push({ prefix, state, signature, endpoint });
    if (signature === parent.signature && endpoint === parent.endpoint) continue;
    prefixes.copy(marks, prefix, signature);
    endpoints.push(endpoint);
  }
  return { prefixes: prefixes.list(), endpoints };
}

/** Gives each (class, endpoint) pair a leaf: those without endpoint first, then by endpoint. */
function numberLeaves(
  v4: Swept,
  v6: Swept,
  originCount: number,
  renumbered: Uint32Array,
): Pick<AddressClasses, "v4" | "v6" | "leaves"> {
  const leaves = Array.from({ length: originCount }, (_, originId) => ({
    originId,
    endpointId: NONE as number,
  }));
  const owned: { originId: number; endpointId: number }[] = [];
  for (const { prefixes, endpoints } of [v4, v6]) {
    endpoints.forEach((endpointId, index) => {
      if (endpointId !== NONE) {
        owned.push({ originId: renumbered[prefixes.payloads[index]!]!, endpointId });
      }
    });
  }
  owned.sort((a, b) => a.endpointId - b.endpointId || a.originId - b.originId);
  const ownedLeaves = new Map<number, number>();
  const keyOf = (originId: number, endpointId: number) => endpointId * originCount + originId;
  for (const leaf of owned) {
    const key = keyOf(leaf.originId, leaf.endpointId);
    if (!ownedLeaves.has(key)) ownedLeaves.set(key, leaves.push(leaf) - 1);
  }
  for (const { prefixes, endpoints } of [v4, v6]) {
    endpoints.forEach((endpointId, index) => {
      const originId = renumbered[prefixes.payloads[index]!]!;
      prefixes.payloads[index] =
        endpointId === NONE ? originId : ownedLeaves.get(keyOf(originId, endpointId))!;
    });
  }
  return { v4: v4.prefixes, v6: v6.prefixes, leaves };
}
