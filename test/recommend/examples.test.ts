import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, describe, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import type { Pod } from "../../src/manifest/objects.js";
import { parseTexts } from "../../src/manifest/parse.js";
import { formatAddress } from "../../src/net/address.js";
import { protocolNumbers } from "../../src/net/protocol.js";
import { singleAddresses } from "../../src/recommend/blocks.js";
import { takeRecord } from "../../src/recommend/flow-records.js";
import { recommend } from "../../src/recommend/recommend.js";
import { Seen } from "../../src/recommend/seen.js";
import { completePods } from "../../src/workloads/input-pods.js";

const examples = fileURLToPath(new URL("../../examples", import.meta.url));

/** All manifests of an example. */
function textsOf(path: string): { readonly name: string; readonly text: string }[] {
  if (!statSync(path).isDirectory()) return [{ name: path, text: readFileSync(path, "utf8") }];
  return readdirSync(path)
    .sort()
    .filter((name) => name.endsWith(".yaml") && name !== "kustomization.yaml")
    .flatMap((name) => textsOf(join(path, name)));
}

const known = [
  "three-tier",
  "bakery/base",
  ...readdirSync(join(examples, "articles")).map((name) => `articles/${name}`),
];

// Goal: what the policies of the examples allow between their pods, each port that a container declares, is allowed by
// policies made of that traffic.
describe("examples", () => {
  test.each(known)("%s", (name) => {
    const read = parseTexts(textsOf(join(examples, name)), name);
    const { objects } = completePods(read);
    const compiled = compile({ objects });
    assert(compiled.ok);
    const pods = compiled.cluster.pods;
    const batch = new TupleBatch();
    const tried = pods.flatMap((from) =>
      pods.flatMap((to) =>
        to.pod.ports.flatMap(({ protocol, port }) => {
          const [source, destination] = [from.addresses[0]!, to.addresses[0]!];
          if (from === to || source.family !== destination.family) return [];
          batch.push(source, destination, protocolNumbers[protocol]!, port);
          const end = ({ meta }: Pod) => ({
            namespace: meta.namespace,
            pod_name: meta.name,
            labels: [...meta.labels].map(([key, value]) => `k8s:${key}=${value}`),
          });
          const flow = {
            IP: { source: formatAddress(source), destination: formatAddress(destination) },
            l4: { [protocol]: { destination_port: port } },
            source: end(from.pod),
            destination: end(to.pod),
            is_reply: false,
          };
          return [{ flow, source, destination, protocol, port }];
        }),
      ),
    );
    const verdicts = Table.open(compiled.blob).classify(batch);
    const seen = new Seen();
    for (const [at, { flow }] of tried.entries()) {
      takeRecord(
        { flow: { ...flow, verdict: verdicts[at] === 0 ? "FORWARDED" : "DROPPED" } },
        seen,
      );
    }
    const made = recommend(read, seen, {
      mode: "enforce",
      defaultDeny: "namespace",
      blocks: singleAddresses,
      isAsked: () => true,
    });
    assert.deepEqual(made.proof.refused, []);
    const after = Table.open(made.proof.compiled.blob).classify(batch);
    for (const [at, { flow }] of tried.entries()) {
      const text = `${JSON.stringify(flow.source)} -> ${JSON.stringify(flow.destination)} ${JSON.stringify(flow.l4)}`;
      if (verdicts[at] === 0) assert.equal(after[at], 0, text);
    }
    if (tried.some((_, at) => verdicts[at] === 0)) assert.isAbove(made.drafts.length, 0);
  });
});
