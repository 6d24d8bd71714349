import {
  GuardedInterface,
  GuardState,
  readGuardState,
  writeGuardedInterface,
} from "../layout/layout.gen.js";
import type { Address } from "../net/address.js";
import { addon, type NativeSourceGuards } from "./addon.js";
import { native, nativeAsync } from "./errors.js";

/** The most addresses of a family that one interface may have. */
export const ownAddressesMax = 4;

/** Whose frames an interface may bring. */
export interface OwnSources {
  /** At most `ownAddressesMax` of each family. */
  readonly addresses: readonly Address[];
  /** Absent: the source MAC is not checked. */
  readonly mac?: string;
  /** What flow events call the interface. Units: 0 to 65,534. */
  readonly linkId: number;
}

/** A guarded interface as it is. */
export interface GuardedSources {
  readonly interfaceIndex: number;
  readonly isAttached: boolean;
  readonly addresses: readonly Address[];
  readonly linkId: number;
  /** Frames dropped since it was guarded. */
  readonly drops: number;
}

/**
 * The guards at the pods' interfaces on a node: a frame passes only if its source, as IPv4, IPv6, ARP and neighbour
 * discovery name it, is the pod's own.
 *
 * They stay when the process ends, in the folder of a ForwardFilter; with that one they are taken away.
 *
 * Owner:  frees its memory with the garbage collector.
 * Errors: DataplaneError, of every call.
 */
export class SourceGuards {
  readonly #native: NativeSourceGuards;

  private constructor(instance: NativeSourceGuards) {
    this.#native = instance;
  }

  /** Opens what is pinned in the folder of a ForwardFilter of this process, or makes it. */
  static open(folder: string): SourceGuards {
    return native("prepare the guard of pods' interfaces", () => {
      const { NativeSourceGuards } = addon();
      return new SourceGuards(new NativeSourceGuards(folder));
    });
  }

  /** Guards an interface from its next frame on, or changes what is its own. The kernel may take some milliseconds. */
  guard(interfaceIndex: number, own: OwnSources): void {
    native("guard a pod's interface", () => this.#native.guard(interfaceIndex, recordOf(own)));
  }

  /** The same while this thread does other work. */
  async guardMeanwhile(interfaceIndex: number, own: OwnSources): Promise<void> {
    await nativeAsync("guard a pod's interface", () =>
      this.#native.guardMeanwhile(interfaceIndex, recordOf(own)),
    );
  }

  /** Takes a guard away; there may be none. */
  unguard(interfaceIndex: number): void {
    native("take the guard of an interface away", () => this.#native.unguard(interfaceIndex));
  }

  /** All guards, also those of interfaces that are gone. */
  list(): readonly GuardedSources[] {
    const bytes = native("read the guards of pods' interfaces", () => this.#native.list());
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Array.from({ length: bytes.length / GuardState.bytes }, (_, at) => {
      const state = readGuardState(view, at * GuardState.bytes);
      return {
        interfaceIndex: state.interfaceIndex,
        isAttached: state.attached === 1,
        addresses: [...addressesOf(state.v4, 4), ...addressesOf(state.v6, 6)],
        linkId: state.linkId,
        drops: state.drops,
      };
    });
  }
}

/** A GuardedInterface. */
function recordOf({ addresses, mac, linkId }: OwnSources): Uint8Array {
  const record = new Uint8Array(GuardedInterface.bytes);
  const words = (family: 4 | 6): number[] =>
    addresses
      .filter((address) => address.family === family)
      .slice(0, ownAddressesMax)
      .flatMap(({ bytes }) => [...new Uint32Array(Uint8Array.from(bytes).buffer)]);
  writeGuardedInterface(new DataView(record.buffer), 0, {
    v4: words(4),
    v6: words(6),
    mac: Uint8Array.from((mac ?? "").split(":"), (byte) => Number.parseInt(byte || "0", 16)),
    linkId,
    checksMac: mac === undefined ? 0 : 1,
  });
  return record;
}

/** Addresses from words in the order of memory; those of zeros are none. */
function addressesOf(words: readonly number[], family: 4 | 6): Address[] {
  const bytes = new Uint8Array(Uint32Array.from(words).buffer);
  const size = family === 4 ? 4 : 16;
  return Array.from({ length: bytes.length / size }, (_, at) =>
    bytes.slice(at * size, at * size + size),
  )
    .filter((each) => each.some((byte) => byte !== 0))
    .map((each) => ({ family, bytes: each }));
}
