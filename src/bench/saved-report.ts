import type { Report, Row } from "./report.js";

/** The report of an earlier run, beside which another is shown. */
export interface Earlier {
  /** When it ran. */
  readonly at: string;
  row(of: Pick<Row, "name" | "against">): Row | undefined;
}

/** Reads a report that was saved as JSON; a text says what is wrong with it. */
export function readReport(text: string): Report | string {
  let report: Partial<Report> | null;
  try {
    report = JSON.parse(text) as typeof report;
  } catch (error) {
    return `want the JSON of sluice bench: ${(error as Error).message}`;
  }
  const isWhole =
    Array.isArray(report?.rows) &&
    Array.isArray(report.comparisons) &&
    Array.isArray(report.results) &&
    typeof report.at === "string" &&
    report.rows.every(
      (row) =>
        typeof row?.name === "string" && typeof row.ratio === "number" && row.against !== undefined,
    );
  return isWhole
    ? (report as Report)
    : "want the JSON of sluice bench -o json, got another document";
}

export function earlierOf({ at, rows }: Report): Earlier {
  const known = new Map(rows.map((row) => [keyOf(row), row]));
  return { at, row: (of) => known.get(keyOf(of)) };
}

function keyOf({ name, against }: Pick<Row, "name" | "against">): string {
  return `${name}\n${against}`;
}

/** `+12 %`, or that this is no more than rounds of one run differ by. */
export function changeText(row: Row, before: Row): string {
  const share = row.ratio / before.ratio - 1;
  const percent = `${share >= 0 ? "+" : "−"}${Math.abs(share * 100).toFixed(0)} %`;
  const isClear = Math.abs(share) > Math.max(row.spread, before.spread);
  return isClear ? percent : `${percent}, within the spread`;
}
