/** Returns the first place in an ascending list whose number is not below `value`. */
export function placeIn(list: readonly number[], value: number): number {
  return firstPlace(list.length, (at) => list[at]! >= value);
}

/** Returns the first place from 0 to `count` - 1 that holds; `count` when none does. */
export function firstPlace(count: number, holds: (at: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
