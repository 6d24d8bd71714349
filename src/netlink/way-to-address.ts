import type { Address } from "../net/address.js";
import {
  AF_BRIDGE,
  AF_INET,
  AF_INET6,
  IFA_ADDRESS,
  IFA_LOCAL,
  IFA_TARGET_NETNSID,
  NDA_DST,
  NDA_LLADDR,
  NDA_MASTER,
  NLM_F_CREATE,
  NTF_USE,
  NUD_FAILED,
  RTA_DST,
  RTA_OIF,
  RTM_GETADDR,
  RTM_GETNEIGH,
  RTM_GETROUTE,
  RTM_NEWADDR,
  RTM_NEWNEIGH,
  RTM_NEWROUTE,
  RTN_UNICAST,
} from "./constants.js";
import { indexAt } from "./entry.js";
import {
  ask,
  attribute,
  attributesOf,
  concatenate,
  dump,
  tryChanges,
  view,
  wordAttribute,
  wordOf,
} from "./messages.js";

/**
 * How the kernel reaches an address: its route, the neighbour that has it, the port of a bridge behind which that is,
 * and whether the namespace at the other end of an interface has it.
 *
 * Source: man 7 rtnetlink; linux/neighbour.h. Errors of every call: NetlinkError, DataplaneError.
 */

const routeBytes = 12;
const neighbourBytes = 12;
const addressBytes = 8;

/** The index of the interface by which packets to an address leave; undefined where none does, or it is the machine's own. */
export function routeTo(address: Address): number | undefined {
  const body = new Uint8Array(routeBytes);
  body[0] = familyOf(address);
  body[1] = address.bytes.length * 8;
  const answer = ask(
    RTM_GETROUTE,
    concatenate([body, attribute(RTA_DST, address.bytes)]),
    RTM_NEWROUTE,
  );
  if (answer === undefined || answer[7] !== RTN_UNICAST) return undefined;
  const output = attributesOf(answer, routeBytes).find(({ type }) => type === RTA_OIF);
  return output === undefined ? undefined : wordOf(output.data);
}

export interface NeighbourState {
  /** Absent while the kernel does not know it. */
  readonly mac?: string;
  /** Nobody has answered. */
  readonly isFailed: boolean;
}

/** What an interface knows of a neighbour; undefined when nobody has asked yet. */
export function readNeighbour(
  interfaceIndex: number,
  address: Address,
): NeighbourState | undefined {
  const body = neighbourBody(familyOf(address), interfaceIndex);
  const asked = concatenate([body, attribute(NDA_DST, address.bytes)]);
  const answer = ask(RTM_GETNEIGH, asked, RTM_NEWNEIGH);
  if (answer === undefined) return undefined;
  const mac = attributesOf(answer, neighbourBytes).find(({ type }) => type === NDA_LLADDR);
  const isFailed = (view(answer).getUint16(8, true) & NUD_FAILED) !== 0;
  return { isFailed, ...(mac === undefined ? {} : { mac: macText(mac.data) }) };
}

/** Makes the kernel ask for a neighbour, as if it had a packet for it; the answer comes later. */
export function askNeighbour(interfaceIndex: number, address: Address): void {
  const body = neighbourBody(familyOf(address), interfaceIndex);
  body[10] = NTF_USE;
  tryChanges([
    {
      type: RTM_NEWNEIGH,
      body: concatenate([body, attribute(NDA_DST, address.bytes)]),
      flags: NLM_F_CREATE,
      what: "ask for a neighbour",
    },
  ]);
}

/** The port behind which a bridge has seen a MAC, as the port's index. */
export function portOf(bridge: number, mac: string): number | undefined {
  const entry = dump(RTM_GETNEIGH, neighbourBody(AF_BRIDGE, 0), RTM_NEWNEIGH).find((body) => {
    const found = new Map(
      attributesOf(body, neighbourBytes).map(({ type, data }) => [type, data] as const),
    );
    const [master, own] = [found.get(NDA_MASTER), found.get(NDA_LLADDR)];
    return master && own && wordOf(master) === bridge && macText(own) === mac;
  });
  return entry === undefined ? undefined : wordOf(entry, indexAt);
}

/** An address, and the index of its interface. */
export interface AddressOf {
  readonly index: number;
  readonly address: Address;
}

/**
 * Reads the addresses in another network namespace, by the number that the kernel has for it here; undefined where
 * the kernel does not tell (before Linux 4.20, or without CAP_NET_ADMIN over it).
 */
export function readAddressesOf(namespace: number): AddressOf[] | undefined {
  try {
    return ([4, 6] as const).flatMap((family) => {
      const body = new Uint8Array(addressBytes);
      body[0] = family === 4 ? AF_INET : AF_INET6;
      const asked = concatenate([body, wordAttribute(IFA_TARGET_NETNSID, namespace)]);
      return dump(RTM_GETADDR, asked, RTM_NEWADDR, undefined, "strict").flatMap(
        (answer) => addressIn(answer, family) ?? [],
      );
    });
  } catch {
    return undefined;
  }
}

function addressIn(body: Uint8Array, family: 4 | 6): AddressOf | undefined {
  const found = attributesOf(body, addressBytes);
  const of = (wanted: number) => found.find(({ type }) => type === wanted)?.data;
  // Of a point-to-point interface, IFA_ADDRESS is the other end's.
  const bytes = of(IFA_LOCAL) ?? of(IFA_ADDRESS);
  return bytes && { index: wordOf(body, indexAt), address: { family, bytes: bytes.slice() } };
}

function neighbourBody(family: number, index: number): Uint8Array {
  const body = new Uint8Array(neighbourBytes);
  body[0] = family;
  view(body).setUint32(indexAt, index, true);
  return body;
}

function familyOf({ family }: Address): number {
  return family === 4 ? AF_INET : AF_INET6;
}

function macText(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
