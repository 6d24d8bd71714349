/** A token bucket: a rate and a burst. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #filledMs = performance.now();

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
  }

  /** Takes a token; false when there is none. */
  take(): boolean {
    const nowMs = performance.now();
    const gained = ((nowMs - this.#filledMs) / 1_000) * this.#perSecond;
    this.#tokens = Math.min(this.#burst, this.#tokens + gained);
    this.#filledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

/** A bucket for each client; the least recent clients are dropped. */
export class ClientBuckets {
  readonly #make: () => TokenBucket;
  readonly #clientsMax: number;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(clientsMax: number, make: () => TokenBucket) {
    this.#clientsMax = clientsMax;
    this.#make = make;
  }

  take(client: string): boolean {
    const bucket = this.#buckets.get(client) ?? this.#make();
    this.#buckets.delete(client);
    this.#buckets.set(client, bucket);
    if (this.#buckets.size > this.#clientsMax) {
      for (const oldest of this.#buckets.keys()) {
        this.#buckets.delete(oldest);
        break;
      }
    }
    return bucket.take();
  }
}
