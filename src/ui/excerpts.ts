import type { Lines } from "../diagnostics/findings.js";

/** Lines of a manifest that an answer shows at most. */
const linesMax = 24;
const objectLinesMax = 14;
/** Lines of a policy that is edited. */
const policyLinesMax = 4_000;

/** Finds the text that a place names. */
export type Texts = Pick<ReadonlyMap<string, Lines>, "get">;

/** The texts of manifests, by the names that places carry. */
export class Excerpts {
  readonly #sources: Texts;

  constructor(sources: Texts = new Map()) {
    this.#sources = sources;
  }

  /**
   * The lines of the YAML node that begins at a place: those that follow and are indented further, without what is
   * indented like it. Empty where the text is not at hand.
   */
  node(file: string, line: number): readonly string[] {
    const first = this.#line(file, line);
    if (first === undefined) return [];
    // A whole object begins at the first column, and its head says the least.
    if (indentOf(first) === 0 && !first.startsWith("-")) return this.#object(file, line);
    const lines = [first];
    // A list's item may be written as deep as its dash, or two deeper.
    const depth = indentOf(first);
    for (let at = line + 1; lines.length < linesMax; at++) {
      const next = this.#line(file, at);
      if (next === undefined || /^(---|\.\.\.)/.test(next)) break;
      if (next.trim() !== "" && indentOf(next) <= depth) break;
      lines.push(next);
    }
    while (lines.at(-1)?.trim() === "") lines.pop();
    return dedented(lines);
  }

  #object(file: string, line: number): readonly string[] {
    const text = this.document(file, line)?.trimEnd().split("\n") ?? [];
    return text.slice(0, objectLinesMax);
  }

  /** The document around a place; undefined where the text is not at hand. */
  document(file: string, line: number): string | undefined {
    if (this.#line(file, line) === undefined) return undefined;
    let start = line;
    while (start > 1 && !/^---/.test(this.#line(file, start - 1) ?? "---")) start--;
    const lines: string[] = [];
    for (let at = start; lines.length < policyLinesMax; at++) {
      const next = this.#line(file, at);
      if (next === undefined || (at > line && /^---/.test(next))) break;
      lines.push(next);
    }
    return `${lines.join("\n").trim()}\n`;
  }

  #line(file: string, line: number): string | undefined {
    if (line < 1) return undefined;
    return this.#sources.get(file)?.line(line);
  }
}

function indentOf(line: string): number {
  return line.search(/\S|$/);
}

function dedented(lines: readonly string[]): readonly string[] {
  const depth = Math.min(...lines.filter((line) => line.trim() !== "").map(indentOf));
  return lines.map((line) => line.slice(depth));
}
