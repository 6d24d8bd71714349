import { catalogue, type DiagnosticCode } from "./catalogue.js";
import { type Diagnostic, placeText } from "./diagnostic.js";
import { kindAndName } from "./object-name.js";

export interface RenderOptions {
  /** Wraps a text for a terminal; the default leaves it as it is. */
  readonly paint?: (text: string, as: "error" | "warning" | "info" | "place" | "quiet") => string;
}

/**
 * Renders one diagnostic for a person: place and title, the line with a caret, got and want, object.
 *
 * Shape: lines without a final newline; no control character of the input comes through.
 */
export function renderDiagnostic(diagnostic: Diagnostic, options: RenderOptions = {}): string {
  const paint = options.paint ?? ((text: string) => text);
  const { severity, code } = diagnostic;
  const title = Object.hasOwn(catalogue, code) ? catalogue[code as DiagnosticCode][1] : undefined;
  const head = `${severity} ${code}`;
  const lines = [
    `${paint(placeOf(diagnostic), "place")}: ${paint(head, severity)}: ${title ?? printable(diagnostic.message)}`,
  ];
  lines.push(...excerptOf(diagnostic, paint));
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
    parts.push(printable(kindAndName(object).trimEnd()));
  }
  if (field !== undefined && field !== "") parts.push(printable(field));
  return parts.join(", ");
}

function excerptOf(
  { span, severity, excerpt }: Diagnostic,
  paint: NonNullable<RenderOptions["paint"]>,
): string[] {
  if (excerpt === undefined) return [];
  const shown = printable(excerpt.text);
  const caret = span.column - 1 - excerpt.from;
  const end = span.endLine === span.line ? span.endColumn : Number.POSITIVE_INFINITY;
  const width = Math.max(1, Math.min(end - span.column, shown.length - caret));
  const gutter = String(span.line).padStart(5);
  return [
    `${paint(`${gutter} |`, "quiet")} ${shown}`,
    `${paint(`${" ".repeat(5)} |`, "quiet")} ${" ".repeat(caret)}${paint("^".repeat(width), severity)}`,
  ];
}

/** Makes tabs and control characters one column wide and harmless to a terminal. */
function printable(text: string): string {
  return text
    .replace(/\t/g, " ")
    .replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");
}
