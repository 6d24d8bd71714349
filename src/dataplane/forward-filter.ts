import {
  Deny,
  dropReasonWords,
  exemptKindWords,
  ForwardCounters,
  type ForwardHook,
  readForwardCounters,
} from "../layout/layout.gen.js";
import type { Address } from "../net/address.js";
import type { Prefix } from "../net/prefix.js";
import { addon, type NativeForwardFilter, type NativePodConnectionEnds } from "./addon.js";
import type { Deny as DenyWord } from "./dataplane.js";
import { native, nativeAsync } from "./errors.js";
import type { TableBlob } from "./table-blob.js";

/**
 * Puts the nftables rules that the forward hook needs, unless they are there: connections are tracked, and frames
 * between ports of a bridge that are neither IP nor ARP do not pass. `isFirst`: in any case, as they may be an earlier
 * version's. Returns false where the kernel has no rules for bridges. Errors: DataplaneError.
 */
export function keepForwardRules(isFirst: boolean): boolean {
  const bridges = native("make the kernel track connections", () =>
    addon().keepForwardRules(isFirst),
  );
  return bridges ?? true;
}

/** Takes these rules away. Errors: DataplaneError. */
export function removeForwardRules(): void {
  native("remove the rules of the forward hook", () => addon().removeForwardRules());
}

/** What the kernel has judged since the programs were first pinned. */
export interface ForwardCounts {
  /** Packets, a superframe being one, and their bytes from the IP header on. */
  readonly totalPackets: number;
  readonly totalBytes: number;
  /** First packets of connections that were allowed. */
  readonly opened: number;
  /** First packets that audit alone let through. */
  readonly audited: number;
  readonly eventsLost: number;
  /** Resets and ICMP errors that this process has sent for what policy denied. */
  readonly rejected: number;
  /** By the word of a DropReason; those that never occurred are absent. */
  readonly drops: Readonly<Record<string, number>>;
  /** Messages that no policy judges, by kind; those that never occurred are absent. */
  readonly exempt: Readonly<Record<string, number>>;
}

/** The most ranges of a family that the kernel's programs look through. */
export const rangesMax = 4;

const denies: Readonly<Record<DenyWord, Deny>> = { drop: Deny.Drop, reject: Deny.Reject };

/**
 * The compiled table at the kernel's forward hook: it judges all that this network namespace routes or bridges.
 *
 * What is attached stays when the process ends, and goes on judging by its last table; `remove` takes it away.
 *
 * Owner:  frees its memory with the garbage collector; nothing of it has to be closed.
 * Errors: DataplaneError, also of every call.
 */
export class ForwardFilter {
  readonly #native: NativeForwardFilter;
  readonly folder: string;
  #inForce: TableBlob | undefined;
  /** Settles when the kernel has done with the table before: a table that comes later need not wait for that. */
  #settling: Promise<void> = Promise.resolve();

  private constructor(instance: NativeForwardFilter, folder: string) {
    this.#native = instance;
    this.folder = folder;
  }

  /**
   * Opens what is pinned in a folder of a bpf file system, or makes it; asks the kernel whether it has the hook. With
   * `reject`, ForwardHook.Netfilter has senders of what policy denies answered as long as this process lives.
   * Errors: DataplaneError; `flock` where another process has it open.
   */
  static open(folder: string, hook: ForwardHook, deny: DenyWord): ForwardFilter {
    return native("prepare the programs for the kernel's forward hook", () => {
      const { NativeForwardFilter } = addon();
      return new ForwardFilter(new NativeForwardFilter(folder, hook, denies[deny]), folder);
    });
  }

  /** Detaches what is pinned in a folder; it may be absent. */
  static remove(folder: string): void {
    native("detach the programs from the kernel's forward hook", () =>
      addon().removeForwardFilter(folder),
    );
  }

  /**
   * Puts a table in force; the blob must not change until then. Before the first, nothing passes.
   *
   * Cost: what has changed since the table in force, as far as `blob` knows it; else a copy and a check of the whole.
   */
  async publish(blob: TableBlob, generation: number): Promise<void> {
    await this.#settling;
    const lines = this.#inForce && blob.linesSince(this.#inForce);
    // After an error, a whole table can be put in force.
    this.#inForce = undefined;
    await nativeAsync("put a table in force in the kernel", () =>
      lines === undefined
        ? this.#native.publish(blob.bytes, generation)
        : this.#native.publishLines(lines.numbers, lines.bytes, generation),
    );
    this.#inForce = blob;
    this.#settling = this.#native.settle();
  }

  /** Attaches what is not attached yet. */
  attach(): void {
    native("attach to the kernel's forward hook", () => this.#native.attach());
  }

  /** Whether it is attached: somebody may have removed it. */
  get isAttached(): boolean {
    return this.#native.isAttached();
  }

  /**
   * From now on, an address of these ranges that no local endpoint of the table has passes nothing: at most four
   * ranges of each family. `closesLink`: link-local, multicast and broadcast addresses neither.
   */
  setClosed(ranges: readonly Prefix[], closesLink: boolean): void {
    this.#native.setClosed(rangeWords(ranges, 4), rangeWords(ranges, 6), closesLink);
  }

  /** Keeps the node's ranges for later processes, closed or not: at most four of each family. */
  keepPodRanges(ranges: readonly Prefix[]): void {
    native("keep the node's pod ranges", () =>
      this.#native.keepPodRanges(rangeWords(ranges, 4), rangeWords(ranges, 6)),
    );
  }

  /** Those that were kept last, by an earlier process too. */
  get podRanges(): readonly Prefix[] {
    const bytes = this.#native.podRanges();
    const ranges: Prefix[] = [];
    let at = 0;
    for (const [family, length] of [
      [4, 4],
      [6, 16],
    ] as const) {
      for (let range = 0; range < rangesMax; range++, at += 2 * length) {
        const address = { family, bytes: bytes.slice(at, at + length) };
        const covered = bitsOf(bytes.subarray(at + length, at + 2 * length));
        if (covered > 0) ranges.push({ address, length: covered });
      }
    }
    return ranges;
  }

  /**
   * From now on, unless this is called again in time, nothing passes to and from local endpoints, whether this process
   * lives or not; those of `setOpenPods` pass everything. 0: the table goes on judging.
   */
  renewLease(forMs: number): void {
    this.#native.renewLease(forMs * 1e6);
  }

  /** The addresses that are open when the lease is over. Errors: DataplaneError; never more is open than wanted. */
  setOpenPods(addresses: readonly Address[]): void {
    const words = addresses.flatMap(({ family, bytes }) => {
      const whole = new Uint8Array(16);
      whole.set(bytes);
      return [family, ...wordsOf(whole)];
    });
    native("tell the kernel which pods fail open", () =>
      this.#native.setOpenPods(Uint32Array.from(words)),
    );
  }

  counts(): ForwardCounts {
    const bytes = new Uint8Array(ForwardCounters.bytes);
    native("read the kernel's counters", () => this.#native.readCounters(bytes));
    const { drops, exempt, ...totals } = readForwardCounters(new DataView(bytes.buffer), 0);
    return {
      ...totals,
      rejected: this.#native.rejects(),
      drops: byWord(dropReasonWords, drops),
      exempt: byWord(exemptKindWords, exempt),
    };
  }

  /** Fills FlowEvent records, as `Dataplane.drainEvents`. */
  drainEvents(buffer: Uint8Array): number {
    return this.#native.drainEvents(buffer);
  }

  /** As `Dataplane.askForDroppedFrames`, for what is dropped at the hook and by the guards of pods' interfaces. */
  askForDroppedFrames(wanted: boolean): void {
    this.#native.askForDrops(wanted);
  }

  /** Fills DroppedFrame records, as `Dataplane.drainDroppedFrames`. */
  drainDroppedFrames(buffer: Uint8Array): number {
    return this.#native.drainDrops(buffer);
  }

  /**
   * Follows the kernel's reports of connections that end; `inherited` is the descriptor by which a predecessor did so,
   * with what waits there. Owner: takes it. Errors: DataplaneError, where the kernel reports none.
   */
  followEnds(inherited = -1): ConnectionEnds {
    return native("follow the kernel's connections", () => {
      const { NativePodConnectionEnds } = addon();
      return new ConnectionEnds(new NativePodConnectionEnds(this.#native, inherited));
    });
  }

  /**
   * Lists the connections that the kernel tracks and that have a local endpoint at an end, as
   * `Dataplane.connections`. Both totals are 0 where the kernel does not count.
   */
  async *connections(): AsyncGenerator<Uint8Array> {
    const list = new (addon().NativePodConnectionList)(this.#native);
    for (;;) {
      const records = await nativeAsync("list the kernel's connections", () => list.next());
      if (records === null) return;
      if (records.length > 0) yield records;
    }
  }

  /** Leaves what is attached to another process: nothing is published from now on. */
  leave(): void {
    this.#native.leave();
  }

  /** Whether a packet of no connection passes, from its IP header on: for tests. */
  judgeOnce(packet: Uint8Array): boolean {
    return native("run a program once", () => this.#native.judgeOnce(packet));
  }
}

/** The ends of connections that the kernel tracks and that have a local endpoint at an end. */
export class ConnectionEnds {
  readonly #native: NativePodConnectionEnds;

  constructor(instance: NativePodConnectionEnds) {
    this.#native = instance;
  }

  /** Fills FlowEvent records, as `Dataplane.drainEvents`. Errors: DataplaneError. */
  drainEvents(buffer: Uint8Array): number {
    return native("read the kernel's connections", () => this.#native.drain(buffer));
  }

  /** By which a successor can go on. Owner: this; it is closed with the garbage collector. */
  get descriptor(): number {
    return this.#native.descriptor();
  }

  /** How often reports were lost because they came faster than they were read. */
  get overruns(): number {
    return this.#native.overruns();
  }
}

/** Address and mask of each range of a family, in the order of memory. */
function rangeWords(ranges: readonly Prefix[], family: 4 | 6): Uint32Array {
  return Uint32Array.from(
    ranges.flatMap((range) =>
      range.address.family === family
        ? [...wordsOf(range.address.bytes), ...wordsOf(maskOf(range))]
        : [],
    ),
  );
}

/** The bits that a range covers, as bytes of an address. */
function maskOf({ address, length }: Prefix): Uint8Array {
  return Uint8Array.from(address.bytes, (_, at) => {
    const covered = Math.min(8, Math.max(0, length - at * 8));
    return 256 - 2 ** (8 - covered);
  });
}

/** How many bits of a mask are set. */
function bitsOf(mask: Uint8Array): number {
  return mask.reduce((bits, byte) => bits + byte.toString(2).replaceAll("0", "").length, 0);
}

/** As the kernel reads them from memory. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(Uint8Array.from(bytes).buffer);
}

function byWord(
  words: readonly string[],
  counts: readonly number[],
): Readonly<Record<string, number>> {
  return Object.fromEntries(
    words.flatMap((word, at) => {
      const count = counts[at] ?? 0;
      return count === 0 ? [] : [[word, count]];
    }),
  );
}
