import type { ObjectHead, Pod } from "../manifest/objects.js";
import { type Address, addressKey } from "../net/address.js";
import { firstHost, formatPrefix, type Prefix, parsePrefix, prefixCovers } from "../net/prefix.js";

/** Where pods without addresses get theirs; one of each family at most, one at least. */
export type PodRanges = readonly Prefix[];

export const usualRanges: PodRanges = ["10.99.0.0/16", "fd99::/112"].flatMap(
  (text) => parsePrefix(text) ?? [],
);

/** Pods that stand for a workload which wants more, when nobody says otherwise: members, and talk among them. */
export const usualReplicas = 2;

/** Blocks in which no pod of a lab may have an address. */
export const unusable: readonly Prefix[] = [
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.1.1/32",
  "224.0.0.0/3",
  "::/127",
  "::ffff:0:0/96",
  "fe80::/10",
  "ff00::/8",
].flatMap((text) => parsePrefix(text) ?? []);

/** There are more pods than addresses for them. */
export class RangesFull extends Error {}

/** Addresses of one range that are used at most; names spread over them. */
const slotsMax = 0xff_ffff;

/**
 * Gives pods addresses that have none: one of each range.
 *
 * Where they land depends on the pod's name, so that a pod keeps its addresses when others come and go, and
 * every command gives it the same. None is one that a pod or a node has, nor one that a policy names alone, nor the
 * first of the range of a node's pods, which counts as the node's.
 *
 * Shape:  `namespace/name` to addresses, for pods that have traffic of their own. `before` says who had which,
 *         and may keep them while they are free, even where two names would collide.
 * Errors: RangesFull.
 */
export function assignAddresses(
  objects: readonly ObjectHead[],
  ranges: PodRanges = usualRanges,
  before: ReadonlyMap<string, readonly Address[]> = new Map(),
): ReadonlyMap<string, readonly Address[]> {
  const pods = objects.filter((object): object is Pod => object.kind === "Pod");
  const wanting = new Set(pods.filter(wantsAddress).map(podRef));
  const found = spreadAddresses([...wanting].sort(), takenAddresses(objects), ranges, before);
  if (found !== undefined) return found;
  const all = ranges.map(formatPrefix).join(" and ");
  throw new RangesFull(
    `got ${wanting.size} pods without addresses, want fewer: ${all} have no more`,
  );
}

/** Keys of the addresses that pods and nodes have, and of those that a policy names alone. */
export function takenAddresses(objects: readonly ObjectHead[]): Set<string> {
  return new Set(objects.flatMap(namedAddresses).map(addressKey));
}

/**
 * Gives each name one address of each range, at the place that the name hashes to or the next that is free.
 *
 * Shape: `names` are sorted; `taken` has the keys of addresses that are not free, and gets those given.
 *        Undefined when the ranges are full.
 */
export function spreadAddresses(
  names: readonly string[],
  taken: Set<string>,
  ranges: readonly Prefix[],
  before: ReadonlyMap<string, readonly Address[]> = new Map(),
): ReadonlyMap<string, readonly Address[]> | undefined {
  const isFree = (addresses: readonly Address[]) =>
    addresses.every((address) => !taken.has(addressKey(address)));
  const found = new Map<string, readonly Address[]>();
  const give = (name: string, addresses: readonly Address[]) => {
    for (const address of addresses) taken.add(addressKey(address));
    found.set(name, addresses);
  };
  for (const name of names) {
    const kept = before.get(name);
    if (kept !== undefined && isFree(kept)) give(name, kept);
  }
  const make = (slot: number) => ranges.map((range) => addressAt(range, slot + 1));
  const slots = new Slots(Math.min(...ranges.map(slotsOf)), (slot) => isFree(make(slot)));
  for (const name of names) {
    if (found.has(name)) continue;
    const slot = slots.take(hash(name));
    if (slot === undefined) return undefined;
    give(name, make(slot));
  }
  return found;
}

/** Places in a ring, each of which is given once: near constant time for each, however full the ring is. */
class Slots {
  readonly #count: number;
  readonly #isFree: (slot: number) => boolean;
  /** Of a slot that is not free: one from which to look on. */
  readonly #next = new Map<number, number>();

  constructor(count: number, isFree: (slot: number) => boolean) {
    this.#count = count;
    this.#isFree = isFree;
  }

  /** Takes the first free slot from `wanted` on; undefined when there is none. */
  take(wanted: number): number | undefined {
    const passed: number[] = [];
    let slot = wanted % this.#count;
    while (this.#next.size < this.#count) {
      const next = this.#next.get(slot);
      if (next === undefined && this.#isFree(slot)) break;
      passed.push(slot);
      slot = next ?? (slot + 1) % this.#count;
      if (next === undefined) this.#next.set(passed.at(-1)!, slot);
    }
    if (this.#next.size >= this.#count) return undefined;
    const after = (slot + 1) % this.#count;
    this.#next.set(slot, after);
    for (const each of passed) this.#next.set(each, after);
    return slot;
  }
}

/** Addresses that are somebody's already. */
function namedAddresses(object: ObjectHead): readonly Address[] {
  switch (object.kind) {
    case "Namespace":
      return [];
    case "Pod":
      return object.addresses;
    case "Node":
      return [...object.addresses, ...object.podCidrs.flatMap((range) => firstHost(range) ?? [])];
    default:
      return object.hosts ?? [];
  }
}

/** Puts addresses that were assigned into the pods. */
export function withAddresses<Any extends ObjectHead>(
  objects: readonly Any[],
  assigned: ReadonlyMap<string, readonly Address[]>,
): readonly Any[] {
  return objects.map((object) => {
    if (object.kind !== "Pod" || !wantsAddress(object)) return object;
    const addresses = assigned.get(podRef(object));
    return addresses === undefined ? object : { ...object, addresses, isAssigned: true };
  });
}

/** Finds the families of pods' addresses. */
export function podFamilies(objects: readonly ObjectHead[]): ReadonlySet<Address["family"]> {
  const pods = objects.filter((object) => object.kind === "Pod");
  return new Set(pods.flatMap(({ addresses }) => addresses.map(({ family }) => family)));
}

/** Reports whether a pod is to have a network of its own. */
export function isNetworked(pod: Pod): boolean {
  return !pod.hostNetwork && !hasEnded(pod);
}

/** Reports whether all containers of a pod have ended, for good: it has no traffic any more. */
export function hasEnded({ phase }: Pod): boolean {
  return phase === "Succeeded" || phase === "Failed";
}

export function podRef({ meta }: Pod): string {
  return `${meta.namespace}/${meta.name}`;
}

function wantsAddress(pod: Pod): boolean {
  return isNetworked(pod) && pod.addresses.length === 0;
}

/** Says why pods cannot have addresses of a range; undefined when they can. */
export function whyNoRange(range: Prefix): string | undefined {
  const bad = unusable.find((block) => prefixCovers(block, range) || prefixCovers(range, block));
  if (bad !== undefined) return `has addresses of ${formatPrefix(bad)}, which no pod has`;
  return slotsOf(range) < 1 ? "has no address for a pod" : undefined;
}

/** The first address of a range is no host's, nor is the last of an IPv4 range. */
function slotsOf({ address, length }: Prefix): number {
  const bits = address.bytes.length * 8 - length;
  return Math.min(2 ** bits - 2, slotsMax);
}

function addressAt({ address: { family, bytes } }: Prefix, slot: number): Address {
  const made = Uint8Array.from(bytes);
  for (let at = made.length - 1, rest = slot; rest > 0; at--, rest >>>= 8) made[at]! |= rest & 0xff;
  return { family, bytes: made };
}

/** Tries the slot that `name` hashes to, then the next ones; slot 0 is never used. Undefined when all are taken. */
export function firstFree<T>(
  name: string,
  slots: number,
  make: (slot: number) => T,
  isFree: (candidate: T) => boolean,
): T | undefined {
  const start = hash(name);
  for (let step = 0; step < slots; step++) {
    const candidate = make(1 + ((start + step) % slots));
    if (isFree(candidate)) return candidate;
  }
  return undefined;
}

/** FNV-1a: spreads names over slots; nothing depends on its strength. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return value;
}
