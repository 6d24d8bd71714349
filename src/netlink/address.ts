import type { Address } from "../net/address.js";
import { type Prefix, parsePrefix, prefixContains } from "../net/prefix.js";
import {
  AF_INET6,
  IFA_CACHEINFO,
  IFA_F_DADFAILED,
  IFA_F_HOMEADDRESS,
  IFA_F_MANAGETEMPADDR,
  IFA_F_MCAUTOJOIN,
  IFA_F_NODAD,
  IFA_F_NOPREFIXROUTE,
  IFA_F_TENTATIVE,
  IFA_FLAGS,
  IFA_LOCAL,
  NLM_F_CREATE,
  NLM_F_REPLACE,
  RT_SCOPE_LINK,
  RT_SCOPE_UNIVERSE,
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_NEWADDR,
} from "./constants.js";
import { type Entry, indexAt, keyWithout, rebuilt, retargetBody, SELF, sorted } from "./entry.js";
import { readLink, readLinks } from "./link.js";
import {
  attributesOf,
  concatenate,
  dump,
  type Request,
  removals,
  view,
  word,
  wordOf,
} from "./messages.js";

const addressBodyBytes = 8;
/** Flags of an address that was not known to be unique. */
const unsureFlags = IFA_F_DADFAILED | IFA_F_TENTATIVE;
/** Flags that a request may set. */
const askedFlags =
  IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN;

/** Reads the addresses of an interface. Errors: NetlinkError. */
export function readAddresses(index: number): Entry[] {
  return listAddresses(index).map(comparableAddress);
}

/** The addresses of an interface, without link-local ones. */
export function interfaceAddresses(name: string): Address[] {
  return listAddresses(readLink(name)?.index)
    .filter((body) => body[3] === RT_SCOPE_UNIVERSE)
    .flatMap(addressIn);
}

/**
 * Every address from which the kernel of this network namespace may send, link-local ones too. Not those that are not
 * known to be its own (duplicate detection has failed, or has not ended), nor loopback ones, which leave no machine,
 * nor the link-local ones of interfaces in `held`, from which the kernel's stack is kept off.
 *
 * Shape:  in no order; one that several interfaces have is there as often.
 * Errors: NetlinkError.
 */
export function namespaceAddresses(held: ReadonlySet<string>): Address[] {
  const links = readLinks().filter(({ name }) => held.has(name));
  const heldIndexes = new Set(links.map(({ index }) => index));
  const isBound = (body: Uint8Array) =>
    body[3] === RT_SCOPE_LINK && heldIndexes.has(wordOf(body, indexAt));
  return dumpAddresses()
    .filter((body) => (flagsOf(body) & unsureFlags) === 0 && !isBound(body))
    .flatMap(addressIn)
    .filter((address) => !loopback.some((block) => prefixContains(block, address)));
}

const loopback: readonly Prefix[] = ["127.0.0.0/8", "::1/128"].flatMap(
  (text) => parsePrefix(text) ?? [],
);

/** What a message says the address is: of a point-to-point interface the near end's. */
function addressIn(body: Uint8Array): Address[] {
  const said = attributesOf(body, addressBodyBytes);
  const bytes = (said.find(({ type }) => type === IFA_LOCAL) ?? said[0])?.data.slice();
  return bytes === undefined ? [] : [{ family: bytes.length === 4 ? 4 : 6, bytes }];
}

/** Identifies an address, without its lifetimes, which change all the time. */
export function addressKey(entry: Entry): string {
  const sure = attributesOf(entry, addressBodyBytes).map(({ type, data }) =>
    type === IFA_FLAGS ? { type, data: word(wordOf(data) & ~unsureFlags) } : { type, data },
  );
  return keyWithout(rebuilt(entry, addressBodyBytes, sure), addressBodyBytes, IFA_CACHEINFO);
}

/**
 * Requests that add addresses to an interface. IPv6 ones that were in use before are usable at once.
 */
export function putAddresses(entries: readonly Entry[], index: number): Request[] {
  return inOrderOfMaking(entries).flatMap((entry): Request[] => {
    const body = retargetBody(entry, index);
    const put = (bytes: Uint8Array): Request => ({
      type: RTM_NEWADDR,
      body: bytes,
      flags: NLM_F_CREATE | NLM_F_REPLACE,
      what: "add an address",
    });
    // The first request skips duplicate detection (IFA_F_NODAD); the second restores the address's own flags.
    const isSure = body[0] === AF_INET6 && (flagsOf(body) & unsureFlags) === 0;
    return isSure ? [put(withoutDetection(body)), put(body)] : [put(body)];
  });
}

/** Requests that remove addresses, the last first: with a primary address its secondary ones go. */
export function removeAddresses(entries: readonly Entry[], index: number): Request[] {
  const bodies = entries.map((entry) => retargetBody(entry, index));
  return removals(RTM_DELADDR, "remove an address", bodies);
}

function listAddresses(index: number | undefined): Uint8Array[] {
  return dumpAddresses().filter((body) => wordOf(body, indexAt) === index);
}

function dumpAddresses(): Uint8Array[] {
  return dump(RTM_GETADDR, new Uint8Array(addressBodyBytes), RTM_NEWADDR);
}

function comparableAddress(body: Uint8Array): Entry {
  const head = body.slice(0, addressBodyBytes);
  head[2] = 0;
  view(head).setUint32(indexAt, SELF, true);
  const attributes = attributesOf(body, addressBodyBytes).map(({ type, data }) => {
    if (type === IFA_FLAGS) return { type, data: word(wordOf(data) & (askedFlags | unsureFlags)) };
    // Keeps the preferred and valid seconds, and clears the times of creation and change.
    if (type === IFA_CACHEINFO)
      return { type, data: concatenate([data.slice(0, 8), word(0), word(0)]) };
    return { type, data };
  });
  return rebuilt(head, addressBodyBytes, sorted(attributes));
}

/**
 * Oldest first. The kernel lists IPv6 addresses newest first, and source selection may follow that order.
 */
function inOrderOfMaking(addresses: readonly Entry[]): Entry[] {
  const isV6 = (body: Uint8Array): boolean => body[0] === AF_INET6;
  return [...addresses.filter((body) => !isV6(body)), ...addresses.filter(isV6).reverse()];
}

function withoutDetection(body: Uint8Array): Uint8Array {
  const others = attributesOf(body, addressBodyBytes).filter(({ type }) => type !== IFA_FLAGS);
  const flags = { type: IFA_FLAGS, data: word(flagsOf(body) | IFA_F_NODAD) };
  return rebuilt(body, addressBodyBytes, [...others, flags]);
}

function flagsOf(body: Uint8Array): number {
  const found = attributesOf(body, addressBodyBytes).find(({ type }) => type === IFA_FLAGS);
  return found === undefined ? 0 : wordOf(found.data);
}
