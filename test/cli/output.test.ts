import { describe, expect, test } from "vitest";
import { renderTable, styles } from "../../src/cli/output.js";
import { createProgress } from "../../src/cli/progress.js";
import { sanitize, sanitizedJson } from "../../src/diagnostics/sanitize.js";
import { fakeIo } from "./fake-io.js";

describe("styles", () => {
  const cases: [name: string, terminal: boolean, env: Record<string, string>, colored: boolean][] =
    [
      ["a terminal", true, { TERM: "xterm" }, true],
      ["no terminal", false, {}, false],
      ["NO_COLOR", true, { NO_COLOR: "1" }, false],
      ["NO_COLOR that is empty", true, { NO_COLOR: "" }, true],
      ["FORCE_COLOR", false, { FORCE_COLOR: "1" }, true],
      ["FORCE_COLOR=0", true, { FORCE_COLOR: "0" }, false],
      ["NO_COLOR before FORCE_COLOR", true, { NO_COLOR: "1", FORCE_COLOR: "1" }, false],
      ["TERM=dumb", true, { TERM: "dumb" }, false],
    ];

  test.each(cases)("%s", (_name, terminal, env, colored) => {
    const text = styles(fakeIo({ terminal, env })).red("x");
    expect(text).toBe(colored ? "\x1b[31mx\x1b[39m" : "x");
  });
});

test("JSON has none of the characters that drive a terminal, and means the same", () => {
  const value = { name: "a\x1b[2J\u009b1m\u202eb", list: ["漢字 \n"] };
  const text = sanitizedJson(value);
  expect(text).toBe('{"name":"a\\u001b[2J\\u009b1m\\u202eb","list":["漢字 \\n"]}');
  expect(JSON.parse(text)).toEqual(value);
});

describe("sanitize", () => {
  test.each([
    ["plain text, ümlaut, 漢字, 🐟", "plain text, ümlaut, 漢字, 🐟"],
    ["\x1b[31mred\x07", "\\x1b[31mred\\x07"],
    ["two\r\nlines\t", "two\\r\\nlines\\t"],
    ["\x9b2J", "\\x9b2J"],
    ["txt.\u202eexe", "txt.\\u202eexe"],
  ])("%j", (text, shown) => {
    expect(sanitize(text)).toBe(shown);
  });
});

describe("renderTable", () => {
  test("sets columns by what is seen, not by bytes or escapes", () => {
    const red = (text: string) => `\x1b[31m${text}\x1b[39m`;
    const text = renderTable(
      [
        ["漢字", { text: "DENY", style: red }, "1"],
        ["a", "ALLOW", "100"],
      ],
      { header: ["POD", "VERDICT", "N"], right: [2] },
    );
    expect(text).toBe(
      ["POD   VERDICT    N", "漢字  \x1b[31mDENY\x1b[39m       1", "a     ALLOW    100", ""].join(
        "\n",
      ),
    );
  });

  test("the widest column gives way to the terminal", () => {
    const text = renderTable([["short", "a".repeat(60)]], { columns: 30 });
    expect(text).toBe(`short  ${"a".repeat(22)}…\n`);
    expect(text.trimEnd()).toHaveLength(30);
  });

  test("no cell can break out of its line", () => {
    expect(renderTable([["a\nb\x1b[2J"]])).toBe("a\\nb\\x1b[2J\n");
  });
});

describe("createProgress", () => {
  function drawn(terminal: boolean, env: Record<string, string>): string {
    const io = fakeIo({ terminal, env });
    const progress = createProgress(io);
    progress.update("reading", "1 file");
    progress.update("reading", "2 files");
    progress.update("compiling");
    progress.finish();
    progress.finish();
    expect(io.out()).toBe("");
    return io.err();
  }

  test("draws each step on one line of a terminal, and leaves nothing there", () => {
    const text = drawn(true, { NO_COLOR: "1" });
    expect(text).toBe("\r\x1b[Kreading: 1 file\r\x1b[Kcompiling …\r\x1b[K");
  });

  test.each([
    ["no terminal", false, {}],
    ["CI", true, { CI: "true" }],
    ["a dumb terminal", true, { TERM: "dumb" }],
  ])("is silent in %s", (_name, terminal, env) => {
    expect(drawn(terminal, env)).toBe("");
  });
});
