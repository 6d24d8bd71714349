import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { assert, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { runCli } from "../../src/cli/frame.js";
import { compile } from "../../src/compiler/compile.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import type { Pod } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { parseAddress } from "../../src/net/address.js";
import { protocolNumbers } from "../../src/net/protocol.js";
import { takeRecord } from "../../src/recommend/flow-records.js";
import { portName } from "../../src/recommend/party.js";
import { Seen } from "../../src/recommend/seen.js";
import { type Tightening, tighten } from "../../src/recommend/tighten.js";
import { fakeIo } from "../cli/fake-io.js";
import { Random } from "../property/random.js";
import { type RandomLab, randomFlows, randomLab } from "./random-lab.js";

// Goal: policies become narrower by what no flow used, and by nothing else.

function tightened(
  lab: Pick<RandomLab, "objects" | "workloads">,
  records: readonly object[],
): Tightening {
  const seen = new Seen();
  for (const record of records) takeRecord(record, seen);
  return tighten({ ...lab, services: [] }, seen, () => true);
}

/** Everything between the pods of a lab that a table allows. */
function allowedBy(blob: Uint8Array, { pods }: Pick<RandomLab, "pods">): Uint8Array {
  const batch = new TupleBatch(100_000);
  for (const from of pods) {
    for (const to of pods) {
      for (const protocol of ["TCP", "UDP", "SCTP"]) {
        for (const port of [1, 53, 80, 81, 443, 8080]) {
          batch.push(from.addresses[0]!, to.addresses[0]!, protocolNumbers[protocol]!, port);
        }
      }
    }
  }
  return Table.open(blob).classify(batch);
}

// Method: random labs whose policies let through random flows; the table before and after is asked for all pairs. What
// was narrowed once has nothing more to narrow, and the policies that were left have no part that is not used.
test("nothing opens, what was seen stays open, and a second time changes nothing", () => {
  let narrower = 0;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (seed) => {
      const random = new Random(seed);
      const lab = randomLab(random);
      const records = randomFlows(random, lab, 100);
      const made = tightened(lab, records);
      narrower += made.policies.length;
      assert.lengthOf(made.proof.refused, 0);
      const before = compile({ objects: lab.objects });
      assert(before.ok);
      const [old, now] = [before.blob, made.proof.compiled.blob].map((blob) =>
        allowedBy(blob, lab),
      );
      assert.isFalse(
        now!.some((verdict, at) => verdict === 0 && old![at] !== 0),
        "it opened something",
      );
      const after = new Map(made.policies.map((each) => [each.before, each.after]));
      const objects = lab.objects.map((each) =>
        each.kind === "NetworkPolicy" ? (after.get(each) ?? each) : each,
      );
      assert.lengthOf(tightened({ ...lab, objects }, records).policies, 0);

      // Nor does it open to pods that come later, whatever their labels.
      const later = randomLab(random).pods.map((pod, index) => ({
        ...pod,
        meta: { ...pod.meta, name: `later-${index}` },
        addresses: [parseAddress(`10.0.1.${index + 1}`)!],
      }));
      const [oldLater, nowLater] = [lab.objects, objects].map((each) => {
        const compiled = compile({ objects: [...each, ...later] });
        assert(compiled.ok);
        return allowedBy(compiled.blob, {
          pods: [...lab.pods.slice(0, 20), ...later.slice(0, 20)],
        });
      });
      assert.isFalse(
        nowLater!.some((verdict, at) => verdict === 0 && oldLater![at] !== 0),
        "it opened something to a pod that came later",
      );
    }),
    { numRuns: 8 },
  );
  assert.isAbove(narrower, 5);
});

const manifests = `
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: db, ports: [{name: sql, containerPort: 5432}]}]}
status: {podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: idle, namespace: shop, labels: {app: idle}}
status: {podIPs: [{ip: 10.0.0.3}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop, labels: {team: a}}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from:
    - podSelector: {matchLabels: {app: web}}
    - ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.1/32]}
    ports: [{port: sql}, {port: 9000, endPort: 9010}]
  - from: [{namespaceSelector: {}}]
    ports: [{port: 22}]
  egress:
  - to: [{ipBlock: {cidr: 198.51.100.0/24}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: idle, namespace: shop}
spec: {podSelector: {matchLabels: {app: idle}}, ingress: [{}]}
`;

const record = JSON.stringify({
  verdict: "FORWARDED",
  IP: { source: "10.0.0.1", destination: "10.0.0.2" },
  l4: { TCP: { source_port: 4_000, destination_port: 5432 } },
  is_reply: false,
});

async function sluice(...words: string[]) {
  const io = fakeIo({ stdin: `${record}\n` });
  const folder = mkdtempSync(join(tmpdir(), "sluice-tighten-"));
  try {
    writeFileSync(`${folder}/all.yaml`, manifests);
    const code = await runCli(
      ["recommend", "--tighten", "--flows", "-", "-f", `${folder}/all.yaml`, ...words],
      io,
    );
    return { code, out: io.out(), err: io.err().replaceAll(`${folder}/`, "") };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("unused rules, peers and ports go, with their places; policies of unseen pods stay", async () => {
  const { code, out, err } = await sluice();
  assert.equal(code, 0, err);
  const documents = parseAllDocuments(out).map((each) => each.toJS());
  assert.deepEqual(documents, [
    {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "db", namespace: "shop", labels: { team: "a" } },
      spec: {
        podSelector: { matchLabels: { app: "db" } },
        // Without a rule of egress left, Egress is still denied.
        policyTypes: ["Ingress", "Egress"],
        ingress: [
          {
            from: [{ podSelector: { matchLabels: { app: "web" } } }],
            ports: [{ protocol: "TCP", port: "sql" }],
          },
        ],
      },
    },
  ]);
  for (const line of [
    "shop/db without spec.ingress[0].from[1] (all.yaml:26), 192.0.2.0/24: no flow used it",
    "shop/db without spec.ingress[0].ports[1] (all.yaml:27), tcp 9000-9010: no flow used it",
    "shop/db without spec.ingress[1] (all.yaml:28), the rule: no flow used it",
    "shop/db without spec.egress[0] (all.yaml:31), the rule: no flow used it",
    "left as they are, since nothing was seen of their pods: shop/idle",
    "replayed, 1 of 1 allowed",
  ]) {
    assert.include(err, line);
  }
});

test("a rule that began more connections than the flows tell of stays whole", () => {
  const { objects } = parseManifests(manifests, "all.yaml");
  const seen = new Seen();
  takeRecord({ ...JSON.parse(record), ext: { event: "opened" } }, seen);
  const fieldsOf = (hits: Record<string, number>) => {
    const given = { objects, workloads: [], services: [] };
    const made = tighten(given, seen, () => true, new Map(Object.entries(hits)));
    return {
      gone: made.policies.flatMap(({ changes }) => changes.map(({ field }) => field)),
      kept: made.keptByHits.map(({ field }) => field),
    };
  };
  const rest = ["spec.ingress[1]", "spec.egress[0]"];
  const parts = ["spec.ingress[0].from[1]", "spec.ingress[0].ports[1]"];
  assert.deepEqual(fieldsOf({ "shop/db ingress 0": 1 }), { gone: [...parts, ...rest], kept: [] });
  assert.deepEqual(fieldsOf({ "shop/db ingress 0": 2 }), { gone: rest, kept: ["spec.ingress[0]"] });
  assert.deepEqual(fieldsOf({ "shop/db ingress 1": 1 }), {
    gone: [...parts, "spec.egress[0]"],
    kept: ["spec.ingress[1]"],
  });
});

const wide = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {env: live}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ops, labels: {env: live}}
---
${[
  ["shop", "web", "10.0.0.1"],
  ["shop", "db", "10.0.0.2"],
  ["shop", "idle", "10.0.0.3"],
  ["ops", "prometheus", "10.0.0.4"],
  ["ops", "grafana", "10.0.0.5"],
]
  .map(
    ([namespace, app, ip]) => `apiVersion: v1
kind: Pod
metadata: {name: ${app}, namespace: ${namespace}, labels: {app: ${app}, team: t}}
spec: {containers: [{name: c, ports: [{name: sql, containerPort: 5432}]}]}
status: {podIPs: [{ip: ${ip}}]}
---
`,
  )
  .join("")}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - namespaceSelector: {matchLabels: {env: live}}
    - podSelector: {matchExpressions: [{key: team, operator: Exists}]}
    ports: [{protocol: TCP}, {port: 9000, endPort: 9100}]
  egress:
  - {}
`;

/** What is left of the policy of `wide`, and what is said of it, after flows such as `10.0.0.1 10.0.0.2 5432`. */
function narrowedBy(flows: readonly string[], more: readonly object[] = []) {
  const { objects } = parseManifests(wide, "all.yaml");
  const records = flows.map((flow) => {
    const [source, destination, port] = flow.split(" ");
    return {
      verdict: "FORWARDED",
      IP: { source, destination },
      l4: { TCP: { source_port: 4_000, destination_port: Number(port) } },
      is_reply: false,
    };
  });
  const made = tightened({ objects, workloads: [] }, [...records, ...more]);
  const [policy] = made.policies;
  assert(policy !== undefined);
  return {
    spec: parseAllDocuments(policy.yaml)[0]!.toJS().spec,
    said: policy.changes.map(({ field, now }) => `${field}: ${now}`),
  };
}

const app = (name: string) => ({ matchLabels: { app: name } });

test("peers and ports that stand for more than was seen become what was seen", () => {
  const { spec, said } = narrowedBy([
    "10.0.0.1 10.0.0.2 5432",
    "10.0.0.4 10.0.0.2 9001",
    "10.0.0.4 10.0.0.2 9002",
    "10.0.0.4 10.0.0.2 9003",
    "10.0.0.2 10.0.0.3 5432",
  ]);
  assert.deepEqual(spec.ingress, [
    {
      from: [
        {
          namespaceSelector: {
            matchLabels: { env: "live", "kubernetes.io/metadata.name": "shop" },
          },
          podSelector: app("web"),
        },
        {
          namespaceSelector: { matchLabels: { env: "live", "kubernetes.io/metadata.name": "ops" } },
          podSelector: app("prometheus"),
        },
        // What stood there goes on being asked for.
        {
          podSelector: {
            matchExpressions: [
              { key: "team", operator: "Exists" },
              { key: "app", operator: "In", values: ["web"] },
            ],
          },
        },
      ],
      ports: [
        // By its name, where it stood for every port; a name could come to mean one outside a range.
        { protocol: "TCP", port: "sql" },
        { protocol: "TCP", port: 9001, endPort: 9003 },
      ],
    },
  ]);
  assert.deepEqual(spec.egress, [
    { to: [{ podSelector: app("idle") }], ports: [{ protocol: "TCP", port: "sql" }] },
  ]);
  assert.deepEqual(said, [
    "spec.ingress[0].from[0]: ops/prometheus, shop/web",
    "spec.ingress[0].from[1]: shop/web",
    "spec.ingress[0].ports[0]: tcp sql, tcp 9001-9003",
    "spec.ingress[0].ports[1]: tcp 9001-9003",
    "spec.egress[0]: shop/idle",
    "spec.egress[0]: tcp sql",
  ]);
});

test("everybody stays where somebody outside was seen, and every port where a protocol without ports was", () => {
  const echo = {
    verdict: "FORWARDED",
    IP: { source: "10.0.0.2", destination: "10.0.0.3" },
    l4: { ICMPv4: { type: 8 } },
    is_reply: false,
  };
  const outward = narrowedBy(["10.0.0.2 203.0.113.9 443", "10.0.0.2 10.0.0.3 5432"]);
  assert.deepEqual(outward.spec.egress, [
    { ports: [443, 5432].map((port) => ({ protocol: "TCP", port })) },
  ]);
  const { spec } = narrowedBy(["10.0.0.2 10.0.0.3 5432"], [echo]);
  assert.deepEqual(spec.egress, [{ to: [{ podSelector: app("idle") }] }]);
});

test("of many ports the range from the first to the last is left", () => {
  const ports = Array.from({ length: 9 }, (_, at) => 9010 + 3 * at);
  const { spec } = narrowedBy(ports.map((port) => `10.0.0.1 10.0.0.2 ${port}`));
  const range = { protocol: "TCP", port: 9010, endPort: 9034 };
  assert.deepEqual(spec.ingress[0].ports, [range]);
});

test("what pods use that are not asked for stays, where a policy of theirs is asked for", () => {
  const shared = wide.slice(0, wide.lastIndexOf("apiVersion")).concat(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: all, namespace: shop}
spec: {podSelector: {}, ingress: [{ports: [{port: 80}]}, {ports: [{port: 5432}]}]}
`);
  const seen = new Seen();
  for (const [destination, port] of [["10.0.0.1", 80] as const, ["10.0.0.2", 5432] as const]) {
    takeRecord(
      {
        verdict: "FORWARDED",
        IP: { source: "10.0.0.4", destination },
        l4: { TCP: { source_port: 4_000, destination_port: port } },
        is_reply: false,
      },
      seen,
    );
  }
  const { objects } = parseManifests(shared, "all.yaml");
  const isWeb = ({ title }: { readonly title: string }) => title === "web";
  const made = tighten({ objects, workloads: [], services: [] }, seen, isWeb);
  const [policy] = made.policies;
  assert.lengthOf(policy!.after.ingress, 2);
  assert.equal(made.proof.asked, 2);
});

// A flow log may have a scan of all ports of thousands of pods.
test("a port that one pod has no name for is not looked for at all others", () => {
  const { objects } = parseManifests(manifests, "all.yaml");
  const [web, db] = objects.filter((each): each is Pod => each.kind === "Pod");
  let looks = 0;
  const watched = new Proxy(db!, {
    get: (pod, field) => {
      looks++;
      return Reflect.get(pod, field);
    },
  });
  for (let port = 1; port <= 100; port++) {
    assert.equal(portName({ pods: [web!, watched] }, "TCP", port), port);
  }
  assert.equal(looks, 0);
  assert.equal(portName({ pods: [watched, db!] }, "TCP", 5432), "sql");
  assert.equal(portName({ pods: [watched, web!] }, "TCP", 5432), 5432);
});

test("flags for new policies are refused beside it", async () => {
  for (const flag of [["--audit"], ["--default-deny", "workload"], ["--outside-prefix", "24"]]) {
    assert.equal((await sluice(...flag)).code, 2, flag[0]);
  }
});
