import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { CommandSpec } from "../../src/cli/command-spec.js";
import { commandTree } from "../../src/cli/commands.js";
import { completionScript } from "../../src/cli/completion.js";

const shells = ["bash", "zsh", "fish"] as const;

const root = await commandTree();

const installed = shells.filter(
  (shell) => spawnSync(shell, ["-c", ":"], { stdio: "ignore" }).error === undefined,
);

// bash is on every machine that these tests run on; the others are asked where they are installed.
test("bash is installed", () => expect(installed).toContain("bash"));

test.each(installed)("completion %s: the shell can read it", (shell) => {
  // From a file: fish reads no script from a socket, which standard input would be here.
  const folder = mkdtempSync(join(tmpdir(), "sluice-completion-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const script = join(folder, `completion.${shell}`);
  writeFileSync(script, completionScript(shell, root));
  const result = spawnSync(shell, ["-n", script], { encoding: "utf8" });
  expect(result.stderr).toBe("");
  expect(result.status).toBe(0);
});

describe.each(shells)("completion %s", (shell) => {
  const script = completionScript(shell, root);

  test("knows every command, flag and choice", () => {
    const visit = (spec: CommandSpec): void => {
      for (const { flags, values } of spec.options ?? []) {
        const long = /--([a-z0-9-]+)/.exec(flags)?.[1] ?? "";
        expect(script).toContain(shell === "fish" ? `-l ${long} ` : `--${long}`);
        expect(script).toContain(values?.join(" ") ?? "");
      }
      for (const child of spec.commands ?? []) {
        expect(script).toContain(child.name);
        visit(child);
      }
    };
    visit(root);
  });
});

/** What bash offers after these words; the last is the one being typed. */
function offered(...words: string[]): string[] {
  const driver = `
${completionScript("bash", root)}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_sluice
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync("bash", ["--norc", "-c", driver, "bash", ...words], {
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  return stdout.split("\n").filter((line) => line !== "");
}

describe("bash offers", () => {
  test.each([
    ["commands", ["sluice", "va"], ["validate"]],
    [
      "commands of a group",
      ["sluice", "lab", ""],
      ["up", "apply", "down", "status", "exec", "probe"],
    ],
    ["flags", ["sluice", "lab", "up", "--fo"], ["--foreground"]],
    ["choices", ["sluice", "run", "--wire", "a,b", "--link", "af"], ["af-xdp", "af-packet"]],
    ["choices behind =", ["sluice", "query", "--output", "=", "j"], ["json"]],
    [
      "choices after a flag of several values",
      ["sluice", "query", "-f", "a", "b", "-o", ""],
      ["table", "json"],
    ],
    ["argument choices", ["sluice", "completion", ""], ["bash", "zsh", "fish"]],
    [
      "files, for each of several values",
      ["sluice", "query", "-f", "x", "package.j"],
      ["package.json"],
    ],
    ["interfaces", ["sluice", "capture", "-i", "lo"], ["lo"]],
    ["programs after --", ["sluice", "lab", "exec", "web", "--", "tru"], ["true"]],
  ])("%s", (_name, words, wanted) => {
    const found = offered(...words);
    if (wanted[0] === "true") {
      expect(found).toContain("true");
    } else {
      expect(found).toEqual(wanted);
    }
  });
});
