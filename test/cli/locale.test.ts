import { expect, test } from "vitest";
import type { CommandSpec } from "../../src/cli/command-spec.js";
import { runCli } from "../../src/cli/frame.js";
import type { Io } from "../../src/cli/io.js";
import { fitTo, renderTable } from "../../src/cli/output.js";
import { output } from "../../src/cli/shared-options.js";
import { fakeIo } from "./fake-io.js";

const tree: CommandSpec = {
  name: "sluice",
  summary: "a tree for this test",
  examples: [],
  commands: [
    {
      name: "say",
      summary: "write marks",
      options: [output("table", "json")],
      examples: [],
      run: async (_options: object, io: Io) => {
        io.stdout.write("a · b … ├─ 2 × 3 µs\n");
        io.stderr.write("reading …\n");
        return 0;
      },
    },
  ],
};

async function said(env: Record<string, string>, ...words: string[]) {
  const io = fakeIo({ env });
  expect(await runCli(["say", ...words], io, tree)).toBe(0);
  return [io.out(), io.err()];
}

const plain = ["a - b ... |- 2 x 3 us\n", "reading ...\n"];
const marked = ["a · b … ├─ 2 × 3 µs\n", "reading …\n"];

test.each([
  ["no locale", {}, marked],
  ["LC_ALL=C", { LC_ALL: "C", LANG: "de_DE.UTF-8" }, plain],
  ["LC_ALL=POSIX", { LC_ALL: "POSIX" }, plain],
  ["LANG=C", { LANG: "C" }, plain],
  ["LC_CTYPE before LANG", { LC_CTYPE: "en_US.UTF-8", LANG: "C" }, marked],
  ["C.UTF-8", { LC_ALL: "C.UTF-8" }, marked],
])("%s", async (_name, env, expected) => {
  expect(await said(env as Record<string, string>)).toEqual(expected);
});

test("a document is the same in every locale", async () => {
  expect((await said({ LC_ALL: "C" }, "-o", "json"))[0]).toBe(marked[0]);
});

test("a text that is cut is as wide in ASCII", () => {
  const io = fakeIo({ env: { LC_ALL: "C" } });
  const [line] = renderTable([["x".repeat(200), "end"]], fitTo(io)).split("\n");
  expect(line).toBe(`${"x".repeat(92)}...  end`);
});
