import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { IgnoreRules, patternLines } from "../../src/manifest/ignore-rules.js";
import { Random } from "../property/random.js";

/** Whether a walk from the top would leave a path out. */
function isLeftOut(rules: IgnoreRules, path: string): boolean {
  const names = path.replace(/\/$/, "").split("/");
  return names.some((_, at) =>
    rules.ignores(
      join("top", ...names.slice(0, at + 1)),
      at < names.length - 1 || path.endsWith("/"),
    ),
  );
}

// Goal: patterns mean what they mean in a .gitignore, and take time in proportion whatever they are.
describe("patterns of files", () => {
  const cases: readonly [pattern: string, yes: readonly string[], no: readonly string[]][] = [
    ["values.yaml", ["values.yaml", "a/b/values.yaml"], ["values.yaml.old", "a/my-values.yaml"]],
    ["/values.yaml", ["values.yaml"], ["a/values.yaml"]],
    ["a/values.yaml", ["a/values.yaml"], ["b/a/values.yaml"]],
    ["test/", ["test/x.yaml", "a/test/x.yaml", "test/"], ["test"]],
    ["*.json", ["a.json", "a/b.json"], ["a.json5", "json"]],
    ["a/*", ["a/b", "a/b/c"], ["a/"]],
    ["a/**", ["a/b/c"], ["a/", "b/a/c"]],
    ["**/test/**", ["x/test/y", "test/y"], ["x/test"]],
    ["a/**/z", ["a/z", "a/b/c/z"], ["a/zz"]],
    ["[a-c]?.yaml", ["b1.yaml"], ["d1.yaml", "b.yaml"]],
    ["[!a]x", ["bx"], ["ax"]],
    ["[[:digit:]]x", ["1x"], ["ax"]],
    ["\\#x", ["#x"], ["x"]],
    ["\\!x", ["!x"], ["x"]],
    ["x ", ["x"], ["x "]],
    ["x\\ ", ["x "], ["x"]],
    ["# x", [], ["# x", "x"]],
    ["[x", [], ["[x", "x"]],
    ["", [], ["x"]],
  ];
  test.each(cases)("%j", (pattern, yes, no) => {
    const rules = new IgnoreRules("top", patternLines(pattern));
    expect(yes.filter((path) => !isLeftOut(rules, path))).toEqual([]);
    expect(no.filter((path) => isLeftOut(rules, path))).toEqual([]);
  });

  test("later lines and deeper files win, but nothing comes back out of a folder that is left out", () => {
    const above = new IgnoreRules("top", ["*.yaml", "!keep.yaml", "gone/"]);
    const below = new IgnoreRules("top/a", ["!mine.yaml"], above);
    expect(above.ignores("top/x.yaml", false)).toBe(true);
    expect(above.ignores("top/keep.yaml", false)).toBe(false);
    expect(below.ignores("top/a/mine.yaml", false)).toBe(false);
    expect(below.ignores("top/a/x.yaml", false)).toBe(true);
    expect(isLeftOut(above, "gone/keep.yaml")).toBe(true);
  });

  test("a pattern that makes regular expressions take for ever takes no time to speak of", () => {
    const patterns = [`${"a/**/".repeat(200)}z`, `${"*a".repeat(2_000)}z`, "**/".repeat(500)];
    const rules = new IgnoreRules("top", patterns);
    expect(rules.ignores(`top/${"a/".repeat(500)}${"a".repeat(250)}`, false)).toBe(false);
  });

  const hasGit = spawnSync("git", ["--version"]).status === 0;
  test("git says the same of patterns by chance, where it is there", () => {
    if (!hasGit) return;
    const folder = mkdtempSync(join(tmpdir(), "sluice-ignore-"));
    try {
      execFileSync("git", ["init", "-q", folder]);
      const random = new Random(20_261_130);
      for (let round = 0; round < 40; round++) compareWithGit(folder, random);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

function compareWithGit(folder: string, random: Random): void {
  const pick = (words: string) => random.pick(words.split(" "));
  const many = (most: number, make: () => string) =>
    Array.from({ length: 1 + random.below(most) }, make);
  const lines = many(3, () => {
    const path = many(3, () =>
      pick("a b ab * ** a* *a ? a?b [ab] [!a] [a-c]x *.yaml [[:alpha:]]*"),
    );
    return `${random.oneIn(3) ? "!" : ""}${random.oneIn(3) ? "/" : ""}${path.join("/")}${random.oneIn(3) ? "/" : ""}`;
  });
  const paths = many(30, () => many(3, () => pick("a b ab x.yaml axb aab cx 1")).join("/"));
  writeFileSync(join(folder, ".gitignore"), lines.join("\n"));
  const words = ["check-ignore", "--no-index", "--stdin", "-z", "-v", "-n"];
  const { stdout } = spawnSync("git", words, { cwd: folder, input: `${paths.join("\0")}\0` });
  const fields = stdout.toString().split("\0");
  const rules = new IgnoreRules("top", lines);
  for (const [at, path] of paths.entries()) {
    const pattern = fields[at * 4 + 2] ?? "";
    const want = pattern !== "" && !pattern.startsWith("!");
    expect({ lines, path, is: isLeftOut(rules, path) }).toEqual({ lines, path, is: want });
  }
}
