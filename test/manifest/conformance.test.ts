import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, test } from "vitest";
import { readManifests } from "../../src/manifest/read.js";

// Goal: the shared conformance corpus: refused where it says so, under the field that it names, and
// read without a fault everywhere else.
const corpus = "../shared/conformance/policy";

interface Expected {
  readonly field: string | null;
  readonly detailContains?: string;
}

describe.skipIf(!existsSync(corpus))("shared conformance corpus", () => {
  const cases = (kind: string) =>
    existsSync(join(corpus, kind))
      ? readdirSync(join(corpus, kind)).filter((each) =>
          existsSync(join(corpus, kind, each, "manifest.yaml")),
        )
      : [];

  test.each(cases("invalid"))("invalid/%s", (name) => {
    const file = join(corpus, "invalid", name, "manifest.yaml");
    const want = JSON.parse(readFileSync(join(file, "..", "expect.json"), "utf8")) as Expected;
    const errors = readManifests([file]).diagnostics.filter((each) => each.severity === "error");
    assert.deepEqual(
      errors.map((each) => each.field ?? null),
      [want.field],
    );
    assert.include(errors[0]!.message, want.detailContains ?? "");
  });

  for (const kind of ["upstream", "cnp"]) {
    test(`every manifest of ${kind} is read without error or warning`, () => {
      for (const name of cases(kind)) {
        const { objects, diagnostics } = readManifests([join(corpus, kind, name, "manifest.yaml")]);
        assert.deepEqual(
          diagnostics.filter((each) => each.severity !== "info"),
          [],
          name,
        );
        assert.isAbove(objects.length, 0, name);
      }
    });
  }
});
