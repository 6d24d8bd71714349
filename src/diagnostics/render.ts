import { catalogue, type DiagnosticCode } from "./catalogue.js";
import { type Diagnostic, placeText } from "./diagnostic.js";

export interface RenderOptions {
  /** Returns the text of a file, for the excerpt; undefined leaves the excerpt out. */
  readonly sourceOf?: (file: string) => string | undefined;
  /** Wraps a text for a terminal; the default leaves it as it is. */
  readonly paint?: (text: string, as: "error" | "warning" | "info" | "place" | "quiet") => string;
}

/** Columns of a source line that an excerpt shows. */
const EXCERPT_WIDTH = 100;

/**
 * Renders one diagnostic for a person: place and title, the line with a caret, got and want, object.
 *
 * Shape: lines without a final newline; no control character of the input comes through.
 */
export function renderDiagnostic(diagnostic: Diagnostic, options: RenderOptions = {}): string {
  const paint = options.paint ?? ((text: string) => text);
  const { span, severity, code } = diagnostic;
  const title = Object.hasOwn(catalogue, code) ? catalogue[code as DiagnosticCode][1] : undefined;
  const head = `${severity} ${code}`;
  const lines = [
    `${paint(placeOf(diagnostic), "place")}: ${paint(head, severity)}: ${title ?? printable(diagnostic.message)}`,
  ];
  const source = options.sourceOf?.(span.file);
  if (source !== undefined) lines.push(...excerpt(source, diagnostic, paint));
  if (title !== undefined) lines.push(`  ${printable(diagnostic.message)}`);
  const about = aboutOf(diagnostic);
  if (about !== "") lines.push(paint(`  in ${about}`, "quiet"));
  return lines.join("\n");
}

/** Renders one diagnostic on one line, for editors and logs. */
export function renderDiagnosticLine(diagnostic: Diagnostic): string {
  const { severity, code, message } = diagnostic;
  const about = aboutOf(diagnostic);
  const tail = about === "" ? "" : ` (${about})`;
  return `${placeOf(diagnostic)}: ${severity} ${code}: ${printable(message)}${tail}`;
}

function placeOf({ span }: Diagnostic): string {
  return printable(placeText(span));
}

function aboutOf({ object, field }: Diagnostic): string {
  const parts: string[] = [];
  if (object !== undefined && object.kind !== "") {
    const name = object.namespace === "" ? object.name : `${object.namespace}/${object.name}`;
    parts.push(printable(`${object.kind} ${name}`.trimEnd()));
  }
  if (field !== undefined && field !== "") parts.push(printable(field));
  return parts.join(", ");
}

function excerpt(
  source: string,
  { span, severity }: Diagnostic,
  paint: NonNullable<RenderOptions["paint"]>,
): string[] {
  const text = lineOf(source, span.line);
  if (text === undefined) return [];
  const from = Math.max(0, span.column - 1 - EXCERPT_WIDTH / 2);
  const shown = printable(text.slice(from, from + EXCERPT_WIDTH));
  const caret = span.column - 1 - from;
  const end = span.endLine === span.line ? span.endColumn : text.length + 1;
  const room = shown.length - caret;
  const width = Math.max(1, Math.min(end - span.column, room));
  const gutter = String(span.line).padStart(5);
  return [
    `${paint(`${gutter} |`, "quiet")} ${shown}`,
    `${paint(`${" ".repeat(5)} |`, "quiet")} ${" ".repeat(caret)}${paint("^".repeat(width), severity)}`,
  ];
}

function lineOf(source: string, line: number): string | undefined {
  let start = 0;
  for (let at = 1; at < line; at++) {
    start = source.indexOf("\n", start) + 1;
    if (start === 0) return undefined;
  }
  const end = source.indexOf("\n", start);
  return source.slice(start, end < 0 ? undefined : end).replace(/\r$/, "");
}

/** Makes tabs and control characters one column wide and harmless to a terminal. */
function printable(text: string): string {
  return text
    .replace(/\t/g, " ")
    .replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");
}
