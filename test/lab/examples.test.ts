import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { planLab } from "../../src/lab/plan.js";
import { readManifests } from "../../src/manifest/read.js";

const examples = fileURLToPath(new URL("../../examples", import.meta.url));

function compiled(...paths: string[]) {
  const { objects, diagnostics } = readManifests(paths.map((path) => `${examples}/${path}`));
  const errors = (found: readonly { severity: string; message: string }[]) =>
    found.filter((each) => each.severity === "error");
  expect(errors(diagnostics)).toEqual([]);
  const result = compile({ objects });
  expect(errors(result.diagnostics)).toEqual([]);
  return { objects, result };
}

describe("examples", () => {
  for (const file of readdirSync(`${examples}/articles`)) {
    test(`articles/${file} compiles`, () => {
      const { objects } = compiled(`articles/${file}`);
      const policies = objects.filter((object) => object.kind === "NetworkPolicy");
      const written = readFileSync(`${examples}/articles/${file}`, "utf8").match(/^kind: /gm);
      expect(policies).toHaveLength(written?.length ?? 0);
    });
  }

  test("all the articles together compile", () => {
    expect(compiled("articles").result.ok).toBe(true);
  });

  test("three-tier and its incident are one set of pods under two sets of policies", () => {
    const before = compiled("three-tier");
    const after = compiled("three-tier/cluster.yaml", "three-tier-incident");
    const pods = (objects: (typeof before)["objects"]) =>
      planLab(objects).pods.map((pod) => `${pod.ref} ${pod.addresses.length} ${pod.assigned}`);
    expect(pods(after.objects)).toEqual(pods(before.objects));
    expect(pods(before.objects).every((pod) => pod.endsWith(" 2 false"))).toBe(true);
    expect(before.result.ok && after.result.ok && before.result.blob).not.toEqual(
      after.result.ok && after.result.blob,
    );
  });
});
