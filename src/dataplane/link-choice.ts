import type { InterfaceTraits } from "./addon.js";

/** How the frames of an existing interface are received and sent. */
export type LinkKind = "af-packet" | "af-xdp";

export interface LinkChoice {
  readonly kind: LinkKind;
  /** For the user. */
  readonly why: string;
}

/** The largest MTU of an AF_XDP link: a frame lies in a page, behind the kernel's headroom. */
const xdpMtuMax = 3_498;

/**
 * Chooses the kind of link for an interface: AF_PACKET where superframes come whole, which bulk TCP
 * lives on, and AF_XDP where every packet comes by itself, since it takes half as long for each.
 */
export function suitableLink(traits: InterfaceTraits): LinkChoice {
  const { driver, mtu, segmentation, hardware, queues } = traits;
  if (mtu > xdpMtuMax) {
    return { kind: "af-packet", why: `an MTU of ${mtu} is more than AF_XDP takes` };
  }
  if (hardware) {
    const what = queues === 1 ? "a card's queue" : `a card's ${queues} queues`;
    return { kind: "af-xdp", why: `${what}: most packets a second` };
  }
  if (driver !== "veth") {
    return { kind: "af-packet", why: `no native AF_XDP for ${driver || "this kind of interface"}` };
  }
  return segmentation
    ? { kind: "af-packet", why: "a veth with TSO: superframes pass whole, for bulk TCP" }
    : { kind: "af-xdp", why: "a veth without TSO: most packets a second" };
}
