export interface Growth {
  /** Of the least in the first and in the last third of what follows the warm-up. */
  readonly fromBytes: number;
  readonly toBytes: number;
  /** By the least squares over the least of each tenth. */
  readonly bytesPerMinute: number;
}

/**
 * Judges how memory grows.
 *
 * A collector's saw hides a leak from whoever looks at single samples: only the least of each stretch
 * says what could not be freed.
 *
 * Shape: `samples` at even distances of `everyMs`, at least thirty of them after the warm-up.
 */
export function growthOf(samples: readonly number[], everyMs: number, warmUpMs: number): Growth {
  const settled = samples.slice(Math.ceil(warmUpMs / everyMs));
  const tenth = Math.floor(settled.length / 10);
  if (tenth < 3) throw new Error(`got ${settled.length} samples after the warm-up, want 30`);
  const least = Array.from({ length: 10 }, (_, index) =>
    Math.min(...settled.slice(index * tenth, (index + 1) * tenth)),
  );
  const minutes = least.map((_, index) => (index * tenth * everyMs) / 60_000);
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const [meanMinute, meanBytes] = [mean(minutes), mean(least)];
  const covariance = mean(
    least.map((bytes, at) => (bytes - meanBytes) * (minutes[at]! - meanMinute)),
  );
  const variance = mean(minutes.map((minute) => (minute - meanMinute) ** 2));
  return {
    fromBytes: Math.min(...least.slice(0, 3)),
    toBytes: Math.min(...least.slice(-3)),
    bytesPerMinute: covariance / variance,
  };
}
