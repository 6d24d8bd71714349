import { messageOf, summarize, type TestReport } from "./summary.js";
import { partyText, serviceName } from "./texts.js";

/** The document of `--reporter json`. Shape: fields are only ever added within a schemaVersion. */
export function jsonReport(report: TestReport) {
  const { ok, ...summary } = summarize(report);
  return {
    schemaVersion: 1,
    ok,
    summary: { ...summary, durationMs: report.durationMs },
    files: report.files.map(({ file, results }) => ({
      file,
      ok: results.length > 0 && results.every((each) => each.status !== "failed"),
      tests: results.map((result) => {
        const { test, status, vacuous, connections, durationMs } = result;
        const { counterexample, explanation } = result;
        return {
          name: test.name,
          line: test.span.line,
          column: test.span.column,
          status,
          vacuous,
          expect: test.expect,
          from: partyText(test.from),
          to: partyText(test.to),
          service: serviceName(test.service),
          connections,
          durationMs,
          message: messageOf(result),
          counterexample: counterexample ?? null,
          explanation: explanation ?? null,
        };
      }),
    })),
  };
}
