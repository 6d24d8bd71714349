import { describe, expect, test } from "vitest";
import type { CommandSpec, Given } from "../../src/cli/command-spec.js";
import { commandTree } from "../../src/cli/commands.js";
import { report, runCli, variableOf } from "../../src/cli/frame.js";
import { CommandError, exitCodes } from "../../src/cli/io.js";
import { fakeIo } from "./fake-io.js";

const root = await commandTree();

/** Every command that can be run, with the words that lead to it. */
function leaves(spec: CommandSpec, path: readonly string[]): [string, CommandSpec][] {
  const own: [string, CommandSpec][] = spec.run === undefined ? [] : [[path.join(" "), spec]];
  return [...own, ...(spec.commands ?? []).flatMap((each) => leaves(each, [...path, each.name]))];
}

/** A tree of one command that answers with the options it was given. */
function echoTree(): {
  readonly tree: CommandSpec;
  readonly seen: Record<string, unknown>[];
  readonly given: Given[];
} {
  const seen: Record<string, unknown>[] = [];
  const given: Given[] = [];
  const tree: CommandSpec = {
    name: "sluice",
    summary: "a tree for this test",
    examples: [],
    commands: [
      {
        name: "echo",
        summary: "remember the options",
        options: [
          { flags: "-f, --filename <path...>", description: "paths", required: true },
          { flags: "--pod-mac <mac>", description: "a value" },
          { flags: "--loose", description: "a switch" },
          {
            flags: "-o, --output <format>",
            description: "one of",
            values: ["text", "json"],
            default: "text",
          },
          { flags: "--count <n>", description: "a number", parse: (text) => Number(text) },
          { flags: "--only <text>", description: "what to show", variable: false },
        ],
        examples: [],
        run: async (options: Record<string, unknown>, _io, flags) => {
          seen.push(options);
          given.push(flags);
          return 0;
        },
      },
      {
        name: "exec",
        summary: "hand words on",
        arguments: [
          { name: "pod", description: "first" },
          { name: "command", description: "the rest", several: true },
        ],
        passThrough: true,
        examples: [],
        run: async (options: Record<string, unknown>) => {
          seen.push(options);
          return 7;
        },
      },
    ],
  };
  return { tree, seen, given };
}

describe("every command", () => {
  const commands = leaves(root, []);

  test.each(commands)(
    "sluice %s --help shows usage, an example and the variables",
    async (path) => {
      const io = fakeIo();
      expect(await runCli([...path.split(" "), "--help"], io)).toBe(exitCodes.ok);
      expect(io.out()).toContain(`Usage: sluice ${path}`);
      expect(io.out()).toMatch(/Examples:\n {2}# .+\n {2}.*\bsluice /);
      expect(io.out()).toContain("SLUICE_<FLAG>");
      expect(io.err()).toBe("");
    },
  );

  test("examples name no path of a checkout, which an installed package does not have where it is called", () => {
    const paths = [root, ...commands.map(([, spec]) => spec)].flatMap(({ examples, summary }) =>
      [summary, ...examples.map(({ command }) => command)].filter((text) =>
        /\b(examples|deploy|docs|test)\//.test(text),
      ),
    );
    expect(paths).toEqual([]);
  });

  test("examples name only commands and flags that exist", async () => {
    const known = new Map(commands);
    for (const [path, spec] of commands) {
      for (const { command } of spec.examples) {
        const words = /sluice ([^|>)]*)/.exec(command)?.[1]?.trim().split(/\s+/) ?? [];
        const named = known.get(words.slice(0, 2).join(" ")) ?? known.get(words[0] ?? "");
        expect(named, command).toBe(spec);
        const flags = words.slice(0, words.includes("--") ? words.indexOf("--") : undefined);
        for (const flag of flags.filter((word) => /^--?[a-z]/.test(word))) {
          const declared = (spec.options ?? []).some((each) =>
            each.flags.split(/[ ,]+/).includes(flag),
          );
          expect(declared, `${path}: ${flag}`).toBe(true);
        }
      }
    }
  });

  test("flags are kebab-case, and one flag means one thing wherever it stands", () => {
    // `bench --node` measures the path through a node; elsewhere --node names one.
    const excused = "--node in bench";
    const meanings = new Map<string, boolean>();
    for (const [path, spec] of commands) {
      for (const { flags } of spec.options ?? []) {
        expect(flags, path).toMatch(
          /^(-[a-zA-Z], )?--[a-z]+(-[a-z0-9]+)*( <[a-z/,-]+(\.\.\.)?>)?$/,
        );
        const long = /--[a-z0-9-]+/.exec(flags)?.[0] ?? "";
        const takesValue = flags.includes("<");
        if (`${long} in ${path}` === excused) continue;
        expect(meanings.get(long) ?? takesValue, `${long} in ${path}`).toBe(takesValue);
        meanings.set(long, takesValue);
      }
    }
  });
});

describe("usage", () => {
  const mistakes: [name: string, words: string[], says: RegExp][] = [
    ["no command", [], /Usage: sluice/],
    ["no command of a group", ["lab"], /Usage: sluice lab/],
    ["unknown command", ["qery"], /unknown command 'qery'\n\(Did you mean query\?\)/],
    ["unknown command of a group", ["lab", "upp"], /unknown command 'upp'\n\(Did you mean up\?\)/],
    ["unknown flag", ["validate", "--filenam", "x"], /Did you mean --filename\?/],
    ["flag without its value", ["query", "--probes"], /argument missing/],
    ["missing flags, all at once", ["query"], /missing -f.*SLUICE_FILENAME.* and --probes/],
    ["value that is no choice", ["version", "-o", "xml"], /Allowed choices are text, json/],
    ["value that is nearly a choice", ["version", "-o", "jsno"], /json\. Did you mean json\?/],
    ["argument that is nearly one", ["completion", "fihs"], /zsh, fish\. Did you mean fish\?/],
    ["purpose that is nearly one", ["doctor", "--for", "lba"], /node: did you mean lab\?/],
    ["peer that is nearly one", ["bench", "--peers", "brige"], /none: did you mean bridge\?/],
    ["protocol that is nearly one", ["matrix", "-f", "x", "--port", "1/tpc"], /mean tcp\?/],
    ["missing argument", ["completion"], /missing required argument 'shell'/],
    ["argument that is no choice", ["completion", "csh"], /Allowed choices are bash, zsh, fish/],
    ["argument too many", ["version", "x"], /too many arguments/],
    ["list that is none", ["get", "toString"], /Allowed choices are endpoints, policies/],
    [
      "number that is none",
      ["capture", "-i", "lo", "-f", "x", "--count", "1e3"],
      /--count: got "1e3"/,
    ],
  ];

  test.each(mistakes)("%s: exit 2, said on standard error", async (_name, words, says) => {
    const io = fakeIo();
    expect(await runCli(words, io)).toBe(exitCodes.usage);
    expect(io.err()).toMatch(says);
    expect(io.out()).toBe("");
  });

  test("--version and version agree", async () => {
    const short = fakeIo();
    const long = fakeIo();
    expect(await runCli(["--version"], short)).toBe(exitCodes.ok);
    expect(await runCli(["version", "-o", "json"], long)).toBe(exitCodes.ok);
    expect(JSON.parse(long.out()).sluice).toBe(short.out().trim());
  });
});

describe("options", () => {
  test("a body is told which flags were given, and by what, also with their default values", async () => {
    const { tree, given } = echoTree();
    const env = { SLUICE_OUTPUT: "text" };
    await runCli(["echo", "-f", "a.yaml", "--loose"], fakeIo({ env }), tree);
    expect([...(given[0] ?? [])]).toEqual([
      ["--filename", "--filename"],
      ["--loose", "--loose"],
      ["--output", "SLUICE_OUTPUT"],
    ]);
  });

  test("a flag that has no variable takes nothing from the environment", async () => {
    const { tree, seen } = echoTree();
    const env = { SLUICE_ONLY: "x" };
    await runCli(["echo", "-f", "a.yaml"], fakeIo({ env }), tree);
    expect(seen[0]).not.toHaveProperty("only");
  });

  test("what client commands show is not narrowed by variables of the container they run in", () => {
    for (const [path, spec] of leaves(root, [])) {
      if (!/^(get|observe|conntrack)/.test(path)) continue;
      const choosing = (spec.options ?? []).filter(({ flags }) =>
        /pod|namespace|verdict/.test(flags),
      );
      expect(choosing.length, path).toBeGreaterThan(5);
      for (const { flags, variable } of choosing) expect(variable, `${path} ${flags}`).toBe(false);
    }
  });

  test("a variable sets what the command line leaves out", async () => {
    const { tree, seen } = echoTree();
    const env = {
      SLUICE_FILENAME: "a.yaml:b.yaml",
      SLUICE_POD_MAC: "02:00:00:00:00:01",
      SLUICE_LOOSE: "1",
      SLUICE_OUTPUT: "json",
      SLUICE_COUNT: "12",
    };
    expect(await runCli(["echo"], fakeIo({ env }), tree)).toBe(exitCodes.ok);
    expect(seen).toEqual([
      {
        filename: ["a.yaml", "b.yaml"],
        podMac: "02:00:00:00:00:01",
        loose: true,
        output: "json",
        count: 12,
        color: "auto",
      },
    ]);
  });

  test("a flag wins over its variable, and 0 turns a switch off", async () => {
    const { tree, seen } = echoTree();
    const env = { SLUICE_FILENAME: "env.yaml", SLUICE_OUTPUT: "json", SLUICE_LOOSE: "0" };
    const words = ["echo", "-f", "one.yaml", "two.yaml", "-f", "-", "--output", "text"];
    expect(await runCli(words, fakeIo({ env }), tree)).toBe(exitCodes.ok);
    expect(seen).toEqual([
      { filename: ["one.yaml", "two.yaml", "-"], output: "text", loose: false, color: "auto" },
    ]);
  });

  test("a variable that is no choice is a usage mistake, named as the variable", async () => {
    const { tree, seen } = echoTree();
    const io = fakeIo({ env: { SLUICE_OUTPUT: "xml" } });
    expect(await runCli(["echo", "-f", "x"], io, tree)).toBe(exitCodes.usage);
    expect(io.err()).toContain('SLUICE_OUTPUT: got "xml", want one of text, json');
    expect(seen).toEqual([]);
  });

  test("words behind the first argument are handed on untouched", async () => {
    for (const separator of [["--"], []]) {
      const { tree, seen } = echoTree();
      const words = ["exec", "shop/web", ...separator, "ping", "-c", "1", "--", "-f"];
      expect(await runCli(words, fakeIo(), tree)).toBe(7);
      expect(seen).toEqual([
        { pod: "shop/web", command: ["ping", "-c", "1", "--", "-f"], color: "auto" },
      ]);
    }
  });

  test("variableOf", () => {
    expect(variableOf("--pod-mac")).toBe("SLUICE_POD_MAC");
  });
});

describe("report", () => {
  const cases: [name: string, error: unknown, code: number, says: RegExp][] = [
    [
      "a refusal with a remedy",
      new CommandError(3, "no such pod", "sluice query"),
      3,
      /^sluice: no such pod\n {2}try: sluice query\n$/,
    ],
    [
      "the system's no",
      Object.assign(new Error("open eth9: ENODEV"), { syscall: "open" }),
      4,
      /^sluice: open eth9: ENODEV\n$/,
    ],
    [
      "the system's no, as Node words it",
      Object.assign(new Error("EACCES: permission denied, open '/etc/x'"), {
        ...{ errno: -13, code: "EACCES", syscall: "open", path: "/etc/x" },
      }),
      4,
      /^sluice: \/etc\/x: permission denied\n$/,
    ],
    [
      "an addon that cannot load",
      Object.assign(new Error("x.node: bad ELF"), { code: "ERR_DLOPEN_FAILED" }),
      4,
      /bad ELF/,
    ],
    [
      "our mistake",
      new TypeError("x is undefined"),
      5,
      /internal error: x is undefined\n {2}at .*\n {2}this is a bug/,
    ],
    ["something that is no error", "thrown text", 5, /internal error: thrown text/],
  ];

  test.each(cases)("%s", (_name, error, code, says) => {
    const io = fakeIo();
    expect(report(error, io)).toBe(code);
    expect(io.err()).toMatch(says);
    expect(io.err()).not.toMatch(/^\s+at .*\n\s+at /m);
  });

  test("SLUICE_DEBUG adds the stack", () => {
    const io = fakeIo({ env: { SLUICE_DEBUG: "1" } });
    report(new Error("deep"), io);
    expect(io.err()).toMatch(/\n\s+at .*\n\s+at /);
  });
});

test("a flag beside --config is refused whatever its value, but for those of the process itself", async () => {
  const beside = ["--mode", "enforce", "--fail-mode", "closed", "--link", "auto"];
  const env = { SLUICE_DENY: "drop" };
  const io = fakeIo({ env });
  const words = ["run", "--config", "none.yaml", "--socket", "none", ...beside];
  expect(await runCli(words, io)).toBe(exitCodes.usage);
  expect(io.err()).toBe(
    "sluice: got --config and --fail-mode and --link and --mode and SLUICE_DENY, want that in the config\n",
  );
});
