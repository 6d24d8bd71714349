import { expect } from "vitest";
import { type CompileResult, compile } from "../src/compiler/compile.js";
import type { KubernetesObject } from "../src/manifest/objects.js";
import { parseManifests } from "../src/manifest/parse.js";

type Compiled = CompileResult & { readonly ok: true };

/** Compiles the manifests of a test, which have no findings. `file` is their name in answers. */
export function compiledText(
  text: string,
  file: string,
): Compiled & { readonly objects: readonly KubernetesObject[] } {
  const { objects, diagnostics } = parseManifests(text, file);
  expect(diagnostics).toEqual([]);
  const compiled = compile({ objects });
  if (!compiled.ok) throw new Error(`${file} does not compile`);
  return { ...compiled, objects };
}
