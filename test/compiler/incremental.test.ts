import { assert, test } from "vitest";
import { checksumOf } from "../../src/compiler/checksum.js";
import { compile } from "../../src/compiler/compile.js";
import { IncrementalCompiler } from "../../src/compiler/incremental.js";
import { Table } from "../../src/dataplane/table.js";
import { TableHeader } from "../../src/layout/layout.gen.js";
import type { KubernetesObject } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { formatAddress, parseAddress } from "../../src/net/address.js";
import type { ObjectChange } from "../../src/policy/live-cluster.js";
import { summarize } from "../../src/policy/ruleset.js";
import { Random } from "../property/random.js";
import { rounds } from "../property/rounds.js";

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
const local = { node: "n1" } as const;

function parse(text: string): readonly KubernetesObject[] {
  const { objects, diagnostics } = parseManifests(text, "shop.yaml");
  assert.deepEqual(diagnostics, []);
  return objects;
}

function podText(name: string, app: string, addresses: readonly string[], node = "n2"): string {
  return `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: ${app} } }
spec: { nodeName: ${node}, containers: [{ name: c, ports: [{ name: http, containerPort: 80 }] }] }
status: { podIPs: [${addresses.map((ip) => `{ ip: "${ip}" }`).join(", ")}] }
---`;
}

const policyText = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - podSelector: { matchLabels: { app: red } }
    - from:
        - podSelector: { matchExpressions: [{ key: app, operator: In, values: [red, blue] }] }
        - ipBlock: { cidr: 1.0.0.0/8, except: [1.0.1.0/24, 1.1.0.0/28] }
        - ipBlock: { cidr: "100::/16", except: ["100:1::/33", "100:0:100::/47"] }
        - ipBlock: { cidr: "100:1:101::1/128" }
        - ipBlock: { cidr: 1.1.1.1/32 }
      ports: [{ port: 80 }]
  egress:
    - to: [{ podSelector: {} }]
      ports: [{ port: http }]
---`;

function namespaceText(name: string, team: string): string {
  return `
apiVersion: v1
kind: Namespace
metadata: { name: ${name}, labels: { team: "${team}" } }
---`;
}

/** A policy without blocks: what it changes are sets of pods. */
const narrowText = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: narrow, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  ingress: [{ from: [{ podSelector: { matchLabels: { app: grey } } }], ports: [{ port: 90 }] }]
---`;

const nodeText = `
apiVersion: v1
kind: Node
metadata: { name: n1 }
status: { addresses: [{ type: InternalIP, address: 172.16.0.1 }] }
---`;

/** Pods that keep every class in use, so that others can come and go by a patch. */
const anchors = [
  podText("web", "web", ["9.0.0.1", "9::1"], "n1"),
  podText("red", "red", ["9.0.0.2", "9::2"]),
  podText("blue", "blue", ["9.0.0.3", "9::3"]),
  podText("red-block", "red", ["1.0.0.77", "100::77"]),
  podText("blue-block", "blue", ["1.0.0.78", "100::78"]),
  podText("grey", "grey", ["9.0.0.4", "9::4"]),
  podText("grey-block", "grey", ["1.0.0.79", "100::79"]),
].join("");

/** Addresses whose digits are few, so that paths are shared, split and merged again and again. */
function randomAddresses(random: Random): string[] {
  const digit = () => random.below(2);
  const v4 = `${1 + digit()}.${digit()}.${digit()}.${random.below(3)}`;
  const groups = Array.from({ length: 7 }, () => (digit() * 256 + digit()).toString(16));
  const v6 = `${digit() + 1}00:${groups.join(":")}`;
  return random.pick([[v4, v6], [v4], [v6]]);
}

// Goal: tries that are patched are those that would have been built: nodes come, split, merge and go.
// Method: pods at addresses that share long paths, inside and outside of blocks; each state compiled
// anew, byte for byte.
test(`IncrementalCompiler: nodes of the tries come and go (SEED=${seed})`, () => {
  let increments = 0;
  const count = rounds(6);
  for (let round = 0; round < count; round++) {
    const random = new Random(seed + round);
    const compiler = new IncrementalCompiler({ local });
    const fixed = parse(policyText + anchors);
    const state = new Map<string, KubernetesObject>();
    compiler.update(fixed.map((put) => ({ put })));
    for (let event = 0; event < 120; event++) {
      // First more come than go, then the other way round.
      const name = `pod-${random.below(20)}`;
      const goes = random.below(120) < event;
      if (goes) state.delete(name);
      else {
        const app = random.pick(["red", "blue", "grey"]);
        state.set(name, parse(podText(name, app, randomAddresses(random)))[0]!);
      }
      const put = state.get(name);
      const change: ObjectChange =
        put === undefined ? { remove: { kind: "Pod", namespace: "shop", name } } : { put };
      const got = compiler.update([change]);
      const want = compile({ objects: [...fixed, ...state.values()], local });
      assert(got.ok && want.ok);
      if (got.effort !== "rebuild") increments++;
      const hint = `SEED=${seed + round} event ${event} ${got.effort} ${JSON.stringify(change)}`;
      assert.isTrue(Buffer.from(want.blob).equals(Buffer.from(got.blob)), hint);
    }
  }
  assert.isAbove(increments, 50 * count, "increments occur");
});

// Goal: local pods, rules, sets and classes that come and go are patched, to the bytes of a compile from nothing.
// Method: few pods on and off the node and few policies over few labels, so that most sets and classes are lost at times.
test(`IncrementalCompiler: rules, sets and classes come and go (SEED=${seed})`, () => {
  const apps = ["web", "red", "blue", "grey"];
  const peer = (random: Random): string => {
    const app = random.pick(apps);
    const pods = `podSelector: { matchLabels: { app: ${app} } }`;
    return random.oneIn(2)
      ? `{ ${pods} }`
      : `{ namespaceSelector: { matchLabels: { team: "${random.below(2)}" } }, ${pods} }`;
  };
  const policy = (random: Random, name: string): string => `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: ${name}, namespace: shop }
spec:
  podSelector: { matchLabels: { app: ${random.pick(apps)} } }
  ingress: [{ from: [${peer(random)}, ${peer(random)}], ports: [{ port: ${80 + random.below(3)} }] }]
---`;
  let increments = 0;
  for (let round = 0; round < 3; round++) {
    const random = new Random(seed + round);
    const node = { node: "n1", mayBeEmpty: true } as const;
    const compiler = new IncrementalCompiler({ local: node });
    const fixed = parse(podText("first", "web", ["9.9.0.1", "9:9::1"], "n1"));
    const state = new Map<string, KubernetesObject>();
    compiler.update(fixed.map((put) => ({ put })));
    for (let event = 0; event < 100; event++) {
      const number = random.below(12);
      const kinds = [
        podText(
          `pod-${number}`,
          random.pick(apps),
          [`9.0.${number % 3}.${number}`, `9::${number}`],
          `n${1 + (number % 2)}`,
        ),
        policy(random, `policy-${random.below(4)}`),
        namespaceText("shop", `${random.below(2)}`),
      ];
      const put = parse(kinds[random.oneIn(5) ? 2 : random.below(2)]!)[0]!;
      const { kind, meta } = put;
      const goes = random.oneIn(3) && state.has(`${kind} ${meta.name}`);
      if (goes) state.delete(`${kind} ${meta.name}`);
      else state.set(`${kind} ${meta.name}`, put);
      const change: ObjectChange = goes
        ? { remove: { kind, namespace: meta.namespace, name: meta.name } }
        : { put };
      const got = compiler.update([change]);
      const want = compile({ objects: [...fixed, ...state.values()], local: node });
      assert(got.ok && want.ok);
      if (got.effort !== "rebuild") increments++;
      const hint = `SEED=${seed + round} event ${event} ${got.effort} ${JSON.stringify(change)}`;
      assert.isTrue(Buffer.from(want.blob).equals(Buffer.from(got.blob)), hint);
      assert.deepEqual(got.stats, want.stats, hint);
      assert.deepEqual(summarize(got.ruleset), summarize(want.ruleset), hint);
    }
  }
  assert.isAbove(increments, 200, "most events are increments");
});

test("IncrementalCompiler: a namespace that comes back with other labels has other rules", () => {
  const policy = `
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: { name: red }
spec:
  tier: Admin
  priority: 1
  subject: { namespaces: { matchLabels: { team: red } } }
  ingress: [{ action: Deny, from: [{ namespaces: {} }] }]
---`;
  const pod = podText("web", "web", ["9.0.0.1"], "n1");
  const stays =
    policy +
    namespaceText("far", "red") +
    pod.replace("shop,", "far,").replace("9.0.0.1", "9.0.0.2");
  const compiler = compilerOf(stays + namespaceText("shop", "blue") + pod);
  const remove = (kind: "Pod" | "Namespace", namespace: string, name: string): ObjectChange => ({
    remove: { kind, namespace, name },
  });
  compiler.update([remove("Pod", "shop", "web"), remove("Namespace", "", "shop")]);
  const again = parse(namespaceText("shop", "red") + pod);
  let got = compiler.update([{ put: again[0]! }]);
  got = compiler.update([{ put: again[1]! }]);
  const want = compile({ objects: parse(stays + namespaceText("shop", "red") + pod), local });
  assert(got.ok && want.ok && got.effort === "patch");
  assert.deepEqual(summarize(got.ruleset), summarize(want.ruleset));
  assert.isTrue(Buffer.from(want.blob).equals(Buffer.from(got.blob)));
});

function compilerOf(text: string): IncrementalCompiler {
  const compiler = new IncrementalCompiler({ local });
  assert(compiler.update(parse(text).map((put) => ({ put }))).ok);
  return compiler;
}

function effortOf(compiler: IncrementalCompiler, change: ObjectChange): string {
  const result = compiler.update([change]);
  return result.ok ? result.effort : result.diagnostics.map(({ code }) => code).join();
}

test("IncrementalCompiler: an event costs what it touches", () => {
  const compiler = compilerOf(policyText + anchors);
  const put = (text: string): ObjectChange => ({ put: parse(text)[0]! });
  const remove = (kind: "Pod" | "NetworkPolicy", name: string): ObjectChange => ({
    remove: { kind, namespace: "shop", name },
  });
  const far = (app: string, address: string) =>
    podText("four", app, [address]).replace("namespace: shop", "namespace: far");
  const otherPolicy = policyText.replace("shop }", "far }");
  const steps: readonly [want: string, change: ObjectChange][] = [
    ["patch", put(podText("one", "red", ["9.0.0.9"]))],
    ["none", put(podText("one", "red", ["9.0.0.9"]))],
    ["patch", put(podText("one", "blue", ["9.0.0.9"]))],
    ["patch", remove("Pod", "one")],
    ["none", put(otherPolicy)],
    ["patch", put(policyText.replace("port: 80 ", "port: 81 "))],
    ["patch", put(podText("two", "grey", ["9.0.0.10"], "n1"))],
    ["patch", put(podText("two", "web", ["9.0.0.10"], "n1"))],
    ["patch", remove("Pod", "two")],
    ["SL2004", remove("Pod", "web")],
    ["rebuild", put(podText("web", "web", ["9.0.0.1", "9::1"], "n1"))],
    ["patch", put(narrowText)],
    ["patch", put(narrowText.replace("app: grey", "app: green"))],
    ["patch", remove("NetworkPolicy", "narrow")],
    ["patch", put(podText("three", "grey", ["9.0.0.11"]))],
    // No rule parts these labels.
    ["none", put(podText("three", "green", ["9.0.0.11"]))],
    ["patch", remove("Pod", "three")],
    // No rule names it, but flows are told by its name.
    ["patch", put(far("unnamed", "172.31.0.1"))],
    ["none", put(far("other", "172.31.0.1"))],
    ["patch", put(far("other", "172.31.0.2"))],
    ["patch", { remove: { kind: "Pod", namespace: "far", name: "four" } }],
    // Its blocks part addresses that no pod has.
    ["rebuild", remove("NetworkPolicy", "web")],
    ["rebuild", put(nodeText)],
    ["none", put(nodeText)],
    ["rebuild", put(nodeText.replace("172.16.0.1", "172.16.0.2"))],
  ];
  steps.forEach(([want, change], index) => {
    assert.equal(effortOf(compiler, change), want, `step ${index}`);
  });
});

// Goal: what is audited, and nothing else of a pod or a policy, is a change of the table.
// Method: modes come, change and go; each table is that of a compile from nothing.
test("IncrementalCompiler: a mode that changes alone is a patch", () => {
  const compiler = compilerOf(policyText + anchors);
  const inMode = (text: string, mode: string): string =>
    text.replace("name: web,", `name: web, annotations: { sluice/mode: ${mode} },`);
  const web = podText("web", "web", ["9.0.0.1", "9::1"], "n1");
  const narrow = narrowText.replace(
    "name: narrow",
    "name: narrow, annotations: { sluice/mode: audit }",
  );
  let objects = parse(policyText + anchors);
  for (const [text, want] of [
    [inMode(web, "audit"), "patch"],
    [inMode(web, "enforce"), "patch"],
    [narrow, "patch"],
    // The mode that it had is the default.
    [web, "none"],
    [narrowText, "patch"],
    [narrow, "patch"],
    [narrow.replace("port: 90", "port: 91"), "patch"],
  ] as const) {
    const put = parse(text)[0]!;
    const isSame = ({ kind, meta }: KubernetesObject): boolean =>
      kind === put.kind && meta.name === put.meta.name;
    objects = [...objects.filter((each) => !isSame(each)), put];
    const got = compiler.update([{ put }]);
    const whole = compile({ objects, local });
    assert(got.ok && whole.ok);
    assert.equal(got.effort, want, text);
    assert.isTrue(Buffer.from(whole.blob).equals(Buffer.from(got.blob)), text);
  }
});

// Goal: what was made for rules that are gone does not pile up: not their sets, and not the combinations of sets that
//       their pods had.
// Method: a policy names another set each time, which holds none of the pods, or all of them; each of these is in
//         other sets than the rest.
test("IncrementalCompiler: what is kept for rules that are gone has an end", () => {
  const bits = [0, 1, 2, 3, 4, 5, 6];
  const withBits = (index: number): string =>
    podText(`pod-${index}`, "red", [`9.1.0.${index}`]).replace(
      "app: red",
      `app: red, ${bits.map((bit) => `bit-${bit}: "${(index >> bit) & 1}"`).join(", ")}`,
    );
  const from = (selectors: readonly string[]): string => `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  ingress: [${selectors.map((each) => `{ from: [{ podSelector: ${each} }] }`).join(", ")}]
---`;
  const ofBits = bits.map((bit) => `{ matchLabels: { bit-${bit}: "1" } }`);
  const pods = Array.from({ length: 128 }, (_, index) => withBits(index)).join("");
  for (const [operator, most] of [
    ["In", 1_500],
    ["NotIn", 150],
  ] as const) {
    const compiler = compilerOf(podText("web", "web", ["9.0.0.1"], "n1") + pods + from(ofBits));
    const [policy] = parse(from([...ofBits, "{ matchExpressions: [] }"]));
    assert(policy?.kind === "NetworkPolicy");
    const named = (value: string): ObjectChange => {
      const span = policy.meta.span;
      const podSelector = { requirements: [{ key: "app", operator, values: [value], span }], span };
      const last = { ...policy.ingress.at(-1)!, peers: [{ podSelector, span }] };
      return { put: { ...policy, ingress: [...policy.ingress.slice(0, -1), last] } };
    };
    let events = 0;
    let effort = "patch";
    for (; effort === "patch" && events < most; events++) {
      effort = effortOf(compiler, named(`other-${events}`));
    }
    assert.equal(effort, "rebuild", operator);
  }
});

test("IncrementalCompiler: a port name with a new number makes another rule", () => {
  const compiler = compilerOf(policyText + anchors);
  const odd = podText("odd", "grey", ["9.0.0.9"]).replace("containerPort: 80", "containerPort: 81");
  assert.equal(effortOf(compiler, { put: parse(odd)[0]! }), "rebuild");
  const gone = { remove: { kind: "Pod", namespace: "shop", name: "odd" } } as const;
  assert.equal(effortOf(compiler, gone), "rebuild");
});

test("IncrementalCompiler: a patched blob opens, and its checksum is that of its bytes", () => {
  const compiler = compilerOf(policyText + anchors);
  const put = parse(podText("one", "red", ["77.0.0.9", "77::9"]))[0]!;
  const result = compiler.update([{ put }]);
  assert(result.ok && result.effort === "patch");
  const { blob } = result;
  const view = new DataView(blob.buffer, blob.byteOffset);
  assert.equal(view.getUint32(TableHeader.checksum, true), checksumOf(blob));
  Table.open(blob);
});

// Goal: the addresses of a pod's own interface count, whatever its object says, and no other pod has them; but those
//       that it got later, which its workload may have given it, do not count where another pod claims them.
// Method: own addresses come, change and go between other changes; each table is that of manifests that say the same.
test("IncrementalCompiler: addresses of a pod's own interface", () => {
  const compiler = new IncrementalCompiler();
  let state = [podText("web", "web", ["9.0.0.1"], "n1"), podText("red", "red", ["9.0.0.2"])];
  const younger = (text: string) =>
    text.replace("name: red,", "name: red, creationTimestamp: 2026-01-02T00:00:00Z,");
  const steps: readonly {
    own: string[];
    added?: string[];
    put?: string;
    same: string;
    stated?: string[];
    says?: string;
  }[] = [
    { own: [], same: podText("web", "web", ["9.0.0.1"], "n1") },
    {
      own: ["9.9.9.9", "9::9"],
      same: podText("web", "web", ["9.9.9.9", "9::9"], "n1"),
      stated: ["9.0.0.1"],
    },
    {
      own: ["9.0.0.2"],
      put: younger(state[1]!),
      same: podText("web", "web", ["9.0.0.2"], "n1"),
      stated: ["9.0.0.1"],
      says: "whose interface has it",
    },
    {
      own: ["9.0.0.2"],
      put: podText("web", "web", [], "n1"),
      same: podText("web", "web", ["9.0.0.2"], "n1"),
      stated: [],
      says: "whose interface has it",
    },
    {
      own: ["9.0.0.2"],
      put: podText("red", "red", ["9.0.0.3"]),
      same: podText("web", "web", ["9.0.0.2"], "n1"),
      stated: [],
    },
    {
      own: ["9.0.0.2"],
      put: podText("web", "web", ["9.0.0.2"], "n1"),
      same: podText("web", "web", ["9.0.0.2"], "n1"),
    },
    {
      own: ["9.0.0.2"],
      added: ["9.0.0.9"],
      same: podText("web", "web", ["9.0.0.2", "9.0.0.9"], "n1"),
      stated: ["9.0.0.2"],
    },
    {
      own: ["9.0.0.2"],
      added: ["9.0.0.9"],
      put: podText("red", "red", ["9.0.0.9"]),
      same: podText("web", "web", ["9.0.0.2"], "n1"),
      says: "got address 9.0.0.9, which shop/red has too; it counts as that pod's",
    },
    {
      own: ["9.0.0.2"],
      added: ["9.0.0.9"],
      put: podText("red", "red", ["9.0.0.3"]),
      same: podText("web", "web", ["9.0.0.2", "9.0.0.9"], "n1"),
      stated: ["9.0.0.2"],
    },
    {
      own: [],
      put: podText("web", "web", ["9.0.0.4"], "n1"),
      same: podText("web", "web", ["9.0.0.4"], "n1"),
    },
  ];
  const parsed = (put: string | undefined) => (put === undefined ? [] : parse(put));
  const addresses = (texts: readonly string[]) => texts.map((each) => parseAddress(each)!);
  const localWith = (own: readonly string[], added: readonly string[] = []) => ({
    pods: new Set(["shop/web"]),
    ...(own.length > 0 && {
      ownAddresses: new Map([["shop/web", { first: addresses(own), added: addresses(added) }]]),
    }),
  });
  for (const [index, { own, added, put, same, stated, says }] of steps.entries()) {
    const name = put?.includes("name: web") ? "web" : "red";
    if (put !== undefined)
      state = state.map((each) => (each.includes(`name: ${name}`) ? put : each));
    const changed = index === 0 ? parse(policyText + state.join("")) : parsed(put);
    const got = compiler.update(
      changed.map((each) => ({ put: each })),
      localWith(own, added),
    );
    const objects = parse(policyText + state.join(""));
    const whole = compile({ objects, local: localWith(own, added) });
    // What another pod has stated of this one's address, it has not.
    const isLost = says?.startsWith("whose") ?? false;
    const others = isLost ? podText("red", "red", []) : state[1]!;
    const want = compile({ objects: parse(policyText + same + others), local: localWith([]) });
    assert(got.ok && whole.ok && want.ok);
    assert.isTrue(Buffer.from(got.blob).equals(Buffer.from(want.blob)), `step ${index}`);
    assert.isTrue(Buffer.from(whole.blob).equals(Buffer.from(want.blob)), `step ${index}, whole`);
    assert.deepEqual(got.ruleset.endpoints[0]?.stated?.map(formatAddress), stated, `step ${index}`);
    assert.include(got.diagnostics.map(({ message }) => message).join(), says ?? "");
  }
});
