import { RefusalError } from "../../control/refusal.js";
import { holdStack, isStackHeld, releaseStack } from "../../dataplane/host.js";
import { IFF_LOOPBACK, IFF_UP } from "../../netlink/constants.js";
import { type Loser, move, refresh, settle } from "../../netlink/interface-move.js";
import { type InterfaceState, readInterface, withLost } from "../../netlink/interface-state.js";
import { deleteLink, type Link, readLink, readLinks, setAddressMode } from "../../netlink/link.js";
import { copySysctls } from "../../netlink/sysctls.js";
import { RecordFile, type SidecarRecord } from "./record.js";

/** What a sidecar left at an interface. */
export type Found =
  | { readonly kind: "nothing" }
  /** The workload uses the front; the original interface is the uplink. */
  | {
      readonly kind: "standing";
      readonly uplink: Link;
      readonly front: Link;
      readonly record: SidecarRecord | undefined;
    }
  /** A process has ended in the middle of a change. */
  | { readonly kind: "broken"; readonly uplink: Link; readonly record: SidecarRecord };

const ETHERNET = 1;
/** Kinds of interfaces that are stacked on another and would bypass the sidecar. */
const stackedKinds = new Set(["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"]);
const frontKinds = new Set(["tun", "veth"]);

const aliasStart = "sluice: uplink of ";

/** Name of the original interface while the front has its name: 15 letters at most. */
export function uplinkName(index: number): string {
  return `sluice-up${shortNumber(index)}`;
}

/** Name of the front before it gets the interface's name, and after it loses it. */
export function frontName(index: number): string {
  return `sluice-fr${shortNumber(index)}`;
}

/** The other end of a front that is a veth. */
export function innerName(index: number): string {
  return `sluice-in${shortNumber(index)}`;
}

/** By which frames of an interface come up that a program takes: KernelSide::tapOf(). */
function wayUpName(index: number): string {
  return `sluice${index}`;
}

/**
 * Takes a workload's interface for a sidecar, and gives it back. It does not judge packets. From its first
 * change to its last, nothing passes the uplink except what our links send.
 */
export class SidecarPlace {
  readonly name: string;
  readonly #file: RecordFile;

  constructor(interfaceName: string, stateFolder: string) {
    this.name = interfaceName;
    this.#file = new RecordFile(stateFolder, interfaceName);
  }

  /** Runs `act` while no other process changes this interface. Errors: RefusalError. */
  exclusively<Result>(act: () => Result): Result {
    return this.#file.exclusively(act);
  }

  /** Finds what a sidecar left here. Errors: RefusalError when the record cannot be trusted. */
  find(): Found {
    const links = readLinks();
    const kept = this.#file.read();
    const uplink =
      links.find((link) => link.index === kept?.uplink && this.#isTaken(link)) ??
      links.find(({ alias }) => alias === this.#alias);
    if (uplink === undefined) return { kind: "nothing" };
    const record = kept?.uplink === uplink.index ? kept : undefined;
    if (record !== undefined && record.phase !== "standing") {
      return { kind: "broken", uplink, record };
    }
    const front = links.find(({ name }) => name === this.name);
    if (front !== undefined && front.index !== uplink.index && frontKinds.has(front.kind)) {
      return { kind: "standing", uplink, front, record };
    }
    if (record !== undefined) return { kind: "broken", uplink, record };
    throw new RefusalError(
      "environment",
      `${uplink.name} was ${this.name} once, but what stood in its place is gone, and so is the record of how it was`,
      `rename it back and give it its addresses, or restore ${this.#file.path}`,
    );
  }

  /** Reads the interface to take. Errors: RefusalError says why it cannot be taken. */
  candidate(): InterfaceState {
    const links = readLinks();
    const link = links.find(({ name }) => name === this.name);
    if (link === undefined) {
      throw this.#refuse(
        "there is no interface of that name here",
        "`ip link` lists them; run inside the workload's network namespace",
      );
    }
    if ((link.flags & IFF_LOOPBACK) !== 0 || link.type !== ETHERNET) {
      throw this.#refuse("it is no Ethernet interface", "only those carry frames");
    }
    if (link.kind.startsWith("ipvl")) {
      throw this.#refuse(
        `it is an ${link.kind}, which gets no frames but for its own addresses`,
        "use macvlan or veth",
      );
    }
    if (link.master !== 0) {
      const master = links.find(({ index }) => index === link.master)?.name ?? link.master;
      throw this.#refuse(`it is part of ${master}`, `take ${master} instead, or run --wire`);
    }
    const upper = links.find((each) => each.lower === link.index && stackedKinds.has(each.kind));
    if (upper !== undefined) {
      throw this.#refuse(
        `${upper.name} stands upon it, and would be cut off`,
        `take ${upper.name} instead`,
      );
    }
    const state = readInterface(link.index);
    if (state === undefined) throw this.#refuse("it has just gone", "try again");
    return state;
  }

  /** Closes the interface: from here on nothing passes it, even if this process dies. */
  block(state: InterfaceState): void {
    this.#file.write({
      phase: "taking",
      interface: this.name,
      uplink: state.index,
      front: 0,
      state,
    });
    try {
      holdStack(state.index);
    } catch (error) {
      this.forget(); // nothing has been done
      throw error;
    }
  }

  /** Whether the interface of this index exists and was taken. */
  hasTaken(index: number): boolean {
    return readLink(index)?.alias === this.#alias;
  }

  /** Deletes the record. */
  forget(): void {
    this.#file.remove();
  }

  /**
   * Moves all settings of the blocked interface to the front. Returns the sysctls that could not be copied.
   *
   * Errors: NetlinkError, the kernel's first refusal; `giveBack` undoes what was done.
   */
  moveToFront(state: InterfaceState, front: Link): string[] {
    const made = readInterface(front.index);
    const differing = made === undefined ? [] : copySysctls(state, made);
    const [refused] = move({
      state,
      from: {
        index: state.index,
        name: uplinkName(state.index),
        up: true,
        alias: this.#alias,
      },
      to: front.index,
    });
    if (refused !== undefined) throw refused;
    this.#file.write({
      phase: "standing",
      interface: this.name,
      uplink: state.index,
      front: front.index,
      state,
    });
    return differing;
  }

  /** Records that this process ends cleanly and leaves all in place. Errors: RefusalError. */
  leave(): void {
    const record = this.#file.read();
    if (record?.phase === "standing") this.#file.write({ ...record, hasEnded: true });
  }

  /**
   * Continues with the interfaces that a process left; nothing passes yet. `attach` is called once the uplink
   * is certainly blocked, and attaches the front.
   */
  resume<Result>(found: Found & { readonly kind: "standing" }, attach: () => Result): Result {
    holdStack(found.uplink.index);
    const result = attach();
    if (found.record?.hasEnded) {
      const { hasEnded, ...standing } = found.record;
      this.#file.write(standing);
    }
    if (found.record !== undefined) refresh(found.front.index, found.record.state);
    return result;
  }

  /** Other interfaces of this namespace that carry frames without a sidecar. */
  otherWays(): string[] {
    const links = readLinks();
    const taken = new Set(
      links
        .filter(({ alias }) => alias.startsWith(aliasStart))
        .flatMap(({ index, alias }) => [
          alias.slice(aliasStart.length),
          uplinkName(index),
          innerName(index),
        ]),
    );
    for (const { index, name } of links) if (taken.has(name)) taken.add(wayUpName(index));
    return links
      .filter(
        ({ flags, name }) =>
          (flags & IFF_UP) !== 0 && (flags & IFF_LOOPBACK) === 0 && !taken.has(name),
      )
      .map(({ name }) => name);
  }

  /** Whether a live process holds these interfaces. */
  isHeld(found: Exclude<Found, { kind: "nothing" }>): boolean {
    const links = readLinks();
    const front =
      found.kind === "standing"
        ? found.front
        : links.find((link) => this.#isFront(link, found.uplink));
    if (front?.kind === "tun") return front.carrier;
    const inner = links.find(({ name }) => name === innerName(found.uplink.index));
    return inner !== undefined && inner.promiscuity > 0;
  }

  /**
   * Restores the uplink's name, addresses and other settings; nothing passes yet. `detach` is called when the
   * front is not needed any more. Returns the kernel's refusals.
   */
  giveBack(found: Exclude<Found, { kind: "nothing" }>, detach: () => void): Error[] {
    const { uplink, record } = found;
    holdStack(uplink.index);
    const links = readLinks();
    const front =
      found.kind === "standing" ? found.front : links.find((link) => this.#isFront(link, uplink));
    const state = found.kind === "standing" ? this.#returning(found) : found.record.state;
    const refused: Error[] = [];
    if (uplink.name === this.name) {
      setAddressMode(uplink.index, state.link.addressMode);
      refused.push(...settle(uplink.index, state));
    } else {
      const there = front && readInterface(front.index);
      const own = readInterface(uplink.index);
      if (there !== undefined && own !== undefined) copySysctls(there, own);
      const from: Loser | undefined = front && {
        index: front.index,
        name: frontName(uplink.index),
        up: false,
        alias: "",
      };
      const longAgo = record?.state.link.queueLength;
      refused.push(
        ...move({
          // A front always has a queue length; the original interface may have had none.
          state: longAgo === 0 ? { ...state, link: { ...state.link, queueLength: 0 } } : state,
          to: uplink.index,
          ...(from === undefined ? {} : { from }),
        }),
      );
    }
    detach();
    if (front !== undefined) deleteLink(front.index);
    return refused;
  }

  /** Opens an interface after `giveBack`, and deletes the record. */
  release(uplink: number): void {
    releaseStack(uplink);
    this.forget();
  }

  /** Records that the front's settings are about to be moved back; returns them. */
  #returning({ front, record, ...found }: Found & { readonly kind: "standing" }): InterfaceState {
    const present = readInterface(front.index);
    if (present === undefined) throw this.#refuse("it has just gone", "try again");
    const isWhole = front.carrier || record === undefined;
    const state = isWhole ? present : withLost(present, record.state);
    this.#file.write({
      phase: "returning",
      interface: this.name,
      uplink: found.uplink.index,
      front: front.index,
      state,
    });
    return state;
  }

  /**
   * Whether the interface in a record is the one that was taken. It may be another: the kernel gives numbers
   * of deleted namespaces and interfaces to new ones.
   */
  #isTaken({ alias, index }: Link): boolean {
    return alias === this.#alias || isStackHeld(index);
  }

  #isFront(link: Link, uplink: Link): boolean {
    const named = link.name === frontName(uplink.index) || link.name === this.name;
    return named && link.index !== uplink.index && frontKinds.has(link.kind);
  }

  /** Set on the uplink, where it outlives the record. */
  get #alias(): string {
    return `${aliasStart}${this.name}`;
  }

  #refuse(reason: string, remedy: string): RefusalError {
    return new RefusalError(
      "environment",
      `cannot attach in front of ${this.name}: ${reason}`,
      remedy,
    );
  }
}

/** Six letters at most. */
function shortNumber(value: number): string {
  return value < 1_000_000 ? String(value) : value.toString(36);
}
