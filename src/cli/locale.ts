import type { Io, Output } from "./io.js";

/** ASCII replacements for a locale with ASCII only; of the same width, except the ellipsis. */
const plain: Readonly<Record<string, string>> = {
  ...{ "…": "...", "·": "-", "×": "x", µ: "u", "–": "-" },
  ...{ "│": "|", "├": "|", "└": "`", "─": "-" },
};
const marks = new RegExp(`[${Object.keys(plain).join("")}]`, "g");

/** Formats for people; every other format is a document, which the locale does not change. */
const textFormats: readonly unknown[] = [undefined, "text", "table", "tree", "compact", "pretty"];

/** Whether a terminal's locale is C or POSIX. Without one nobody has asked for ASCII. */
function hasAsciiOnly({ env }: Io): boolean {
  const locale = [env["LC_ALL"], env["LC_CTYPE"], env["LANG"]].find((each) => each);
  return locale === "C" || locale === "POSIX";
}

/** The mark where a text was cut. */
export function ellipsisOf(io: Io): string {
  return hasAsciiOnly(io) ? "..." : "…";
}

/** Writes Sluice's own marks in ASCII if the locale has only ASCII. */
export function inLocale(io: Io, options: Readonly<Record<string, unknown>> = {}): Io {
  if (!hasAsciiOnly(io)) return io;
  const isText = [options["output"], options["reporter"]].every((each) =>
    textFormats.includes(each),
  );
  return {
    ...io,
    stderr: asciiOutput(io.stderr),
    ...(isText && { stdout: asciiOutput(io.stdout) }),
  };
}

function asciiOutput(output: Output): Output {
  return {
    ...(output.columns !== undefined && { columns: output.columns }),
    write: (chunk) =>
      output.write(
        typeof chunk === "string" ? chunk.replace(marks, (mark) => plain[mark] ?? mark) : chunk,
      ),
  };
}
