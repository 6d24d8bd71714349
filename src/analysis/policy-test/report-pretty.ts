import { count } from "../../diagnostics/count.js";
import type { TestResult } from "./run-tests.js";
import { messageOf, noAssertion, summarize, type TestReport } from "./summary.js";

/** Wraps words for a terminal. */
export type TestPaint = (text: string, as: "passed" | "failed" | "skipped" | "quiet") => string;

/** Writes results for a person: a line a test, and under each failure its counterexample and why. */
export function prettyReport(report: TestReport, paint: TestPaint): string {
  const lines: string[] = [];
  for (const { file, results } of report.files) {
    lines.push(file);
    if (results.length === 0) lines.push(`  ${paint("FAIL", "failed")}  ${noAssertion}`);
    for (const result of results) lines.push(...resultLines(file, result, paint));
    lines.push("");
  }
  const { ok, tests, passed, failed, skipped, connections } = summarize(report);
  const parts = [
    paint(`${passed} passed`, ok ? "passed" : "quiet"),
    ...(failed > 0 ? [paint(`${failed} failed`, "failed")] : []),
    ...(skipped > 0 ? [paint(`${skipped} skipped`, "skipped")] : []),
  ];
  const size = `${count(tests, "test")}, ${count(connections, "connection")}, ${report.durationMs.toFixed(1)} ms`;
  lines.push(`${parts.join(", ")} ${paint(`(${size})`, "quiet")}`);
  return lines.map((line) => `${line}\n`).join("");
}

function resultLines(file: string, result: TestResult, paint: TestPaint): readonly string[] {
  const { test, status, connections, explanation } = result;
  switch (status) {
    case "passed": {
      const size = count(connections, "connection");
      return [`  ${paint("ok", "passed")}    ${test.name} ${paint(`(${size})`, "quiet")}`];
    }
    case "skipped":
      return [`  ${paint("skip", "skipped")}  ${test.name}: ${messageOf(result)}`];
    case "failed": {
      const place = `${file}:${test.span.line}:${test.span.column}`;
      const details = [messageOf(result), ...(explanation ?? "").trimEnd().split("\n")];
      return [
        `  ${paint("FAIL", "failed")}  ${test.name}  ${paint(place, "quiet")}`,
        ...details.filter((line) => line !== "").map((line) => `        ${line}`),
      ];
    }
  }
}
