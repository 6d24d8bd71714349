import { NONE } from "../layout/layout.gen.js";
import { compareText } from "../net/order.js";
import type { Prefix } from "../net/prefix.js";
import { type AddressGroup, type AddressSet, type Ruleset, rulesOf } from "../policy/ruleset.js";
import {
  compareAt,
  coversAt,
  type PrefixList,
  PrefixListBuilder,
  sortedOrder,
} from "./prefix-list.js";
import { NO_SETS, Signatures } from "./signatures.js";

/** The origin class of addresses, and the endpoint that has them; NONE where none has. */
export interface TableLeaf {
  readonly originId: number;
  readonly endpointId: number;
}

/** The classes of addresses that no rule of the ruleset distinguishes. */
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
  readonly leaves: readonly TableLeaf[];
  /** How the classes were computed, for moving single addresses between them. */
  readonly signatures: Signatures;
}

/**
 * Partitions both address families into classes that all rules treat alike.
 *
 * A sweep over the sorted prefixes keeps a stack of the prefixes that enclose the present one, so each prefix
 * is placed once. Equal sets of sets are stored once, and pods of a group share theirs.
 *
 * Shape: prefixes ascend, the wider first; one that would change nothing is left out.
 * Cost:  O(n) for n prefixes; the bits of a signature are looked at once a group and block.
 */
export function classifyAddresses(ruleset: Ruleset): AddressClasses {
  const sets = setsOf(ruleset);
  const signatures = new Signatures(sets);
  const marks = { 4: new PrefixListBuilder(), 6: new PrefixListBuilder() };
  for (const [group, setsId] of groupSets(sets, signatures)) {
    for (const address of group.addresses) {
      marks[address.family].addHost(address, setsId * MARK_KINDS + MARK.group);
    }
  }
  const markBlock = (prefix: Prefix, block: number, kind: number): void =>
    marks[prefix.address.family].add(prefix, block * MARK_KINDS + kind);
  signatures.blocks.forEach(({ prefix, except }, block) => {
    markBlock(prefix, block, MARK.start);
    for (const hole of except) markBlock(hole, block, MARK.end);
  });
  ruleset.endpoints.forEach(({ addresses }, endpointId) => {
    for (const address of addresses) {
      marks[address.family].addHost(address, endpointId * MARK_KINDS + MARK.endpoint);
    }
  });

  const v4 = sweep(marks[4].list(), 4, signatures);
  const v6 = sweep(marks[6].list(), 6, signatures);
  const { origins } = signatures.number();
  const { leaves, leafOf } = numberLeaves(
    origins.length,
    [v4, v6].flatMap(({ prefixes, endpoints }) =>
      endpoints.flatMap((endpointId, index) =>
        endpointId === NONE
          ? []
          : { originId: signatures.originOf(prefixes.payloads[index]!), endpointId },
      ),
    ),
  );
  for (const { prefixes, endpoints } of [v4, v6]) {
    endpoints.forEach((endpointId, index) => {
      const originId = signatures.originOf(prefixes.payloads[index]!);
      prefixes.payloads[index] = leafOf({ originId, endpointId });
    });
  }
  return { sets, origins, signatures, v4: v4.prefixes, v6: v6.prefixes, leaves };
}

/** The sets that some rule names, in the order of their keys. */
export function setsOf(ruleset: Ruleset): readonly AddressSet[] {
  const sets = new Set<AddressSet>();
  const seen = new Set<object>();
  for (const endpoint of ruleset.endpoints) {
    for (const rules of rulesOf(endpoint)) {
      if (seen.has(rules)) continue;
      seen.add(rules);
      for (const { peers } of rules.rules) if (peers !== "any") sets.add(peers);
    }
  }
  return [...sets].sort((a, b) => compareText(a.key, b.key));
}

/** Tells `signatures` which sets hold each group; returns the numbers of these combinations. */
function groupSets(
  sets: readonly AddressSet[],
  signatures: Signatures,
): ReadonlyMap<AddressGroup, number> {
  const lists = new Map<AddressGroup, number[]>();
  sets.forEach((set, setId) => {
    for (const group of set.groups) {
      const list = lists.get(group);
      if (list === undefined) lists.set(group, [setId]);
      else list.push(setId);
    }
  });
  const ids = new Map<AddressGroup, number>();
  for (const [group, list] of lists) ids.set(group, signatures.setGroup(group, list));
  return ids;
}

/** What a prefix does to the addresses in it; the lowest bits of a mark. */
const MARK = { group: 0, endpoint: 1, start: 2, end: 3 } as const;
const MARK_KINDS = 4;

/** Distinct prefixes with what holds in them; `prefixes` names the signature, `endpoints` its owner. */
interface Swept {
  readonly prefixes: PrefixList;
  readonly endpoints: readonly number[];
}

function sweep(marks: PrefixList, family: 4 | 6, signatures: Signatures): Swept {
  const order = sortedOrder(marks);
  const prefixes = new PrefixListBuilder();
  const endpoints: number[] = [];
  const starts: number[] = [];
  const ends: number[] = [];
  // The enclosing prefixes of the present one, each with its state and leaf.
  const stack = [{ prefix: -1, state: 0, signature: 0, endpoint: NONE as number }];
  for (let at = 0; at < order.length; ) {
    const prefix = order[at]!;
    starts.length = 0;
    ends.length = 0;
    let sets = NO_SETS;
    let endpoint = NONE as number;
    for (; at < order.length && compareAt(marks, order[at]!, prefix) === 0; at++) {
      const mark = marks.payloads[order[at]!]!;
      const value = Math.floor(mark / MARK_KINDS);
      const kind = mark % MARK_KINDS;
      if (kind === MARK.group) sets = value;
      else if (kind === MARK.endpoint) endpoint = value;
      else (kind === MARK.start ? starts : ends).push(value);
    }
    while (stack.length > 1 && !coversAt(marks, stack.at(-1)!.prefix, prefix)) stack.pop();
    const parent = stack.at(-1)!;
    let { state } = parent;
    if (starts.length + ends.length > 0) {
      state = signatures.nextState(state, starts, ends);
      signatures.setState(family, marks, prefix, state);
    }
    const signature = signatures.of(state, sets);
    signatures.count(signature, 1);
    if (marks.lengths[prefix]! < bitsOf(family)) stack.push({ prefix, state, signature, endpoint });
    if (signature === parent.signature && endpoint === parent.endpoint) continue;
    prefixes.copy(marks, prefix, signature);
    endpoints.push(endpoint);
  }
  return { prefixes: prefixes.list(), endpoints };
}

function bitsOf(family: 4 | 6): number {
  return family === 4 ? 32 : 128;
}

/**
 * Numbers leaves: origin classes first, then those of endpoints, by endpoint and class. `owned` has one of each address
 * of an endpoint.
 */
export function numberLeaves(
  originCount: number,
  owned: readonly TableLeaf[],
): { readonly leaves: readonly TableLeaf[]; readonly leafOf: (leaf: TableLeaf) => number } {
  const leaves = Array.from(
    { length: originCount },
    (_, originId): TableLeaf => ({ originId, endpointId: NONE }),
  );
  const ordered = [...owned].sort((a, b) => a.endpointId - b.endpointId || a.originId - b.originId);
  const numbers = new Map<number, number>();
  const keyOf = ({ originId, endpointId }: TableLeaf) => endpointId * originCount + originId;
  for (const leaf of ordered) {
    const key = keyOf(leaf);
    if (!numbers.has(key)) numbers.set(key, leaves.push(leaf) - 1);
  }
  const leafOf = (leaf: TableLeaf): number =>
    leaf.endpointId === NONE ? leaf.originId : numbers.get(keyOf(leaf))!;
  return { leaves, leafOf };
}
