import { assert, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { Provenance } from "../../src/compiler/decode.js";
import { IncrementalCompiler } from "../../src/compiler/incremental.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import { modeOf } from "../../src/manifest/annotations.js";
import { type Mode, modes } from "../../src/manifest/mode.js";
import type { KubernetesObject } from "../../src/manifest/objects.js";
import { type Address, addressKey, formatAddress } from "../../src/net/address.js";
import { judge, type Probe } from "../oracle/oracle.js";
import { Random } from "./random.js";
import { randomCluster, randomProbes } from "./random-cluster.js";
import { enforcedBy, withRandomModes } from "./random-modes.js";

const CLUSTERS = 120;
const PROBES = 100;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

/** Takes every pod, some with a mode where it is attached. */
function attach(random: Random, objects: readonly KubernetesObject[]) {
  const pods = objects
    .filter(({ kind }) => kind === "Pod")
    .map(({ meta }) => `${meta.namespace}/${meta.name}`);
  const named = pods.filter(() => random.oneIn(2));
  return {
    pods: new Set(pods),
    modes: new Map(named.map((pod) => [pod, random.pick(modes)] as const)),
  };
}

function batchOf(probes: readonly Probe[]): TupleBatch {
  const batch = new TupleBatch(probes.length);
  for (const { source, destination, protocol, port } of probes) {
    batch.push(source, destination, protocol, port ?? 0);
  }
  return batch;
}

function sides(bits: number): string[] {
  return [...(bits & 1 ? ["egress"] : []), ...(bits & 2 ? ["ingress"] : [])];
}

function show({ source, destination, protocol, port }: Probe): string {
  return `${formatAddress(source)} -> ${formatAddress(destination)} protocol ${protocol} port ${port}`;
}

// Goal: what is enforced is what would be if the audited policies were not there, and the audit is
// what would be if nothing were audited.
// Method: random clusters with random modes on policies, pods, their attachments and the process. The oracle, which knows
// of no modes, judges each side by the manifests without what is audited for its own pod, and, for the
// audit, by all of them.
test(`audited policies change no verdict (SEED=${seed})`, () => {
  let audited = 0;
  for (let round = 0; round < CLUSTERS; round++) {
    const random = new Random(seed + round);
    const objects = withRandomModes(random, randomCluster(random));
    const mode = random.pick(modes);
    const attached = attach(random, objects);
    const compiled = compile({ objects, mode, local: attached });
    assert(compiled.ok);

    const modeByAddress = new Map<string, Mode>();
    for (const { namespace, name, addresses } of compiled.ruleset.endpoints) {
      const pod = objects.findLast(
        ({ kind, meta }) => kind === "Pod" && meta.namespace === namespace && meta.name === name,
      );
      const own = pod === undefined ? undefined : modeOf(pod.meta);
      const nearest = own ?? attached.modes.get(`${namespace}/${name}`) ?? mode;
      for (const address of addresses) modeByAddress.set(addressKey(address), nearest);
    }
    const enforcedFor = (address: Address) =>
      enforcedBy(objects, modeByAddress.get(addressKey(address)) ?? mode);

    const probes = randomProbes(random, objects, PROBES);
    const table = Table.open(compiled.blob);
    const verdicts = table.classify(batchOf(probes));
    const audits = table.audit(batchOf(probes));
    probes.forEach((probe, index) => {
      const about = `SEED=${seed + round} ${show(probe)}`;
      const want = [
        ...judge(enforcedFor(probe.source), probe).filter((side) => side === "egress"),
        ...judge(enforcedFor(probe.destination), probe).filter((side) => side === "ingress"),
      ];
      assert.deepEqual(sides(verdicts[index]!), want, about);
      assert.deepEqual(sides(audits[index]!), judge(objects, probe), `audit, ${about}`);
      if (verdicts[index] === 0 && audits[index] !== 0) audited++;
    });
  }
  assert.isAbove(audited, CLUSTERS, "the clusters audit often enough to mean something");
});

// Goal: the reasons for an audit agree with it, and following changes comes to the same as compiling.
// Method: provenance against the native audit, side by side; the incremental compiler's bytes after
// modes were put on one by one against those of a full compile.
test(`audit reasons and updates agree with the audit (SEED=${seed})`, () => {
  for (let round = 0; round < CLUSTERS; round++) {
    const random = new Random(seed + round);
    const plain = randomCluster(random);
    const objects = withRandomModes(random, plain);
    const compiled = compile({ objects });
    assert(compiled.ok);
    const incremental = new IncrementalCompiler();
    incremental.update(plain.map((put) => ({ put })));
    for (const put of objects) incremental.update([{ put }]);
    const updated = incremental.update([]);
    assert(updated.ok);
    assert.isTrue(Buffer.from(updated.blob).equals(compiled.blob), `SEED=${seed + round}`);

    const provenance = new Provenance(compiled.blob);
    const table = Table.open(compiled.blob);
    const probes = randomProbes(random, objects, PROBES);
    const audits = table.audit(batchOf(probes));
    const leaves = table.locate(batchOf(probes));
    probes.forEach(({ protocol, port }, index) => {
      const source = provenance.leaf(leaves[index * 2]!);
      const destination = provenance.leaf(leaves[index * 2 + 1]!);
      if (source.endpointId === destination.endpointId) return;
      for (const [own, other, direction, bit] of [
        [source, destination, "Egress", 1],
        [destination, source, "Ingress", 2],
      ] as const) {
        if (own.endpointId === undefined) continue;
        const { endpointId } = own;
        const about = [endpointId, direction, other.originId, protocol, port ?? 0] as const;
        const { verdict } = provenance.reason(...about, "audit");
        const want = (audits[index]! & bit) === 0 ? "allow" : "deny";
        assert.equal(verdict, want, `SEED=${seed + round} ${show(probes[index]!)} ${direction}`);
      }
    });
  }
});
