import type { Address } from "../net/address.js";
import type { Prefix } from "../net/prefix.js";

/**
 * A value for every address of one family.
 *
 * Shape: range i goes from `starts[i]` to just before `starts[i + 1]`, the last one to the family's
 *        last address; `starts[0]` is 0; neighbours have different values.
 */
export interface AddressRanges<Value> {
  readonly family: 4 | 6;
  readonly starts: readonly bigint[];
  readonly values: readonly Value[];
}

/** Addresses from `first` to `last`, both included. */
export interface AddressRange {
  readonly first: bigint;
  readonly last: bigint;
}

/** An address block as NetworkPolicy writes it: a prefix without some prefixes inside it. */
export interface AddressBlock {
  readonly cidr: Prefix;
  readonly except: readonly Prefix[];
}

/** Bits of an address. */
export function addressBits(family: 4 | 6): number {
  return family === 4 ? 32 : 128;
}

/** The address's bits as one number. */
export function addressToBits(address: Address): bigint {
  let bits = 0n;
  for (const byte of address.bytes) bits = (bits << 8n) | BigInt(byte);
  return bits;
}

export function addressFromBits(family: 4 | 6, bits: bigint): Address {
  const bytes = new Uint8Array(addressBits(family) / 8);
  let rest = bits;
  for (let at = bytes.length - 1; at >= 0; at--) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return { family, bytes };
}

/** Collects ranges in ascending order; a range that repeats its neighbour's value joins it. */
export class AddressRangesBuilder<Value> {
  readonly #family: 4 | 6;
  readonly #starts: bigint[] = [];
  readonly #values: Value[] = [];

  constructor(family: 4 | 6) {
    this.#family = family;
  }

  add(start: bigint, value: Value): void {
    const last = this.#starts.length - 1;
    // A range that starts where the last one did leaves that one empty.
    if (this.#starts[last] === start) {
      this.#starts.pop();
      this.#values.pop();
      this.add(start, value);
    } else if (last < 0 || this.#values[last] !== value) {
      this.#starts.push(start);
      this.#values.push(value);
    }
  }

  ranges(): AddressRanges<Value> {
    return { family: this.#family, starts: this.#starts, values: this.#values };
  }
}

/** Lists the ranges, each with its bounds and value. */
export function* eachRange<Value>({
  family,
  starts,
  values,
}: AddressRanges<Value>): Generator<AddressRange & { readonly value: Value }> {
  const end = 1n << BigInt(addressBits(family));
  for (let at = 0; at < starts.length; at++) {
    yield { first: starts[at]!, last: (starts[at + 1] ?? end) - 1n, value: values[at]! };
  }
}

/** Lays two partitions of a family over each other. `join` gives equal pairs one identical value. */
export function overlayRanges<A, B, Value>(
  a: AddressRanges<A>,
  b: AddressRanges<B>,
  join: (a: A, b: B) => Value,
): AddressRanges<Value> {
  const builder = new AddressRangesBuilder<Value>(a.family);
  let atA = 0;
  let atB = 0;
  let start = 0n;
  for (;;) {
    builder.add(start, join(a.values[atA]!, b.values[atB]!));
    const nextA = a.starts[atA + 1];
    const nextB = b.starts[atB + 1];
    if (nextA === undefined && nextB === undefined) return builder.ranges();
    const stepA = nextB === undefined || (nextA !== undefined && nextA <= nextB);
    const stepB = nextA === undefined || (nextB !== undefined && nextB <= nextA);
    if (stepA) atA++;
    if (stepB) atB++;
    start = stepA ? nextA! : nextB!;
  }
}

/** Whether an address belongs to a set that is to be described; `either` is of no interest. */
export type Membership = "in" | "out" | "either";

/**
 * Describes a set of addresses by the fewest prefixes, as blocks with exceptions.
 *
 * A prefix table in which the longest match decides between "in" and "out" is made as small as can
 * be; each "in" prefix, with the "out" prefixes right below it, is then a block.
 *
 * Shape:  blocks in the order of their addresses. Addresses of membership `either` fall where they
 *         make the text shorter.
 * Cost:   linear in ranges × bits.
 * Source: Draves, King, Venkatachary, Zill, "Constructing optimal IP routing tables", INFOCOM 1999.
 */
export function describeAddresses(members: AddressRanges<Membership>): readonly AddressBlock[] {
  const { family } = members;
  const bits = addressBits(family);
  const ranges = [...eachRange(members)];
  const blocks: { readonly cidr: Prefix; readonly except: Prefix[] }[] = [];
  const tree = choicesOf(ranges, 0, ranges.length, 0n, bits);

  const walk = (
    node: Choices,
    base: bigint,
    depth: number,
    inherited: "in" | "out",
    holder: (typeof blocks)[number] | undefined,
  ): void => {
    const label = node.labels & LABEL[inherited] ? inherited : other(inherited);
    let block = holder;
    if (label !== inherited) {
      const prefix = { address: addressFromBits(family, base), length: depth };
      if (label === "in") {
        block = { cidr: prefix, except: [] };
        blocks.push(block);
      } else {
        holder?.except.push(prefix);
        block = undefined;
      }
    }
    if (node.zero === undefined || node.one === undefined) return;
    walk(node.zero, base, depth + 1, label, block);
    walk(node.one, base + (1n << BigInt(bits - depth - 1)), depth + 1, label, block);
  };
  walk(tree, 0n, 0, "out", undefined);
  return blocks;
}

const LABEL = { in: 1, out: 2, either: 3 } as const;

/** Which labels a prefix may have at the least cost, and the halves that it falls into. */
interface Choices {
  readonly labels: number;
  readonly zero?: Choices;
  readonly one?: Choices;
}

/** Builds the choices of the prefix at `base` with `free` bits below it, from the ranges that it meets. */
function choicesOf(
  ranges: readonly (AddressRange & { readonly value: Membership })[],
  from: number,
  to: number,
  base: bigint,
  free: number,
): Choices {
  if (to - from === 1) return { labels: LABEL[ranges[from]!.value] };
  const middle = base + (1n << BigInt(free - 1));
  let low = from;
  let high = to - 1;
  while (low < high) {
    const at = (low + high) >> 1;
    if (ranges[at]!.last >= middle) high = at;
    else low = at + 1;
  }
  const straddles = ranges[low]!.first < middle;
  const zero = choicesOf(ranges, from, straddles ? low + 1 : low, base, free - 1);
  const one = choicesOf(ranges, low, to, middle, free - 1);
  const common = zero.labels & one.labels;
  return { labels: common === 0 ? LABEL.either : common, zero, one };
}

function other(label: "in" | "out"): "in" | "out" {
  return label === "in" ? "out" : "in";
}
