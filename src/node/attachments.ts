import { compile } from "../compiler/compile.js";
import { contained } from "../control/boundary.js";
import type { FilteredInterface, NameGuardStatus } from "../control/control-routes.js";
import type { CompiledTable } from "../control/controller.js";
import type { Dataplane } from "../dataplane/dataplane.js";
import { DataplaneError } from "../dataplane/errors.js";
import { TableBlob } from "../dataplane/table-blob.js";
import type { Tell } from "../diagnostics/tell.js";
import { ZONES_MAX } from "../layout/layout.gen.js";
import type { Touched } from "../netlink/events.js";
import type { Attachment, OpenAttachment } from "./attachment.js";
import { Guard } from "./guard.js";
import type { ZoneHandoff } from "./handoff/handoff-state.js";
import { podText } from "./node-config.js";
import { refuseHeld, refuseNeeded } from "./refused-wires.js";

/**
 * The most for one AF_PACKET interface and for all together: 7 MiB and half a gigabyte at an MTU of 1,500.
 */
const slotsMax = 256;
const slotsTotal = 64 * slotsMax;
const slotsMin = 16;

interface Held {
  readonly wanted: Attachment;
  readonly open: OpenAttachment;
  readonly zone: number;
}

export interface AttachmentsOptions {
  readonly dataplane: Dataplane;
  readonly tell: Tell;
  /** A table has come into force. */
  readonly swapped: (generation: number, table: CompiledTable) => void;
  /** Whether wires may take interfaces that this machine's own traffic needs. */
  readonly takesNeeded?: boolean;
  /** An interface was deleted, was taken again, or changed in another way. */
  readonly changed?: () => void;
}

/**
 * The attachments of one data plane.
 *
 * A change has four steps: it takes the new attachments, puts a table in force that knows them, joins their
 * ends, and gives back the attachments that are not wanted any more. In this order no frame passes unjudged,
 * and the attachments that stay are not disturbed. Only when a new attachment wants an interface that an old
 * one holds, the old one goes first; the kernel stack is blocked on that interface meanwhile.
 */
export class Attachments {
  readonly #options: AttachmentsOptions;
  /** Interface names by link, cached for one turn of the event loop. */
  #names: ReadonlyMap<number, string> | undefined;
  #inherited: readonly ZoneHandoff[] = [];
  #held: readonly Held[] = [];
  #table: CompiledTable | undefined;
  /** The table that the data plane judges by. During a change it differs from `#table`. */
  #judging: CompiledTable | undefined;
  #generation = 0;
  #isStarted = false;
  #slots = slotsMax;
  #nextZone = 0;
  readonly #guard: Guard;
  /** Attachments that are held closed, and have not joined by a table that judges. */
  #isHolding = false;
  /** Whether `hold` has started the workers, and `start` has not been called. */
  #isHeld = false;
  #unjoined: ReadonlySet<OpenAttachment> = new Set();
  #retaken = 0;
  #hasEnded = false;
  /** A successor may be taking the interfaces over: leave them as they are. */
  #isFrozen = false;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: AttachmentsOptions) {
    this.#options = options;
    this.#guard = new Guard(options.tell);
  }

  get nameGuard(): NameGuardStatus {
    return this.#guard.status;
  }

  /** Interfaces that were taken again, since the start. */
  get retaken(): number {
    return this.#retaken;
  }

  interfaces(): readonly FilteredInterface[] {
    return this.#held.flatMap(({ wanted, open, zone }) =>
      open.interfaces.map((each) => ({
        ...each,
        zone,
        pod: each.role === "endpoint" ? podText(wanted.pod) : null,
        ...(wanted.mode === undefined ? {} : { mode: wanted.mode }),
      })),
    );
  }

  /** The name of a link's interface. Called for each flow, so names are cached. */
  interfaceName(linkId: number): string | undefined {
    if (this.#names === undefined) {
      this.#names = new Map(this.interfaces().map((each) => [each.linkId, each.name]));
      // Interfaces are renamed and made anew between two events, and not within one.
      setImmediate(() => {
        this.#names = undefined;
      }).unref();
    }
    return this.#names.get(linkId);
  }

  /**
   * Generation of the table in force. A failed change may have put the same table in force again.
   */
  get generation(): number {
    return this.#generation;
  }

  /**
   * Puts a table in force, by which these attachments and no others are judged; returns its generation.
   * Packets move from `start` on.
   *
   * Errors: what opening one throws, or what the swap throws; everything is then as it was. After `leave` or
   *         `close`, Error: the interfaces, and the guard of their names, are a successor's or the kernel's.
   */
  swapTo(wanted: readonly Attachment[], table: CompiledTable): number {
    if (this.#hasEnded) throw new Error("the interfaces have been released");
    const before = this.#held;
    this.#slots = slotsOf(wanted.length);
    this.#inherited = this.#inherited.filter((each) =>
      wanted.some(({ interfaces }) => interfaces.join() === each.interfaces.join()),
    );
    const identities = new Set(wanted.map(({ identity }) => identity));
    const stay = before.filter((held) => identities.has(held.wanted.identity));
    const leave = before.filter((held) => !stay.includes(held));
    const known = new Map(stay.map((held) => [held.wanted.identity, held]));
    const added = wanted.filter(({ identity }) => !known.has(identity));
    const contested = new Set(added.flatMap(({ interfaces }) => interfaces));
    const evicted = leave.filter(({ wanted: { interfaces } }) =>
      interfaces.some((name) => contested.has(name)),
    );

    const wires = added.filter(({ stateFolder }) => stateFolder === undefined);
    if (this.#options.takesNeeded !== true) refuseNeeded(wires);
    // New interfaces are closed by name before they are taken. A predecessor guards the interfaces that it
    // holds.
    if (!this.#options.dataplane.isSuccessor) {
      refuseHeld(wires, this.#guard.status.table);
      this.#holdGuard(before, added);
    }
    const opened = new Map<Attachment, Held>();
    const letGo = this.#keepClosed(evicted, added);
    try {
      for (const { wanted: old, open } of evicted) {
        if (isFollowed(old, added) && open.yield !== undefined) open.yield();
        else open.close();
      }
      for (const each of added) opened.set(each, this.#open(each, [...before, ...opened.values()]));
      const next = wanted.map((each) => {
        const held = known.get(each.identity);
        return held === undefined ? opened.get(each)! : { ...held, wanted: each };
      });
      const generation = this.#swap(next, table);
      for (const held of leave) if (!evicted.includes(held)) this.#giveBack(held);
      this.#holdGuard(this.#held);
      if (this.#isStarted) this.takeOverGuards();
      return generation;
    } catch (error) {
      for (const held of opened.values()) this.#giveBack(held);
      if (evicted.length > 0 || this.#judging !== this.#table) this.#restore(before, evicted);
      this.#holdGuard(this.#held);
      throw error;
    } finally {
      letGo();
    }
  }

  /**
   * Takes interfaces before there is a table that judges, and holds them closed by one that lets nothing pass. What
   * the workload has open is asked for at the first `swapTo`. Errors: as `swapTo`.
   */
  hold(wanted: readonly Attachment[], closed: CompiledTable): void {
    this.#isHolding = true;
    try {
      this.swapTo(wanted, closed);
    } finally {
      this.#isHolding = false;
    }
    this.#options.dataplane.start({ wires: "joined" });
    this.#isHeld = true;
  }

  /** Starts forwarding, for the first time or after a stop. */
  start(): void {
    if (!this.#isHeld) this.#options.dataplane.start({ wires: "joined" });
    this.#isHeld = false;
    if (!this.#isStarted) {
      this.#isStarted = true;
      for (const { open } of this.#held) open.started?.();
      this.takeOverGuards();
    }
    this.#isFrozen = false;
    this.follow();
  }

  /**
   * Takes over the names of its interfaces from the guards of processes that have ended, and the names in
   * `more`: interfaces of a predecessor that this config does not want.
   */
  takeOverGuards(more: readonly string[] = []): void {
    const names = [...guardedBy(this.#held).names, ...more];
    if (names.length > 0) this.#guard.takeOver(names);
  }

  /** Ignores every change of the interfaces until `start`. */
  freeze(): void {
    this.#isFrozen = true;
  }

  /**
   * Calls `follow` on the attachments whose interfaces have changed, or on all. They release deleted
   * interfaces and take those that were created again. Nothing passes in between, and no other attachment is
   * disturbed.
   */
  follow(touched?: Touched): void {
    if (this.#table === undefined || this.#isFrozen || !this.#isStarted) return;
    const concerned = this.#held.filter(
      ({ wanted, open }) =>
        touched === undefined ||
        wanted.interfaces.some((name) => touched.names.has(name)) ||
        open.indexes.some((index) => touched.indexes.has(index)),
    );
    if (concerned.length === 0) return;
    for (const { wanted, open } of concerned) {
      try {
        this.#retaken += open.follow();
      } catch (error) {
        this.#options.tell(`${wanted.name}: ${(error as Error).message}: nothing passes`, "error");
      }
    }
    try {
      this.#holdGuard(this.#held);
      this.#options.changed?.();
    } finally {
      this.#retryLater();
    }
  }

  /** The next attachments of these interfaces get the zones that the predecessor used for them. */
  inherit(zones: readonly ZoneHandoff[]): void {
    this.#inherited = zones;
  }

  zones(): readonly ZoneHandoff[] {
    return this.#held.map(({ wanted: { interfaces, stateFolder }, zone }) => ({
      interfaces,
      zone,
      ...(stateFolder === undefined ? {} : { stateFolder }),
    }));
  }

  /** The same for a successor, with what it must keep closed. */
  zonesToHandOn(): readonly ZoneHandoff[] {
    return this.zones().map((zone, at) => {
      const former = this.#held[at]?.open.former?.();
      return former === undefined ? zone : { ...zone, former };
    });
  }

  /**
   * Releases all attachments without a change to the interfaces: a successor holds them, or will.
   */
  leave(): void {
    this.#hasEnded = true;
    this.#guard.leave();
    clearTimeout(this.#retry);
    this.#held = [];
  }

  /** This process ends: restores each interface, or leaves it closed for a successor. */
  close(): void {
    this.#hasEnded = true;
    clearTimeout(this.#retry);
    const held = this.#held;
    this.#held = [];
    const stays = held.filter((each) => {
      this.#giveBack(each, () => (each.open.end ?? each.open.close).call(each.open));
      return each.open.staysClosed ?? false;
    });
    if (stays.length === 0) this.#guard.remove();
    else {
      this.#holdGuard(stays);
      this.#guard.leave();
    }
  }

  /** Retries interfaces that could not be taken, even if no event comes. */
  #retryLater(): void {
    clearTimeout(this.#retry);
    const waits = this.#held.flatMap(({ open }) => open.retryMs ?? []);
    if (waits.length === 0) return;
    const again = () => contained(this.#options.tell, "interfaces", () => this.follow());
    this.#retry = setTimeout(again, Math.min(...waits)).unref();
  }

  #holdGuard(held: readonly Held[], added: readonly Attachment[] = []): void {
    const { names, exempt } = guardedBy(held);
    this.#guard.hold({
      names: [...names, ...added.flatMap(({ interfaces }) => interfaces)],
      exempt: [...exempt, ...added.flatMap((each) => each.closedAlready?.() ?? [])],
    });
  }

  /**
   * Blocks the kernel stack on the interfaces that move from one attachment to another; the kernel might
   * forward between them by a bridge or a route. Returns the function that unblocks them.
   */
  #keepClosed(evicted: readonly Held[], added: readonly Attachment[]): () => void {
    const { dataplane } = this.#options;
    const wanted = new Set(added.flatMap(({ interfaces }) => interfaces));
    const shared = evicted
      .filter((each) => !isFollowed(each.wanted, added))
      .flatMap(({ wanted: { interfaces } }) => interfaces)
      .filter((name) => wanted.has(name));
    const guards: number[] = [];
    const letGo = () => {
      for (const linkId of guards.splice(0)) dataplane.removeLink(linkId);
    };
    try {
      for (const name of shared) {
        const linkId = closedLink(dataplane, name);
        if (linkId !== undefined) guards.push(linkId);
      }
    } catch (error) {
      letGo();
      throw error;
    }
    return letGo;
  }

  /**
   * Closes one attachment; reports an error instead of throwing it, so that the others are closed too.
   */
  #giveBack({ wanted, open }: Held, letGo = () => open.close()): void {
    try {
      letGo();
    } catch (error) {
      this.#options.tell(`${wanted.name}: not given back: ${(error as Error).message}`, "error");
    }
  }

  /** Opens an attachment in a zone that no other attachment has or had recently. */
  #open(wanted: Attachment, others: readonly Held[]): Held {
    const { dataplane, tell } = this.#options;
    const open = wanted.open({
      dataplane,
      tell,
      slots: this.#slots,
      mayWait: this.#mayWait(others),
      former: (name) => this.#inherited.flatMap(({ former }) => former?.[name] ?? []),
    });
    const taken = new Set(others.map(({ zone }) => zone));
    const before = this.#inherited.find(
      ({ interfaces }) => interfaces.join() === wanted.interfaces.join(),
    );
    if (before !== undefined && before.zone < ZONES_MAX && !taken.has(before.zone)) {
      return { wanted, open, zone: before.zone };
    }
    for (const { zone } of this.#inherited) taken.add(zone);
    while (taken.has(this.#nextZone)) this.#nextZone = (this.#nextZone + 1) % ZONES_MAX;
    const zone = this.#nextZone;
    this.#nextZone = (zone + 1) % ZONES_MAX;
    return { wanted, open, zone };
  }

  /** Whether an interface may be absent, because this process or its predecessor had it. */
  #mayWait(others: readonly Held[]): (name: string) => boolean {
    const before = [...others.map(({ wanted }) => wanted), ...this.#inherited];
    const known = new Set(before.flatMap(({ interfaces }) => interfaces));
    return (name) => known.has(name);
  }

  /**
   * Puts a table in force that is bound to these attachments, and joins the ends of the new ones.
   */
  #swap(next: readonly Held[], table: CompiledTable): number {
    const { dataplane, swapped } = this.#options;
    const held = next.filter(({ open }) => this.#unjoined.has(open) && !this.#isHolding);
    // Frames wait meanwhile: a segment of a connection that is not loaded yet would be reset.
    if (held.length > 0) dataplane.stop();
    // Without a link nothing is judged here, and only the generations are counted.
    const blob = next.length === 0 ? emptyTable() : table.blob;
    const generation = dataplane.swapTable(blob, bindings(next, table));
    this.#judging = table;
    this.#generation = generation;
    for (const { open, zone } of held) {
      const known = open.joining?.(zone, table);
      open.joined?.(known === undefined ? 0 : dataplane.loadConnections(known));
    }
    if (held.length > 0) dataplane.start({ wires: "joined" });
    const joined = new Set(this.#held.map(({ open }) => open));
    for (const { open, zone } of next) {
      if (joined.has(open)) continue;
      // Before a frame is judged, as above.
      const known = this.#isHolding ? undefined : open.joining?.(zone, table);
      const { inside, outside, routerAdvertisements } = open;
      const taken = dataplane.joinWire({ inside, outside, zone, routerAdvertisements }, known);
      if (!this.#isHolding) open.joined?.(taken);
    }
    this.#unjoined = new Set(this.#isHolding ? next.map(({ open }) => open) : []);
    if (this.#isStarted) for (const { open } of next) if (!joined.has(open)) open.started?.();
    this.#held = next;
    this.#table = table;
    swapped(generation, table);
    return generation;
  }

  /**
   * Undoes a failed change: takes the evicted attachments again, and judges by the previous table.
   */
  #restore(before: readonly Held[], evicted: readonly Held[]): void {
    const table = this.#table;
    if (table === undefined) return;
    const { dataplane } = this.#options;
    const mayWait = this.#mayWait(before);
    const again = before.flatMap((held): Held[] => {
      if (!evicted.includes(held)) return [held];
      try {
        const opening = {
          ...{ dataplane, tell: () => {}, slots: this.#slots, mayWait },
          former: () => [],
        };
        return [{ ...held, open: held.wanted.open(opening) }];
      } catch (error) {
        const { message } = error as Error;
        this.#options.tell(
          `${held.wanted.name}: cannot be taken again: ${message}: nothing passes`,
          "error",
        );
        return [];
      }
    });
    this.#swap(again, table);
  }
}

let empty: TableBlob | undefined;

function emptyTable(): TableBlob {
  if (empty !== undefined) return empty;
  const made = compile({ objects: [] });
  if (!made.ok) throw new Error("a table of nothing cannot be made");
  empty = new TableBlob(made.blob);
  return empty;
}

function guardedBy(held: readonly Held[]): { names: string[]; exempt: number[] } {
  const each = held.map(({ open }) => open.guarded);
  return {
    names: each.flatMap(({ names }) => names),
    exempt: each.flatMap(({ exempt }) => exempt),
  };
}

/** Slots for each interface's ring when this many attachments share the memory. */
function slotsOf(attachments: number): number {
  const share = Math.floor(slotsTotal / Math.max(1, 2 * attachments));
  return Math.min(slotsMax, Math.max(slotsMin, share));
}

/** Whether one of the new attachments continues in the place of `old`. */
function isFollowed(old: Attachment, added: readonly Attachment[]): boolean {
  return added.some((each) => each.follows?.(old) ?? false);
}

/**
 * A link that carries nothing and blocks the kernel stack; undefined when there is no such interface.
 */
function closedLink(dataplane: Dataplane, name: string): number | undefined {
  try {
    return dataplane.addPacketLink({ interface: name, slots: 0 });
  } catch (error) {
    if (error instanceof DataplaneError && error.code === "ENODEV") return undefined;
    throw error;
  }
}

/**
 * Pairs of an endpoint in the table and its link; a pod that the table does not have gets no pair.
 */
function bindings(held: readonly Held[], { ruleset }: CompiledTable): [number, number][] {
  const ids = new Map(ruleset.endpoints.map((endpoint, id) => [podText(endpoint), id]));
  return held.flatMap(({ wanted, open }): [number, number][] => {
    const id = ids.get(podText(wanted.pod));
    return id === undefined ? [] : [[id, open.inside]];
  });
}
