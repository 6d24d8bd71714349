/** `12.3 k` and the like. */
export function short(value: number): string {
  if (value < 1_000) return String(value);
  for (const [unit, size] of [
    ["G", 1e9],
    ["M", 1e6],
    ["k", 1e3],
  ] as const) {
    if (value >= size) return `${(value / size).toFixed(value < size * 10 ? 1 : 0)} ${unit}`;
  }
  return String(value);
}

export function perSecond(rate: number): string {
  if (rate === 0) return "";
  return rate < 10 ? rate.toFixed(1) : short(Math.round(rate));
}

/** How long ago. */
export function ago(ms: number, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - ms) / 1_000));
  if (seconds < 2) return "now";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return new Date(ms).toISOString().slice(0, 10);
}

/** The time of day of a recording, in UTC as flows have it. */
export function clock(ms: number): string {
  return new Date(ms).toISOString().slice(11, 19);
}

export function counted(number: number, noun: string, many = `${noun}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 ? noun : many}`;
}

/** A name without its namespace. */
export function bareName(name: string, namespace: string): string {
  return namespace !== "" && name.startsWith(`${namespace}/`)
    ? name.slice(namespace.length + 1)
    : name;
}
