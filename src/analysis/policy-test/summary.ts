import type { FileResult, TestResult } from "./run-tests.js";

/** All files of a run. */
export interface TestReport {
  readonly files: readonly FileResult[];
  readonly durationMs: number;
}

export interface TestSummary {
  readonly ok: boolean;
  readonly tests: number;
  readonly passed: number;
  /** Files without assertions among them. */
  readonly failed: number;
  readonly skipped: number;
  readonly connections: number;
}

/** What is said of a file that has no assertion: a green run of it would prove nothing. */
export const noAssertion = "the file has no assertion, so it proves nothing";

export function summarize({ files }: TestReport): TestSummary {
  const results = files.flatMap((each) => each.results);
  const of = (status: TestResult["status"]) =>
    results.filter((each) => each.status === status).length;
  const failed = of("failed") + files.filter((each) => each.results.length === 0).length;
  return {
    ok: failed === 0,
    tests: results.length,
    passed: of("passed"),
    failed,
    skipped: of("skipped"),
    connections: results.reduce((sum, each) => sum + each.connections, 0),
  };
}

/** The message of a result, which says so when the test proves nothing. */
export function messageOf({ vacuous, message }: TestResult): string {
  return vacuous ? `proves nothing: ${message}` : message;
}
