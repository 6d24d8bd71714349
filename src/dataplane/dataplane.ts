import {
  connClassWords,
  DataplaneCounters,
  type DataplaneCountersFields,
  DataplaneSettings,
  DropReason,
  denyWords,
  dropReasonWords,
  EVENTS_DEFAULT,
  establishedWords,
  exemptKindWords,
  FlowEvent,
  FRAGMENTS_DEFAULT,
  LinkCounters,
  linkKindWords,
  NONE,
  pollModeWords,
  readDataplaneCounters,
  readLinkCounters,
  SavedConnection,
  writeDataplaneSettings,
} from "../layout/layout.gen.js";
import { addon, type NativeDataplane } from "./addon.js";
import { connectionsDefault } from "./capacity.js";
import { connectionKeyBytes } from "./connections.js";
import { closeHandoff, type LinkHandoff } from "./descriptor-passing.js";
import { DataplaneError, native } from "./errors.js";
import { type DropReasonWord, type ExemptKindWord, exemptKinds } from "./events.js";
import {
  clearFailOpen,
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  interfaceTraits,
} from "./host.js";
import { type LinkChoice, type LinkKind, suitableLink } from "./link-choice.js";
import { type LinkCounts, type LinkTotals, linkTotalNames } from "./link-counts.js";

/** How a worker waits for frames. */
export type PollMode = (typeof pollModeWords)[number];

/**
 * What a table swap means for connections that run: each is judged again on its next packet, none is, or
 * all are at once.
 */
export type Established = (typeof establishedWords)[number];

/** What the sender of a packet hears that policy denies: nothing, or a reset or an ICMP error. */
export type Deny = (typeof denyWords)[number];

/** What the kernel answers where a driver has no hook for AF_XDP. */
const noNativeMode = new Set(["EOPNOTSUPP", "EINVAL"]);

/** Saved connections that are handed over at a time. */
const savedPieceRecords = 8_192;

/** What is fixed when a data plane is made. Its memory is set aside then, and never grows. */
export interface DataplaneOptions {
  /** Connections tracked at once: `connectionsDefault()` when absent. */
  readonly connectionsMax?: number;
  /**
   * Connections of one endpoint at once, `connectionsMax` at most; an equal share when absent or 0.
   * Each of several workers has an equal part of it, one connection at least.
   */
  readonly connectionsPerEndpoint?: number;
  /** Fragmented datagrams followed at once: FRAGMENTS_DEFAULT when absent. */
  readonly fragmentsMax?: number;
  /** Events that wait to be drained: EVENTS_DEFAULT when absent; a power of two. */
  readonly eventsMax?: number;
  /** What a table swap means for connections that run: `recheck` when absent. */
  readonly established?: Established;
  /** What the sender of a packet hears that policy denies: nothing (`drop`) when absent. */
  readonly deny?: Deny;
  /** Takes up TCP connections whose opening was not seen. */
  readonly loose?: boolean;
  /** Threads that judge, each its own connections: 1 when absent, at most WORKERS_MAX. */
  readonly workers?: number;
  /** `adaptive` when absent: looks on for a little while where that pays, then sleeps. */
  readonly poll?: PollMode;
  /** The CPU of the first worker; further ones take those behind it. Any when absent. */
  readonly cpu?: number;
}

/** An interface to make in a pod's namespace, whose other side is this process. */
export interface EndpointLinkOptions {
  readonly namespaceFd: number;
  /** Name in the namespace, for example `eth0`. */
  readonly name: string;
  /** The endpoint's MAC; frames to it carry it, and frames from it must. */
  readonly mac: string;
  /** 1,500 when absent. */
  readonly mtu?: number;
}

/** Where a link goes. */
interface LinkPlace {
  /**
   * A link in whose place it is put: that one's number, wire, connections and counts go on. A link of its
   * own when absent.
   */
  readonly into?: number;
}

/** A TAP interface to make. */
export interface TapOptions extends Omit<EndpointLinkOptions, "namespaceFd">, LinkPlace {
  /** The namespace to make it in; this process's own when absent. */
  readonly namespaceFd?: number;
  /**
   * It outlives this data plane, without a carrier, and keeps all that was put on it; where one of this
   * name is left so, it is taken as it is.
   */
  readonly lasting?: boolean;
  /** The interface index to ask for; the kernel's choice when absent or taken. */
  readonly index?: number;
}

/** An interface that exists. */
export interface InterfaceOptions extends LinkPlace {
  readonly interface: string;
  /** The namespace it is in; this process's own when absent. */
  readonly namespaceFd?: number;
  /** The MAC of the endpoint behind the link, where it is known. */
  readonly mac?: string;
  /** The kernel's stack stays off when the link goes, until `releaseStack`. */
  readonly lasting?: boolean;
}

export interface PacketLinkOptions extends InterfaceOptions {
  /**
   * Superframes that may wait to be taken: 256 when absent. Ordinary frames have 16 times as many
   * places of their own, but in a user namespace, where each place takes 66 KiB and any frame.
   */
  readonly slots?: number;
}

export interface XdpLinkOptions extends InterfaceOptions {
  /** Above the driver, for drivers that have no hook of their own. */
  readonly generic?: boolean;
}

/** Two links, of which what passes leaves by the other one unchanged. */
export interface Wire {
  readonly inside: number;
  readonly outside: number;
  /** 0 to `ZONES_MAX - 1`: tells the connections of one wire from those of another. 0 when absent. */
  readonly zone?: number;
  /** Whether those that come in by the outside reach the inside: `drop` when absent. */
  readonly routerAdvertisements?: "pass" | "drop";
}

/**
 * How frames go from link to link.
 *
 * Wires stand beside each other: each sees a network of its own. A switch has a link for
 * each endpoint: frames go to the link of the endpoint that owns the destination address, from the
 * gateway's MAC; the gateway answers ARP and neighbour requests for everybody; what has no endpoint
 * here goes to the uplink, where there is one.
 */
export type Topology =
  | { readonly wire: Wire }
  /** Those that `joinWire` has made, or is going to make. */
  | { readonly wires: "joined" }
  | { readonly switch: { readonly gatewayMac: string; readonly uplink?: number } };

/** Counts of a data plane that another goes on with. */
const totals = {
  opened: true,
  closed: true,
  cut: true,
  eventsLost: true,
  audited: true,
  rejected: true,
  reset: true,
  fragmentsEvicted: true,
} as const satisfies Record<TotalName, true>;
type TotalName = Exclude<
  keyof DataplaneCountersFields,
  "drops" | "exempt" | "evictions" | "connections" | "generation"
>;
export const totalNames = Object.keys(totals) as readonly TotalName[];
export type Totals = Pick<Counters, "drops" | "exempt" | "evictions" | TotalName>;

export type ConnClassWord = (typeof connClassWords)[number];

export interface Counters {
  /** Frames dropped, by reason; reasons that never occurred are absent. */
  readonly drops: { readonly [Reason in DropReasonWord]?: number };
  /** Messages that passed and no policy judges, by kind: all kinds. */
  readonly exempt: { readonly [Kind in ExemptKindWord]: number };
  readonly links: ReadonlyMap<number, LinkCounts>;
  /** Connections tracked now. */
  readonly connections: number;
  /** Connections since the start: allowed, ended, and denied by a newer table. */
  readonly opened: number;
  readonly closed: number;
  readonly cut: number;
  /** Connections since the start that gave way to new ones, by what they were: all classes. */
  readonly evictions: { readonly [Class in ConnClassWord]: number };
  /** Connections, and packets of none, since the start that audited policies would have denied. */
  readonly audited: number;
  /** Resets and ICMP errors sent since the start, for what policy denied. */
  readonly rejected: number;
  /** TCP segments since the start whose connection is not known, and allowed: its ends were told. */
  readonly reset: number;
  /** Fragmented datagrams since the start that gave way to new ones before they were whole. */
  readonly fragmentsEvicted: number;
  /** Events lost since nobody drained them. */
  readonly eventsLost: number;
  /** Generation of the table in force; 0 before the first. */
  readonly generation: number;
}

/**
 * The native data plane: links, a worker thread that judges and forwards, and the table in force.
 *
 * Owner:   `close` ends the thread and the links; a TAP's interface goes with it, and an existing
 *          interface is as it was before.
 * Threads: packets are handled in a thread of its own, and never wait for JavaScript.
 * Errors:  DataplaneError for what the environment refuses.
 */
export class Dataplane {
  readonly #native: NativeDataplane;
  readonly #links = new Set<number>();
  /** Descriptors of hidden namespaces that hold the other ends of veths, by link. */
  readonly #hidden = new Map<number, number>();
  /** Interfaces of this process's own namespace, by link. */
  readonly #names = new Map<number, string>();
  /** Links without an interface: closed ones, and those that only keep the stack off theirs. */
  readonly #closed = new Set<number>();
  readonly #inherited = new Map<string, LinkHandoff>();
  #isSuccessor = false;
  /** What processes before have counted. */
  #totalsBefore: Totals | undefined;
  readonly #countsBefore = new Map<number, LinkTotals>();
  #lastJob: Promise<unknown> = Promise.resolve();
  /** Connections that can be tracked at once. */
  readonly connectionsMax: number;

  private constructor(instance: NativeDataplane, connectionsMax: number) {
    this.#native = instance;
    this.connectionsMax = connectionsMax;
  }

  /** Makes a data plane without links, which enforces nothing until `start`. */
  static create(options: DataplaneOptions = {}): Dataplane {
    return native("create the data plane", () => {
      const { NativeDataplane } = addon();
      const connectionsMax = options.connectionsMax ?? connectionsDefault();
      const settings = new Uint8Array(DataplaneSettings.bytes);
      writeDataplaneSettings(new DataView(settings.buffer), 0, {
        connectionsMax,
        connectionsPerEndpoint: options.connectionsPerEndpoint ?? 0,
        fragmentsMax: options.fragmentsMax ?? FRAGMENTS_DEFAULT,
        eventsMax: options.eventsMax ?? EVENTS_DEFAULT,
        workers: options.workers ?? 1,
        cpu: options.cpu ?? NONE,
        established: placeOf(establishedWords, options.established),
        poll: placeOf(pollModeWords, options.poll),
        loose: Number(options.loose ?? false),
        deny: placeOf(denyWords, options.deny),
      });
      return new Dataplane(new NativeDataplane(settings), connectionsMax);
    });
  }

  /**
   * Makes a TAP interface, down, in a namespace. It exists as long as this data plane, or longer.
   *
   * Errors: DataplaneError ENOENT or EACCES where /dev/net/tun is not there or not ours to open.
   */
  addTap(options: TapOptions): number {
    const inherited = this.#adopt({ ...options, interface: options.name }, ["tap"]);
    if (inherited !== undefined) return inherited.linkId;
    return native(`add the TAP ${options.name}`, () =>
      this.#added(
        this.#native.addTap(
          options.namespaceFd ?? -1,
          options.name,
          options.mac,
          options.mtu ?? 1_500,
          options.lasting ?? false,
          options.index ?? 0,
          options.into ?? NONE,
        ),
        { ...options, interface: options.name },
      ),
    );
  }

  /**
   * Makes a veth pair, down, between the namespace and a hidden one that only this process knows, and
   * reads the hidden end by AF_PACKET. For where there is no /dev/net/tun.
   */
  addVeth(options: EndpointLinkOptions): number {
    const hidden = createNamespace();
    try {
      createVeth(
        { namespaceFd: options.namespaceFd, name: options.name },
        { namespaceFd: hidden, name: "peer" },
      );
      const mtu = options.mtu ?? 1_500;
      configureInterface(options.namespaceFd, { name: options.name, mac: options.mac, mtu });
      configureInterface(hidden, { name: "peer", mtu, linkLocal: false, up: true });
      const linkId = this.addPacketLink({
        interface: "peer",
        namespaceFd: hidden,
        slots: 64,
        mac: options.mac,
      });
      this.#hidden.set(linkId, hidden);
      return linkId;
    } catch (error) {
      closeDescriptor(hidden);
      throw error;
    }
  }

  /** Makes an interface in a pod's namespace: a TAP, or a veth where there can be no TAP. */
  addEndpointLink(options: EndpointLinkOptions): number {
    try {
      return this.addTap(options);
    } catch (error) {
      const noTap = error instanceof DataplaneError && error.fault === "tun-device";
      if (!noTap) throw error;
      return this.addVeth(options);
    }
  }

  /**
   * Takes over an existing interface: sees every frame that comes in, and keeps the kernel's own
   * stack from seeing or sending any. Given back by `removeLink` and `close`.
   *
   * Errors: DataplaneError ENODEV when there is no such interface.
   */
  addPacketLink(options: PacketLinkOptions): number {
    const inherited = this.#adopt(options, ["af-packet"]);
    if (inherited !== undefined) return inherited.linkId;
    return native(`take the interface ${options.interface}`, () =>
      this.#added(
        this.#native.addPacketLink(
          options.namespaceFd ?? -1,
          options.interface,
          options.slots ?? 256,
          options.mac ?? "",
          options.lasting ?? false,
          options.into ?? NONE,
        ),
        options,
      ),
    );
  }

  /**
   * Takes over an existing interface by AF_XDP: frames come to this process before the kernel has
   * made anything of them. For packet rate; superframes do not come through, so that a veth's peer
   * is kept from sending them for that time. Given back by `removeLink` and `close`.
   *
   * Errors: DataplaneError EPERM without CAP_BPF (as in a user namespace), EOPNOTSUPP where the
   *         driver has no native mode, EBUSY when another XDP program is attached, ERANGE or
   *         argument for an MTU above a page.
   */
  addXdpLink(options: XdpLinkOptions): number {
    const inherited = this.#adopt(options, ["af-xdp"]);
    if (inherited !== undefined) return inherited.linkId;
    return native(`take the interface ${options.interface} by AF_XDP`, () =>
      this.#added(
        this.#native.addXdpLink(
          options.namespaceFd ?? -1,
          options.interface,
          options.mac ?? "",
          options.generic ?? false,
          options.lasting ?? false,
          options.into ?? NONE,
        ),
        options,
      ),
    );
  }

  /**
   * Takes over an existing interface by the kind of link that is asked for, or by the one that suits
   * it; says which that was and why.
   *
   * Errors: DataplaneError; with `auto` none that AF_PACKET would not have too.
   */
  addInterface(
    options: PacketLinkOptions,
    wanted: LinkKind | "auto",
  ): LinkChoice & { readonly linkId: number } {
    const inherited = this.#adopt(options, wanted === "auto" ? ["af-packet", "af-xdp"] : [wanted]);
    if (inherited !== undefined && inherited.kind !== "tap") {
      return { kind: inherited.kind, why: "taken over", linkId: inherited.linkId };
    }
    const choice: LinkChoice =
      wanted === "auto"
        ? suitableLink(interfaceTraits(options.namespaceFd, options.interface))
        : { kind: wanted, why: "asked for" };
    if (choice.kind === "af-packet") return { ...choice, linkId: this.addPacketLink(options) };
    choice.kind satisfies "af-xdp";
    try {
      return { ...choice, linkId: this.addXdpLink(options) };
    } catch (error) {
      if (!(error instanceof DataplaneError)) throw error;
      if (wanted === "auto") {
        const why = `AF_XDP is refused (${error.syscall ?? "link"}: ${error.code})`;
        return { kind: "af-packet", why, linkId: this.addPacketLink(options) };
      }
      if (!noNativeMode.has(error.code)) throw error;
      const why = "asked for; in generic mode, since the driver has no other: turn GRO off there";
      return { kind: "af-xdp", why, linkId: this.addXdpLink({ ...options, generic: true }) };
    }
  }

  /** An interface of this process's own namespace, which has been added, has another name now. */
  renamed(linkId: number, name: string): void {
    this.#names.set(linkId, name);
  }

  /** Adds a link without an interface, which carries nothing until another is put in its place. */
  addClosedLink(): number {
    const linkId = native("add a closed link", () => this.#native.addClosedLink());
    this.#links.add(linkId);
    this.#closed.add(linkId);
    return linkId;
  }

  /**
   * Lets go of a link's interface, which has gone or is to: nothing comes or goes there until another link
   * is put in its place.
   */
  closeLink(linkId: number): void {
    native(`close link ${linkId}`, () => this.#native.closeLink(linkId));
    this.#closed.add(linkId);
  }

  /**
   * The index of the interface that a link has; 0 once that was deleted or moved to another namespace, and
   * for a TAP.
   */
  interfaceOf(linkId: number): number {
    return this.#native.interfaceOf(linkId);
  }

  /** Takes a link out, also while frames flow. Frames to it are dropped from then on. */
  removeLink(linkId: number): void {
    native(`remove link ${linkId}`, () => this.#native.removeLink(linkId));
    this.#closeHidden(linkId);
    this.#links.delete(linkId);
    this.#names.delete(linkId);
    this.#closed.delete(linkId);
    this.#countsBefore.delete(linkId);
  }

  /**
   * Puts a table in force, between two batches of packets.
   *
   * Shape:  `bindings` are pairs of an endpoint of the table and the link that leads to it.
   * Errors: DataplaneError table-magic, table-bounds, …; the table in force stays.
   */
  swapTable(
    blob: Uint8Array,
    bindings: Iterable<readonly [endpointId: number, linkId: number]>,
  ): number {
    const linkByEndpoint: number[] = [];
    for (const [endpointId, linkId] of bindings) {
      while (linkByEndpoint.length <= endpointId) linkByEndpoint.push(NONE);
      linkByEndpoint[endpointId] = linkId;
    }
    return native("swap the table", () =>
      this.#native.swapTable(blob, Uint32Array.from(linkByEndpoint)),
    );
  }

  /**
   * Joins two links to a wire, also while others forward; it ends when one of them is removed. Takes up
   * connections of it that are there already, as `loadConnections` does, before a frame passes; returns
   * how many.
   *
   * Errors: DataplaneError when a link is not there or of another wire, or another wire has the zone.
   */
  joinWire(
    { inside, outside, zone, routerAdvertisements }: Wire,
    known: Uint8Array = new Uint8Array(),
  ): number {
    const passes = routerAdvertisements === "pass";
    return native("join the wire", () =>
      this.#native.joinWire(inside, outside, zone ?? 0, passes, known),
    );
  }

  /** Starts to forward. Without a table every frame is dropped. Links may be added later too. */
  start(topology: Topology): void {
    if ("wire" in topology) this.joinWire(topology.wire);
    native("start the worker", () => {
      if ("switch" in topology) {
        this.#native.makeSwitch(topology.switch.gatewayMac, topology.switch.uplink ?? NONE);
      }
      this.#native.start();
    });
  }

  /** Ends forwarding; connections and counters stay. */
  stop(): void {
    this.#native.stop();
  }

  /** Stops and gives every link back. */
  close(): void {
    this.onEvents(undefined);
    this.#native.close();
    for (const linkId of this.#hidden.keys()) this.#closeHidden(linkId);
    this.#links.clear();
  }

  /**
   * Another number than when it was last asked, if every worker has gone on since: each does many times a
   * second while it is well.
   */
  progress(): number {
    return this.#native.readProgress();
  }

  /** Reads the counters, without stopping anything. */
  counters(): Counters {
    const bytes = new Uint8Array(DataplaneCounters.bytes);
    this.#native.readCounters(bytes);
    const { drops, exempt, evictions, connections, generation, ...counts } = readDataplaneCounters(
      new DataView(bytes.buffer),
      0,
    );
    const before = this.#totalsBefore;
    const reasons = dropReasonWords.map(
      (word, reason) => [word, drops[reason]! + (before?.drops[word] ?? 0)] as const,
    );
    const links = new Map<number, LinkCounts>();
    for (const linkId of this.#links) links.set(linkId, this.#linkCounts(linkId));
    return {
      drops: Object.fromEntries(
        reasons.filter(([, count], reason) => reason !== DropReason.None && count > 0),
      ),
      exempt: Object.fromEntries(
        exemptKinds.map((word) => [
          word,
          exempt[exemptKindWords.indexOf(word)]! + (before?.exempt[word] ?? 0),
        ]),
      ) as Counters["exempt"],
      evictions: Object.fromEntries(
        connClassWords.map((word, each) => [
          word,
          evictions[each]! + (before?.evictions[word] ?? 0),
        ]),
      ) as Counters["evictions"],
      links,
      connections,
      generation,
      ...sumOf(totalNames, counts, before),
    };
  }

  /**
   * Copies waiting events into `buffer`, oldest first; returns how many. Read them with
   * `decodeFlowEvent`.
   *
   * Shape: `buffer` holds as many FlowEvent records as fit; use one again and again.
   */
  drainEvents(buffer: Uint8Array): number {
    if (buffer.length < FlowEvent.bytes) throw new RangeError("the buffer holds no event");
    return this.#native.drainEvents(buffer);
  }

  /**
   * Calls `callback` when events wait: once for any number of them, at most once every few
   * milliseconds, until it is replaced. The callback drains.
   */
  onEvents(callback: (() => void) | undefined): void {
    this.#native.onEvents(callback);
  }

  /**
   * Lists the connections in pieces of some hundreds, while packets flow. Those that come or go meanwhile
   * may be missed.
   *
   * Shape: ConnectionRecords, for `decodeConnections`; whoever iterates may take its time.
   * Cost:  the worker takes a short step between two batches, until it has been through its table.
   */
  async *connections(): AsyncGenerator<Uint8Array> {
    const place = new Uint32Array(2);
    for (;;) {
      const records = await this.#job(
        "list the connections",
        () => this.#native.listConnections(place),
        place,
      );
      if (typeof records === "number" || records.length === 0) return;
      yield records;
    }
  }

  /**
   * Writes down, while packets flow, the connections that whoever is started after this process may take
   * up, however it ends: those whose both ends are known to be there, and that are not over.
   *
   * Shape: SavedConnection records, with windows unknown, a piece at a time.
   * Cost:  as `connections`.
   */
  async *lastingConnections(): AsyncGenerator<Uint8Array> {
    const place = new Uint32Array(2);
    for (;;) {
      const piece = await this.#job(
        "write the connections down",
        () => this.#native.keepConnections(place),
        place,
      );
      if (typeof piece === "number" || piece.length === 0) return;
      yield piece;
    }
  }

  /**
   * Forgets connections, by the keys that `connections` gave: their next packets are judged as if they
   * were the first. Returns how many were there.
   */
  async forget(keys: readonly Uint8Array[]): Promise<number> {
    const bytes = new Uint8Array(keys.length * connectionKeyBytes);
    keys.forEach((key, index) => {
      bytes.set(key, index * connectionKeyBytes);
    });
    const count = await this.#job("forget connections", () =>
      this.#native.forgetConnections(bytes),
    );
    return count as number;
  }

  /**
   * Keeps what another process has left of its interfaces until somebody adds them here: they are then
   * taken over instead of opened. Until `own` the interfaces are that one's too.
   *
   * Owner: takes the descriptors.
   */
  inherit(handoffs: readonly LinkHandoff[]): void {
    this.#isSuccessor = true;
    this.#native.share(true);
    for (const handoff of handoffs) this.#inherited.set(handoff.interface, handoff);
  }

  /** Whether its interfaces are another process's too: whoever takes one must leave it as it is then. */
  get isSuccessor(): boolean {
    return this.#isSuccessor;
  }

  /** Whether there is something of this interface, of this process's own namespace, to take over. */
  inherits(name: string): boolean {
    return this.#inherited.has(name);
  }

  /**
   * The other process has gone for good. Gives back what was inherited and not added: interfaces that
   * nobody wants any more. What guards one is let go of only by whoever holds it, so each is taken first.
   */
  own(): void {
    this.#isSuccessor = false;
    this.#native.share(false);
    for (const { interface: name, kind } of [...this.#inherited.values()]) {
      const taken = this.#adopt({ interface: name }, [kind]);
      if (taken === undefined) continue;
      if (kind !== "tap") clearFailOpen(undefined, name);
      this.removeLink(taken.linkId);
    }
  }

  /**
   * Says what a process that goes on with these links needs. They hold their interfaces until `close`.
   * Links that carry nothing are left out.
   *
   * Errors: DataplaneError `state` unless it is stopped; `argument` for a link in another namespace.
   */
  handoffs(): LinkHandoff[] {
    return native("hand the links on", () =>
      [...this.#links]
        .filter((linkId) => !this.#closed.has(linkId))
        .map((linkId) => {
          const name = this.#names.get(linkId);
          if (name === undefined) throw Object.assign(new Error("argument"), { code: "argument" });
          const { kind, ...handoff } = this.#native.handoffOf(linkId);
          const counts = this.#linkCounts(linkId);
          return { interface: name, kind: linkKindWords[kind] ?? "tap", ...handoff, counts };
        }),
    );
  }

  /**
   * Stops and lets go of every link, but leaves each interface as it is: another process holds it by now,
   * or will.
   */
  leave(): void {
    this.#native.share(true);
    this.close();
  }

  /** Goes on with what another process had of an interface; undefined where there is nothing. */
  #adopt(
    options: InterfaceOptions,
    kinds: readonly LinkHandoff["kind"][],
  ): { readonly kind: LinkHandoff["kind"]; readonly linkId: number } | undefined {
    const { interface: name, namespaceFd, mac, lasting = false } = options;
    const handoff = namespaceFd === undefined ? this.#inherited.get(name) : undefined;
    if (handoff === undefined) return undefined;
    this.#inherited.delete(name);
    if (!kinds.includes(handoff.kind)) {
      closeHandoff(handoff);
      return undefined;
    }
    const { kind, counts } = handoff;
    return native(`take over ${name}`, () => {
      const linkId = this.#added(
        this.#native.adoptLink(
          name,
          mac ?? "",
          { ...handoff, kind: linkKindWords.indexOf(kind) },
          lasting,
        ),
        options,
      );
      this.#countsBefore.set(linkId, counts);
      return { kind, linkId };
    });
  }

  /**
   * Goes on with the generations of a process before, the next table has a later one, and with what it
   * has counted.
   *
   * Errors: DataplaneError `state` when a table is in force already.
   */
  continueFrom(generation: number, totals?: Totals): void {
    native("go on with the generations", () => this.#native.continueFrom(generation));
    this.#totalsBefore = totals;
  }

  /**
   * Writes down all connections, for another process to take up, or those of `lastingConnections`:
   * SavedConnection records, a piece at a time, which holds until the next one is asked for.
   *
   * Errors: DataplaneError `state` unless it is stopped.
   */
  *saveConnections(which: "all" | "lasting" = "all"): Generator<Uint8Array> {
    const place = new Uint32Array(2);
    const piece = new Uint8Array(savedPieceRecords * SavedConnection.bytes);
    for (;;) {
      const count = native("save the connections", () =>
        this.#native.saveConnections(place, piece, which === "lasting"),
      );
      if (count === 0) return;
      yield piece.subarray(0, count * SavedConnection.bytes);
    }
  }

  /**
   * Takes up connections; returns how many. The table in force judges each on its next packet, as after a
   * swap. Records of a generation that this data plane does not continue are judged whatever becomes
   * of others, so that whoever knows of a connection may offer it.
   *
   * Shape: whole SavedConnection records; what cannot be a connection is left out.
   * Cost:  the workers stop for the time of it.
   */
  loadConnections(records: Uint8Array): number {
    return native("take up connections", () => this.#native.loadConnections(records));
  }

  #job(doing: string, start: () => void, place = new Uint32Array(2)): Promise<Uint8Array | number> {
    const job = this.#lastJob.then(async () => {
      native(doing, start);
      for (;;) {
        const answer = native(doing, () => this.#native.takeJob(place));
        if (answer !== undefined) return answer;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    });
    this.#lastJob = job.catch(() => {});
    return job;
  }

  #added(linkId: number, options: InterfaceOptions & { readonly slots?: number }): number {
    const { interface: name, namespaceFd, slots, into } = options;
    if (into === undefined) this.#links.add(linkId);
    if (slots === 0) this.#closed.add(linkId);
    else this.#closed.delete(linkId);
    if (namespaceFd === undefined) this.#names.set(linkId, name);
    return linkId;
  }

  #closeHidden(linkId: number): void {
    const hidden = this.#hidden.get(linkId);
    if (hidden === undefined) return;
    this.#hidden.delete(linkId);
    closeDescriptor(hidden);
  }

  #linkCounts(linkId: number): LinkCounts {
    const bytes = new Uint8Array(LinkCounters.bytes);
    this.#native.readLinkCounters(linkId, bytes);
    const counts = readLinkCounters(new DataView(bytes.buffer), 0);
    return { ...counts, ...sumOf(linkTotalNames, counts, this.#countsBefore.get(linkId)) };
  }
}

/** The value of an enum that has a word; the first, which is the default, where none is given. */
function placeOf<Word extends string>(words: readonly Word[], word: Word | undefined): number {
  return word === undefined ? 0 : words.indexOf(word);
}

/** Adds to each count the one of the same name. */
function sumOf<Name extends string>(
  names: readonly Name[],
  counts: Readonly<Record<Name, number>>,
  more: Readonly<Record<Name, number>> | undefined,
): Record<Name, number> {
  return Object.fromEntries(
    names.map((name) => [name, counts[name] + (more?.[name] ?? 0)]),
  ) as Record<Name, number>;
}
