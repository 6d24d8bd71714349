import { ClientBuckets, TokenBucket } from "../control/token-bucket.js";
import type { GrpcBounds } from "./hubble-bounds.js";

/** Why a connection or a call was refused. */
export const refusals = ["connections", "rate", "calls", "client", "requests"] as const;

export type Refusal = (typeof refusals)[number];

/** What one client has under way. */
interface Share {
  calls: number;
  requestBytes: number;
}

const clientsMax = 4_096;

/** Calls within their bounds: those of all together, and of each client, so that none can hold what all share. */
export class Admission {
  /** How often something was refused. */
  readonly refused = Object.fromEntries(refusals.map((why) => [why, 0])) as Record<Refusal, number>;
  /** Calls that were let in. */
  admitted = 0;
  readonly #bounds: GrpcBounds;
  readonly #all: Share = { calls: 0, requestBytes: 0 };
  /** Of clients that have calls. */
  readonly #shares = new Map<string, Share>();
  readonly #bucket: TokenBucket;
  readonly #buckets: ClientBuckets;

  constructor(bounds: GrpcBounds) {
    this.#bounds = bounds;
    const { callsPerSecond, callsPerClientPerSecond } = bounds;
    this.#bucket = new TokenBucket(callsPerSecond, 2 * callsPerSecond);
    this.#buckets = new ClientBuckets(
      clientsMax,
      () => new TokenBucket(callsPerClientPerSecond, 2 * callsPerClientPerSecond),
    );
  }

  /** Calls under way. */
  get calls(): number {
    return this.#all.calls;
  }

  /** Lets a call begin, which ends with `leave`; otherwise says why not. */
  enter(client: string): string | undefined {
    if (!this.#buckets.take(client) || !this.#bucket.take()) {
      this.refused.rate++;
      return "too many calls in a second";
    }
    const own = this.#shares.get(client) ?? { calls: 0, requestBytes: 0 };
    if (own.calls >= this.#bounds.callsPerClientMax) {
      this.refused.client++;
      return `${own.calls} calls of this client are under way already`;
    }
    if (this.#all.calls >= this.#bounds.callsMax) {
      this.refused.calls++;
      return `${this.#all.calls} calls are under way already`;
    }
    this.#shares.set(client, own);
    for (const each of [own, this.#all]) each.calls++;
    this.admitted++;
    return undefined;
  }

  /** Whether a call's request may be kept while the call is under way; `bytes` are given back to `leave`. */
  keep(client: string, bytes: number): boolean {
    const { requestsBytesMax, requestsBytesPerClientMax } = this.#bounds;
    const own = this.#shares.get(client)!;
    if (
      this.#all.requestBytes + bytes > requestsBytesMax ||
      own.requestBytes + bytes > requestsBytesPerClientMax
    ) {
      this.refused.requests++;
      return false;
    }
    for (const each of [own, this.#all]) each.requestBytes += bytes;
    return true;
  }

  leave(client: string, bytes: number): void {
    const own = this.#shares.get(client)!;
    for (const each of [own, this.#all]) {
      each.calls--;
      each.requestBytes -= bytes;
    }
    if (own.calls === 0) this.#shares.delete(client);
  }
}
