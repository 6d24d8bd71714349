import { expect, test } from "vitest";
import { benchFlags } from "../../src/cli/bench-spec.js";
import { command, type OptionSpec } from "../../src/cli/command-spec.js";
import { flagWords } from "../../src/cli/flag-words.js";
import { runCli } from "../../src/cli/frame.js";
import { upFlags } from "../../src/cli/lab-spec.js";
import { fakeIo } from "./fake-io.js";

// Goal: a process that goes on with a command has the options that the user gave, each of them.
// Method: every flag of the command is given, read, written as words and read again.

/** Values that are read: not those of the default, where there is another. */
const texts: Readonly<Record<string, string>> = {
  "<ranges>": "10.4.0.0/16,fd04::/112",
  "<n>": "4096",
  "<s>": "0.5",
  "<path...>": "one.yaml",
};

function given({ flags, values, repeatable }: OptionSpec): readonly string[] {
  const [place] = /<.*>$/.exec(flags) ?? [];
  if (repeatable === true) return ["one.yaml", /--[\w-]+/.exec(flags)![0], "-"];
  if (place === undefined) return [];
  return [values?.at(-1) ?? texts[place] ?? "word", ...(place.endsWith("...>") ? ["-"] : [])];
}

test.each([
  ["lab up", upFlags],
  ["bench", benchFlags],
])("all flags of %s", async (_, flags: readonly OptionSpec[]) => {
  const seen: Record<string, unknown>[] = [];
  const tree = {
    name: "sluice",
    summary: "a tree for this test",
    examples: [],
    commands: [
      command({
        name: "x",
        summary: "remember the options",
        options: flags,
        examples: [],
        run: async (options: object) => {
          seen.push(options as Record<string, unknown>);
          return 0;
        },
      }),
    ],
  };
  const all = flags.flatMap((each) => [/--[\w-]+/.exec(each.flags)![0], ...given(each)]);
  const required = flags.flatMap((each) => (each.required ? ["-f", "one.yaml"] : []));
  for (const words of [all, required]) {
    seen.length = 0;
    expect(await runCli(["x", ...words], fakeIo(), tree)).toBe(0);
    expect(await runCli(["x", ...flagWords(flags, seen[0]!)], fakeIo(), tree)).toBe(0);
    expect(seen[1]).toEqual(seen[0]);
    // One more than these: --color, which every command has.
    if (words === all) expect(Object.keys(seen[0]!)).toHaveLength(flags.length + 1);
  }
});
