import { assert, test } from "vitest";
import { Connectivity } from "../../src/analysis/connectivity.js";
import { addressFromBits, eachRange } from "../../src/analysis/connectivity-ranges.js";
import {
  type ConnectivityDiff,
  type DiffState,
  diffConnectivity,
} from "../../src/analysis/diff.js";
import type { DiffSide } from "../../src/analysis/diff-merge.js";
import { compile } from "../../src/compiler/compile.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import type { KubernetesObject, NetworkPolicy } from "../../src/manifest/objects.js";
import { type Address, formatAddress } from "../../src/net/address.js";
import { containsPort } from "../../src/net/port-set.js";
import { prefixContains } from "../../src/net/prefix.js";
import { Random } from "../property/random.js";
import { randomCluster } from "../property/random-cluster.js";

const CLUSTERS = 40;
const PROBES = 2500;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

function stateOf(objects: readonly KubernetesObject[]): DiffState {
  const result = compile({ objects });
  assert(result.ok, "compiles");
  return { blob: result.blob, table: Table.open(result.blob) };
}

/** Changes one thing: a policy goes or changes, a pod goes or is relabelled, a namespace is. */
function edited(random: Random, objects: readonly KubernetesObject[]): KubernetesObject[] {
  const policies = objects.filter(({ kind }) => kind === "NetworkPolicy");
  const object = random.pick(policies.length > 0 && !random.oneIn(3) ? policies : objects);
  const at = objects.indexOf(object);
  const replace = (by: KubernetesObject[]) => [
    ...objects.slice(0, at),
    ...by,
    ...objects.slice(at + 1),
  ];
  if (object.kind === "NetworkPolicy")
    return replace(random.oneIn(4) ? [] : [editedPolicy(random, object)]);
  if (object.kind === "ClusterNetworkPolicy")
    return replace([{ ...object, ingress: object.egress.slice(1) }]);
  if (object.kind === "Pod" && random.oneIn(4)) return replace([]);
  const labels = new Map([...object.meta.labels, ["app", random.pick(["a", "b", "new"])]] as const);
  return replace([{ ...object, meta: { ...object.meta, labels } } as KubernetesObject]);
}

function editedPolicy(random: Random, policy: NetworkPolicy): NetworkPolicy {
  const span = policy.meta.span;
  switch (random.below(4)) {
    case 0:
      return { ...policy, ingress: policy.ingress.slice(1) };
    case 1:
      return { ...policy, egress: policy.egress.slice(1) };
    case 2:
      return { ...policy, policyTypes: new Set(["Ingress"]) };
    default:
      return {
        ...policy,
        ingress: policy.ingress.map((rule) => ({
          ...rule,
          ports: [{ protocol: "TCP", port: 79, endPort: 90, span }],
        })),
      };
  }
}

interface End {
  readonly address: Address;
  /** Who has it before and after; undefined for nobody. */
  readonly owners: readonly [string | undefined, string | undefined];
}

/** The ends of every address range of either state. */
function endsOf(states: readonly [DiffState, DiffState]): readonly End[] {
  const both = states.map(({ blob }) => new Connectivity(blob));
  return ([4, 6] as const).flatMap((family) => {
    const bits = new Set(
      both.flatMap(({ leaves }) =>
        [...eachRange(leaves[family])].flatMap(({ first, last }) => [first, last]),
      ),
    );
    return [...bits].map((each) => {
      const address = addressFromBits(family, each);
      const owner = (at: 0 | 1) => {
        const pod = both[at]?.pods.find(({ sites }) =>
          sites.some((site) => formatAddress(site.address) === formatAddress(address)),
        );
        return pod && `${pod.namespace}/${pod.name}`;
      };
      return { address, owners: [owner(0), owner(1)] as const };
    });
  });
}

function holds(side: DiffSide, { address, owners }: End): boolean {
  if (owners[0] !== undefined) return side.pods.includes(owners[0]);
  return side.blocks.some(
    ({ cidr, except }) =>
      prefixContains(cidr, address) && !except.some((hole) => prefixContains(hole, address)),
  );
}

/** What the diff says of one packet; a packet must not be in two changes. */
function claimed(
  diff: ConnectivityDiff,
  from: End,
  to: End,
  protocol: number,
  port: number,
): string {
  const found = diff.changes.flatMap((change) => {
    if (!change.families.includes(from.address.family)) return [];
    if (!holds(change.from, from) || !holds(change.to, to)) return [];
    if (from.owners[0] !== undefined && from.owners[0] === to.owners[0]) return [];
    if (containsPort(change.opened, protocol, port)) return ["opened"];
    return containsPort(change.closed, protocol, port) ? ["closed"] : [];
  });
  assert.isAtMost(found.length, 1, "one packet is in one change");
  return found[0] ?? "same";
}

// Goal: the diff holds exactly the packets that the two native tables judge otherwise.
// Method: random clusters and one edit; packets between the ends of all address ranges of both, at the
// bounds of all ports in use; each is looked for in the diff. Every witness is judged once more.
test(`diff is exact (SEED=${seed})`, () => {
  const seen = { opened: 0, closed: 0, same: 0, equivalent: 0 };
  for (let round = 0; round < CLUSTERS; round++) {
    const random = new Random(seed + round);
    const objects = randomCluster(random);
    const edit = [stateOf(objects), stateOf(edited(random, objects))] as const;
    const states = random.oneIn(2) ? edit : ([edit[1], edit[0]] as const);
    const diff = diffConnectivity(...states);
    const ends = endsOf(states).filter(({ owners }) => owners[0] === owners[1]);
    const families = [4, 6].map((family) =>
      ends.filter(({ address }) => address.family === family),
    );
    const probes = Array.from({ length: PROBES }, () => {
      const family = random.pick(families);
      const protocol = random.pick([6, 6, 17, 132, 1, 58]);
      const ports = [0, 1, 52, 53, 54, 78, 79, 80, 81, 82, 90, 91, 442, 443, 444, 8080, 65_535];
      const port = protocol === 1 || protocol === 58 ? 0 : random.pick(ports);
      const pods = family.filter(({ owners }) => owners[0] !== undefined);
      const pod = random.pick(pods.length > 0 ? pods : family);
      const other = random.pick(family);
      const [from, to] = random.oneIn(2) ? [pod, other] : [other, pod];
      return { from, to, protocol, port };
    });
    const batch = new TupleBatch(PROBES);
    for (const { from, to, protocol, port } of probes) {
      batch.push(from.address, to.address, protocol, port);
    }
    const [before, after] = states.map(({ table }) => table.classify(batch));
    let different = 0;
    probes.forEach(({ from, to, protocol, port }, index) => {
      const [old, now] = [before?.[index] === 0, after?.[index] === 0];
      const want = old === now ? "same" : now ? "opened" : "closed";
      const text = `SEED=${seed + round} ${formatAddress(from.address)} -> ${formatAddress(to.address)} ${protocol} ${port}`;
      assert.equal(claimed(diff, from, to, protocol, port), want, text);
      seen[want]++;
      if (want !== "same") different++;
    });
    if (diff.equivalent) {
      seen.equivalent++;
      assert.equal(different, 0, `SEED=${seed + round}`);
    }
    for (const change of diff.changes) {
      assert.isNotEmpty(change.witnesses, "each change has a witness");
      for (const witness of change.witnesses) {
        assert.notEqual(witness.before.verdict, witness.after.verdict, `SEED=${seed + round}`);
      }
    }
  }
  assert.isAbove(seen.opened + seen.closed, 100, "edits change what is allowed");
  assert.isAbove(seen.equivalent, 0, "some edits change nothing");
});

test(`a state equals itself (SEED=${seed})`, () => {
  for (let round = 0; round < CLUSTERS; round++) {
    const objects = randomCluster(new Random(seed + round));
    const diff = diffConnectivity(stateOf(objects), stateOf([...objects].reverse()));
    assert.deepEqual(diff.changes, [], `SEED=${seed + round}`);
    assert(diff.equivalent, `SEED=${seed + round}`);
  }
});
