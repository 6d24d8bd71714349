import { assert, test } from "vitest";
import {
  compareDiagnostics,
  type Diagnostic,
  diagnostic,
  hasErrors,
} from "../../src/diagnostics/diagnostic.js";
import { renderDiagnostic, renderDiagnosticLine } from "../../src/diagnostics/render.js";
import { suggest } from "../../src/diagnostics/suggest.js";
import { SourceText } from "../../src/manifest/source-text.js";

const source = [
  "spec:",
  "  ingress:",
  "  - ports:",
  "    - port: 8080",
  "      endPort: 80",
  "",
].join("\n");
const span = { file: "web.yaml", line: 5, column: 16, endLine: 5, endColumn: 18 };
const object = { kind: "NetworkPolicy", namespace: "shop", name: "web" };
const found = diagnostic("SL1004", span, "got port 8080 to endPort 80, want more", {
  object,
  field: "spec.ingress[0].ports[0].endPort",
});

function withLine(each: Diagnostic, text: string): Diagnostic {
  const excerpt = new SourceText(each.span.file, text).excerpt(each.span);
  return excerpt === undefined ? each : { ...each, excerpt };
}

test("a diagnostic shows its place, its line with a caret, what was got, and its object", () => {
  assert.equal(
    renderDiagnostic(withLine(found, source)),
    [
      "web.yaml:5:16: error SL1004: port range ends before it starts",
      "    5 |       endPort: 80",
      "      |                ^^",
      "  got port 8080 to endPort 80, want more",
      "  in NetworkPolicy shop/web, spec.ingress[0].ports[0].endPort",
    ].join("\n"),
  );
});

test("one line is enough for editors and logs", () => {
  assert.equal(
    renderDiagnosticLine(found),
    "web.yaml:5:16: error SL1004: got port 8080 to endPort 80, want more " +
      "(NetworkPolicy shop/web, spec.ingress[0].ports[0].endPort)",
  );
});

test("a long line is cut around the caret, and the caret stays under its text", () => {
  const long = `a: "${"x".repeat(300)}!${"y".repeat(300)}"`;
  const at = long.indexOf("!") + 1;
  const place = { file: "f", line: 1, column: at, endLine: 1, endColumn: at + 1 };
  const lines = renderDiagnostic(withLine(diagnostic("SL1001", place, "m"), long)).split("\n");
  assert.equal(lines[1]![lines[2]!.indexOf("^")], "!");
  assert.isBelow(lines[1]!.length, 120);
});

test("a place past the end of the text has no excerpt, and nothing is thrown", () => {
  const place = { file: "f", line: 9, column: 9, endLine: 9, endColumn: 9 };
  const text = renderDiagnostic(withLine(diagnostic("SL1001", place, "m"), "a\n"));
  assert.equal(text.split("\n").length, 2);
});

// Goal: a manifest cannot write to the terminal of the one who checks it.
test("control characters of the input do not come through", () => {
  const hostile = diagnostic(
    "SL1001",
    { ...span, file: "\u001b[2J\n.yaml" },
    "got \u001b[31m\u202e",
  );
  const text = renderDiagnostic(withLine(hostile, "\n\n\n\n\u001b]0;title\u0007\u009b"));
  assert.notMatch(text.replaceAll("\n", ""), /[\p{Cc}\u202e]/u);
});

test("diagnostics are ordered by place, then code", () => {
  const at = (file: string, line: number, code: "SL1001" | "SL1101") =>
    diagnostic(code, { file, line, column: 1, endLine: line, endColumn: 1 }, "m");
  const sorted = [
    at("a", 1, "SL1001"),
    at("a", 1, "SL1101"),
    at("a", 2, "SL1001"),
    at("b", 1, "SL1001"),
  ];
  assert.deepEqual([...sorted].reverse().sort(compareDiagnostics), sorted);
});

test("only errors are errors", () => {
  assert.isTrue(hasErrors([found]));
  assert.isFalse(hasErrors([diagnostic("SL1301", span, "m"), diagnostic("SL1303", span, "m")]));
});

const suggestions: readonly [text: string, want: string | undefined][] = [
  ["podselector", "podSelector"],
  ["podSelecter", "podSelector"],
  ["pdoSelector", "podSelector"],
  ["ingres", "ingress"],
  ["selector", undefined],
  ["x", undefined],
  ["", undefined],
  ["z".repeat(1000), undefined],
];
for (const [text, want] of suggestions) {
  test(`suggest: "${text.slice(0, 20)}"`, () => {
    assert.equal(suggest(text, ["podSelector", "ingress", "egress"]), want);
  });
}
