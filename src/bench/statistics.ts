/** The value below which `share` (0 to 1) of the values lie, between neighbours in proportion. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const low = sorted[Math.floor(place)] ?? Number.NaN;
  const high = sorted[Math.ceil(place)] ?? Number.NaN;
  return low + (high - low) * (place - Math.floor(place));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/**
 * How far the values lie apart, as a share of their median: the middle half of them from five values
 * on, all of them below. 0 for one value.
 */
export function spreadOf(values: readonly number[]): number {
  const middle = median(values);
  const [low, high] = values.length < 5 ? [0, 1] : [0.25, 0.75];
  return middle === 0 ? 0 : (quantile(values, high) - quantile(values, low)) / Math.abs(middle);
}
