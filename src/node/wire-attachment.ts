import type { AttachedState, FilteredInterface } from "../control/control-routes.js";
import { RefusalError } from "../control/refusal.js";
import type { Dataplane } from "../dataplane/dataplane.js";
import { DataplaneError } from "../dataplane/errors.js";
import { clearFailOpen, setFailOpen } from "../dataplane/host.js";
import type { LinkKind } from "../dataplane/link-choice.js";
import type { Span } from "../diagnostics/diagnostic.js";
import type { Tell } from "../diagnostics/tell.js";
import type { Mode } from "../manifest/annotations.js";
import { IFF_UP } from "../netlink/constants.js";
import { type Link, readLink } from "../netlink/link.js";
import { type Attachment, type OpenAttachment, type Opening, takenAt } from "./attachment.js";
import type { Guarded } from "./guard.js";
import type { ZoneHandoff } from "./handoff/handoff-state.js";
import type { PodName, RouterAdvertisements, WireConfig } from "./node-config.js";

/** How long to wait before trying again to take an interface when no event comes. */
const retryMs = 1_000;

/** Two existing interfaces: a bump in the wire. */
export class WireAttachment implements Attachment {
  readonly #wire: WireConfig;

  constructor(wire: WireConfig) {
    this.#wire = wire;
  }

  get name(): string {
    return this.#wire.inside;
  }

  get pod(): PodName {
    return this.#wire.pod;
  }

  get span(): Span {
    return this.#wire.span;
  }

  get mode(): Mode | undefined {
    return this.#wire.mode;
  }

  get interfaces(): readonly string[] {
    return [this.#wire.inside, this.#wire.outside];
  }

  get identity(): string {
    const { inside, outside, podMac, link, failMode, routerAdvertisements } = this.#wire;
    return JSON.stringify(["wire", inside, outside, podMac, link, failMode, routerAdvertisements]);
  }

  open(opening: Opening): OpenAttachment {
    const { inside, outside, places, podMac, link } = this.#wire;
    const ends: WireEnd[] = [];
    const take = (place: Span, ...end: ConstructorParameters<typeof WireEnd>) =>
      ends.push(takenAt(place, () => new WireEnd(...end)));
    try {
      take(places.inside, inside, outside, "endpoint", link, podMac, opening);
      take(places.outside, outside, inside, "uplink", link, undefined, opening);
    } catch (error) {
      for (const end of ends) end.close();
      throw error;
    }
    return new OpenWire(this.#wire, ends, opening);
  }
}

class OpenWire implements OpenAttachment {
  readonly #wire: WireConfig;
  readonly #ends: readonly WireEnd[];
  readonly #tell: Tell;
  #isStarted = false;

  constructor(wire: WireConfig, ends: readonly WireEnd[], { tell }: Opening) {
    this.#wire = wire;
    this.#ends = ends;
    this.#tell = tell;
  }

  get inside(): number {
    return this.#ends[0]!.linkId;
  }

  get outside(): number {
    return this.#ends[1]!.linkId;
  }

  get interfaces(): readonly Omit<FilteredInterface, "pod" | "zone">[] {
    const { failMode } = this.#wire;
    return this.#ends.map((end) => ({ ...end.told, failMode }));
  }

  get routerAdvertisements(): RouterAdvertisements {
    return this.#wire.routerAdvertisements;
  }

  get guarded(): Guarded {
    return { names: this.#ends.flatMap(({ names }) => names), exempt: [] };
  }

  get indexes(): readonly number[] {
    return this.#ends.flatMap(({ indexes }) => indexes);
  }

  get retryMs(): number | undefined {
    return this.#ends.some(({ told }) => told.state === "waiting") ? retryMs : undefined;
  }

  started(): void {
    this.#isStarted = true;
    this.#setFailMode();
    if (this.#wire.failMode === "closed") return;
    const { inside, outside } = this.#wire;
    this.#tell(
      `WARNING: ${inside}, ${outside}: fail open: should this process die, everything passes between them unjudged`,
      "warning",
    );
  }

  follow(): number {
    const taken = this.#ends.filter((end) => end.follow()).length;
    if (taken > 0 && this.#isStarted) this.#setFailMode();
    return taken;
  }

  former(): ZoneHandoff["former"] {
    return Object.fromEntries(this.#ends.map(({ told: { name }, former }) => [name, former]));
  }

  close(): void {
    for (const end of this.#ends) end.close();
  }

  /**
   * Fail-open forwards from one interface to the other by index, so it is set again for a new interface.
   */
  #setFailMode(): void {
    const [inside, outside] = this.#ends as [WireEnd, WireEnd];
    if (this.#wire.failMode === "closed") {
      for (const end of this.#ends) end.failClosed();
    } else if (inside.presentName !== undefined && outside.presentName !== undefined) {
      setFailOpen(undefined, inside.presentName, outside.presentName);
    }
  }
}

/** One end of a wire: whichever interface has the configured name. */
class WireEnd {
  readonly linkId: number;
  readonly #name: string;
  /** The wire's other end. */
  readonly #other: string;
  readonly #role: "endpoint" | "uplink";
  readonly #link: LinkKind | "auto";
  readonly #mac: string | undefined;
  readonly #dataplane: Dataplane;
  readonly #tell: Tell;
  readonly #slots: number;
  /** The interface that we hold, as last read. */
  #held: Link | undefined;
  #kind: LinkKind = "af-packet";
  /** The MTU that the link was made for. */
  #mtu = 0;
  #state: AttachedState = "attached";
  #note = "";
  /**
   * Links that block the kernel stack on interfaces that had the name before, by interface index.
   */
  readonly #former = new Map<number, number>();

  constructor(
    name: string,
    other: string,
    role: "endpoint" | "uplink",
    link: LinkKind | "auto",
    mac: string | undefined,
    { dataplane, tell, slots, mayWait, former }: Opening,
  ) {
    this.#name = name;
    this.#other = other;
    this.#role = role;
    this.#link = link;
    this.#mac = mac;
    this.#dataplane = dataplane;
    this.#tell = tell;
    this.#slots = slots;
    try {
      this.linkId = this.#take(undefined);
    } catch (error) {
      if (!isAbsent(error)) throw error;
      if (!mayWait(name)) {
        const remedy = "`ip link` lists them; an interface is taken by the name that it has here";
        throw new RefusalError("environment", `there is no interface ${name}`, remedy);
      }
      this.linkId = dataplane.addClosedLink();
      this.#be("absent", "there is no such interface");
      this.#keepClosed(former(name));
      return;
    }
    this.#see(readLink(dataplane.interfaceOf(this.linkId)));
    this.#keepClosed(former(name));
  }

  get told(): Omit<FilteredInterface, "pod" | "zone" | "failMode"> {
    const { linkId } = this;
    return {
      name: this.#name,
      linkId,
      role: this.#role,
      state: this.#state,
      ...(this.#note === "" ? {} : { note: this.#note }),
    };
  }

  /** The interface's present name; undefined while there is none. */
  get presentName(): string | undefined {
    return this.#held?.name;
  }

  /**
   * The names to guard: the configured one, and the present names of interfaces that had it before.
   */
  get names(): readonly string[] {
    const former = [...this.#former.keys()].flatMap((index) => readLink(index)?.name ?? []);
    return [this.#name, ...(this.#held === undefined ? [] : [this.#held.name]), ...former];
  }

  get indexes(): readonly number[] {
    return [...(this.#held === undefined ? [] : [this.#held.index]), ...this.#former.keys()];
  }

  /** Interfaces that had its name before, and are this process's still. */
  get former(): readonly number[] {
    const held = this.#held;
    const renamed = held === undefined || held.name === this.#name ? [] : [held.index];
    return [...renamed, ...this.#former.keys()];
  }

  /** Blocks the kernel stack on interfaces that a predecessor has closed. */
  #keepClosed(indexes: readonly number[]): void {
    for (const index of indexes) {
      const name = readLink(index)?.name;
      if (name === undefined || name === this.#name) continue;
      forget(() => {
        const linkId = this.#dataplane.addPacketLink({ interface: name, slots: 0 });
        this.#former.set(index, linkId);
        this.#tell(`${name}: it was ${this.#name} before, and stays closed`);
      });
    }
  }

  /** Checks the interface after an event. True when an interface was taken. */
  follow(): boolean {
    try {
      return this.#follow();
    } catch (error) {
      this.#be("waiting", (error as Error).message);
      return false;
    }
  }

  #follow(): boolean {
    for (const [index, linkId] of this.#former) {
      if (readLink(index) !== undefined) continue;
      this.#dataplane.removeLink(linkId);
      this.#former.delete(index);
    }
    const named = readLink(this.#name);
    const index = this.#held === undefined ? 0 : this.#dataplane.interfaceOf(this.linkId);
    if (this.#held !== undefined && (index === 0 || (named ?? this.#held).index !== index)) {
      this.#lose(index);
    }
    if (this.#held !== undefined) {
      const present = readLink(index);
      if (present !== undefined) this.#see(present);
      if (this.#kind !== "af-xdp" || (present?.mtu ?? this.#mtu) === this.#mtu) return false;
      return this.#takeAnew(this.#held.name);
    }
    if (named === undefined) {
      this.#be("absent", "there is no such interface");
      return false;
    }
    return this.#takeAgain();
  }

  failClosed(): void {
    const name = this.presentName;
    if (name !== undefined) forget(() => clearFailOpen(undefined, name));
  }

  close(): void {
    // Before the interfaces are released: otherwise frames would pass unjudged. A predecessor's setting
    // stays.
    if (!this.#dataplane.isSuccessor) this.failClosed();
    for (const linkId of [this.linkId, ...this.#former.values()])
      this.#dataplane.removeLink(linkId);
    this.#former.clear();
  }

  /**
   * Releases an interface that was deleted, or that was renamed while another interface got its name.
   */
  #lose(index: number): void {
    const former = index === 0 ? undefined : readLink(index);
    if (former !== undefined) {
      forget(() => clearFailOpen(undefined, former.name));
      // Before its link is removed, so that the kernel stack never gets the interface.
      forget(() => {
        const options = { interface: former.name, slots: 0 };
        this.#former.set(index, this.#dataplane.addPacketLink(options));
      });
    }
    this.#dataplane.closeLink(this.linkId);
    this.#held = undefined;
    if (former === undefined) this.#be("absent", "there is no such interface");
    else {
      this.#be("waiting", `another interface has its name; it is ${former.name} now, and closed`);
    }
  }

  #takeAgain(name = this.#name): boolean {
    try {
      this.#take(this.linkId, name);
    } catch (error) {
      const { message } = error as Error;
      if (isAbsent(error)) this.#be("absent", "there is no such interface");
      else this.#be("waiting", `it cannot be taken: ${message}`);
      return false;
    }
    const index = this.#dataplane.interfaceOf(this.linkId);
    const ours = this.#former.get(index);
    if (ours !== undefined) {
      this.#dataplane.removeLink(ours);
      this.#former.delete(index);
    }
    this.#see(readLink(index));
    return true;
  }

  /** Opens the link again when the MTU that it was made for has changed. */
  #takeAnew(name: string): boolean {
    const guard = this.#dataplane.addPacketLink({ interface: name, slots: 0 });
    try {
      this.#dataplane.closeLink(this.linkId);
      this.#held = undefined;
      return this.#takeAgain(name);
    } finally {
      this.#dataplane.removeLink(guard);
    }
  }

  #take(into: number | undefined, name = this.#name): number {
    const { linkId, kind, why } = this.#dataplane.addInterface(
      {
        interface: name,
        slots: this.#slots,
        ...(this.#mac === undefined ? {} : { mac: this.#mac }),
        ...(into === undefined ? {} : { into }),
      },
      this.#link,
      [name, this.#other],
    );
    this.#kind = kind;
    this.#tell(`${name}: ${into === undefined ? "" : "taken again: "}${kind} (${why})`);
    // An earlier process may have left it failing open: this process's own config decides.
    if (!this.#dataplane.isSuccessor) forget(() => clearFailOpen(undefined, name));
    this.#mtu = 0;
    return linkId;
  }

  /** Updates the state from the interface. Undefined: it was just deleted; an event will follow. */
  #see(link: Link | undefined): void {
    if (link === undefined) return;
    this.#held = link;
    if (this.#mtu === 0) this.#mtu = link.mtu;
    const renamed = link.name === this.#name ? "" : `it is called ${link.name} now`;
    if ((link.flags & IFF_UP) !== 0) this.#be("attached", renamed);
    else this.#be("down", ["it is down", renamed].filter((each) => each !== "").join(", "));
  }

  #be(state: AttachedState, note: string): void {
    if (state === this.#state && note === this.#note) return;
    const wasQuiet = this.#state === "attached" && this.#note === "";
    this.#state = state;
    this.#note = note;
    if (state === "attached" && (note === "" || wasQuiet)) {
      this.#tell(`${this.#name}: ${note === "" ? "carries packets" : note}`);
    } else if (state !== "attached") {
      this.#tell(`${this.#name}: ${note}: nothing passes`, "warning");
    }
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof DataplaneError && error.code === "ENODEV";
}

/**
 * Runs a cleanup step and ignores its failure when the interface is deleted: its settings are gone too.
 */
function forget(step: () => void): void {
  try {
    step();
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}
