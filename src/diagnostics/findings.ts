import { count } from "./count.js";
import {
  compareDiagnostics,
  type Diagnostic,
  diagnostic,
  type Excerpt,
  type Severity,
  type Span,
} from "./diagnostic.js";

/** The most errors, and warnings, that are reported of one file; more are only counted. */
export const REPORTED_PER_FILE = 100;

/** The same, of all files together. */
export const REPORTED_IN_ALL = 1_000;

/** The lines of a text, which spans point at. */
export interface Lines {
  excerpt(span: Span): Excerpt | undefined;
  /** A line of the text, counted from 1. */
  line(number: number): string | undefined;
}

/** Receives findings. */
export interface Sink {
  push(found: Diagnostic): unknown;
}

/** Counts of reported findings, of one file or of all, and of unreported ones. */
interface Tally {
  reported: number;
  left: number;
  firstLeft: Diagnostic | undefined;
}

interface FileFindings {
  readonly reported: Diagnostic[];
  readonly tallies: Tallies;
}

type Tallies = { readonly [Each in Severity]: Tally };

/**
 * Collects findings, up to limits of a reader's patience and of memory.
 *
 * The author of a manifest controls the number of mistakes: a megabyte can hold a hundred thousand.
 *
 * Shape: SL1015 and SL1306 say how many errors and warnings were left out, at the place of the first.
 */
export class Findings implements Sink {
  readonly #files = new Map<string, FileFindings>();
  readonly #inAll = emptyTallies();
  #errors = 0;

  /** Errors found, including unreported ones. */
  get errors(): number {
    return this.#errors;
  }

  push(found: Diagnostic): void {
    this.#add(found, undefined);
  }

  /** Takes findings with the lines that they point at. */
  within(lines: Lines): Sink {
    return { push: (found) => this.#add(found, lines) };
  }

  /**
   * Returns the reported findings: files in the order of their first finding, each sorted by place.
   */
  all(): readonly Diagnostic[] {
    const byFile = [...this.#files.values()].flatMap(({ reported, tallies }) => [
      ...reported.sort(compareDiagnostics),
      ...further(tallies),
    ]);
    return [...byFile, ...further(this.#inAll)];
  }

  #add(found: Diagnostic, lines: Lines | undefined): void {
    const { severity, span } = found;
    if (severity === "error") this.#errors++;
    const inAll = this.#inAll[severity];
    const file = this.#fileOf(span.file, inAll.reported < REPORTED_IN_ALL);
    const inFile = file?.tallies[severity];
    if (
      file === undefined ||
      inFile === undefined ||
      inFile.reported >= REPORTED_PER_FILE ||
      inAll.reported >= REPORTED_IN_ALL
    ) {
      leaveOut(inFile ?? inAll, found);
      return;
    }
    inFile.reported++;
    inAll.reported++;
    const excerpt = lines?.excerpt(span);
    file.reported.push(excerpt === undefined ? found : { ...found, excerpt });
  }

  /** The entry of a file; makes one only if there is room. */
  #fileOf(name: string, hasRoom: boolean): FileFindings | undefined {
    let file = this.#files.get(name);
    if (file === undefined && hasRoom) {
      file = { reported: [], tallies: emptyTallies() };
      this.#files.set(name, file);
    }
    return file;
  }
}

function emptyTallies(): Tallies {
  const empty = (): Tally => ({ reported: 0, left: 0, firstLeft: undefined });
  return { error: empty(), warning: empty(), info: empty() };
}

function leaveOut(tally: Tally, found: Diagnostic): void {
  tally.left++;
  tally.firstLeft ??= found;
}

/** Says how many were left out. Infos do not count: they are not shown. */
function further(tallies: Tallies): readonly Diagnostic[] {
  return (["error", "warning"] as const).flatMap((severity) => {
    const { left, firstLeft } = tallies[severity];
    if (firstLeft === undefined) return [];
    const code = severity === "error" ? "SL1015" : "SL1306";
    const message = `got ${count(left, `more ${severity}`)} from here on, want none`;
    return [{ ...diagnostic(code, firstLeft.span, message), count: left }];
  });
}

/** Counts the findings of a severity, including unreported ones. */
export function countOf(diagnostics: readonly Diagnostic[], severity: Severity): number {
  return diagnostics
    .filter((each) => each.severity === severity)
    .reduce((sum, { count: standsFor = 1 }) => sum + standsFor, 0);
}

/** Returns findings with the lines that they point at, up to the limits. */
export function reported(
  found: readonly Diagnostic[],
  sources?: ReadonlyMap<string, Lines>,
): readonly Diagnostic[] {
  const findings = new Findings();
  for (const each of found) {
    const lines = sources?.get(each.span.file);
    if (lines === undefined) findings.push(each);
    else findings.within(lines).push(each);
  }
  return findings.all();
}
