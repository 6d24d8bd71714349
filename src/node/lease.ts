import type { CompiledTable, FindObject } from "../control/table-compiler.js";
import type { ForwardFilter } from "../dataplane/forward-filter.js";
import { asksToFailOpen } from "../manifest/annotations.js";
import { type Address, formatAddress } from "../net/address.js";
import type { InPlaceConfig } from "./node-config.js";

/** How often it is renewed while it lasts. */
const renewals = 4;

/**
 * Renews the lease of the programs that judge in place: without it, local pods pass nothing when no process has been
 * there for so long, or everything where they and the operator both want that.
 */
export class Lease {
  readonly #filter: ForwardFilter;
  readonly #lease: NonNullable<InPlaceConfig["lease"]>;
  readonly #timer: NodeJS.Timeout;
  /** By text. */
  #open: ReadonlyMap<string, Address> = new Map();

  constructor(filter: ForwardFilter, lease: NonNullable<InPlaceConfig["lease"]>) {
    this.#filter = filter;
    this.#lease = lease;
    filter.renewLease(lease.ms);
    this.#timer = setInterval(() => filter.renewLease(lease.ms), lease.ms / renewals).unref();
  }

  /**
   * Learns from a table that comes into force which pods are open. What is open by only one of this table and the one
   * before is closed until the returned function is called, once it is in force. Errors: DataplaneError, of both.
   */
  learn({ ruleset }: CompiledTable, find: FindObject): () => void {
    const next = new Map<string, Address>();
    for (const endpoint of this.#lease.failMode === "open" ? ruleset.endpoints : []) {
      const pod = find("Pod", endpoint);
      if (pod === undefined || !asksToFailOpen(pod.meta)) continue;
      for (const address of endpoint.addresses) next.set(formatAddress(address), address);
    }
    const before = this.#open;
    this.#filter.setOpenPods(
      [...next].flatMap(([text, address]) => (before.has(text) ? [address] : [])),
    );
    return () => {
      this.#filter.setOpenPods([...next.values()]);
      this.#open = next;
    };
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
