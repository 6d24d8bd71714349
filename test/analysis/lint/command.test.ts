import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { afterAll, assert, beforeAll, describe, test } from "vitest";
import { runCli } from "../../../src/cli/frame.js";
import { packageVersion } from "../../../src/cli/version.js";
import { fakeIo } from "../../cli/fake-io.js";
import { join, pod, policy } from "./lint-manifests.js";

const manifests = join(
  pod("shop/web", "10.0.0.1", { app: "web" }),
  pod("shop/db", "10.0.0.2", { app: "db" }),
  policy("p", {
    podSelector: {},
    ingress: [
      { from: [{ podSelector: { matchLabels: { app: "web" } } }] },
      { from: [{ podSelector: {} }, { ipBlock: { cidr: "10.0.0.0/24" } }] },
    ],
  }),
);
const ignored = policy("q", { podSelector: {}, policyTypes: ["Egress"], ingress: [{}] });

let folder: string;
let file: string;
let graver: string;
beforeAll(() => {
  folder = mkdtempSync(joinPath(tmpdir(), "sluice-lint-"));
  file = joinPath(folder, "all, 100%: one.yaml");
  graver = joinPath(folder, "graver.yaml");
  writeFileSync(file, manifests);
  writeFileSync(graver, ignored);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function run(words: readonly string[], env: Record<string, string> = {}) {
  const io = fakeIo({ env });
  const code = await runCli(["lint", ...words], io);
  return { code, out: io.out(), err: io.err() };
}

describe("sluice lint", () => {
  test("one line a finding, and --fail-on decides the exit code", async () => {
    const { code, out } = await run(["-f", file]);
    assert.equal(code, 0);
    const lines = out.trimEnd().split("\n");
    assert.equal(lines.pop(), "passed: found 2 warnings, 2 infos");
    const codes = lines.map((line) => /:\d+:\d+: (?:warning|info) (SL\d{4}): /.exec(line)?.[1]);
    assert.deepEqual(codes.sort(), ["SL3001", "SL3004", "SL3004", "SL3008"]);
    const failOn = async (severity: string, ...more: string[]) =>
      (await run(["-f", file, ...more, "--fail-on", severity])).code;
    assert.equal(await failOn("warning"), 1);
    assert.equal(await failOn("info"), 1);
    assert.equal(await failOn("error"), 0);
    assert.equal(await failOn("never"), 0);
    assert.equal(await failOn("error", "-f", graver), 1);
    assert.equal(await failOn("never", "-f", graver), 0);
  });

  test("a baseline leaves out what it has, also when lines move", async () => {
    const baseline = joinPath(folder, "known.json");
    const { out } = await run(["-f", file, "-o", "json"]);
    assert.equal(JSON.parse(out).findings.length, 4);
    writeFileSync(baseline, out);
    const moved = joinPath(folder, "moved.yaml");
    writeFileSync(moved, `# another line\n\n${manifests}`);
    const second = await run(["-f", moved, "-f", graver, "--baseline", baseline]);
    assert.equal(second.code, 1);
    // The graver policy isolates egress: that brings a finding and settles two.
    const found = [...second.out.matchAll(/ (?:error|warning|info) (SL\d{4}): /g)];
    assert.deepEqual(found.map(([, id]) => id).sort(), ["SL3005", "SL3011"]);
    assert.include(second.out, "failed: found 1 error, 1 warning, and 2 that the baseline has\n");
    writeFileSync(baseline, "{}");
    const third = await run(["-f", moved, "--baseline", baseline]);
    assert.equal(third.code, 3);
    assert.include(third.err, "try: sluice lint");
  });

  test("rules are disabled by id and by name", async () => {
    const { out } = await run(["-f", file, "--disable", "SL3001", "block-holds-pods"]);
    assert.include(out, "found 2 infos");
    const wrong = await run(["-f", file, "--disable", "block-holds-pod"]);
    assert.equal(wrong.code, 2);
    assert.include(wrong.err, "--disable block-holds-pods");
  });

  test("SARIF names rules, places and fingerprints", async () => {
    const { code, out } = await run(["-f", file, "-f", graver, "-o", "sarif"]);
    assert.equal(code, 1);
    const log = JSON.parse(out);
    assert.equal(log.version, "2.1.0");
    const [{ tool, results, columnKind }] = log.runs;
    assert.equal(columnKind, "utf16CodeUnits");
    const { rules, version } = tool.driver;
    assert.equal(version, packageVersion());
    assert.equal(new Set(rules.map((rule: { id: string }) => rule.id)).size, rules.length);
    assert.lengthOf(results, 4);
    for (const result of results) {
      assert.equal(rules[result.ruleIndex].id, result.ruleId);
      assert.include(["error", "warning", "note"], result.level);
      assert.isNotEmpty(result.message.text);
      const { helpUri, help } = rules[result.ruleIndex];
      assert.equal(readFileSync(new URL(helpUri), "utf8"), help.markdown);
      assert.include(help.text, `# ${result.ruleId} `);
      const [{ physicalLocation }] = result.locations;
      const { region, artifactLocation } = physicalLocation;
      assert.match(artifactLocation.uri, /^file:\/\/\/[^ ]*\.yaml$/);
      assert.isAtLeast(region.startLine, 1);
      assert.isAtLeast(region.startColumn, 1);
      if ("endLine" in region) {
        const after = region.endLine > region.startLine || region.endColumn > region.startColumn;
        assert.isTrue(after, "a region ends after it starts");
      }
      assert.match(result.partialFingerprints["sluiceFinding/v1"], /^[0-9a-f]{32}$/);
    }
    const covered = results.find((each: { ruleId: string }) => each.ruleId === "SL3001");
    assert.lengthOf(covered.relatedLocations, 1);
  });

  test("GitHub annotations, by themselves inside a workflow", async () => {
    const { out } = await run(["-f", file], { GITHUB_ACTIONS: "true" });
    const lines = out.trimEnd().split("\n");
    assert.lengthOf(lines, 4);
    for (const line of lines) {
      const match = /^::(warning|notice|error) (.*?)::(.*)$/.exec(line);
      assert(match !== null, line);
      const properties = Object.fromEntries(match[2]!.split(",").map((each) => each.split("=")));
      assert.match(properties.file, /all%2C 100%25%3A one\.yaml$/);
      assert.match(properties.line, /^\d+$/);
    }
    const { out: text } = await run(["-f", file, "-o", "text"], { GITHUB_ACTIONS: "true" });
    assert.notInclude(text, "::warning");
  });

  test("manifests with errors are not linted", async () => {
    const broken = joinPath(folder, "broken.yaml");
    writeFileSync(broken, "kind: Pod\n");
    const { code, out, err } = await run(["-f", broken, "-o", "json"]);
    assert.equal(code, 3);
    assert.equal((JSON.parse(out) as { ok: boolean }).ok, false);
    assert.include(err, "SL1013");
  });
});
