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

/** Whether `auto` may take both ends of a wire by links of the kind `kernel`. */
export interface KernelChance {
  readonly has: boolean;
  /** The reason, to show to the user. */
  readonly why: string;
}

/**
 * Whether packets between these interfaces should pass in the kernel. Not where one is a card: AF_XDP receives the
 * most packets a second there.
 */
export function kernelSuits(ends: readonly InterfaceTraits[]): KernelChance {
  return ends.some(({ hardware }) => hardware)
    ? { has: false, why: "a card is at one end" }
    : { has: true, why: "packets of admitted connections pass in the kernel" };
}

/**
 * Chooses the kind of link for an interface in whose wire no packets pass in the kernel. AF_PACKET if it receives
 * superframes whole, which bulk TCP needs. AF_XDP if each packet comes alone, since AF_XDP takes half the time per
 * packet.
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
