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
import type { Address } from "../net/address.js";
import { addon, type InterfaceTraits, type NativeDataplane } from "./addon.js";
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
import {
  type KernelChance,
  kernelSuits,
  type LinkChoice,
  type LinkKind,
  suitableLink,
} from "./link-choice.js";
import { type LinkCounts, type LinkTotals, linkTotalNames } from "./link-counts.js";
import { TableBlob } from "./table-blob.js";

/** How a worker waits for frames. */
export type PollMode = (typeof pollModeWords)[number];

/**
 * What a table swap does to existing connections: each is judged again on its next packet, none is, or all
 * are at once.
 */
export type Established = (typeof establishedWords)[number];

/** What the sender of a denied packet receives: nothing, or a reset or an ICMP error. */
export type Deny = (typeof denyWords)[number];

/** The kernel's errors when a driver has no native AF_XDP mode. */
const noNativeMode = new Set(["EOPNOTSUPP", "EINVAL"]);

/** Saved connections per piece. */
const savedPieceRecords = 8_192;

/**
 * Settings that are fixed when a data plane is made. Its memory is reserved then and never grows.
 */
export interface DataplaneOptions {
  /** Connections tracked at once: `connectionsDefault()` when absent. */
  readonly connectionsMax?: number;
  /**
   * Connections of one endpoint at once, at most `connectionsMax`; an equal share when absent or 0. Several
   * workers each have an equal part of it, at least one connection.
   */
  readonly connectionsPerEndpoint?: number;
  /** Fragmented datagrams followed at once: FRAGMENTS_DEFAULT when absent. */
  readonly fragmentsMax?: number;
  /** Events that wait to be drained: EVENTS_DEFAULT when absent; a power of two. */
  readonly eventsMax?: number;
  /** What a table swap does to existing connections: `recheck` when absent. */
  readonly established?: Established;
  /** What the sender of a denied packet receives: nothing (`drop`) when absent. */
  readonly deny?: Deny;
  /** Takes up TCP connections whose opening was not seen. */
  readonly loose?: boolean;
  /**
   * Threads that judge packets, each with its own connections: 1 when absent, at most WORKERS_MAX.
   */
  readonly workers?: number;
  /** `adaptive` when absent: polls for a short time when that pays, then sleeps. */
  readonly poll?: PollMode;
  /** The CPU of the first worker; the others take the CPUs after it. Any when absent. */
  readonly cpu?: number;
}

/** An interface to make in a pod's namespace; this process has its other end. */
export interface EndpointLinkOptions {
  readonly namespaceFd: number;
  /** Name in the namespace, for example `eth0`. */
  readonly name: string;
  /** The endpoint's MAC: frames to the endpoint carry it, and frames from it must. */
  readonly mac: string;
  /** 1,500 when absent. */
  readonly mtu?: number;
}

/** Where a link goes. */
interface LinkPlace {
  /**
   * The link that it replaces: number, wire, connections and counts continue. A new link when absent.
   */
  readonly into?: number;
}

/** A TAP interface to make. */
export interface TapOptions extends Omit<EndpointLinkOptions, "namespaceFd">, LinkPlace {
  /** The namespace to make it in; this process's own when absent. */
  readonly namespaceFd?: number;
  /**
   * The interface outlives this data plane, without a carrier, and keeps its settings. If an earlier process
   * left one of this name, it is used as it is.
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
  /** The kernel stack stays blocked after the link is removed, until `releaseStack`. */
  readonly lasting?: boolean;
}

export interface PacketLinkOptions extends InterfaceOptions {
  /**
   * Superframes that can queue: 256 when absent. Ordinary frames have 16 times as many slots of their own. In
   * a user namespace there is one kind of slot, of 66 KiB, for any frame.
   */
  readonly slots?: number;
}

export interface XdpLinkOptions extends InterfaceOptions {
  /** XDP's generic mode, for drivers without a native one. */
  readonly generic?: boolean;
}

/** Two links: a frame that passes leaves by the other link, unchanged. */
export interface Wire {
  readonly inside: number;
  readonly outside: number;
  /**
   * 0 to `ZONES_MAX - 1`: separates the connections of this wire from those of others. 0 when absent.
   */
  readonly zone?: number;
  /** Whether router advertisements from the outside reach the inside: `drop` when absent. */
  readonly routerAdvertisements?: "pass" | "drop";
}

/** From an address of this process to one port of one server, of the same family; TCP. */
export interface OwnWay {
  readonly local: Address;
  readonly remote: Address;
  readonly remotePort: number;
}

/**
 * How frames go from link to link.
 *
 * Wires are independent: each has a network of its own. A switch has a link for each endpoint. It sends a
 * frame to the link of the endpoint that owns the destination address, with the gateway's MAC as source. The
 * gateway answers ARP and neighbour requests for every address. A frame to an address without an endpoint
 * goes to the uplink, if there is one.
 */
export type Topology =
  | { readonly wire: Wire }
  /** The wires that `joinWire` makes, before or after the start. */
  | { readonly wires: "joined" }
  | { readonly switch: { readonly gatewayMac: string; readonly uplink?: number } };

/** Counts that a successor's data plane continues. */
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
  /** Messages that passed because no policy judges them, by kind: all kinds. */
  readonly exempt: { readonly [Kind in ExemptKindWord]: number };
  readonly links: ReadonlyMap<number, LinkCounts>;
  /** Connections tracked now. */
  readonly connections: number;
  /** Connections since the start: allowed, ended, and denied by a newer table. */
  readonly opened: number;
  readonly closed: number;
  readonly cut: number;
  /** Connections since the start that were evicted for new ones, by class: all classes. */
  readonly evictions: { readonly [Class in ConnClassWord]: number };
  /**
   * Connections, and packets without a connection, since the start that audited policies would have denied.
   */
  readonly audited: number;
  /** Resets and ICMP errors sent since the start, for what policy denied. */
  readonly rejected: number;
  /**
   * TCP segments since the start of unknown connections that policy allows: both ends got a reset.
   */
  readonly reset: number;
  /** Fragmented datagrams since the start that gave way to new ones before they were whole. */
  readonly fragmentsEvicted: number;
  /** Events lost because they were not drained in time. */
  readonly eventsLost: number;
  /** Generation of the table in force; 0 before the first. */
  readonly generation: number;
}

/**
 * The native data plane: links, a worker thread that judges and forwards, and the table in force.
 *
 * Owner:   `close` ends the threads and the links. A TAP's interface is deleted; an existing interface is
 *          restored. Threads: packets are handled in worker threads, and never wait for JavaScript.
 * Errors:  DataplaneError for what the environment refuses.
 */
export class Dataplane {
  readonly #native: NativeDataplane;
  #inForce: TableBlob | undefined;
  readonly #links = new Set<number>();
  /** Descriptors of hidden namespaces that hold the other ends of veths, by link. */
  readonly #hidden = new Map<number, number>();
  /** Names of interfaces in this process's own namespace, by link. */
  readonly #names = new Map<number, string>();
  /**
   * Links that carry nothing: closed ones, and those that only block the kernel stack on their interface.
   */
  readonly #closed = new Set<number>();
  readonly #inherited = new Map<string, LinkHandoff>();
  /** Why there are no links of the kind `kernel`; empty when there can be, absent before the first wish. */
  #programsRefused: string | undefined;
  #isSuccessor = false;
  /** Counts of the predecessors. */
  #totalsBefore: Totals | undefined;
  readonly #countsBefore = new Map<number, LinkTotals>();
  #lastJob: Promise<unknown> = Promise.resolve();
  /** Whether a job of `hits` has begun whose records nobody has taken. */
  #readsHits = false;
  /** How often `lastHits` was called. */
  #hitsRound = 0;
  /** Connections that can be tracked at once. */
  readonly connectionsMax: number;

  private constructor(instance: NativeDataplane, connectionsMax: number) {
    this.#native = instance;
    this.connectionsMax = connectionsMax;
  }

  /** Makes a data plane without links; it handles no packet until `start`. */
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
   * Makes a TAP interface, down, in a namespace. It exists as long as this data plane, or longer if
   * `lasting`.
   *
   * Errors: DataplaneError ENOENT or EACCES when /dev/net/tun is absent or may not be opened.
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
   * Makes a veth pair, down, between the namespace and a hidden namespace of this process, and reads the
   * hidden end by AF_PACKET. For machines without /dev/net/tun.
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

  /** Makes an interface in a pod's namespace: a TAP, or a veth if no TAP can be made. */
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
   * Takes an existing interface by AF_PACKET: receives every frame, and blocks the kernel stack there in both
   * directions. `removeLink` and `close` give it back.
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
   * Takes an existing interface by AF_XDP: frames come to this process before the kernel stack handles them.
   * For packet rate: superframes do not pass, so a veth's peer is kept from sending them meanwhile.
   * `removeLink` and `close` give it back.
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
   * Takes an existing interface by a program, which passes packets of admitted connections to the other link of
   * its wire, if that is such a link too. All others come up. The first such link moves the connections to
   * memory that programs read. `removeLink` and `close` give the interface back.
   *
   * Errors: DataplaneError EPERM without CAP_BPF and CAP_PERFMON (as in a user namespace), EINVAL before Linux
   *         5.12, argument for an interface of another namespace than the first one's.
   */
  addKernelLink(options: PacketLinkOptions): number {
    const inherited = this.#adopt(options, ["kernel"]);
    if (inherited !== undefined) return inherited.linkId;
    return native(`take the interface ${options.interface} by a program`, () =>
      this.#added(
        this.#native.addKernelLink(
          options.namespaceFd ?? -1,
          options.interface,
          options.mac ?? "",
          options.lasting ?? false,
          options.into ?? NONE,
        ),
        options,
      ),
    );
  }

  /**
   * Whether `auto` takes the two ends of a wire, in this process's own namespace, by links of the kind `kernel`; one
   * that is not there does not matter. If it does, what such links have in common is made.
   */
  kernelChance(interfaces: readonly string[]): KernelChance {
    const suits = kernelSuits(interfaces.flatMap((name) => presentTraits(name) ?? []));
    if (!suits.has) return suits;
    const refused = this.#refusedPrograms();
    return refused === "" ? suits : { has: false, why: refused };
  }

  /** Makes what links of the kind `kernel` have in common. Returns why that is refused; empty when it is not. */
  #refusedPrograms(): string {
    this.#programsRefused ??= refusalOf(() =>
      native("prepare links by programs", () => this.#native.prepareKernelLinks()),
    );
    return this.#programsRefused;
  }

  /** Whether programs may have to be loaded, or memory for them made, later. */
  get hasPrograms(): boolean {
    return this.#programsRefused === "";
  }

  /**
   * Takes an existing interface by the requested kind of link, or with `auto` by the predecessor's, else by
   * `kernel` where packets may pass between the `ends` of its wire in the kernel, else by the one that suits it.
   * Returns the kind and the reason.
   *
   * Errors: DataplaneError; with `auto` only errors of AF_PACKET, which is tried when others fail.
   */
  addInterface(
    options: PacketLinkOptions,
    wanted: LinkKind | "auto",
    ends?: readonly string[],
  ): LinkChoice & { readonly linkId: number } {
    const inherited = this.#adopt(options, wanted === "auto" ? this.#adoptable(options) : [wanted]);
    if (inherited !== undefined && inherited.kind !== "tap") {
      return { kind: inherited.kind, why: "taken over", linkId: inherited.linkId };
    }
    if (wanted !== "auto") return this.#take(options, { kind: wanted, why: "asked for" }, false);
    const chance = ends === undefined ? undefined : this.kernelChance(ends);
    let refused = chance?.why;
    if (chance?.has === true) {
      let linkId = 0;
      refused = refusalOf(() => (linkId = this.addKernelLink(options)));
      if (refused === "") return { kind: "kernel", why: chance.why, linkId };
    }
    const suitable = suitableLink(interfaceTraits(options.namespaceFd, options.interface));
    const taken = this.#take(options, suitable, true);
    return refused === undefined
      ? taken
      : { ...taken, why: `${taken.why}; no kernel link: ${refused}` };
  }

  /** The kinds of a predecessor's link of this interface that `auto` goes on with: all that it can. */
  #adoptable({ interface: name }: PacketLinkOptions): readonly LinkKind[] {
    const isKernel = this.#inherited.get(name)?.kind === "kernel";
    return isKernel && this.#refusedPrograms() === "" ? ["kernel"] : ["af-packet", "af-xdp"];
  }

  #take(
    options: PacketLinkOptions,
    choice: LinkChoice,
    isAuto: boolean,
  ): LinkChoice & { readonly linkId: number } {
    if (choice.kind === "af-packet") return { ...choice, linkId: this.addPacketLink(options) };
    if (choice.kind === "kernel") return { ...choice, linkId: this.addKernelLink(options) };
    choice.kind satisfies "af-xdp";
    try {
      return { ...choice, linkId: this.addXdpLink(options) };
    } catch (error) {
      if (!(error instanceof DataplaneError)) throw error;
      if (isAuto) {
        const why = `AF_XDP is refused (${error.syscall ?? "link"}: ${error.code})`;
        return { kind: "af-packet", why, linkId: this.addPacketLink(options) };
      }
      if (!noNativeMode.has(error.code)) throw error;
      const why = "asked for; in generic mode, since the driver has no other: turn GRO off there";
      return { kind: "af-xdp", why, linkId: this.addXdpLink({ ...options, generic: true }) };
    }
  }

  /** Notes the new name of an added interface in this process's own namespace. */
  renamed(linkId: number, name: string): void {
    this.#names.set(linkId, name);
  }

  /** Adds a link without an interface, which carries nothing until another replaces it. */
  addClosedLink(): number {
    const linkId = native("add a closed link", () => this.#native.addClosedLink());
    this.#links.add(linkId);
    this.#closed.add(linkId);
    return linkId;
  }

  /**
   * Releases a link's interface, which was deleted or will be. The link carries nothing until another
   * replaces it.
   */
  closeLink(linkId: number): void {
    native(`close link ${linkId}`, () => this.#native.closeLink(linkId));
    this.#closed.add(linkId);
  }

  /**
   * The index of a link's interface; 0 after it was deleted or moved to another namespace, and for a TAP.
   */
  interfaceOf(linkId: number): number {
    return this.#native.interfaceOf(linkId);
  }

  /** Removes a link; frames may flow meanwhile. Frames to it are dropped from then on. */
  removeLink(linkId: number): void {
    native(`remove link ${linkId}`, () => this.#native.removeLink(linkId));
    this.#closeHidden(linkId);
    this.#links.delete(linkId);
    this.#names.delete(linkId);
    this.#closed.delete(linkId);
    this.#countsBefore.delete(linkId);
  }

  /**
   * Puts a table in force between two batches of packets; returns its generation.
   *
   * Shape:  `bindings` are pairs of an endpoint of the table and the link that leads to it.
   * Cost:   what has changed since the table in force, as far as `blob` knows it; else a copy and a check of the whole.
   * Errors: DataplaneError table-magic, table-bounds, …; the table in force stays.
   */
  swapTable(
    blob: TableBlob | Uint8Array,
    bindings: Iterable<readonly [endpointId: number, linkId: number]>,
  ): number {
    const linkByEndpoint: number[] = [];
    for (const [endpointId, linkId] of bindings) {
      while (linkByEndpoint.length <= endpointId) linkByEndpoint.push(NONE);
      linkByEndpoint[endpointId] = linkId;
    }
    const table = blob instanceof TableBlob ? blob : new TableBlob(blob);
    const lines = this.#inForce && table.linesSince(this.#inForce);
    const links = Uint32Array.from(linkByEndpoint);
    // After an error, a whole table can be put in force.
    this.#inForce = undefined;
    const generation = native("swap the table", () =>
      lines === undefined
        ? this.#native.swapTable(table.bytes, links)
        : this.#native.swapLines(lines.numbers, lines.bytes, links),
    );
    this.#inForce = table;
    return generation;
  }

  /**
   * Joins two links to a wire; other links may forward meanwhile. The wire ends when one of them is removed.
   * Loads the wire's existing connections, as `loadConnections` does, before a frame passes; returns how
   * many.
   *
   * Errors: DataplaneError when a link does not exist or is in another wire, or another wire has the zone.
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

  /** Of OwnConnections. Errors: DataplaneError. */
  setOwnWay({ local, remote, remotePort }: OwnWay): void {
    const wide = ({ bytes }: Address) => Uint8Array.from({ length: 16 }, (_, at) => bytes[at] ?? 0);
    native("let own connections pass", () =>
      this.#native.setOwnWay(local.family, wide(local), wide(remote), remotePort),
    );
  }

  /** Of OwnConnections. Errors: DataplaneError when there are too many. */
  addOwnPort(port: number): void {
    native("let own connections pass", () => this.#native.addOwnPort(port));
  }

  /** Of OwnConnections. */
  removeOwnPort(port: number): void {
    this.#native.removeOwnPort(port);
  }

  /** Starts forwarding. Without a table every frame is dropped. Links may be added later too. */
  start(topology: Topology): void {
    if ("wire" in topology) this.joinWire(topology.wire);
    native("start the worker", () => {
      if ("switch" in topology) {
        this.#native.makeSwitch(topology.switch.gatewayMac, topology.switch.uplink ?? NONE);
      }
      this.#native.start();
    });
  }

  /** Stops forwarding; connections and counters stay. */
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
   * A number that changes when every worker has made a round since the last call. A healthy worker makes many
   * rounds a second.
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
   * Shape: `buffer` gets as many FlowEvent records as fit; reuse one buffer.
   */
  drainEvents(buffer: Uint8Array): number {
    if (buffer.length < FlowEvent.bytes) throw new RangeError("the buffer holds no event");
    return this.#native.drainEvents(buffer);
  }

  /** From now on keeps the first bytes of frames that are dropped, or does so no more. */
  askForDroppedFrames(wanted: boolean): void {
    this.#native.askForDrops(wanted);
  }

  /**
   * Copies dropped frames that wait into `buffer`; returns how many. Read them with `decodeDroppedFrame`.
   *
   * Shape: `buffer` gets as many DroppedFrame records as fit.
   */
  drainDroppedFrames(buffer: Uint8Array): number {
    return this.#native.drainDrops(buffer);
  }

  /**
   * Calls `callback` when events wait: once for any number of them, at most once every few milliseconds. The
   * callback must drain them. A later call replaces it.
   */
  onEvents(callback: (() => void) | undefined): void {
    this.#native.onEvents(callback);
  }

  /**
   * Lists the connections in pieces of some hundreds, while packets flow. It may miss connections that open
   * or close meanwhile.
   *
   * Shape: ConnectionRecords, for `decodeConnections`; the reader may be slow.
   * Cost:  each worker does a short step between two batches, until it has listed its table.
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

  /** Whether something has passed or was denied that `hits` has not told yet; not of living connections. */
  get hasHits(): boolean {
    return this.#native.hitsWaiting() > 0;
  }

  /**
   * Tells what passed and was denied since the last time, in pieces of some hundreds, while packets flow: each
   * packet once. `live`: with what living connections have carried.
   *
   * Shape: HitRecords. A reader that stops halfway leaves the rest for the next one.
   * Cost:  as `connections` where `live`, else a step for each worker.
   */
  async *hits(live: boolean): AsyncGenerator<Uint8Array> {
    const place = new Uint32Array(2);
    while (place[0] !== NONE) {
      let round = 0;
      const start = () => {
        this.#native.readHits(place, live);
        this.#readsHits = true;
        round = this.#hitsRound;
      };
      const records = await this.#job("read the hits", start, place);
      // lastHits() has taken them meanwhile.
      if (typeof records === "number" || round !== this.#hitsRound) return;
      this.#readsHits = false;
      yield records;
    }
  }

  /** The same of a data plane that is stopped, with living connections. */
  *lastHits(): Generator<Uint8Array> {
    const place = new Uint32Array(2);
    // Of workers that do not run, this makes all steps.
    const take = () => native("read the hits", () => this.#native.takeJob(place));
    const begun = this.#readsHits ? take() : undefined;
    this.#readsHits = false;
    this.#hitsRound++;
    if (begun instanceof Uint8Array) yield begun;
    place.fill(0);
    while (place[0] !== NONE) {
      native("read the hits", () => this.#native.readHits(place, true));
      const records = take();
      if (!(records instanceof Uint8Array)) return;
      yield records;
    }
  }

  /**
   * Saves, while packets flow, the connections that the next process may load, however this one ends: those
   * whose both ends are confirmed to exist and that are not over.
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
   * Forgets connections by their keys from `connections`: their next packet is judged as a first one. Returns
   * how many existed.
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
   * Keeps a predecessor's links until their interfaces are added here: these are then taken over instead of
   * opened. Until `own` the predecessor holds the interfaces too.
   *
   * Owner: takes ownership of the descriptors.
   */
  inherit(handoffs: readonly LinkHandoff[]): void {
    this.#isSuccessor = true;
    this.#native.share(true);
    for (const handoff of handoffs) this.#inherited.set(handoff.interface, handoff);
  }

  /** Whether a predecessor holds the interfaces too: their settings must then stay unchanged. */
  get isSuccessor(): boolean {
    return this.#isSuccessor;
  }

  /**
   * Whether a predecessor's link of this interface, in this process's own namespace, waits to be taken over.
   */
  inherits(name: string): boolean {
    return this.#inherited.has(name);
  }

  /**
   * The predecessor has ended. Gives back inherited interfaces that were not added, since the config does not
   * want them. Each is taken first, because only its holder can remove its filters.
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
   * Returns what a successor needs to continue these links. They hold their interfaces until `close`. Links
   * that carry nothing are left out.
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
   * Stops and releases every link, but leaves each interface unchanged: a successor holds it, or will.
   */
  leave(): void {
    this.#native.share(true);
    this.close();
  }

  /** Takes over a predecessor's link of an interface; undefined when there is none. */
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
    const adopt = () =>
      this.#native.adoptLink(
        name,
        mac ?? "",
        { ...handoff, kind: linkKindWords.indexOf(kind) },
        lasting,
      );
    let linkId: number;
    try {
      linkId = this.#added(native(`take over ${name}`, adopt), options);
    } catch (error) {
      // It leads to another interface, such as one that was deleted since, and is closed.
      if (error instanceof DataplaneError && error.code === "argument") return undefined;
      throw error;
    }
    this.#countsBefore.set(linkId, counts);
    return { kind, linkId };
  }

  /**
   * Continues the predecessor's generations, so that the next table gets a higher one, and its counts.
   *
   * Errors: DataplaneError `state` when a table is in force already.
   */
  continueFrom(generation: number, totals?: Totals): void {
    native("go on with the generations", () => this.#native.continueFrom(generation));
    this.#totalsBefore = totals;
  }

  /**
   * Saves all connections for a successor, or those of `lastingConnections`. Yields SavedConnection records
   * in pieces; the next piece overwrites the previous one.
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
   * Loads connections; returns how many. The table in force judges each on its next packet, as after a swap.
   * Records of a generation that this data plane does not continue are always judged again, so any source of
   * connections can be used.
   *
   * Shape: whole SavedConnection records; invalid ones are left out.
   * Cost: the workers stop meanwhile.
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

/** The value of an enum's word; without a word the first, which is the default. */
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

function presentTraits(name: string): InterfaceTraits | undefined {
  try {
    return interfaceTraits(undefined, name);
  } catch (error) {
    if (error instanceof DataplaneError && error.code === "ENODEV") return undefined;
    throw error;
  }
}

/** Runs a step. Returns why the environment refuses it; empty when it does not. */
function refusalOf(step: () => void): string {
  try {
    step();
    return "";
  } catch (error) {
    if (!(error instanceof DataplaneError)) throw error;
    return `${error.syscall ?? "link"}: ${error.code}`;
  }
}
