import { CommandError, exitCodes } from "./io.js";

const units: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Reads `500ms`, `30s`, `5m`, `1h` or `7d`, or several in a row, into milliseconds. Errors: CommandError (usage). */
export function readDuration(text: string, flag: string): number {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) {
    throw new CommandError(
      exitCodes.usage,
      `${flag}: got "${text}", want a time such as 30s or 5m`,
    );
  }
  let milliseconds = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    milliseconds += Number(count) * (units[unit ?? ""] ?? 0);
  }
  return milliseconds;
}

/** Writes how long ago a time was, in its two largest units as kubectl does: `45s`, `5m12s`, `3d4h`. */
export function ageText(since: string, nowMs = Date.now()): string {
  let rest = Math.max(0, Math.floor((nowMs - Date.parse(since)) / 1_000));
  const parts: string[] = [];
  for (const [unit, seconds] of [
    ["d", 86_400],
    ["h", 3_600],
    ["m", 60],
    ["s", 1],
  ] as const) {
    const amount = Math.floor(rest / seconds);
    rest -= amount * seconds;
    if (amount > 0 || parts.length > 0) parts.push(amount === 0 ? "" : `${amount}${unit}`);
  }
  return parts.slice(0, 2).join("") || "0s";
}

/** Says for how long a table has been in force; `since` is null before the first. */
export function sinceText(since: string | null): string {
  return since === null ? "no table yet" : `for ${ageText(since)}`;
}
