import { assert } from "vitest";
import type { Finding } from "../../../src/analysis/lint/finding.js";
import { type LintOptions, lint } from "../../../src/analysis/lint/lint.js";
import { compile } from "../../../src/compiler/compile.js";
import { parseManifests } from "../../../src/manifest/parse.js";

/** Lints manifests that have to be valid. */
export function lintText(text: string, options: LintOptions = {}): readonly Finding[] {
  const { objects, services, diagnostics } = parseManifests(text, "lint.yaml");
  assert.deepEqual(
    diagnostics.filter((each) => each.severity === "error"),
    [],
    "the manifests of the test are valid",
  );
  const compiled = compile({ objects });
  assert(compiled.ok, "compiles");
  return lint(objects, compiled, { services, ...options });
}

/** Writes a pod. `ports` are `name:port/protocol`. */
export function pod(
  ref: string,
  ip: string,
  labels: Readonly<Record<string, string>> = {},
  more: { readonly ports?: readonly string[]; readonly hostNetwork?: boolean } = {},
): string {
  const [namespace, name] = ref.split("/");
  const ports = (more.ports ?? []).map((each) => {
    const [, portName, port, protocol] = /^(.*):(\d+)\/(.*)$/.exec(each)!;
    return { name: portName, containerPort: Number(port), protocol };
  });
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels },
    spec: {
      hostNetwork: more.hostNetwork ?? false,
      containers: [{ name: "c", image: "i", ports }],
    },
    status: { podIPs: [{ ip }] },
  });
}

/** Writes a NetworkPolicy of namespace `shop`. */
export function policy(name: string, spec: object): string {
  return JSON.stringify({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace: "shop" },
    spec,
  });
}

export function join(...documents: readonly string[]): string {
  return documents.join("\n---\n");
}

/** Findings as `CODE field`, of the codes that a test is about. */
export function briefly(findings: readonly Finding[], ...codes: readonly string[]): string[] {
  return findings
    .filter((each) => codes.includes(each.code))
    .map((each) => `${each.code} ${each.object?.name ?? ""} ${each.field ?? ""}`.trimEnd());
}
