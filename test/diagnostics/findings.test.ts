import { expect, test } from "vitest";
import { type Diagnostic, diagnostic } from "../../src/diagnostics/diagnostic.js";
import {
  Findings,
  REPORTED_IN_ALL,
  REPORTED_PER_FILE,
  reported,
} from "../../src/diagnostics/findings.js";
import { SourceText } from "../../src/manifest/source-text.js";

function at(file: string, line: number, code: "SL1001" | "SL1301" | "SL1303"): Diagnostic {
  return diagnostic(
    code,
    { file, line, column: 1, endLine: line, endColumn: 1 },
    `of line ${line}`,
  );
}

test("of many errors of a file a hundred are reported, and the others are counted at the first of them", () => {
  const findings = new Findings();
  for (let line = 1_000; line > 0; line--) findings.push(at("a", line, "SL1001"));
  for (let line = 1; line <= REPORTED_PER_FILE; line++) findings.push(at("b", line, "SL1301"));
  const all = findings.all();
  expect(findings.errors).toBe(1_000);
  expect(all.map(({ span }) => span.file)).toEqual([
    ...new Array(REPORTED_PER_FILE + 1).fill("a"),
    ...new Array(REPORTED_PER_FILE).fill("b"),
  ]);
  expect(all[0]?.span.line).toBe(901);
  expect(all[REPORTED_PER_FILE]).toMatchObject({
    code: "SL1015",
    message: "got 900 more errors from here on, want none",
    span: { line: 900 },
  });
});

test("errors leave room for warnings, and are counted apart from them", () => {
  const lines = Array.from({ length: 150 }, (_, index) => index + 1);
  const found = lines.flatMap((line) =>
    (["SL1001", "SL1301", "SL1303"] as const).map((code) => at("a", line, code)),
  );
  const count = (code: string) => reported(found).filter((each) => each.code === code).length;
  expect(["SL1001", "SL1301", "SL1303", "SL1015", "SL1306"].map(count)).toEqual([
    REPORTED_PER_FILE,
    REPORTED_PER_FILE,
    REPORTED_PER_FILE,
    1,
    1,
  ]);
});

test("of many files with errors as many are reported as a person reads", () => {
  const found = Array.from({ length: 5_000 }, (_, file) => at(`file ${file}`, 1, "SL1001"));
  const all = reported(found);
  expect(all.filter(({ code }) => code === "SL1001").length).toBe(REPORTED_IN_ALL);
  expect(all.slice(REPORTED_IN_ALL)).toMatchObject([
    { code: "SL1015", message: "got 4000 more errors from here on, want none" },
  ]);
});

test("a finding takes along the line that it points at", () => {
  const source = new SourceText("a", "one\r\ntwo\n");
  const [first, second, third] = reported(
    [1, 2, 9].map((line) => at("a", line, "SL1001")),
    new Map([["a", source]]),
  );
  expect(first?.excerpt).toEqual({ text: "one", from: 0 });
  expect(second?.excerpt).toEqual({ text: "two", from: 0 });
  expect(third).not.toHaveProperty("excerpt");
});
