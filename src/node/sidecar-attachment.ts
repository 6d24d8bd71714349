import type { CompiledTable } from "../control/controller.js";
import { RefusalError } from "../control/refusal.js";
import type { Dataplane } from "../dataplane/dataplane.js";
import { DataplaneError } from "../dataplane/errors.js";
import { configureInterface, createVeth } from "../dataplane/host.js";
import type { Span } from "../diagnostics/diagnostic.js";
import { compareAddresses, formatAddress } from "../net/address.js";
import { adoptConnections } from "./adopt.js";
import type { Attachment, OpenAttachment } from "./attachment.js";
import { strip } from "./interface-move.js";
import { type InterfaceState, interfaceAddresses, readLink } from "./interface-state.js";
import { type PodName, podText, type SidecarConfig } from "./node-config.js";
import { type Found, frontName, innerName, SidecarPlace, uplinkName } from "./sidecar.js";

type Standing = Found & { readonly kind: "standing" };

/** Superframes that may wait at a front that is a veth. */
const innerSlots = 64;

/**
 * A workload's own interface, from inside its network namespace: another one takes its name, MAC,
 * addresses and routes, and what it was becomes the uplink.
 *
 * What takes its place outlives this process: when that is killed, the workload keeps its interface,
 * through which nothing passes until the next start.
 */
export class SidecarAttachment implements Attachment {
  readonly #config: SidecarConfig;
  readonly #atEnd: "restore" | "block";

  /** `hasTerminal`: whether somebody is there to see it open when the process has ended. */
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

  get interfaces(): readonly string[] {
    return [this.#config.interface];
  }

  get stateFolder(): string {
    return this.#config.stateFolder;
  }

  get identity(): string {
    const { interface: name, link, onStop, stateFolder } = this.#config;
    return JSON.stringify(["sidecar", name, link, onStop, stateFolder]);
  }

  follows(other: Attachment): boolean {
    if (!(other instanceof SidecarAttachment)) return false;
    const { interface: name, stateFolder } = other.#config;
    return name === this.#config.interface && stateFolder === this.#config.stateFolder;
  }

  /** Errors: also RefusalError; NetlinkError when the kernel takes an address or a route from nobody. */
  open(dataplane: Dataplane, tell: (line: string) => void, slots: number): OpenAttachment {
    const place = new SidecarPlace(this.#config.interface, this.#config.stateFolder);
    return place.exclusively(() => this.#open(place, dataplane, tell, slots));
  }

  #open(
    place: SidecarPlace,
    dataplane: Dataplane,
    tell: (line: string) => void,
    slots: number,
  ): OpenAttachment {
    const found = place.find();
    const atEnd = this.#atEnd;
    const taking = new Taking({ config: this.#config, atEnd, place, dataplane, tell, slots });
    if (found.kind === "standing" && dataplane.inherits(frontLink(found))) {
      taking.succeed(found);
      return taking.opened();
    }
    if (found.kind !== "nothing" && place.isHeld(found)) {
      throw new RefusalError(
        "environment",
        `another process stands before ${this.name}`,
        "stop that one first",
      );
    }
    if (found.kind !== "nothing") taking.findClosed(found.kind);
    if (found.kind === "standing" && taking.resume(found)) return taking.opened();
    if (found.kind !== "nothing") {
      tell(`${this.name}: left half taken by a process that has gone: put right`);
      taking.tellRefused(place.giveBack(found, () => {}));
    }
    taking.take();
    return taking.opened();
  }
}

/**
 * Puts the interface back as it was before any sidecar, also where one was killed in the middle of its
 * work. Returns whether there was anything to do.
 *
 * Errors: RefusalError while a process stands there.
 */
export function restoreInterface(
  interfaceName: string,
  stateFolder: string,
  tell: (line: string) => void,
): boolean {
  const place = new SidecarPlace(interfaceName, stateFolder);
  return place.exclusively(() => restorePlace(place, tell));
}

function restorePlace(place: SidecarPlace, tell: (line: string) => void): boolean {
  const { name: interfaceName } = place;
  const found = place.find();
  if (found.kind === "nothing") {
    place.forget();
    return false;
  }
  if (place.isHeld(found)) {
    throw new RefusalError(
      "environment",
      `a process stands before ${interfaceName}`,
      "stop it: it puts the interface back itself",
    );
  }
  for (const { message } of place.giveBack(found, () => {})) {
    tell(`${interfaceName}: not put back: ${message}`);
  }
  place.release(found.uplink.index);
  return true;
}

/** The interface by which frames of a front come to us. */
function frontLink({ front, uplink }: Standing): string {
  return front.kind === "veth" ? innerName(uplink.index) : front.name;
}

/** One interface on its way into our hands, in them, and out of them again. */
class Taking {
  readonly #config: SidecarConfig;
  readonly #atEnd: "restore" | "block";
  readonly #place: SidecarPlace;
  readonly #dataplane: Dataplane;
  readonly #tell: (line: string) => void;
  readonly #slots: number;
  #links: number[] = [];
  #front: { readonly linkId: number; readonly kind: string } | undefined;
  #outside = 0;
  #uplink = 0;
  #isSuccession = false;
  /** Whether nothing passes the interface if nothing comes of this. */
  #staysClosed = false;
  /** Whether a sidecar stood here until a moment ago: the workload has connections that it judged. */
  #comesAfter = false;

  constructor(given: {
    readonly config: SidecarConfig;
    readonly atEnd: "restore" | "block";
    readonly place: SidecarPlace;
    readonly dataplane: Dataplane;
    readonly tell: (line: string) => void;
    readonly slots: number;
  }) {
    this.#config = given.config;
    this.#atEnd = given.atEnd;
    this.#place = given.place;
    this.#dataplane = given.dataplane;
    this.#tell = given.tell;
    this.#slots = given.slots;
  }

  /**
   * Notes that a process has left the interface closed. Should this one not come to judge anything, it is not
   * for it to open what nobody has opened.
   */
  findClosed(kind: "standing" | "broken"): void {
    this.#staysClosed = true;
    this.#comesAfter = kind === "standing";
  }

  /** Takes an interface as it was before any sidecar. Errors: it is then so again, or closed as it was found. */
  take(): void {
    const state = this.#place.candidate();
    this.#uplink = state.index;
    this.#place.block(state);
    try {
      this.#front = this.#makeFront(state);
      const made = readLink(frontName(state.index));
      if (made === undefined) throw new Error(`${frontName(state.index)} is gone`);
      const differing = this.#place.moveToFront(state, made);
      if (this.#front.kind === "tap") {
        this.#dataplane.renamed(this.#front.linkId, this.#config.interface);
      }
      if (differing.length > 0) {
        this.#say(`could not copy ${differing.join(", ")}: /proc/sys cannot be written to`);
      }
      this.#openUplink();
    } catch (error) {
      this.#undo(error as Error);
      throw error;
    }
  }

  /** Goes on where a process was killed, or has ended; false when its front does not suit us. */
  resume(found: Standing): boolean {
    this.#uplink = found.uplink.index;
    const front = this.#place.resume(found, () => this.#attachFront(found));
    if (front === undefined) return false;
    this.#front = front;
    const came = found.record?.hasEnded ? "has ended" : "was killed";
    this.#say(`goes on where a process ${came}`);
    try {
      this.#openUplink();
      return true;
    } catch (error) {
      this.#removeLinks(); // closed before, closed now
      throw error;
    }
  }

  /** Goes on where another process stands, which leaves it as it is. Errors: it is so still. */
  succeed(found: Standing): void {
    this.#isSuccession = true;
    this.#uplink = found.uplink.index;
    try {
      this.#front = this.#attachFront(found);
      this.#openUplink();
    } catch (error) {
      this.#removeLinks();
      throw error;
    }
  }

  opened(): OpenAttachment {
    const { interface: name } = this.#config;
    const front = this.#front;
    if (front === undefined) throw new Error("it has not been taken");
    return {
      inside: front.linkId,
      outside: this.#outside,
      interfaces: [
        { name, linkId: front.linkId, role: "endpoint" },
        { name: uplinkName(this.#uplink), linkId: this.#outside, role: "uplink" },
      ],
      joined: (zone, table) => this.#joined(zone, table),
      started: () => {
        this.#staysClosed = false;
        this.#tellEnd();
      },
      yield: () => this.#removeLinks(),
      close: () => this.#close(this.#config.onStop ?? "restore"),
      end: () => this.#close(this.#atEnd),
    };
  }

  tellRefused(refused: readonly Error[]): void {
    for (const { message } of refused) this.#say(`not put back: ${message}`);
  }

  #makeFront(state: InterfaceState): { linkId: number; kind: string } {
    const { mac, mtu } = state.link;
    const name = frontName(state.index);
    try {
      const linkId = this.#dataplane.addTap({ name, mac, mtu, lasting: true });
      return this.#keep(linkId, "tap");
    } catch (error) {
      if (!(error instanceof DataplaneError) || error.syscall !== "open /dev/net/tun") throw error;
      const inner = innerName(state.index);
      createVeth({ name }, { name: inner });
      configureInterface(undefined, { name, mac, mtu });
      configureInterface(undefined, { name: inner, mtu, linkLocal: false, up: true });
      strip(readLink(inner)?.index ?? 0);
      this.#say(`its place is taken by a veth: there is no /dev/net/tun here (${error.code})`);
      return this.#keep(this.#takeInner(inner, mac), "veth");
    }
  }

  #attachFront(found: Standing): { linkId: number; kind: string } | undefined {
    const { kind, mac } = found.front;
    const name = frontLink(found);
    if (kind === "veth") return this.#keep(this.#takeInner(name, mac), "veth");
    try {
      return this.#keep(this.#dataplane.addTap({ name, mac, lasting: true }), "tap");
    } catch (error) {
      // It was made for another number of workers.
      if (error instanceof DataplaneError && error.code === "EINVAL") return undefined;
      throw error;
    }
  }

  #takeInner(name: string, mac: string): number {
    return this.#dataplane.addPacketLink({
      interface: name,
      mac,
      lasting: true,
      slots: Math.min(innerSlots, this.#slots),
    });
  }

  #openUplink(): void {
    const name = uplinkName(this.#uplink);
    const { linkId, kind, why } = this.#dataplane.addInterface(
      { interface: name, lasting: true, slots: this.#slots },
      this.#config.link,
    );
    this.#links.push(linkId);
    this.#outside = linkId;
    this.#say(`${this.#front?.kind}; its uplink is ${name}: ${kind} (${why})`);
  }

  #joined(zone: number, table: CompiledTable): void {
    const { pod, adopt } = this.#config;
    const own = interfaceAddresses(this.#config.interface);
    const known =
      table.ruleset.endpoints.find((endpoint) => podText(endpoint) === podText(pod))?.addresses ??
      [];
    const unknown = own.filter(
      (address) => !known.some((each) => compareAddresses(each, address) === 0),
    );
    if (unknown.length > 0) {
      const texts = unknown.map(formatAddress).join(", ");
      this.#say(`has ${texts}, which ${podText(pod)} has not: what it sends from there is dropped`);
    }
    const others = this.#place.otherWays();
    if (others.length > 0) this.#say(`nobody judges what goes by ${others.join(", ")}`);
    // Whoever has stood here before knows them better than the kernel.
    if (this.#isSuccession || !(adopt || this.#comesAfter)) return;
    const { adopted, denied } = adoptConnections(this.#dataplane, table, zone, own);
    this.#say(`${adopted} established connections adopted, ${denied} denied`);
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
    if (this.#isSuccession && this.#dataplane.isHeir) {
      this.#removeLinks();
      return;
    }
    if (then === "block" || this.#staysClosed) {
      this.#leaveClosed();
      return;
    }
    try {
      this.#place.exclusively(() => this.#giveBack());
    } catch (error) {
      this.#giveUp(error as Error);
    }
  }

  #leaveClosed(): void {
    try {
      this.#place.leave();
    } catch {
      // It is closed all the same; the next start takes it for one that was killed.
    }
    this.#removeLinks();
    this.#say("stays in place, and nothing passes: sluice sidecar --restore undoes it");
  }

  #undo(cause: Error): void {
    if (this.#staysClosed) {
      this.#leaveClosed();
      return;
    }
    try {
      this.#giveBack();
    } catch (error) {
      this.#say(`${cause.message}; then, on the way back: ${(error as Error).message}`);
    }
  }

  #giveBack(): void {
    try {
      const found = this.#place.find();
      if (found.kind === "nothing") throw new Error("somebody has undone it already");
      this.tellRefused(this.#place.giveBack(found, () => this.#removeLinks()));
      this.#place.release(found.uplink.index);
    } catch (error) {
      this.#giveUp(error as Error);
    }
  }

  #giveUp({ message }: Error): void {
    this.#removeLinks();
    this.#say(`not put back: ${message}: nothing passes: try sluice sidecar --restore`);
  }

  #keep(linkId: number, kind: string): { linkId: number; kind: string } {
    this.#links.push(linkId);
    return { linkId, kind };
  }

  #removeLinks(): void {
    for (const linkId of this.#links.splice(0)) this.#dataplane.removeLink(linkId);
  }

  #say(line: string): void {
    this.#tell(`${this.#config.interface}: ${line}`);
  }
}
