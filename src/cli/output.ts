import picocolors from "picocolors";
import { sanitize, sanitizedJson } from "../diagnostics/sanitize.js";
import type { Io, Output } from "./io.js";
import { ellipsisOf } from "./locale.js";

/** Ways to show text; each is the identity where colour is off. */
export type Styles = ReturnType<typeof picocolors.createColors>;

/**
 * Picks the styles for one of the two streams.
 *
 * `NO_COLOR` (any text) turns colour off, `FORCE_COLOR` (but `0`) on, `TERM=dumb` off, and else
 * only a terminal gets it. `--color` arrives here as the first two.
 */
export function styles(io: Io, stream: "stdout" | "stderr" = "stdout"): Styles {
  return picocolors.createColors(hasColor(io, stream));
}

function hasColor(io: Io, stream: "stdout" | "stderr"): boolean {
  const forced = io.env["FORCE_COLOR"] ?? "";
  if ((io.env["NO_COLOR"] ?? "") !== "") {
    return false;
  }
  if (forced !== "") {
    return forced !== "0";
  }
  return io.isTerminal[stream] && io.env["TERM"] !== "dumb";
}

/** Sanitizes every text of a document: names come from manifests. */
export function sanitizeAll<Document>(document: Document): Document {
  const clean = (_: string, value: unknown) =>
    typeof value === "string" ? sanitize(value) : value;
  return JSON.parse(JSON.stringify(document), clean) as Document;
}

/** Writes the one JSON document of `-o json`. */
export function writeJson(output: Output, value: unknown): void {
  output.write(`${sanitizedJson(value)}\n`);
}

/** A cell of a table: plain text, or text with a style. */
export type Cell = string | { readonly text: string; readonly style: (text: string) => string };

export interface TableOptions {
  readonly header?: readonly string[];
  /** Columns whose text is set to the right. */
  readonly right?: readonly number[];
  /** Width of the terminal: the widest column is cut. Absent: nothing is cut. */
  readonly columns?: number | undefined;
  /** The mark where a text was cut. */
  readonly ellipsis?: string;
}

/** Width when standard output is not a terminal. */
const columnsElsewhere = 100;

/** The limits of a table's width: the terminal's, or 100 columns. */
export function fitTo(io: Io): { readonly columns: number; readonly ellipsis: string } {
  const columns = (io.isTerminal.stdout ? io.stdout.columns : undefined) ?? columnsElsewhere;
  return { columns, ellipsis: ellipsisOf(io) };
}

const gap = "  ";
const leastWidth = 8;

/** Counts the columns that a table takes where nothing is cut. */
export function tableWidth(rows: readonly (readonly Cell[])[]): number {
  const widths: number[] = [];
  for (const row of rows) {
    widen(
      widths,
      row.map((cell) => sanitize(typeof cell === "string" ? cell : cell.text)),
    );
  }
  return totalWidth(widths);
}

/** Makes columns as wide as a row needs them. */
function widen(widths: number[], texts: readonly string[]): void {
  for (const [column, text] of texts.entries()) {
    widths[column] = Math.max(widths[column] ?? 0, displayWidth(text));
  }
}

function totalWidth(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width, gap.length * (widths.length - 1));
}

/** Lays rows out in columns, sanitized; one line a row, each ended by a newline. */
export function renderTable(
  rows: readonly (readonly Cell[])[],
  options: TableOptions = {},
): string {
  return layOut(options.header ? [options.header, ...rows] : rows, options, []);
}

/** Rows that are laid out together: what comes later may still need wider columns. */
const rowsTogether = 1_000;

/** Writes a table whose rows come one after the other, however many. */
export class TableWriter {
  readonly #output: Output;
  readonly #options: TableOptions;
  readonly #widths: number[] = [];
  #rows: (readonly Cell[])[];

  constructor(output: Output, options: TableOptions) {
    this.#output = output;
    this.#options = options;
    this.#rows = options.header ? [options.header] : [];
  }

  row(cells: readonly Cell[]): void {
    if (this.#rows.push(cells) >= rowsTogether) this.end();
  }

  /** Writes what has not been written yet. */
  end(): void {
    if (this.#rows.length === 0) return;
    this.#output.write(layOut(this.#rows, this.#options, this.#widths));
    this.#rows = [];
  }
}

/** `widths` are the least that the columns have; they become what they have here. */
function layOut(
  rows: readonly (readonly Cell[])[],
  options: TableOptions,
  widths: number[],
): string {
  const cells = rows.map((row) =>
    row.map((cell) => {
      const { text, style } = typeof cell === "string" ? { text: cell, style: undefined } : cell;
      return { text: sanitize(text), style };
    }),
  );
  for (const row of cells) {
    widen(
      widths,
      row.map(({ text }) => text),
    );
  }
  if (options.columns !== undefined) {
    narrow(widths, options.columns);
  }
  const lines = cells.map((row) =>
    row
      .map(({ text, style }, column) => {
        const width = widths[column] ?? 0;
        const cut = shorten(text, width, options.ellipsis ?? "…");
        const padding = " ".repeat(width - displayWidth(cut));
        const shown = style ? style(cut) : cut;
        return options.right?.includes(column) ? padding + shown : shown + padding;
      })
      .join(gap)
      .trimEnd(),
  );
  return lines.map((line) => `${line}\n`).join("");
}

/** Takes from the widest column until the row fits, leaving each something to read. */
function narrow(widths: number[], columns: number): void {
  let excess = totalWidth(widths) - columns;
  while (excess > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    const width = widths[widest] ?? 0;
    if (width <= leastWidth) {
      return;
    }
    widths[widest] = width - 1;
    excess--;
  }
}

export function shorten(text: string, width: number, ellipsis: string): string {
  if (displayWidth(text) <= width) {
    return text;
  }
  let kept = "";
  for (const character of text) {
    if (displayWidth(kept + character) > width - ellipsis.length) {
      break;
    }
    kept += character;
  }
  return `${kept}${ellipsis}`;
}

const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;

/** Counts the columns that sanitized text takes. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    width += /\p{M}/u.test(character) ? 0 : wide.test(character) ? 2 : 1;
  }
  return width;
}
