import type { AttachedState, FilteredInterface } from "../../control/control-routes.js";
import type { CompiledTable } from "../../control/controller.js";
import { RefusalError } from "../../control/refusal.js";
import type { Dataplane } from "../../dataplane/dataplane.js";
import { DataplaneError } from "../../dataplane/errors.js";
import {
  configureInterface,
  createVeth,
  holdStack,
  isStackHeld,
  releaseStack,
} from "../../dataplane/host.js";
import { listNameGuards, releaseGuardedNames } from "../../dataplane/interfaces.js";
import type { Span } from "../../diagnostics/diagnostic.js";
import type { Severity } from "../../diagnostics/severity.js";
import type { Tell } from "../../diagnostics/tell.js";
import type { Mode } from "../../manifest/annotations.js";
import { interfaceAddresses } from "../../netlink/address.js";
import { IFF_UP } from "../../netlink/constants.js";
import { moveStrays, strip } from "../../netlink/interface-move.js";
import { type InterfaceState, readInterface } from "../../netlink/interface-state.js";
import { deleteLink, type Link, readLink } from "../../netlink/link.js";
import { isAdvertised } from "../../netlink/route.js";
import { type Attachment, type OpenAttachment, type Opening, takenAt } from "../attachment.js";
import type { Guarded } from "../guard.js";
import type { PodName, RouterAdvertisements, SidecarConfig } from "../node-config.js";
import { connectionsOfSockets } from "./adopt-connections.js";
import { type Found, frontName, innerName, SidecarPlace, uplinkName } from "./place.js";

type Standing = Found & { readonly kind: "standing" };

/** Superframes that may queue at a veth front. */
const innerSlots = 64;

/**
 * An interface that was created again is taken when it is up and has not changed for this long: its creator adds
 * addresses and routes in several steps, often by index. It is closed meanwhile. Addresses and routes that come later
 * are moved to the front; its MAC and MTU have to be right before, which creators set while it is down.
 */
const quietMs = 20;
const quietWaitMaxMs = 500;
/** How long one that is down is waited for. */
const downWaitMaxMs = 10_000;
/** How long to wait before trying again to take an interface. */
const retryMs = 1_000;

/**
 * A workload's own interface, taken from inside its network namespace. A new interface, the front, gets its
 * name, MAC, addresses and routes; the original becomes the uplink.
 *
 * The front outlives this process: after a kill, the workload keeps its interface, and nothing passes it
 * until the next start.
 */
export class SidecarAttachment implements Attachment {
  readonly #config: SidecarConfig;
  readonly #atEnd: "restore" | "block";

  /**
   * `hasTerminal`: whether an operator can see that the interface is open after the process has ended.
   */
  constructor(config: SidecarConfig, hasTerminal: boolean) {
    this.#config = config;
    this.#atEnd = config.onStop ?? (hasTerminal ? "restore" : "block");
  }

  get name(): string {
    return this.#config.interface;
  }

  get pod(): PodName {
    return this.#config.pod;
  }

  get span(): Span {
    return this.#config.span;
  }

  get mode(): Mode | undefined {
    return this.#config.mode;
  }

  get interfaces(): readonly string[] {
    return [this.#config.interface];
  }

  get stateFolder(): string {
    return this.#config.stateFolder;
  }

  get identity(): string {
    const { interface: name, link, onStop, stateFolder, routerAdvertisements } = this.#config;
    return JSON.stringify(["sidecar", name, link, onStop, stateFolder, routerAdvertisements]);
  }

  #place(): SidecarPlace {
    return new SidecarPlace(this.#config.interface, this.#config.stateFolder);
  }

  closedAlready(): readonly number[] {
    try {
      const found = this.#place().find();
      return found.kind === "standing" && isOwnFront(found) ? [found.front.index] : [];
    } catch {
      return []; // `open` reports it
    }
  }

  follows(other: Attachment): boolean {
    if (!(other instanceof SidecarAttachment)) return false;
    const { interface: name, stateFolder } = other.#config;
    return name === this.#config.interface && stateFolder === this.#config.stateFolder;
  }

  /** Errors: also RefusalError; NetlinkError when the kernel refuses an address or a route. */
  open(opening: Opening): OpenAttachment {
    const place = this.#place();
    return takenAt(this.#config.place, () => place.exclusively(() => this.#open(place, opening)));
  }

  #open(place: SidecarPlace, opening: Opening): OpenAttachment {
    const { dataplane, tell, mayWait } = opening;
    const found = place.find();
    const taking = new Taking(this.#config, this.#atEnd, place, opening);
    if (found.kind === "nothing" && readLink(this.name) === undefined && mayWait(this.name)) {
      taking.wait();
      return taking;
    }
    if (found.kind === "standing" && dataplane.inherits(frontLink(found))) {
      taking.succeed(found);
      return taking;
    }
    if (found.kind !== "nothing" && place.isHeld(found)) {
      throw new RefusalError(
        "environment",
        `another process is attached in front of ${this.name}`,
        "stop that one first",
      );
    }
    if (found.kind !== "nothing") taking.findClosed(found.kind);
    if (found.kind === "standing" && taking.resume(found)) return taking;
    if (found.kind !== "nothing") {
      tell(`${this.name}: left half taken by a process that has gone: put right`);
      taking.tellRefused(place.giveBack(found, () => {}));
    }
    taking.take();
    return taking;
  }
}

/**
 * Restores the interface to its state before any sidecar, even if one was killed in the middle of a change.
 * Returns whether there was anything to do.
 *
 * Errors: RefusalError while a process is attached there.
 */
export function restoreInterface(interfaceName: string, stateFolder: string, tell: Tell): boolean {
  const place = new SidecarPlace(interfaceName, stateFolder);
  return place.exclusively(() => restorePlace(place, tell));
}

function restorePlace(place: SidecarPlace, tell: Tell): boolean {
  const { name: interfaceName } = place;
  const found = place.find();
  if (found.kind === "nothing") {
    place.forget();
    return releaseLeft(interfaceName);
  }
  if (place.isHeld(found)) {
    throw new RefusalError(
      "environment",
      `a process is attached in front of ${interfaceName}`,
      "stop it: it puts the interface back itself",
    );
  }
  for (const { message } of place.giveBack(found, () => {})) {
    tell(`${interfaceName}: not put back: ${message}`);
  }
  place.release(found.uplink.index);
  releaseGuardedNames([interfaceName]);
  return true;
}

/**
 * Opens an interface that no process holds, and that an earlier process closed to take it again.
 */
function releaseLeft(interfaceName: string): boolean {
  const link = readLink(interfaceName);
  const isLeft = link !== undefined && link.promiscuity === 0 && isStackHeld(link.index);
  const isGuarded = listNameGuards().some(
    ({ live, names }) => !live && names.includes(interfaceName),
  );
  if (isLeft) releaseStack(link.index);
  releaseGuardedNames([interfaceName]);
  return isLeft || isGuarded;
}

function isUp({ flags }: { readonly flags: number }): boolean {
  return (flags & IFF_UP) !== 0;
}

/** The state of an interface as a text, to detect changes. */
function interfaceText({ link, addresses, routes }: InterfaceState): string {
  const { name, mac, mtu, flags } = link;
  const entries = [...addresses, ...routes].map((each) => Buffer.from(each).toString("base64"));
  return JSON.stringify([name, mac, mtu, flags, entries]);
}

/** Whether the front is the one that a process of before made, and not another interface that has its name by now. */
function isOwnFront({ front, record }: Standing): boolean {
  return record?.front === front.index;
}

/** The interface on which this process receives a front's frames. */
function frontLink({ front, uplink }: Standing): string {
  return front.kind === "veth" ? innerName(uplink.index) : front.name;
}

/** One interface, from its taking to its release. */
class Taking implements OpenAttachment {
  readonly #config: SidecarConfig;
  readonly #atEnd: "restore" | "block";
  readonly #place: SidecarPlace;
  readonly #dataplane: Dataplane;
  readonly #tell: Tell;
  readonly #slots: number;
  /** Link ids; each stays the same when the link gets another interface. */
  #inside: number | undefined;
  #outside: number | undefined;
  #frontKind: "tap" | "veth" = "tap";
  #front = 0;
  #uplink = 0;
  #mac = "";
  #isSuccession = false;
  /** Whether the interface exists and we hold it. */
  #isStanding = false;
  /** Whether the next interface that is taken replaces one that was deleted. */
  #isAgain = false;
  #state: AttachedState = "attached";
  #note = "";
  #uplinkIsDown = false;
  /**
   * An interface to take again: its state, since when it has had that, when it was first seen, and whether it is up.
   * Units: milliseconds.
   */
  #seen:
    | {
        readonly text: string;
        readonly sinceMs: number;
        readonly firstMs: number;
        readonly isUp: boolean;
      }
    | undefined;
  /** Whether the interface stays closed if it cannot be taken. */
  #staysClosed = false;
  #isEnding = false;
  /** Whether the interface is left closed after the end. */
  #isLeftClosed = false;
  /** Whether a sidecar was here just before: the workload then has connections that it judged. */
  #comesAfter = false;
  /** Connections of the workload that were not adopted because the table denies them. */
  #denied: number | undefined;

  constructor(
    config: SidecarConfig,
    atEnd: "restore" | "block",
    place: SidecarPlace,
    { dataplane, tell, slots }: Opening,
  ) {
    this.#config = config;
    this.#atEnd = atEnd;
    this.#place = place;
    this.#dataplane = dataplane;
    this.#tell = tell;
    this.#slots = slots;
  }

  get inside(): number {
    return this.#inside ?? 0;
  }

  get outside(): number {
    return this.#outside ?? 0;
  }

  get interfaces(): readonly Omit<FilteredInterface, "pod" | "zone">[] {
    const note = this.#note === "" ? {} : { note: this.#note };
    const { interface: name } = this.#config;
    const front = {
      name,
      linkId: this.inside,
      role: "endpoint",
      state: this.#state,
      ...note,
    } as const;
    if (!this.#isStanding) return [front];
    const uplink = {
      name: uplinkName(this.#uplink),
      linkId: this.outside,
      role: "uplink",
    } as const;
    const down = { state: "down", note: "it is down" } as const;
    return [front, { ...uplink, ...(this.#uplinkIsDown ? down : {}) }];
  }

  /**
   * Unless configured: as before, router advertisements reach the workload only if its kernel has used one.
   */
  get routerAdvertisements(): RouterAdvertisements {
    const routes = this.#isStanding ? (readInterface(this.#front)?.routes ?? []) : [];
    const soFar = routes.some(isAdvertised) ? "pass" : "drop";
    return this.#config.routerAdvertisements ?? soFar;
  }

  get guarded(): Guarded {
    return {
      names: [this.#config.interface],
      exempt: this.#isStanding ? [this.#front] : [],
    };
  }

  get indexes(): readonly number[] {
    return this.#isStanding ? [this.#front, this.#uplink] : this.#candidate();
  }

  get staysClosed(): boolean {
    return this.#isLeftClosed;
  }

  get retryMs(): number | undefined {
    if (this.#state !== "waiting") return undefined;
    return this.#seen?.isUp ? quietMs : retryMs;
  }

  /** Waits for an interface that existed before. */
  wait(): void {
    this.#inside = this.#dataplane.addClosedLink();
    this.#outside = this.#dataplane.addClosedLink();
    this.#isAgain = true;
    this.#be("absent", "there is no such interface");
  }

  joining(zone: number, table: CompiledTable): Uint8Array | undefined {
    return this.#isStanding ? this.#joining(zone, table) : undefined;
  }

  joined(taken: number): void {
    if (this.#denied === undefined) return;
    this.#say(`${taken} connections adopted, ${this.#denied} denied`);
  }

  started(): void {
    this.#staysClosed = false;
    this.#tellEnd();
  }

  yield(): void {
    this.#removeLinks();
  }

  close(): void {
    this.#close(this.#config.onStop ?? "restore");
  }

  end(): void {
    this.#close(this.#atEnd);
  }

  follow(): number {
    if (this.#isStanding && !this.#stands()) {
      try {
        this.#place.exclusively(() => this.#lose());
      } catch (error) {
        this.#be("waiting", (error as Error).message);
        return 0;
      }
    }
    if (this.#isStanding) {
      this.#look();
      return 0;
    }
    return this.#takeAgain() ? 1 : 0;
  }

  /** Whether front and uplink are still the same interfaces. */
  #stands(): boolean {
    return (
      this.#dataplane.interfaceOf(this.outside) === this.#uplink &&
      readLink(this.#front) !== undefined
    );
  }

  /**
   * Releases both interfaces when the uplink or the front was deleted. If the uplink is gone, the front is
   * deleted too, so that its name is free for a new interface.
   */
  #lose(): void {
    this.#isAgain = true;
    this.#isStanding = false;
    this.#letGo();
    if (this.#place.hasTaken(this.#uplink)) {
      this.#be("waiting", "somebody has taken it apart");
      return;
    }
    if (readLink(this.#front) !== undefined) deleteLink(this.#front);
    this.#place.forget();
    this.#be("absent", "there is no such interface");
  }

  /** Keeps front and uplink in step, and reports what differs. */
  #look(): void {
    const front = readLink(this.#front);
    const uplink = readLink(this.#uplink);
    if (front === undefined || uplink === undefined) return; // an event tells
    this.#uplinkIsDown = !isUp(uplink);
    const { interface: name } = this.#config;
    if (moveStrays(this.#uplink, this.#front)) {
      this.#say("addresses and routes that were put on its uplink are moved to it");
    }
    if (front.mtu !== uplink.mtu) this.#setMtu(uplink.name, front.mtu);
    const notes = [
      ...(front.name === name ? [] : [`it is called ${front.name} now`]),
      ...(front.mac === this.#mac
        ? []
        : [`its MAC is ${front.mac} now: what it sends is dropped until it is ${this.#mac} again`]),
    ];
    if (isUp(front)) this.#be("attached", notes.join("; "));
    else this.#be("down", ["it is down", ...notes].join("; "));
  }

  /** Copies the front's MTU to the uplink. */
  #setMtu(name: string, mtu: number): void {
    try {
      configureInterface(undefined, { name, mtu });
      this.#say(`its MTU is ${mtu} now, and so is that of its uplink`);
    } catch (error) {
      this.#say(
        `its MTU is ${mtu} now, which its uplink cannot have: ${(error as Error).message}`,
        "warning",
      );
      return;
    }
    const guard = this.#dataplane.addPacketLink({ interface: name, slots: 0, lasting: true });
    this.#dataplane.closeLink(this.outside);
    try {
      this.#openUplink();
    } finally {
      this.#dataplane.removeLink(guard);
    }
  }

  #takeAgain(): boolean {
    const present = readLink(this.#config.interface);
    if (present === undefined && this.#state === "absent") return false;
    if (present !== undefined && present.index !== this.#front && !this.#isQuiet(present)) {
      this.#be("waiting", "it is being set up");
      return false;
    }
    this.#seen = undefined;
    try {
      this.#place.exclusively(() => this.#putRight());
    } catch (error) {
      const isAbsent = readLink(this.#config.interface) === undefined;
      if (isAbsent) this.#be("absent", "there is no such interface");
      else this.#be("waiting", (error as Error).message);
      return false;
    }
    this.#say("taken again");
    this.#look();
    return true;
  }

  #putRight(): void {
    const found = this.#place.find();
    if (found.kind === "standing") {
      if (isOwnFront(found) && this.resume(found)) return;
      throw new Error(
        `it is another interface, and ${found.uplink.name}, which it was, is there still: delete one of them`,
      );
    }
    if (found.kind === "broken") this.tellRefused(this.#place.giveBack(found, () => {}));
    this.take();
  }

  /** Whether an interface is up and has not changed for `quietMs`. The first call closes it. */
  #isQuiet({ index }: Link): boolean {
    const state = readInterface(index);
    if (state === undefined) return true; // deleted: the next step reports it
    const text = interfaceText(state);
    const nowMs = performance.now();
    if (this.#seen?.text !== text) {
      holdStack(index);
      const before = this.#seen;
      const isNew = before === undefined || before.isUp !== isUp(state.link);
      const firstMs = isNew ? nowMs : before.firstMs;
      this.#seen = { text, sinceMs: nowMs, firstMs, isUp: isUp(state.link) };
    }
    const { sinceMs, firstMs } = this.#seen;
    if (!this.#seen.isUp) return nowMs - firstMs >= downWaitMaxMs;
    return nowMs - sinceMs >= quietMs || nowMs - firstMs >= quietWaitMaxMs;
  }

  /** The interface to take again, if there is one. */
  #candidate(): readonly number[] {
    const index = readLink(this.#config.interface)?.index;
    return index === undefined ? [] : [index];
  }

  #be(state: AttachedState, note: string): void {
    if (state === this.#state && note === this.#note) return;
    this.#state = state;
    this.#note = note;
    if (state === "attached") this.#say(note === "" ? "carries packets" : note);
    else this.#say(`${note}: nothing passes`, "warning");
  }

  /**
   * Notes that an earlier process left the interface closed. If this process fails before it enforces, the
   * interface stays closed.
   */
  findClosed(kind: "standing" | "broken"): void {
    this.#staysClosed = true;
    this.#comesAfter = kind === "standing";
  }

  /**
   * Takes an interface that has no sidecar. On an error it is restored, or left closed if it was found
   * closed.
   */
  take(): void {
    const state = this.#place.candidate();
    this.#uplink = state.index;
    this.#place.block(state);
    try {
      this.#makeFront(state);
      const made = readLink(frontName(state.index));
      if (made === undefined) throw new Error(`${frontName(state.index)} is gone`);
      const differing = this.#place.moveToFront(state, made);
      if (this.#frontKind === "tap") {
        this.#dataplane.renamed(this.inside, this.#config.interface);
      }
      if (differing.length > 0) {
        this.#say(
          `could not copy ${differing.join(", ")}: /proc/sys cannot be written to`,
          "warning",
        );
      }
      this.#openUplink();
      this.#stand(made.index, state.link.mac);
    } catch (error) {
      this.#undo(error as Error);
      throw error;
    }
  }

  /**
   * Continues with the front of a process that was killed or has ended; false when that front does not fit.
   */
  resume(found: Standing): boolean {
    this.#uplink = found.uplink.index;
    if (!this.#place.resume(found, () => this.#attachFront(found))) return false;
    const came = found.record?.hasEnded ? "has ended" : "was killed";
    this.#say(`goes on where a process ${came}`);
    try {
      this.#openUplink();
      this.#stand(found.front.index, found.front.mac);
      return true;
    } catch (error) {
      this.#letGo(); // it was closed and stays so
      throw error;
    }
  }

  /**
   * Takes over from a running predecessor, which leaves the interfaces unchanged; so does this on an error.
   */
  succeed(found: Standing): void {
    this.#isSuccession = true;
    this.#uplink = found.uplink.index;
    try {
      this.#attachFront(found);
      this.#openUplink();
      this.#stand(found.front.index, found.front.mac);
    } catch (error) {
      this.#letGo();
      throw error;
    }
  }

  tellRefused(refused: readonly Error[]): void {
    for (const { message } of refused) this.#say(`not put back: ${message}`, "error");
  }

  #stand(front: number, mac: string): void {
    this.#front = front;
    this.#mac = mac;
    this.#isStanding = true;
  }

  #makeFront(state: InterfaceState): void {
    const { mac, mtu } = state.link;
    const name = frontName(state.index);
    // A program stands at interfaces alone, and a TAP has this process at its other end.
    if (this.#mayHavePrograms(state.link.name)) {
      this.#makeVeth(state);
      return;
    }
    try {
      this.#inside = this.#dataplane.addTap({
        name,
        mac,
        mtu,
        lasting: true,
        ...this.#into("inside"),
      });
      this.#frontKind = "tap";
    } catch (error) {
      if (!(error instanceof DataplaneError) || error.fault !== "tun-device") throw error;
      this.#say(`its place is taken by a veth: there is no /dev/net/tun here (${error.code})`);
      this.#makeVeth(state);
    }
  }

  #mayHavePrograms(uplink: string): boolean {
    const { link } = this.#config;
    return link === "kernel" || (link === "auto" && this.#dataplane.kernelChance([uplink]).has);
  }

  #makeVeth({ index, link: { name: uplink, mac, mtu } }: InterfaceState): void {
    const name = frontName(index);
    const inner = innerName(index);
    createVeth({ name }, { name: inner });
    configureInterface(undefined, { name, mac, mtu });
    configureInterface(undefined, { name: inner, mtu, linkLocal: false, up: true });
    strip(readLink(inner)?.index ?? 0);
    this.#takeInner(inner, mac, uplink);
  }

  /** Attaches the existing front; false when it was made for another number of workers, or another link. */
  #attachFront(found: Standing): boolean {
    const { kind, mac } = found.front;
    const name = frontLink(found);
    if (kind === "veth") {
      this.#takeInner(name, mac, found.uplink.name);
      return true;
    }
    if (this.#config.link === "kernel") return false;
    try {
      this.#inside = this.#dataplane.addTap({ name, mac, lasting: true, ...this.#into("inside") });
      this.#frontKind = "tap";
      return true;
    } catch (error) {
      if (error instanceof DataplaneError && error.code === "EINVAL") return false;
      throw error;
    }
  }

  #takeInner(name: string, mac: string, uplink: string): void {
    const slots = Math.min(innerSlots, this.#slots);
    const options = { interface: name, mac, lasting: true, slots, ...this.#into("inside") };
    const { link } = this.#config;
    const kind = link === "af-xdp" ? "af-packet" : link;
    this.#inside = this.#dataplane.addInterface(options, kind, [uplink]).linkId;
    this.#frontKind = "veth";
  }

  #openUplink(): void {
    const name = uplinkName(this.#uplink);
    const { linkId, kind, why } = this.#dataplane.addInterface(
      { interface: name, lasting: true, slots: this.#slots, ...this.#into("outside") },
      this.#config.link,
      this.#frontKind === "veth" ? [name] : undefined,
    );
    this.#outside = linkId;
    this.#say(`${this.#frontKind}; its uplink is ${name}: ${kind} (${why})`);
  }

  /** The link to replace, if there was one. */
  #into(side: "inside" | "outside"): { readonly into?: number } {
    const into = side === "inside" ? this.#inside : this.#outside;
    return into === undefined ? {} : { into };
  }

  #joining(zone: number, table: CompiledTable): Uint8Array | undefined {
    const { adopt, interface: name } = this.#config;
    const others = this.#place.otherWays();
    if (others.length > 0) this.#say(`nobody judges what goes by ${others.join(", ")}`, "warning");
    // The predecessor hands its connections on; it knows them better than the kernel.
    if (this.#isSuccession || !(adopt || this.#comesAfter)) return undefined;
    const { records, denied } = connectionsOfSockets(table, zone, interfaceAddresses(name));
    this.#denied = denied;
    return records;
  }

  #tellEnd(): void {
    const what = {
      block: "when this process ends, it stays closed",
      restore: "when this process ends, it is put back as it was, and open",
    }[this.#atEnd];
    const why = {
      block: "there is no terminal: --on-stop restore (onStop: restore) opens it then",
      restore: "there is a terminal",
    }[this.#atEnd];
    this.#say(this.#config.onStop === undefined ? `${what} (${why})` : what);
  }

  #close(then: "restore" | "block"): void {
    this.#isEnding = true;
    if (this.#isSuccession && this.#dataplane.isSuccessor) {
      this.#removeLinks();
      return;
    }
    if (then === "block" || this.#staysClosed) {
      this.#leaveClosed();
      return;
    }
    if (!this.#isStanding) {
      this.#removeLinks();
      restoreInterface(this.#config.interface, this.#config.stateFolder, this.#tell);
      return;
    }
    try {
      this.#place.exclusively(() => this.#giveBack());
    } catch (error) {
      this.#giveUp(error as Error);
    }
  }

  #leaveClosed(): void {
    this.#isLeftClosed = true;
    try {
      this.#place.leave();
    } catch {
      // The interface is closed all the same; the next start treats this process as killed.
    }
    this.#removeLinks();
    this.#say("stays in place, and nothing passes: sluice sidecar --restore undoes it", "warning");
  }

  #undo(cause: Error): void {
    if (this.#staysClosed) {
      this.#leaveClosed();
      return;
    }
    try {
      this.#giveBack();
    } catch (error) {
      this.#say(`${cause.message}; then, on the way back: ${(error as Error).message}`, "error");
    }
  }

  #giveBack(): void {
    try {
      const found = this.#place.find();
      if (found.kind === "nothing") throw new Error("somebody has undone it already");
      this.tellRefused(this.#place.giveBack(found, () => this.#letGo()));
      // An interface that will be taken again stays closed until then.
      if (!this.#isAgain || this.#isEnding) this.#place.release(found.uplink.index);
    } catch (error) {
      this.#giveUp(error as Error);
    }
  }

  #giveUp({ message }: Error): void {
    this.#letGo();
    this.#say(`not put back: ${message}: nothing passes: try sluice sidecar --restore`, "error");
  }

  #removeLinks(): void {
    for (const linkId of [this.#inside, this.#outside]) {
      if (linkId !== undefined) this.#dataplane.removeLink(linkId);
    }
    this.#inside = undefined;
    this.#outside = undefined;
  }

  /** Releases the interfaces. If they will be taken again, the links stay and carry nothing. */
  #letGo(): void {
    if (!this.#isAgain || this.#isEnding) {
      this.#removeLinks();
      return;
    }
    for (const linkId of [this.inside, this.outside]) this.#dataplane.closeLink(linkId);
  }

  #say(line: string, severity: Severity = "info"): void {
    this.#tell(`${this.#config.interface}: ${line}`, severity);
  }
}
