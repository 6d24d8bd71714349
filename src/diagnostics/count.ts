/** Writes a number with its noun: `1 pod`, `2 pods`; `many` where an s is not enough. */
export function count(number: number, noun: string, many = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : many}`;
}
