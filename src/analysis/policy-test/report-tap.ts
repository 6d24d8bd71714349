import { messageOf, noAssertion, type TestReport } from "./summary.js";
import { selectionText } from "./texts.js";

/**
 * Writes TAP version 14, one test point an assertion, with a YAML block where there is more to say.
 *
 * Source: testanything.org, "TAP version 14".
 */
export function tapReport({ files }: TestReport): string {
  const points: string[] = [];
  const point = (ok: boolean, name: string, directive = "") => {
    points.push(`${ok ? "ok" : "not ok"} ${points.length + 1} - ${escapeName(name)}${directive}`);
  };
  const block = (entries: Readonly<Record<string, unknown>>) => {
    // JSON texts are YAML, and hold whatever a name or an explanation has in it.
    const lines = Object.entries(entries).map(
      ([key, value]) => `  ${key}: ${JSON.stringify(value)}`,
    );
    points[points.length - 1] += `\n${["  ---", ...lines, "  ..."].join("\n")}`;
  };
  for (const { file, results } of files) {
    if (results.length === 0) {
      point(false, file);
      block({ message: noAssertion, at: { file, line: 1, column: 1 } });
    }
    for (const result of results) {
      const { test, status, durationMs, counterexample, explanation } = result;
      const { line, column } = test.span;
      const message = messageOf(result);
      if (status === "skipped") {
        point(true, test.name, ` # SKIP ${escapeName(message)}`);
        continue;
      }
      point(status === "passed", test.name);
      if (status === "passed") continue;
      block({
        message,
        selects: selectionText(test),
        expect: test.expect,
        at: { file, line, column },
        duration_ms: durationMs,
        ...(counterexample === undefined ? {} : { counterexample }),
        ...(explanation === undefined ? {} : { explanation }),
      });
    }
  }
  return `${["TAP version 14", `1..${points.length}`, ...points].join("\n")}\n`;
}

/** A `#` would begin a directive; a description is one line. */
function escapeName(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("#", "\\#").replaceAll(/\s+/g, " ");
}
