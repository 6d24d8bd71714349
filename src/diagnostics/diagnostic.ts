import { catalogue, type DiagnosticCode } from "./catalogue.js";
import type { Severity } from "./severity.js";

export type { Severity } from "./severity.js";

/**
 * Where something was written. Lines and columns are 1-based; columns count UTF-16 units.
 *
 * An object of an API server has no place in a file: its line is 0.
 */
export interface Span {
  /** Path as the user gave it, or `<stdin>`, or an object such as `NetworkPolicy/shop/web@4711`. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Just past the last character; equal to the start when unknown. */
  readonly endLine: number;
  readonly endColumn: number;
}

/** A line of a text, or as much of it as is shown. */
export interface Excerpt {
  readonly text: string;
  /** Columns of the line before `text`. */
  readonly from: number;
}

/** The object that a diagnostic is about; empty strings when there is none. */
export interface ObjectRef {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** One finding about the user's input: a value, never thrown. `code` is listed in catalogue.md. */
export interface Diagnostic {
  readonly code: string;
  readonly severity: Severity;
  readonly span: Span;
  /** Lower case, no full stop, what was got and what was wanted. */
  readonly message: string;
  readonly object?: ObjectRef;
  /** The path that the Kubernetes API server names, such as `spec.ingress[0].ports[0].endPort`. */
  readonly field?: string;
  /** How many unreported findings this one stands for; absent: only itself. */
  readonly count?: number;
  /** The line that the span points at, as it was when it was read. */
  readonly excerpt?: Excerpt;
}

/** The place of a file as a whole. */
export function startOfFile(file: string): Span {
  return { file, line: 1, column: 1, endLine: 1, endColumn: 1 };
}

/** Makes a diagnostic of the severity that the catalogue gives its code. */
export function diagnostic(
  code: DiagnosticCode,
  span: Span,
  message: string,
  about: { readonly object?: ObjectRef | undefined; readonly field?: string | undefined } = {},
): Diagnostic {
  const { object, field } = about;
  return {
    code,
    severity: catalogue[code][0],
    span,
    message,
    ...(object === undefined ? {} : { object }),
    ...(field === undefined ? {} : { field }),
  };
}

/** Writes a place as `file:line:column`, without the parts that it lacks. */
export function placeText({ file, line, column }: Pick<Span, "file" | "line" | "column">): string {
  return line === 0 ? file : `${file}:${line}:${column}`;
}

/** Orders diagnostics by place, then by code, so that equal input gives equal output. */
export function compareDiagnostics(a: Diagnostic, b: Diagnostic): number {
  if (a.span.file !== b.span.file) return a.span.file < b.span.file ? -1 : 1;
  if (a.span.line !== b.span.line) return a.span.line - b.span.line;
  if (a.span.column !== b.span.column) return a.span.column - b.span.column;
  return a.code === b.code ? 0 : a.code < b.code ? -1 : 1;
}

export function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some((each) => each.severity === "error");
}
