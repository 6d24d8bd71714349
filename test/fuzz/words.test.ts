import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type Document, isScalar, parseAllDocuments, type Scalar, visit } from "yaml";
import { lint } from "../../src/analysis/lint/lint.js";
import { readTestFile } from "../../src/analysis/policy-test/read-test-file.js";
import { compile } from "../../src/compiler/compile.js";
import { hasErrors } from "../../src/diagnostics/diagnostic.js";
import { renderDiagnostic } from "../../src/diagnostics/render.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { parseNodeConfig } from "../../src/node/read-config.js";

// Goal: no word of a manifest, of a config or of a policy test means something to JavaScript. A text that
// a reader looks up in a plain object finds what every object has.
// Method: each key and each value of valid files, in turn, becomes each of these words. What comes of it
// is a table or errors with a place, and nothing is thrown.

const words = ["__proto__", "constructor", "toString"];

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string) => readFileSync(join(root, path), "utf8");

const manifests = [
  ...["and-or-peers", "except-holes", "named-ports", "own-node", "policy-types", "tiers"].map(
    (name) => read(`test/golden/${name}/policy.yaml`),
  ),
  read("examples/three-tier/policies.yaml"),
  `apiVersion: v1
kind: Pod
metadata:
  name: all
  namespace: shop
  labels: { app: web }
  annotations: { sluice/mode: audit, example.com/owner: somebody }
  creationTimestamp: "2026-01-31T12:00:00Z"
  ownerReferences: [{ apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: u, controller: true }]
  finalizers: [example.com/wait]
  managedFields: [{ manager: m, operation: Update, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: { f: {} } }]
spec:
  nodeName: n1
  containers: [{ name: main, image: i, ports: [{ name: http, containerPort: 80, protocol: TCP }] }]
  initContainers: [{ name: side, image: i, restartPolicy: Always }]
status: { phase: Running, podIP: 10.0.0.1, podIPs: [{ ip: 10.0.0.1 }] }
---
apiVersion: v1
kind: Node
metadata: { name: n1, labels: { zone: a } }
status: { addresses: [{ type: InternalIP, address: 192.0.2.1 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: other }
---
apiVersion: v1
kind: List
items: [{ apiVersion: v1, kind: Namespace, metadata: { name: listed } }]
`,
];

const config = `apiVersion: sluice/v1
kind: NodeConfig
manifests: [manifests]
watch: never
mode: audit
deny: reject
established: cut
metrics: 127.0.0.1:9100
wires: [{ pod: shop/a, inside: in0, outside: out0, podMac: "02:00:00:00:00:01", link: auto, failMode: open }]
sidecars: [{ pod: shop/b, interface: eth0, onStop: block, stateDir: /run/x }]
`;

/** Every variant of a text with one scalar in the place of which a word stands. */
function* variants(text: string): Generator<{ readonly what: string; readonly text: string }> {
  const documents = parseAllDocuments(text) as Document.Parsed[];
  const whole = documents.map(String);
  for (const [index, document] of documents.entries()) {
    const scalars: Scalar[] = [];
    visit(document, (_, node) => {
      if (isScalar(node)) scalars.push(node);
    });
    for (const scalar of scalars) {
      const { value, type, source } = scalar;
      for (const word of words) {
        Object.assign(scalar, { value: word, type: "PLAIN", source: word });
        const parts = whole.with(index, String(document));
        yield { what: `${word} for ${String(value)}`, text: parts.join("---\n") };
      }
      Object.assign(scalar, { value, type, source });
    }
  }
}

/** What is wrong with how a text is taken. */
function objection(take: () => void): string | undefined {
  try {
    take();
    return undefined;
  } catch (error) {
    return `${(error as Error).stack}`;
  }
}

function checkFindings(diagnostics: readonly Parameters<typeof renderDiagnostic>[0][]): void {
  for (const each of diagnostics) {
    expect(each.span.line).toBeGreaterThan(0);
    expect(each.message).not.toMatch(/undefined|\[native code\]|\[object/);
    renderDiagnostic(each);
  }
}

function takeManifests(text: string): void {
  const { objects, diagnostics } = parseManifests(text, "m.yaml");
  checkFindings(diagnostics);
  if (hasErrors(diagnostics)) return;
  const compiled = compile({ objects });
  checkFindings(compiled.diagnostics);
  if (compiled.ok) lint(objects, compiled);
}

describe("words that JavaScript knows", () => {
  const search = (texts: readonly string[], take: (text: string) => void) => {
    let count = 0;
    for (const text of texts) {
      expect(
        objection(() => take(text)),
        "as it is",
      ).toBeUndefined();
      for (const variant of variants(text)) {
        count++;
        const found = objection(() => take(variant.text));
        if (found !== undefined) return { count, found: `${variant.what}: ${found}` };
      }
    }
    return { count, found: undefined };
  };

  test("in a manifest", { timeout: 300_000 }, () => {
    const { count, found } = search(manifests, takeManifests);
    expect(found).toBeUndefined();
    expect(count).toBeGreaterThan(2_000);
  });

  test("in a config", () => {
    const { found } = search([config], (text) =>
      checkFindings(parseNodeConfig(text, "c.yaml").diagnostics),
    );
    expect(found).toBeUndefined();
  });

  test("in a file of policy tests", () => {
    const { found } = search([read("examples/three-tier/tests.yaml")], (text) =>
      checkFindings(readTestFile(text, "t.yaml").diagnostics),
    );
    expect(found).toBeUndefined();
  });

  test("a reader that looks a word up in a plain object is found", () => {
    const known: Readonly<Record<string, readonly string[]>> = { v1: ["Pod"] };
    const faulty = (text: string) => {
      const version = /apiVersion: (\S+)/.exec(text)?.[1] ?? "";
      known[version]?.map((each) => each);
    };
    expect(search([manifests[0]!], faulty).found).toMatch(/^\w+ for v1: TypeError/);
  });
});
