import { XDP_MTU_MAX } from "../layout/layout.gen.js";
import type { InterfaceTraits } from "./addon.js";
import type { InheritedKind } from "./descriptor-passing.js";

/** How the frames of an existing interface are received and sent. */
export type LinkKind = Exclude<InheritedKind, "tap">;

export interface LinkChoice {
  readonly kind: LinkKind;
  /** The reason, to show to the user. */
  readonly why: string;
}

/**
 * Chooses the kind of link for an interface. AF_PACKET if it receives superframes whole, which bulk TCP
 * needs. AF_XDP if each packet comes alone, since AF_XDP takes half the time per packet.
 */
export function suitableLink(traits: InterfaceTraits): LinkChoice {
  const { driver, mtu, segmentation, hardware, queues } = traits;
  if (mtu > XDP_MTU_MAX) {
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
