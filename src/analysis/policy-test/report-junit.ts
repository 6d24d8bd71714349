import type { TestResult } from "./run-tests.js";
import { messageOf, noAssertion, summarize, type TestReport } from "./summary.js";
import { selectionText } from "./texts.js";

/**
 * Writes JUnit's XML: a suite a file, a case an assertion; the body of a failure is its explanation.
 *
 * Source: the format has no standard; attributes are those that GitLab, Jenkins and GitHub's readers
 *         know, and `file` and `line`.
 */
export function junitReport(report: TestReport): string {
  const { tests, failed, skipped } = summarize(report);
  const empty = report.files.filter((each) => each.results.length === 0).length;
  const head = { name: "sluice test", tests: tests + empty, failures: failed, errors: 0, skipped };
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites${attributes({ ...head, time: seconds(report.durationMs) })}>`,
  ];
  for (const file of report.files) {
    const counts = summarize({ files: [file], durationMs: 0 });
    const durationMs = file.results.reduce((sum, each) => sum + each.durationMs, 0);
    const suite = {
      name: file.file,
      tests: Math.max(counts.tests, 1),
      failures: counts.failed,
      errors: 0,
      skipped: counts.skipped,
      time: seconds(durationMs),
      file: file.file,
    };
    lines.push(`  <testsuite${attributes(suite)}>`);
    if (file.results.length === 0) {
      const own = { name: "assertions", classname: file.file, file: file.file, line: 1, time: "0" };
      lines.push(
        `    <testcase${attributes(own)}>`,
        `      <failure${attributes({ type: "empty", message: noAssertion })}/>`,
        "    </testcase>",
      );
    }
    for (const result of file.results) lines.push(...caseLines(file.file, result));
    lines.push("  </testsuite>");
  }
  lines.push("</testsuites>");
  return `${lines.join("\n")}\n`;
}

function caseLines(file: string, result: TestResult): readonly string[] {
  const { test, status, vacuous, durationMs, explanation } = result;
  const open = `    <testcase${attributes({
    name: test.name,
    classname: selectionText(test),
    file,
    line: test.span.line,
    time: seconds(durationMs),
  })}`;
  const message = messageOf(result);
  if (status === "passed") return [`${open}/>`];
  if (status === "skipped") {
    return [`${open}>`, `      <skipped${attributes({ message })}/>`, "    </testcase>"];
  }
  const type = vacuous ? "vacuous" : "assertion";
  return [
    `${open}>`,
    `      <failure${attributes({ type, message })}>${escapeText(explanation ?? message)}</failure>`,
    "    </testcase>",
  ];
}

function attributes(values: Readonly<Record<string, string | number>>): string {
  return Object.entries(values)
    .map(([name, value]) => ` ${name}="${escapeText(String(value)).replaceAll(/\s/g, " ")}"`)
    .join("");
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};

/** XML 1.0 has no way to write most control characters, so they are shown as replaced. */
function escapeText(text: string): string {
  return text
    .replaceAll(/[&<>"']/g, (character) => entities[character]!)
    .replaceAll(/(?![\t\n\r])[\p{Cc}\p{Cs}\ufffe\uffff]/gu, "\ufffd");
}

function seconds(durationMs: number): string {
  return (durationMs / 1000).toFixed(6);
}
