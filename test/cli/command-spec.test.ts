import { describe, expectTypeOf, test } from "vitest";
import { command, type OptionsOf } from "../../src/cli/command-spec.js";

// The gate's step "types of the tests" judges these: a body's type is read out of its flags.

const flags = [
  { flags: "-f, --filename <path...>", description: "paths", required: true },
  { flags: "--pod-mac <mac>", description: "a value" },
  { flags: "--from-pod <pod...>", description: "several", variable: false },
  { flags: "--widest-v4 <bits>", description: "a number", parse: (text: string) => Number(text) },
  {
    flags: "-o, --output <format>",
    description: "one of",
    values: ["text", "json"],
    default: "text",
  },
  { flags: "--write-packets <which>", description: "one, or none", values: ["all", "passed"] },
  { flags: "--pod <name>", description: "not required here", required: false },
  { flags: "--exit-code", description: "a switch" },
] as const;

const args = [
  { name: "what", description: "one of", values: ["endpoints", "tables"] },
  { name: "file", description: "the rest", several: true },
] as const;

describe("a body's options", () => {
  test("are what the flags and arguments say", () => {
    expectTypeOf<OptionsOf<typeof flags, typeof args>>().toEqualTypeOf<{
      readonly filename: readonly string[];
      readonly podMac?: string;
      readonly fromPod?: readonly string[];
      readonly widestV4?: number;
      readonly output: "text" | "json";
      readonly writePackets?: "all" | "passed";
      readonly pod?: string;
      readonly exitCode: boolean;
      readonly what: "endpoints" | "tables";
      readonly file: readonly string[];
    }>();
  });

  test("are those of its own command", () => {
    const spec = { name: "x", summary: "x", examples: [], options: flags } as const;
    command({ ...spec, run: async ({ exitCode }) => (exitCode ? 1 : 0) });
    // @ts-expect-error: no flag makes `all`.
    command({ ...spec, run: async ({ all }) => (all ? 1 : 0) });
    const misspelt = [{ flags: "--out <file>", description: "x", complets: "file" }] as const;
    // @ts-expect-error: `complets` is no key of a flag.
    command({ ...spec, options: misspelt, run: async () => 0 });
  });
});
