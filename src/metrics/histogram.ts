/** Upper bounds that suit times from a tenth of a millisecond to a minute, in seconds. */
const secondsBounds: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  30, 60,
];

/** Counts values by size, as Prometheus wants them. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  constructor(bounds: readonly number[] = secondsBounds) {
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    const place = this.#bounds.findIndex((bound) => value <= bound);
    if (place >= 0) this.#counts[place]!++;
    this.#sum += value;
    this.#count++;
  }

  get sum(): number {
    return this.#sum;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * Estimates the value that a share of all values is at most: within its bucket, as Prometheus does.
   *
   * Shape: `share` from 0 to 1. Undefined while there are no values; the greatest bound when the value
   *        lies beyond it.
   */
  quantile(share: number): number | undefined {
    if (this.#count === 0) return undefined;
    const rank = share * this.#count;
    let below = 0;
    for (const [index, bound] of this.#bounds.entries()) {
      const inside = this.#counts[index]!;
      if (inside > 0 && below + inside >= rank) {
        const from = index === 0 ? 0 : this.#bounds[index - 1]!;
        return from + (bound - from) * Math.max(0, (rank - below) / inside);
      }
      below += inside;
    }
    return this.#bounds.at(-1);
  }

  /** How many values are at most as large as each bound; they add up. */
  get buckets(): readonly { readonly bound: number; readonly count: number }[] {
    let total = 0;
    return this.#bounds.map((bound, index) => {
      total += this.#counts[index]!;
      return { bound, count: total };
    });
  }
}
