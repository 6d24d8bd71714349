import type { Excerpt, Span } from "../diagnostics/diagnostic.js";

/** Columns of a line that an excerpt shows. */
const EXCERPT_WIDTH = 100;

/** One file's text, which turns offsets into places. */
export class SourceText {
  readonly file: string;
  readonly text: string;
  #lineStarts: number[] | undefined;

  constructor(file: string, text: string) {
    this.file = file;
    this.text = text;
  }

  /** Cost: O(log lines); the first call reads the text once. */
  span(start: number, end: number): Span {
    const from = this.#place(start);
    const to = end === start ? from : this.#place(Math.max(start, end));
    return {
      file: this.file,
      line: from.line,
      column: from.column,
      endLine: to.line,
      endColumn: to.column,
    };
  }

  /** The line on which a span begins, cut around it; undefined when the text has no such line. */
  excerpt({ line, column }: Span): Excerpt | undefined {
    const whole = this.#ends(line);
    if (whole === undefined) return undefined;
    const [start, end] = whole;
    const from = Math.max(0, column - 1 - EXCERPT_WIDTH / 2);
    return {
      text: this.text.slice(start + from, Math.min(end, start + from + EXCERPT_WIDTH)),
      from,
    };
  }

  /** A line without its end, counted from 1; undefined when the text has no such line. */
  line(number: number): string | undefined {
    const whole = this.#ends(number);
    return whole && this.text.slice(...whole);
  }

  #ends(line: number): readonly [start: number, end: number] | undefined {
    this.#lineStarts ??= findLineStarts(this.text);
    const start = this.#lineStarts[line - 1];
    if (start === undefined) return undefined;
    const next = this.#lineStarts[line];
    const end = next === undefined ? this.text.length : next - 1;
    return [start, end > start && this.text[end - 1] === "\r" ? end - 1 : end];
  }

  #place(offset: number): { readonly line: number; readonly column: number } {
    this.#lineStarts ??= findLineStarts(this.text);
    const starts = this.#lineStarts;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - starts[low]! + 1 };
  }
}

function findLineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}
