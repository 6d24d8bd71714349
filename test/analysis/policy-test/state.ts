import { assert } from "vitest";
import type { CompiledState } from "../../../src/analysis/explain.js";
import { readTestFile } from "../../../src/analysis/policy-test/read-test-file.js";
import { type FileResult, runTestFile } from "../../../src/analysis/policy-test/run-tests.js";
import { compile } from "../../../src/compiler/compile.js";
import { Table } from "../../../src/dataplane/table.js";
import { hasErrors } from "../../../src/diagnostics/diagnostic.js";
import type { KubernetesObject } from "../../../src/manifest/objects.js";
import { parseManifests } from "../../../src/manifest/parse.js";

export function stateOf(objects: readonly KubernetesObject[]): CompiledState {
  const compiled = compile({ objects });
  assert(compiled.ok, "compiles");
  return { objects, compiled, table: Table.open(compiled.blob) };
}

export function stateOfText(text: string): CompiledState {
  const { objects, diagnostics } = parseManifests(text, "cluster.yaml");
  assert(!hasErrors(diagnostics), "the manifests of the test are valid");
  return stateOf(objects);
}

/** Runs tests, written as the items of `tests`, on one line each. */
export function runText(state: CompiledState, ...items: readonly string[]): FileResult {
  const head = "apiVersion: sluice/v1\nkind: PolicyTest\ntests:\n";
  const text = head + items.map((item) => `  - ${item}\n`).join("");
  const { tests, diagnostics } = readTestFile(text, "tests.yaml");
  assert.deepEqual(diagnostics, [], "the tests are well-formed");
  return runTestFile(state, tests, () => 0);
}
