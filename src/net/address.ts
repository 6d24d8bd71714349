/** One IP address as it stands in a packet. An IPv4-mapped address is of family 6. */
export interface Address {
  readonly family: 4 | 6;
  /** 4 or 16 bytes, in network order. Never written to once made. */
  readonly bytes: Uint8Array;
}

/**
 * Parses one address, or returns undefined.
 *
 * The form is the strict one that the API server asks for: four decimal octets without leading
 * zeros, or RFC 4291 text with at most one `::` and, if at all, an IPv4 tail. No zone, no brackets,
 * no spaces. (Readers that take `010` for 8 or for 10 disagree with each other; we take neither.)
 *
 * Source: RFC 4291 section 2.2; RFC 6943 section 3.1.1.
 */
export function parseAddress(text: string): Address | undefined {
  if (text.length > 45) return undefined;
  if (text.includes(":")) {
    const bytes = parseIpv6(text);
    return bytes === undefined ? undefined : { family: 6, bytes };
  }
  const bytes = new Uint8Array(4);
  return readIpv4(text, 0, bytes, 0) ? { family: 4, bytes } : undefined;
}

/** Writes octets without leading zeros: until 1.36, servers took them, and took them for decimal. */
export function addressInTodaysForm(text: string): string {
  return /^\d{1,9}(\.\d{1,9}){3}$/.test(text) ? text.split(".").map(Number).join(".") : text;
}

/** Formats an address in the one canonical way. Source: RFC 5952. */
export function formatAddress(address: Address): string {
  const { family, bytes } = address;
  if (family === 4) return formatIpv4(bytes, 0);
  if (isIpv4Mapped(address)) return `::ffff:${formatIpv4(bytes, 12)}`;

  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[i]! << 8) | bytes[i + 1]!);
  const [start, end] = longestZeroRun(groups);
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(":");
  return end - start < 2 ? hex(0, 8) : `${hex(0, start)}::${hex(end, 8)}`;
}

/** Orders addresses: IPv4 before IPv6, then by value. */
export function compareAddresses(a: Address, b: Address): number {
  if (a.family !== b.family) return a.family - b.family;
  for (let i = 0; i < a.bytes.length; i++) {
    const difference = a.bytes[i]! - b.bytes[i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Reports whether two lists hold equal addresses in the same order, or are both absent. */
export function areSameInOrder(
  a: readonly Address[] | undefined,
  b: readonly Address[] | undefined,
): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined || a.length !== b.length) return false;
  return a.every((address, index) => compareAddresses(address, b[index]!) === 0);
}

/** Returns a text that is equal for equal addresses only, to be used as a map's key. */
export function addressKey(address: Address): string {
  let key = "";
  for (const byte of address.bytes) key += HEX[byte];
  return key;
}

/** Reports whether an address is of the form `::ffff:a.b.c.d`. */
export function isIpv4Mapped(address: Address): boolean {
  const { family, bytes } = address;
  if (family !== 6 || bytes[10] !== 0xff || bytes[11] !== 0xff) return false;
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return true;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

const ZERO = 0x30;
const NINE = 0x39;
const DOT = 0x2e;
const COLON = 0x3a;

/** Reads `a.b.c.d` from `text[at]` to its end into four bytes; false when it is anything else. */
function readIpv4(text: string, at: number, bytes: Uint8Array, offset: number): boolean {
  let position = at;
  for (let octet = 0; octet < 4; octet++) {
    if (octet > 0 && text.charCodeAt(position++) !== DOT) return false;
    const first = position;
    let value = 0;
    for (; position < text.length && position - first < 3; position++) {
      const code = text.charCodeAt(position);
      if (code < ZERO || code > NINE) break;
      value = value * 10 + (code - ZERO);
    }
    const digits = position - first;
    if (digits === 0 || value > 255) return false;
    if (digits > 1 && text.charCodeAt(first) === ZERO) return false;
    bytes[offset + octet] = value;
  }
  return position === text.length;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(16);
  let length = 0;
  let gap = -1;
  let position = 0;

  if (text.startsWith("::")) {
    gap = 0;
    position = 2;
  }
  while (position < text.length) {
    if (length === 16) return undefined;
    const first = position;
    let value = 0;
    for (; position < text.length && position - first < 4; position++) {
      const digit = hexDigit(text.charCodeAt(position));
      if (digit < 0) break;
      value = value * 16 + digit;
    }
    if (position === first) return undefined;
    if (text.charCodeAt(position) === DOT) {
      if (length > 12 || !readIpv4(text, first, bytes, length)) return undefined;
      length += 4;
      position = text.length;
      break;
    }
    bytes[length++] = value >> 8;
    bytes[length++] = value & 0xff;
    if (position === text.length) break;
    if (text.charCodeAt(position++) !== COLON) return undefined;
    if (position === text.length) return undefined;
    if (text.charCodeAt(position) === COLON) {
      if (gap >= 0) return undefined;
      gap = length;
      position++;
    }
  }

  if (gap < 0) return length === 16 ? bytes : undefined;
  if (length === 16) return undefined;
  bytes.copyWithin(16 - (length - gap), gap, length);
  bytes.fill(0, gap, 16 - (length - gap));
  return bytes;
}

function hexDigit(code: number): number {
  if (code >= ZERO && code <= NINE) return code - ZERO;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function formatIpv4(bytes: Uint8Array, offset: number): string {
  return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}`;
}

/** Finds the first of the longest runs of zero groups, as [start, end). */
function longestZeroRun(groups: readonly number[]): readonly [number, number] {
  let best: readonly [number, number] = [0, 0];
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (groups[end] === 0) end++;
    if (end - start > best[1] - best[0]) best = [start, end];
    if (end > start) start = end;
  }
  return best;
}
