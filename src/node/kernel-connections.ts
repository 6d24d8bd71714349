import type { ConnectionEndsStatus } from "../control/control-routes.js";
import type { ConnectionEnds, ForwardFilter } from "../dataplane/forward-filter.js";
import { readSetting } from "../dataplane/kernel-settings.js";
import type { Tell } from "../diagnostics/tell.js";
import { FlowEvent } from "../layout/layout.gen.js";

const reports = "net.netfilter.nf_conntrack_events";
const counts = "net.netfilter.nf_conntrack_acct";

/**
 * What the kernel's connection tracking tells of the pods' connections: their ends. Enforcement does without it, so
 * nothing of it fails the process.
 */
export class KernelConnections {
  readonly #filter: ForwardFilter;
  readonly #tell: Tell;
  #ends: ConnectionEnds | undefined;

  /** `inherited` is as of `ForwardFilter.followEnds`. */
  constructor(filter: ForwardFilter, tell: Tell, inherited?: number) {
    this.#filter = filter;
    this.#tell = tell;
    this.#try(() => {
      this.#ends = filter.followEnds(inherited);
    });
  }

  /** The descriptor by which ends are told; undefined where they are not. */
  get descriptor(): number | undefined {
    return this.#ends?.descriptor;
  }

  /** Fills FlowEvent records behind the first `filled`; returns how many there are then. */
  drainEvents(buffer: Uint8Array, filled: number): number {
    const free = buffer.subarray(filled * FlowEvent.bytes);
    let count = filled;
    this.#try(() => {
      if (free.length > 0) count += this.#ends?.drainEvents(free) ?? 0;
    });
    return count;
  }

  /** What fails once is not tried again: each new table drains the events too. */
  #try(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#ends = undefined;
      this.#tell(
        `${(error as Error).message}: flows do not report the ends of connections`,
        "warning",
      );
    }
  }

  /** ConnectionRecords, in pieces. */
  list(): AsyncGenerator<Uint8Array> {
    return this.#filter.connections();
  }

  get status(): ConnectionEndsStatus {
    return {
      told: this.#ends !== undefined && isOn(reports),
      counted: isOn(counts),
      overruns: this.#ends?.overruns ?? 0,
    };
  }
}

/** The reports have two ways of being on: always, or while somebody listens. */
function isOn(key: string): boolean {
  return (readSetting(key) ?? "0") !== "0";
}
