import { didYouMean } from "../diagnostics/suggest.js";
import { wantDnsLabel } from "../manifest/names.js";
import { formatPrefix, readPrefix } from "../net/prefix.js";
import { type PodRanges, usualRanges, whyNoRange } from "../workloads/assign-addresses.js";
import { CommandError, exitCodes } from "./io.js";

/** Readers of flags' values. The specs import them, so they stand apart from those of arguments.ts, which load more. */

/** Reads a whole number of at least `least`. Errors: CommandError (usage). */
export function wholeNumber(least: number): (text: string, flag: string) => number {
  return (text, flag) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
      throw new CommandError(
        exitCodes.usage,
        `${flag}: got "${text}", want a whole number of at least ${least}`,
      );
    }
    return value;
  };
}

/** Reads the name of a namespace. Errors: CommandError (usage). */
export function readNamespaceName(text: string, flag: string): string {
  const want = wantDnsLabel(text);
  if (want === undefined) return text;
  throw new CommandError(exitCodes.usage, `${flag}: got "${text}", want ${want}`);
}

/** Reads a range, or one of each family with a comma between them. Errors: CommandError (usage). */
export function readPodRanges(text: string, flag: string): PodRanges {
  const refuse = (got: string, reason: string) =>
    new CommandError(exitCodes.usage, `${flag}: got "${got}", ${reason}`);
  const ranges = text.split(",").map((each) => {
    const read = readPrefix(each);
    if (!("prefix" in read))
      throw refuse(each, `want a range such as ${usualRanges.map(formatPrefix).join(" or ")}`);
    const why = whyNoRange(read.prefix);
    if (why !== undefined) throw refuse(each, `which ${why}`);
    return read.prefix;
  });
  if (new Set(ranges.map(({ address }) => address.family)).size < ranges.length) {
    throw refuse(text, "want one range of each family at most");
  }
  return ranges;
}

/** The text of ranges that `readPodRanges` reads. */
export function formatPodRanges(ranges: PodRanges): string {
  return ranges.map(formatPrefix).join(",");
}

/** Reads a number of seconds, parts of one too. Errors: CommandError (usage). */
export function seconds(least: number, most: number): (text: string, flag: string) => number {
  return (text, flag) => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= least && value <= most)) {
      throw new CommandError(
        exitCodes.usage,
        `${flag}: got "${text}", want seconds from ${least} to ${most}`,
      );
    }
    return value;
  };
}

/** Reads how wide blocks may be: `24`, or `24,64` with IPv6's. Errors: CommandError (usage). */
export function readBlockLengths(
  text: string,
  flag: string,
): { readonly 4: number; readonly 6: number } {
  const [four, six = 128, ...rest] = text
    .split(",")
    .map((each) => (/^\d{1,3}$/.test(each) ? Number(each) : Number.NaN));
  const isRight = rest.length === 0 && four! >= 8 && four! <= 32 && six >= 16 && six <= 128;
  if (isRight) return { 4: four!, 6: six };
  throw new CommandError(
    exitCodes.usage,
    `${flag}: got "${text}", want a length from 8 to 32, and behind a comma one from 16 to 128, such as 24,64`,
  );
}

/** The format whose template follows. */
export const jsonPathHead = "jsonpath=";

/** How lists are printed. */
export const listFormats = ["table", "wide", "json", "yaml", "name", jsonPathHead] as const;

export type ListFormat =
  | Exclude<(typeof listFormats)[number], typeof jsonPathHead>
  | `${typeof jsonPathHead}${string}`;

/** Reads a format; a template is left as it is. Errors: CommandError (usage). */
export function readListFormat(text: string, flag: string): ListFormat {
  const formats: readonly string[] = listFormats;
  if (text.startsWith(jsonPathHead) || formats.includes(text)) return text as ListFormat;
  throw new CommandError(
    exitCodes.usage,
    `${flag}: got "${text}", want one of ${formats.join(", ")}{…}${didYouMean(text, formats)}`,
  );
}
