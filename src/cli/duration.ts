import { CommandError, exitCodes } from "./io.js";

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Reads `500ms`, `30s`, `5m` or `1h`, or several in a row, into milliseconds. Errors: CommandError (usage). */
export function readDuration(text: string, flag: string): number {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) {
    throw new CommandError(
      exitCodes.usage,
      `${flag}: got "${text}", want a time such as 30s or 5m`,
    );
  }
  let milliseconds = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) {
    milliseconds += Number(count) * (units[unit ?? ""] ?? 0);
  }
  return milliseconds;
}
