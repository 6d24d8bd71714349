import {
  type Address,
  addressInTodaysForm,
  compareAddresses,
  formatAddress,
  isIpv4Mapped,
  parseAddress,
} from "./address.js";

/** A block of addresses. The bits of `address` past `length` are zero. */
export interface Prefix {
  readonly address: Address;
  /** 0 to 32, or 0 to 128. */
  readonly length: number;
}

/** What keeps a text from being a prefix, in the words of a message: "got …, want …". */
export interface PrefixFault {
  readonly got: string;
  readonly want: string;
}

/**
 * Parses `address/length`, or returns undefined.
 *
 * Errors: undefined for all that the API server refuses: leading zeros, a zone, a netmask, host bits
 *         that are set, IPv4-mapped addresses. `readPrefix` says which.
 */
export function parsePrefix(text: string): Prefix | undefined {
  const read = readPrefix(text);
  return "prefix" in read ? read.prefix : undefined;
}

/**
 * Parses `address/length`, or says what is wrong with it.
 *
 * Shape: with `hostBits` "mask" they are cleared instead of refused, as some APIs want it; with "stored" the text
 *        is one that some API server has taken, which until 1.36 read leading zeros as decimal, and an IPv4-mapped
 *        block as the IPv4 block that it is.
 */
export function readPrefix(
  text: string,
  hostBits: "refuse" | "mask" | "stored" = "refuse",
): { readonly prefix: Prefix } | { readonly fault: PrefixFault } {
  if (hostBits === "stored") return readPrefix(inTodaysForm(text), "mask");
  const shown = text.length > 64 ? `"${text.slice(0, 64)}…"` : `"${text}"`;
  const fault = (got: string, want: string) => ({ fault: { got, want } });

  const slash = text.indexOf("/");
  const addressText = slash < 0 ? text : text.slice(0, slash);
  const address = parseAddress(addressText);
  if (address === undefined) {
    if (/(^|\.)0\d/.test(addressText)) return fault(shown, "octets without leading 0s");
    if (addressText.includes("%")) return fault(shown, "a valid CIDR, which has no zone");
    return fault(shown, "a valid CIDR such as 10.0.0.0/8 or fd00::/8");
  }
  const bits = address.bytes.length * 8;
  if (slash < 0) return fault(shown, `a valid CIDR: ${text}/${bits} is this address alone`);

  const lengthText = text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(lengthText) || Number(lengthText) > bits) {
    return fault(shown, `a valid CIDR, whose prefix length is a number from 0 to ${bits}`);
  }
  if (/^0\d/.test(lengthText)) return fault(shown, "a prefix length without leading 0s");
  if (isIpv4Mapped(address)) return fault(shown, "an IPv4 prefix in its IPv4 form");

  const length = Number(lengthText);
  const masked = maskAddress(address, length);
  const prefix = { address: masked, length };
  if (hostBits === "refuse" && compareAddresses(masked, address) !== 0) {
    return fault(`${shown} with bits set beyond the prefix length`, formatPrefix(prefix));
  }
  return { prefix };
}

/** Writes a block that a server has stored as servers want it today, but for its host bits. */
function inTodaysForm(text: string): string {
  const [addressText = "", lengthText = "", ...rest] = text.split("/");
  if (rest.length > 0) return text;
  const plain = addressInTodaysForm(addressText);
  const length = lengthText.replace(/^0+(?=\d)/, "");
  const mapped = parseAddress(plain);
  if (mapped === undefined || !isIpv4Mapped(mapped) || !(Number(length) >= 96)) {
    return `${plain}/${length}`;
  }
  const inner = formatAddress({ family: 4, bytes: mapped.bytes.subarray(12) });
  return `${inner}/${Number(length) - 96}`;
}

/** Formats a prefix as `address/length`, the address in its canonical form. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.address)}/${prefix.length}`;
}

/** Reports whether `address` lies in `prefix`. Families never mix. */
export function prefixContains(prefix: Prefix, address: Address): boolean {
  if (prefix.address.family !== address.family) return false;
  const whole = prefix.length >> 3;
  const ours = prefix.address.bytes;
  const theirs = address.bytes;
  for (let i = 0; i < whole; i++) if (ours[i] !== theirs[i]) return false;
  const rest = prefix.length & 7;
  return rest === 0 || (ours[whole]! ^ theirs[whole]!) >> (8 - rest) === 0;
}

/** Reports whether every address of `inner` lies in `outer`; a prefix covers itself. */
export function prefixCovers(outer: Prefix, inner: Prefix): boolean {
  return outer.length <= inner.length && prefixContains(outer, inner.address);
}

/** Returns the prefix that holds `address` alone. */
export function hostPrefix(address: Address): Prefix {
  return { address, length: address.bytes.length * 8 };
}

/**
 * Returns the first address of a block that a host may have, which is the one after the block's own; undefined where
 * that would leave none for another: in blocks of two addresses or one.
 */
export function firstHost({ address: { family, bytes }, length }: Prefix): Address | undefined {
  if (bytes.length * 8 - length < 2) return undefined;
  const first = Uint8Array.from(bytes);
  first[first.length - 1]! |= 1;
  return { family, bytes: first };
}

/** Returns the prefix of `length` bits that `address` lies in. */
export function prefixOf(address: Address, length: number): Prefix {
  return { address: maskAddress(address, length), length };
}

/** Orders prefixes: IPv4 before IPv6, then by address, then the wider first. */
export function comparePrefixes(a: Prefix, b: Prefix): number {
  return compareAddresses(a.address, b.address) || a.length - b.length;
}

function maskAddress(address: Address, length: number): Address {
  const bytes = Uint8Array.from(address.bytes);
  const whole = length >> 3;
  if (whole < bytes.length) {
    bytes[whole] = bytes[whole]! & (0xff00 >> (length & 7)) & 0xff;
    bytes.fill(0, whole + 1);
  }
  return { family: address.family, bytes };
}
