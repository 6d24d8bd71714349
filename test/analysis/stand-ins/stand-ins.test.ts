import { assert, describe, test } from "vitest";
import { diffConnectivity } from "../../../src/analysis/diff.js";
import { sortsOf } from "../../../src/analysis/stand-ins/sorts.js";
import type { Compiled } from "../../../src/cli/compiled.js";
import { standInFor } from "../../../src/cli/stand-ins.js";
import { compile } from "../../../src/compiler/compile.js";
import { Table } from "../../../src/dataplane/table.js";
import type { KubernetesObject, NetworkPolicy } from "../../../src/manifest/objects.js";
import { matchesSelector, selectorText } from "../../../src/policy/selectors.js";
import { ownFiles, sluice } from "../../cli/command-bench.js";
import { judge } from "../../oracle/oracle.js";
import { Random } from "../../property/random.js";
import { randomCluster, randomObject, randomProbes } from "../../property/random-cluster.js";
import { rounds } from "../../property/rounds.js";

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
const file = ownFiles();

function networkPolicies(random: Random): NetworkPolicy[] {
  return Array.from({ length: 400 }, () => randomObject(random))
    .filter((object) => object.kind === "NetworkPolicy")
    .slice(0, 1 + random.below(4))
    .map((policy, index) => ({
      ...policy,
      meta: { ...policy.meta, name: `p${index}`, annotations: new Map() },
    }));
}

function stateOf(objects: readonly KubernetesObject[]): Compiled {
  const result = compile({ objects });
  assert(result.ok);
  return { ...result, objects, services: [], notEnforced: [], passedOver: [], compileMs: 0 };
}

/** Something that may or may not change what policies mean. */
function changed(random: Random, policies: readonly NetworkPolicy[]): NetworkPolicy[] {
  const at = random.below(policies.length);
  const policy = policies[at]!;
  const others = policies.filter((_, index) => index !== at);
  const named = (name: string) => ({ ...policy.meta, name });
  switch (random.below(5)) {
    case 0:
      return others;
    case 1:
      return [
        ...others,
        { ...policy, meta: named("renamed"), ingress: [...policy.ingress].reverse() },
      ];
    case 2:
      // Each rule in a policy of its own is the same, but for a policy without any.
      return [
        ...others,
        { ...policy, ingress: [], egress: [] },
        ...policy.ingress.map((rule, index) => ({
          ...policy,
          meta: named(`in-${index}`),
          ingress: [rule],
          egress: [],
        })),
        ...policy.egress.map((rule, index) => ({
          ...policy,
          meta: named(`out-${index}`),
          ingress: [],
          egress: [rule],
        })),
      ];
    case 3:
      return [...policies, { ...policy, meta: named("again") }];
    default: {
      const [other] = networkPolicies(random);
      return [...others, { ...other!, meta: { ...other!.meta, name: "new" } }];
    }
  }
}

describe("sorts of labels", () => {
  // Goal: whatever the labels, the selectors that hold of them hold together of one of the sorts.
  // Method: all combinations of a few keys and values, beside those that the selectors name.
  test(`every set of labels is of one of them (SEED=${seed})`, () => {
    for (let round = 0; round < 60; round++) {
      const random = new Random(seed + round);
      const selectors = networkPolicies(random).map(({ podSelector }) => podSelector);
      const sorts = sortsOf(selectors, new Map(), 10_000)!;
      const signature = (labels: ReadonlyMap<string, string>) =>
        [...new Set(selectors.filter((each) => matchesSelector(each, labels)).map(selectorText))]
          .sort()
          .join("|");
      const found = new Set(sorts.map(({ labels }) => signature(labels)));
      for (const { labels, held } of sorts) {
        assert.equal([...held].sort().join("|"), signature(labels));
      }
      assert.equal(found.size, sorts.length);
      const keys = [
        ...new Set(selectors.flatMap((each) => each.requirements.map(({ key }) => key))),
      ];
      for (let attempt = 0; attempt < 300; attempt++) {
        const labels = new Map(
          keys
            .filter(() => random.oneIn(2))
            .map((key) => [key, random.pick(["", "a", "b", "c", "z"])]),
        );
        assert.isTrue(found.has(signature(labels)), `SEED=${seed + round} ${[...labels].join()}`);
      }
    }
  });

  test("too many are undefined", () => {
    const random = new Random(1);
    const selectors = Array.from({ length: 8 }, () => networkPolicies(random)[0]!.podSelector);
    assert.isUndefined(sortsOf(selectors, new Map(), 2));
  });
});

// Goal: two sets of bare policies that are called equivalent for every pod are so for every cluster, and what is
// different somewhere is found.
// Method: random policies and a change that may or may not mean something; random clusters with all that a policy can
// turn on are judged by the oracle under both.
test(`equivalent means of every pod there may be (SEED=${seed})`, () => {
  let equivalent = 0;
  let different = 0;
  for (let round = 0; round < rounds(80); round++) {
    const random = new Random(seed + round);
    const before = networkPolicies(random);
    const after = changed(random, before);
    const stoodIn = standInFor([stateOf(before), stateOf(after)], {}, { alsoPeers: true });
    const states = stoodIn?.states ?? [stateOf(before), stateOf(after)];
    const [old, now] = states.map(({ blob }) => ({ blob, table: Table.open(blob) }));
    const diff = diffConnectivity(old!, now!);
    if (!diff.equivalent) {
      different++;
      continue;
    }
    if ((stoodIn?.limits.length ?? 0) > 0) continue;
    equivalent++;
    for (let world = 0; world < 3; world++) {
      const cluster = randomCluster(random).filter(({ kind }) => !kind.endsWith("Policy"));
      for (const probe of randomProbes(random, [...cluster, ...before], 40)) {
        assert.deepEqual(
          judge([...cluster, ...after], probe),
          judge([...cluster, ...before], probe),
          `SEED=${seed + round}`,
        );
      }
    }
  }
  assert.isAbove(equivalent, 5);
  assert.isAbove(different, 5);
});

const policy = (spec: string, name = "db") => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ${name}, namespace: shop}
spec: ${spec}
---
`;
const db = "podSelector: {matchLabels: {app: db}}";
const from = (peers: string, port = "5432") =>
  `{${db}, ingress: [{from: [${peers}], ports: [{port: ${port}}]}]}`;
const web = "{podSelector: {matchLabels: {app: web}}}";

describe("sluice diff of policies without pods", () => {
  test("says which pods differ, by their labels, with a witness", async () => {
    const old = file(policy(from(web)));
    const now = file(policy(from("{podSelector: {matchLabels: {app: front}}}")));
    const { code, out, err } = await sluice("diff", "-f", old, "-F", now);
    assert.equal(code, 1);
    assert.match(out, /^closed {2}shop\/<app=web> -> shop\/<app=db> {2}tcp 5432$/m);
    assert.match(out, /^opened {2}shop\/<app=front> -> shop\/<app=db> {2}tcp 5432$/m);
    assert.match(out, /for example shop\/<app=web> \(10\.99\.\d+\.\d+\) -> shop\/<app=db>/);
    assert.match(err, /5 stand-ins asked for 1 policy that selects no pod here, such as shop/);
    const json = JSON.parse((await sluice("diff", "-f", old, "-F", now, "-o", "json")).out);
    assert.deepEqual(json.changes[0].to.pods, ["shop/<app=db>"]);
    assert.deepInclude(json.standIns.asked, {
      name: "shop/<app=db>",
      namespace: "shop",
      labels: { app: "db" },
    });
    assert.isTrue(json.standIns.everyPod);
  });

  test("a policy split into two is equivalent, for every pod", async () => {
    const old = file(policy(from(`${web}, {namespaceSelector: {matchLabels: {team: ops}}}`)));
    const now = file(
      policy(from(web)) + policy(from("{namespaceSelector: {matchLabels: {team: ops}}}"), "ops"),
    );
    const { code, out } = await sluice("diff", "-f", old, "-F", now);
    assert.equal(code, 0);
    assert.match(out, /^equivalent: every packet of every pod there may be is judged as before/);
  });

  test("a pod that two selectors choose is asked too", async () => {
    // Alone, neither selector shows what the second policy takes away from pods that have both labels.
    const old = file(
      policy(`{${db}}`) +
        policy(`{podSelector: {matchLabels: {tier: back}}, ingress: [{}]}`, "open"),
    );
    const now = file(
      policy(`{${db}}`) +
        policy(
          `{podSelector: {matchExpressions: [{key: tier, operator: In, values: [back]}, {key: app, operator: NotIn, values: [db]}]}, ingress: [{}]}`,
          "open",
        ),
    );
    const { code, out } = await sluice("diff", "-f", old, "-F", now);
    assert.equal(code, 1);
    assert.match(out, /-> shop\/<app=db,tier=back> {2}all$/m);
  });

  test("an address block says nothing of a stand-in", async () => {
    // Pods of any address may be called `web`: the block does not make them all allowed.
    const block = "{ipBlock: {cidr: 10.0.0.0/8}}";
    const { code, out } = await sluice(
      ...["diff", "-f", file(policy(from(block))), "-F", file(policy(from(`${block}, ${web}`)))],
    );
    assert.equal(code, 1);
    assert.match(out, /^opened {2}shop\/<app=web> -> shop\/<app=db>/m);
  });

  test("a port by its name is another than any number", async () => {
    const paths = ["diff", "-f", file(policy(from(web, "pg"))), "-F", file(policy(from(web)))];
    const { code, out, err } = await sluice(...paths);
    assert.equal(code, 1);
    assert.match(out, /^opened .* tcp 5432$/m);
    assert.match(out, /^closed .* tcp 40001$/m);
    assert.match(err, /of their ports, pg is 40001/);
  });

  test("what is not compared is said, and is no claim of every pod", async () => {
    const tier = (rest: string) =>
      file(`apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: ops}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {matchLabels: {team: ops}}}
  egress: [{action: Deny, to: [{networks: [10.0.0.0/8]}${rest}]}]
`);
    const { code, out } = await sluice("diff", "-f", tier(""), "-F", tier(""));
    assert.equal(code, 0);
    assert.match(out, /^equivalent: of pods that stand for the selectors/);
    assert.match(
      out,
      /not compared: pods in networks that cluster-wide policies name; labels of namespaces/,
    );
    const more = ", {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}}";
    const differs = await sluice("diff", "-f", tier(""), "-F", tier(more));
    assert.equal(differs.code, 1);
    assert.match(differs.out, /^closed {2}<team=ops>\/<any other>, .*<app=db>/m);
  });

  // Method: hundreds of policies that stay, all of whose combinations are too many, and one that changes.
  test("of too many sorts, those of what has changed are asked", async () => {
    const many = Array.from(
      { length: 300 },
      (_, at) =>
        policy(`{podSelector: {matchLabels: {app: a${at}}}, ingress: []}`, `p${at}`) +
        policy(`{podSelector: {matchLabels: {tier: t${at}}}, ingress: []}`, `q${at}`),
    ).join("");
    const other = policy("{podSelector: {matchLabels: {zone: z}}}", "z").replaceAll("shop", "zoo");
    const old = file(many + other);
    const now = file(many + other.replace("spec: {", "spec: {ingress: [{}], "));
    const same = await sluice("diff", "-f", old, "-F", old);
    assert.equal(same.code, 0);
    assert.match(same.out, /not compared: further combinations of labels/);
    const { code, out, err } = await sluice("diff", "-f", old, "-F", now);
    assert.match(err, /there are more combinations of labels than are asked/);
    assert.equal(code, 1);
    assert.match(out, /^opened {2}.* -> zoo\/<zone=z> {2}all$/m);
  });

  test("where pods are there and nothing is missing, nobody stands in", async () => {
    const { out, err } = await sluice(
      "diff",
      "-f",
      "examples/three-tier",
      "-F",
      "examples/three-tier",
      "-o",
      "json",
    );
    assert.notProperty(JSON.parse(out), "standIns");
    assert.equal(err, "");
  });

  test("a peer that is elsewhere is asked before all is called equivalent", async () => {
    const pods = `apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, labels: {app: db}}
status: {podIP: 10.0.0.1}
---
`;
    const ops = "{namespaceSelector: {matchLabels: {team: ops}}}";
    const dev = "{namespaceSelector: {matchLabels: {team: dev}}}";
    const paths = [
      "diff",
      "-f",
      file(pods + policy(from(ops))),
      "-F",
      file(pods + policy(from(dev))),
    ];
    const { code, out } = await sluice(...paths);
    assert.equal(code, 1);
    assert.match(out, /^closed {2}<team=ops>\/<any> -> shop\/db-0 {2}tcp 5432$/m);
  });
});

describe("sluice matrix --exposure", () => {
  const workloads = `apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, labels: {app: db}}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
status: {podIP: 10.0.0.2}
---
`;
  test("says who from elsewhere may reach each pod, and nothing of those inside", async () => {
    const peers = `${web}, {namespaceSelector: {matchLabels: {team: ops}}}, {ipBlock: {cidr: 192.0.2.0/24}}`;
    const path = file(workloads + policy(from(peers)));
    const { code, out, err } = await sluice("matrix", "-f", path, "--exposure");
    assert.equal(code, 0);
    assert.match(out, /^shop\/db-0 from +tcp 5432 +<team=ops>\/<any>, 192\.0\.2\.0\/24$/m);
    assert.match(out, /^shop\/db-0 to +all +everyone$/m);
    assert.match(err, /peers that no pod here is, such as/);
    const json = JSON.parse((await sluice("matrix", "-f", path, "--exposure", "-o", "json")).out);
    const cells = json.cells.map(({ from: a, to: b }: { from: string; to: string }) => `${a} ${b}`);
    assert.include(cells, "<team=ops>/<any> shop/db-0");
    assert.notInclude(cells, "shop/web-0 shop/db-0");
    const party = json.parties.find(({ name }: { name: string }) => name === "<team=ops>/<any>");
    assert.deepEqual([party.standIn, party.pods], [true, []]);
  });

  test("policies without pods are about those that stand for their selectors", async () => {
    const path = file(policy(from(web)));
    const { code, out } = await sluice("matrix", "-f", path, "--exposure", "--by", "namespace");
    assert.equal(code, 0);
    assert.match(out, /^shop\/<app=db> from +tcp 5432 +shop\/<app=web>$/m);
    const without = await sluice("matrix", "-f", path);
    assert.equal(without.code, 3);
    assert.match(without.err, /--exposure/);
  });

  test("nothing is nothing", async () => {
    const path = file("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    assert.equal((await sluice("matrix", "-f", path, "--exposure")).code, 3);
    assert.equal((await sluice("diff", "-f", path, "-F", path)).code, 3);
  });
});
