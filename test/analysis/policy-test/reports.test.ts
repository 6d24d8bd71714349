import { assert, describe, test } from "vitest";
import { parse } from "yaml";
import { jsonReport } from "../../../src/analysis/policy-test/report-json.js";
import { junitReport } from "../../../src/analysis/policy-test/report-junit.js";
import { prettyReport } from "../../../src/analysis/policy-test/report-pretty.js";
import { tapReport } from "../../../src/analysis/policy-test/report-tap.js";
import type { TestReport } from "../../../src/analysis/policy-test/summary.js";
import { join, pod, policy } from "../lint/lint-manifests.js";
import { runText, stateOfText } from "./state.js";

const state = stateOfText(
  join(
    pod("shop/web", "10.0.0.1"),
    pod("shop/db", "10.0.0.2", { app: "db" }),
    policy("p", { podSelector: { matchLabels: { app: "db" } } }),
  ),
);
const nasty = String.raw`a # <b> & \"c\" \\ \u0001 'd' --- ]]>`;
const ran = runText(
  state,
  "{name: good, from: {pod: shop/web}, to: {pod: shop/db}, expect: deny}",
  `{name: "${nasty}", from: {pod: shop/web}, to: {pod: shop/db, port: 80}, expect: allow}`,
  "{name: vacuous, from: {pod: shop/web}, to: {pod: shop/no}, expect: deny}",
  "{name: outside, from: {ip: 192.0.2.1}, to: {pod: shop/db}, expect: deny}",
);
const [good, bad, vacuous, other] = ran.results;
const skipped = { ...other!, status: "skipped" as const, message: "cannot # be tried" };
const report: TestReport = {
  files: [
    { file: "a.yaml", results: [good!, bad!, vacuous!, skipped] },
    { file: "empty.yaml", results: [] },
  ],
  durationMs: 1.5,
};

interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: Element[];
  text: string;
}

/** Reads XML without namespaces, comments and sections; asserts that it is well-formed. */
function parseXml(text: string): Element {
  const decode = (raw: string): string => {
    assert.notMatch(raw.replaceAll(/&(amp|lt|gt|quot|apos);/g, ""), /[&<]/, "escaped");
    const entities: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
    return raw.replaceAll(/&(\w+);/g, (_, name: string) => entities[name]!);
  };
  const root: Element = { name: "", attributes: {}, children: [], text: "" };
  const open = [root];
  assert.notMatch(text, /(?![\t\n\r])\p{Cc}/u, "no control characters");
  const body = text.replace(/^<\?xml version="1\.0" encoding="UTF-8"\?>\n/, "");
  assert.notEqual(body, text, "has a declaration");
  const tag = /<(\/?)([a-z]+)((?: [a-z]+="[^"<]*")*)(\/?)>/g;
  let end = 0;
  for (const match of body.matchAll(tag)) {
    open.at(-1)!.text += decode(body.slice(end, match.index));
    end = match.index + match[0].length;
    const [, closes, name, attributes, alone] = match;
    if (closes === "/") {
      assert.equal(open.pop()!.name, name, "closes what is open");
      continue;
    }
    const pairs = [...attributes!.matchAll(/ ([a-z]+)="([^"]*)"/g)];
    const element: Element = {
      name: name!,
      attributes: Object.fromEntries(pairs.map(([, key, value]) => [key!, decode(value!)])),
      children: [],
      text: "",
    };
    open.at(-1)!.children.push(element);
    if (alone !== "/") open.push(element);
  }
  assert.equal(body.slice(end).trim(), "");
  assert.lengthOf(open, 1, "everything is closed");
  assert.lengthOf(root.children, 1, "one root");
  return root.children[0]!;
}

describe("reporters", () => {
  test("JUnit is well-formed, counts right and names file and line", () => {
    const suites = parseXml(junitReport(report));
    assert.include(suites.attributes, { tests: "5", failures: "3", skipped: "1", errors: "0" });
    const [first, second] = suites.children;
    assert.include(first!.attributes, { name: "a.yaml", tests: "4", failures: "2", skipped: "1" });
    const cases = first!.children;
    assert.deepEqual(
      cases.map((each) => each.attributes["line"]),
      ["4", "5", "6", "7"],
    );
    assert.deepEqual(
      cases.map((each) => each.children.map((child) => child.name)),
      [[], ["failure"], ["failure"], ["skipped"]],
    );
    assert.equal(cases[1]!.attributes["name"], "a # <b> & \"c\" \\ \ufffd 'd' --- ]]>");
    assert.include(cases[1]!.children[0]!.text, "shop/web (10.0.0.1) -> shop/db (10.0.0.2) 80/tcp");
    assert.equal(cases[2]!.children[0]!.attributes["type"], "vacuous");
    assert.include(second!.attributes, { tests: "1", failures: "1" });
  });

  test("TAP has a plan, one point each, and blocks that are YAML", () => {
    const lines = tapReport(report).trimEnd().split("\n");
    assert.deepEqual(lines.slice(0, 2), ["TAP version 14", "1..5"]);
    const points = lines.filter((line) => /^(not )?ok /.test(line));
    assert.deepEqual(
      points.map((line) => /^((?:not )?ok \d+) - /.exec(line)![1]),
      ["ok 1", "not ok 2", "not ok 3", "ok 4", "not ok 5"],
    );
    assert.match(points[3]!, / # SKIP cannot \\# be tried$/);
    // Of an escaped # no directive can begin.
    assert.notMatch(points[1]!.replaceAll("\\#", ""), /#/);
    const blocks = lines.join("\n").matchAll(/^ {2}---\n([\s\S]*?)^ {2}\.\.\.$/gm);
    const read = [...blocks].map(([, yaml]) => parse(yaml!) as Record<string, unknown>);
    assert.lengthOf(read, 3);
    assert.deepEqual(read[0]!["at"], { file: "a.yaml", line: 5, column: 5 });
    assert.include(read[0]!["explanation"], "DENIED");
    assert.include(
      read[1]!["message"],
      "proves nothing: to selects nothing: there is no pod shop/no",
    );
  });

  test("JSON has every result", () => {
    const document = JSON.parse(JSON.stringify(jsonReport(report)));
    assert.equal(document.schemaVersion, 1);
    assert.isFalse(document.ok);
    assert.include(document.summary, { tests: 4, passed: 1, failed: 3, skipped: 1 });
    const [first, second] = document.files;
    assert.deepEqual(
      first.tests.map((each: { status: string; vacuous: boolean }) => [each.status, each.vacuous]),
      [
        ["passed", false],
        ["failed", false],
        ["failed", true],
        ["skipped", false],
      ],
    );
    assert.deepInclude(first.tests[1].counterexample, {
      from: "shop/web",
      toAddress: "10.0.0.2",
      service: "80/tcp",
      verdict: "deny",
    });
    assert.deepEqual(second, { file: "empty.yaml", ok: false, tests: [] });
  });

  test("the text for people shows each failure with its place and counterexample", () => {
    const text = prettyReport(report, (part) => part);
    for (const part of [
      "  ok    good (",
      "a.yaml:5:5",
      "expected allow, got deny",
      "        DENIED  shop/web",
      "proves nothing: to selects nothing",
      "  skip  outside: cannot # be tried",
      "the file has no assertion",
      "1 passed, 3 failed, 1 skipped (4 tests,",
    ]) {
      assert.include(text, part);
    }
  });
});
