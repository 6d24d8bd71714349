import { assert, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { Provenance } from "../../src/compiler/decode.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import type { KubernetesObject } from "../../src/manifest/objects.js";
import { formatAddress } from "../../src/net/address.js";
import { judge, type Probe } from "../oracle/oracle.js";
import { Random } from "./random.js";
import { randomCluster, randomProbes } from "./random-cluster.js";

const CLUSTERS = 300;
const PROBES = 150;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

function show({ source, destination, protocol, port }: Probe): string {
  return `${formatAddress(source)} -> ${formatAddress(destination)} protocol ${protocol} port ${port}`;
}

function compileOrFail(objects: readonly KubernetesObject[]) {
  const result = compile({ objects });
  assert(result.ok, "compiles");
  return result;
}

function batchOf(probes: readonly Probe[]): TupleBatch {
  const batch = new TupleBatch(probes.length);
  for (const { source, destination, protocol, port } of probes) {
    batch.push(source, destination, protocol, port ?? 0);
  }
  return batch;
}

// Goal: the native table gives every probe the verdict that the policies mean, side by side.
// Method: random clusters; probes on the bounds of their addresses, blocks and ports; the oracle,
// which knows nothing of the compiler, judges each from the objects.
test(`native verdicts are the oracle's (SEED=${seed})`, () => {
  let denials = 0;
  for (let round = 0; round < CLUSTERS; round++) {
    const random = new Random(seed + round);
    const objects = randomCluster(random);
    const { blob } = compileOrFail(objects);
    const probes = randomProbes(random, objects, PROBES);
    const verdicts = Table.open(blob).classify(batchOf(probes));
    probes.forEach((probe, index) => {
      const bits = verdicts[index]!;
      const got = [...(bits & 1 ? ["egress"] : []), ...(bits & 2 ? ["ingress"] : [])];
      denials += got.length;
      assert.deepEqual(got, judge(objects, probe), `SEED=${seed + round} ${show(probe)}`);
    });
  }
  assert.isAbove(denials, CLUSTERS, "the clusters deny often enough to mean something");
});

// Goal: provenance names a reason that leads to the verdict which the native table gives.
// Method: for each probe and side, the reason read from the blob against the side's native bit.
test(`reasons agree with native verdicts (SEED=${seed})`, () => {
  for (let round = 0; round < CLUSTERS; round++) {
    const random = new Random(seed + round);
    const objects = randomCluster(random);
    const { blob } = compileOrFail(objects);
    const table = Table.open(blob);
    const provenance = new Provenance(blob);
    const probes = randomProbes(random, objects, PROBES);
    const batch = batchOf(probes);
    const verdicts = table.classify(batch);
    const leaves = table.locate(batch);
    probes.forEach(({ protocol, port }, index) => {
      const source = provenance.leaf(leaves[index * 2]!);
      const destination = provenance.leaf(leaves[index * 2 + 1]!);
      if (source.endpointId === destination.endpointId) return;
      for (const [own, other, direction, bit] of [
        [source, destination, "Egress", 1],
        [destination, source, "Ingress", 2],
      ] as const) {
        if (own.endpointId === undefined) continue;
        const reason = provenance.reason(
          own.endpointId,
          direction,
          other.originId,
          protocol,
          port ?? 0,
        );
        const want = (verdicts[index]! & bit) === 0 ? "allow" : "deny";
        assert.equal(
          reason.verdict,
          want,
          `SEED=${seed + round} ${show(probes[index]!)} ${direction}`,
        );
      }
    });
  }
});

// Goal: equal states give equal bytes, so that an update can be compared with a full compile.
// Method: the same objects in another order.
test(`the order of the objects does not show in the blob (SEED=${seed})`, () => {
  for (let round = 0; round < 60; round++) {
    const random = new Random(seed + round);
    const objects = randomCluster(random);
    const shuffled = objects
      .map((object) => ({ object, key: random.below(1_000_000) }))
      .sort((a, b) => a.key - b.key)
      .map(({ object }) => object);
    const [one, other] = [compileOrFail(objects).blob, compileOrFail(shuffled).blob];
    assert.isTrue(Buffer.from(one).equals(Buffer.from(other)), `SEED=${seed + round}`);
  }
});
