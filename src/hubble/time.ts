/** Microseconds since the epoch of an RFC 3339 time in UTC. */
export function timeUsOf(text: string): number {
  const micros = (/\.(\d{1,9})Z$/.exec(text)?.[1] ?? "").padEnd(6, "0").slice(0, 6);
  return Math.floor(Date.parse(text) / 1_000) * 1_000_000 + Number(micros);
}
