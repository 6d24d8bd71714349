import { RTNH_F_ONLINK, RTNH_F_PERVASIVE } from "./constants.js";
import { type Attribute, attribute, attributesOf, concatenate, view } from "./messages.js";

/**
 * The body of a netlink message in a comparable form. What only the kernel sets (ages, counters, dead next
 * hops) is left out. The interface's own index is replaced by `SELF`, so that the entry can be given to
 * another interface.
 */
export type Entry = Uint8Array;

/** Stands for the interface's own index in an entry. */
export const SELF = 0;

/** Flags of a next hop that a request may set. */
export const nextHopFlags = RTNH_F_PERVASIVE | RTNH_F_ONLINK;

/** Offset of the interface index in the bodies of links, addresses and neighbours. */
export const indexAt = 4;

/** Gives an entry whose body names its interface to the interface `to`. */
export function retargetBody(entry: Entry, to: number): Uint8Array {
  const copy = entry.slice();
  view(copy).setUint32(indexAt, to, true);
  return copy;
}

/** Rebuilds a message's body from its head and attributes. */
export function rebuilt(
  body: Uint8Array,
  bodyBytes: number,
  attributes: readonly Attribute[],
): Uint8Array {
  return concatenate([
    body.subarray(0, bodyBytes),
    ...attributes.map(({ type, data }) => attribute(type, data)),
  ]);
}

export function sorted(attributes: readonly Attribute[]): Attribute[] {
  return [...attributes].sort((a, b) => a.type - b.type);
}

/** The key that compares two entries: the whole entry, or all but one attribute. */
export function entryKey(entry: Entry): string {
  return Buffer.from(entry).toString("base64");
}

export function keyWithout(entry: Entry, bodyBytes: number, without: number): string {
  const kept = attributesOf(entry, bodyBytes).filter(({ type }) => type !== without);
  return entryKey(rebuilt(entry, bodyBytes, kept));
}
