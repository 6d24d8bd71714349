import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, describe, test } from "vitest";
import { readManifests } from "../../src/manifest/read.js";
import { parsePlainYaml } from "../../src/manifest/yaml-plain.js";

// Goal: the shared inputs of repositories that concern text and kinds are read as kubectl reads them.

const shared = "../shared/cases/repositories";

interface Want {
  readonly kinds: readonly string[];
  /** Codes of warnings; there are no errors. */
  readonly warnings: readonly string[];
}

const wanted: Readonly<Record<string, Want>> = {
  "05": { kinds: ["NetworkPolicy"], warnings: ["SL1307", "SL1307"] },
  "06": { kinds: ["NetworkPolicy"], warnings: ["SL1307", "SL1307", "SL1307", "SL1307"] },
  "07": { kinds: ["Namespace", "NetworkPolicy"], warnings: [] },
  // The three files have one object, each its own version.
  "08": { kinds: ["NetworkPolicy"], warnings: ["SL1301", "SL1301"] },
  "12": { kinds: ["NetworkPolicy"], warnings: ["SL1308"] },
  "13": { kinds: ["NetworkPolicy"], warnings: [] },
};

function inputOf(number: string): string | undefined {
  const name = existsSync(shared)
    ? readdirSync(shared).find((each) => each.startsWith(`${number}-`))
    : undefined;
  return name === undefined ? undefined : join(shared, name, "input");
}

describe.skipIf(!existsSync(shared))("shared cases", () => {
  test.each(Object.entries(wanted))("%s", (number, { kinds, warnings }) => {
    const input = inputOf(number);
    if (input === undefined) return;
    const { objects, diagnostics } = readManifests([input]);
    const told = diagnostics.filter(({ severity }) => severity !== "info");
    assert.deepEqual(
      told.map(({ code }) => code),
      [...warnings],
    );
    assert.deepEqual(
      objects.map(({ kind }) => kind),
      [...kinds],
    );
  });

  test("17, a link to nowhere says where it leads, and the rest is read", () => {
    const input = inputOf("17");
    if (input === undefined) return;
    const folder = mkdtempSync(join(tmpdir(), "sluice-link-"));
    try {
      copyFileSync(join(input, "policy.yaml"), join(folder, "policy.yaml"));
      symlinkSync("gone.yaml", join(folder, "old.yaml"));
      const { objects, diagnostics } = readManifests([folder]);
      assert.equal(objects.length, 1);
      assert.include(diagnostics[0]?.message, 'a link to "gone.yaml"');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("20, what kubectl prints is of the plain style", () => {
    const input = inputOf("20");
    if (input === undefined) return;
    const text = readFileSync(join(input, "a.yaml"), "utf8");
    assert.isDefined(parsePlainYaml(text, 0, text.length));
  });
});
