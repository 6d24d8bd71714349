import { assert, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { ManifestCompiler } from "../../src/control/manifest-compiler.js";
import type { TableBlob } from "../../src/dataplane/table-blob.js";
import { parseManifests } from "../../src/manifest/parse.js";

function pod(name: string, address: string, node: string): string {
  return `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }
spec: { nodeName: ${node}, containers: [{ name: c }] }
status: { podIPs: [{ ip: ${address} }] }
---`;
}

function policy(port: number, from: string): string {
  return `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  ingress: [{ from: [{ podSelector: { matchLabels: { app: ${from} } } }], ports: [{ port: ${port} }] }]
---`;
}

const local = { node: "n1" } as const;
const web = pod("web", "10.0.0.1", "n1");
const client = pod("client", "10.0.0.2", "n2");

// Goal: whatever stood in the manifests before, the table is that of the manifests of now.
// Method: one edit after another, also such as are refused; each compared with a full compile.
test("ManifestCompiler: every set of manifests gives the table of a full compile", () => {
  const compiler = new ManifestCompiler();
  const steps: readonly [text: string, want: string][] = [
    [web + client + policy(80, "client"), "rebuild"],
    [web + client + policy(80, "client"), "none"],
    [web + client + pod("late", "10.0.0.3", "n2") + policy(80, "client"), "patch"],
    [`${client}${web}${pod("late", "10.0.0.3", "n2")}${policy(80, "client")}`, "none"],
    [web + client + policy(81, "client"), "patch"],
    [client + policy(81, "client"), "SL2004"],
    [web + policy(81, "client"), "rebuild"],
    [web + web.replace("10.0.0.1", "10.0.0.9") + policy(81, "client"), "patch"],
  ];
  const kept: { readonly got: TableBlob; readonly want: Uint8Array }[] = [];
  steps.forEach(([text, effort], index) => {
    const { objects } = parseManifests(text, "shop.yaml");
    const got = compiler.compile(objects, local);
    const want = compile({ objects, local });
    const hint = `step ${index}`;
    assert.equal(got.ok ? got.effort : got.diagnostics[0]?.code, effort, hint);
    assert.equal(got.ok, want.ok, hint);
    if (got.ok && want.ok) kept.push({ got: got.blob, want: want.blob });
  });
  // Only now, so that a blob that a later step had changed would be seen.
  for (const { got, want } of kept) assert.isTrue(Buffer.from(got.bytes).equals(Buffer.from(want)));
});

// Goal: an error in the middle of a patch leaves nothing half changed: the next table is that of a full compile.
// Method: a policy whose rules cannot be read at first comes together with a local pod.
test("ManifestCompiler: after an error in a patch all is compiled from nothing", () => {
  const compiler = new ManifestCompiler();
  const { objects } = parseManifests(web + client + policy(80, "client"), "shop.yaml");
  assert.isTrue(compiler.compile(objects, local).ok);
  const more = parseManifests(pod("late", "10.0.0.3", "n1") + policy(81, "late"), "shop.yaml");
  const [late, other] = more.objects;
  assert(late !== undefined && other?.kind === "NetworkPolicy");
  let isBroken = true;
  const broken = {
    ...other,
    get ingress() {
      if (isBroken) throw new Error("cannot be read");
      return other.ingress;
    },
  };
  assert.throws(() => compiler.change([{ put: late }, { put: broken }], local), /cannot be read/);
  isBroken = false;
  const got = compiler.change([], local);
  const want = compile({ objects: [...objects, late, other], local });
  assert(got.ok && want.ok);
  assert.equal(got.effort, "rebuild");
  assert.isTrue(Buffer.from(got.blob.bytes).equals(Buffer.from(want.blob)));
});
