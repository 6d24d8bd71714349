import { assert, test } from "vitest";
import type { Finding } from "../../../src/analysis/lint/finding.js";
import { lint } from "../../../src/analysis/lint/lint.js";
import { compile } from "../../../src/compiler/compile.js";
import { Provenance } from "../../../src/compiler/decode.js";
import { Table, TupleBatch } from "../../../src/dataplane/table.js";
import type { KubernetesObject } from "../../../src/manifest/objects.js";
import { type Address, addressKey } from "../../../src/net/address.js";
import { Random } from "../../property/random.js";
import { addressesIn, randomCluster } from "../../property/random-cluster.js";

const CLUSTERS = 10;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

/** Findings that say of a rule, or of its policy or a part of it, that it does nothing for what is here. */
const idle = ["SL3001", "SL3002", "SL3003", "SL3010", "SL3011", "SL3012", "SL3013", "SL3019"];
/** Those that claim that the rule as a whole can go. */
const removable = ["SL3001", "SL3013"];

/** The first port of every stretch that the generator's rules can tell apart. */
const ports = [0, 1, 2, 53, 54, 79, 80, 81, 82, 443, 444, 8080, 8081, 65_535];
const services = [
  ...[6, 17, 132].flatMap((protocol) => ports.map((port) => ({ protocol, port }))),
  { protocol: 47, port: 0 },
];

function build(objects: readonly KubernetesObject[]) {
  const compiled = compile({ objects });
  assert(compiled.ok, "compiles");
  return compiled;
}

/** Every connection on the bounds of what the objects name, with a pod at one end or both. */
function everyFlow(objects: readonly KubernetesObject[]): TupleBatch {
  const named = objects.flatMap(addressesIn);
  // The lowest address that a block has left, once pods and smaller blocks are taken out, is its
  // first, or follows one of theirs.
  const all = [
    ...new Map([...named, ...named.map(following)].map((each) => [keyOf(each), each])).values(),
  ];
  const ofPods = new Set(
    objects
      .filter(({ kind }) => kind === "Pod")
      .flatMap(addressesIn)
      .map(keyOf),
  );
  const batch = new TupleBatch(all.length * all.length * services.length);
  for (const source of all) {
    for (const destination of all) {
      if (source.family !== destination.family) continue;
      if (!ofPods.has(keyOf(source)) && !ofPods.has(keyOf(destination))) continue;
      for (const { protocol, port } of services) batch.push(source, destination, protocol, port);
    }
  }
  return batch;
}

function following({ family, bytes }: Address): Address {
  const next = Uint8Array.from(bytes);
  for (let at = next.length - 1; at >= 0; at--) {
    next[at] = (next[at]! + 1) & 0xff;
    if (next[at] !== 0) break;
  }
  return { family, bytes: next };
}

function keyOf(address: Address): string {
  return `${address.family} ${addressKey(address)}`;
}

/** What the table's provenance says of each pod and itself, which no packet is judged by. */
function selfCells({ blob, ruleset }: ReturnType<typeof build>): string {
  const provenance = new Provenance(blob);
  const own = new TupleBatch();
  const owners: number[] = [];
  ruleset.endpoints.forEach(({ addresses }, id) => {
    for (const address of addresses) {
      own.push(address, address, 6, 0);
      owners.push(id);
    }
  });
  const leaves = Table.open(blob).locate(own);
  return owners
    .flatMap((id, at) => {
      const { originId } = provenance.leaf(leaves[at * 2]!);
      return services.flatMap(({ protocol, port }) =>
        (["Ingress", "Egress"] as const).map(
          (side) => provenance.reason(id, side, originId, protocol, port).verdict,
        ),
      );
    })
    .join();
}

/** Each way to take one rule out and leave all else, the isolation by its policy too. */
function* withoutOneRule(objects: readonly KubernetesObject[]) {
  for (const [at, object] of objects.entries()) {
    if (!("ingress" in object)) continue;
    for (const side of ["ingress", "egress"] as const) {
      for (const index of object[side].keys()) {
        const smaller = { ...object, [side]: object[side].filter((_, place) => place !== index) };
        const rest = objects.map((each, place) => (place === at ? smaller : each));
        yield { policy: object, side, index, rest: rest as readonly KubernetesObject[] };
      }
    }
  }
}

/** Reports whether a rule has addresses and ports on some pod, so that a dead part cannot excuse it. */
function matchesSomething(
  { ruleset }: ReturnType<typeof build>,
  name: string,
  side: "ingress" | "egress",
  index: number,
): boolean {
  return ruleset.endpoints
    .flatMap((endpoint) => endpoint[side].rules)
    .filter((rule) => rule.policy.name === name && rule.index === index)
    .some(({ peers }) => peers === "any" || peers.groups.length + peers.blocks.length > 0);
}

function about(found: readonly Finding[], name: string, field: string): readonly Finding[] {
  return found.filter(
    (each) =>
      each.object?.name === name &&
      (each.field === undefined ||
        each.field.startsWith(field) ||
        field.startsWith(each.field) ||
        ["spec.podSelector", "spec.subject"].includes(each.field)),
  );
}

// Goal: lint says that a rule can go when, and only when, it can.
// Method: random clusters; each rule is taken out in turn, the rest compiled anew, and every
// connection on the bounds judged by both native tables; cells of a pod and itself, which packets
// cannot show, are compared by provenance.
test(`rules are called removable when they are (SEED=${seed})`, () => {
  let removed = 0;
  let kept = 0;
  for (let round = 0; round < CLUSTERS; round++) {
    const objects = randomCluster(new Random(seed + round));
    const compiled = build(objects);
    const found = lint(objects, compiled);
    // Without a pod lint says just that.
    if (found.some((each) => each.code === "SL3000")) continue;
    const flows = everyFlow(objects);
    const verdicts = Buffer.from(Table.open(compiled.blob).classify(flows));
    for (const { policy, side, index, rest } of withoutOneRule(objects)) {
      const without = build(rest);
      const same =
        verdicts.equals(Table.open(without.blob).classify(flows)) &&
        selfCells(compiled) === selfCells(without);
      const field = `spec.${side}[${index}]`;
      const findings = about(found, policy.meta.name, field);
      const text = `SEED=${seed + round} ${policy.meta.name} ${field}`;
      if (same) {
        removed++;
        const whole = findings.filter(
          (each) => each.field === field || !each.field?.startsWith(field),
        );
        const says = matchesSomething(compiled, policy.meta.name, side, index) ? whole : findings;
        assert(
          says.some((each) => idle.includes(each.code)),
          `${text} can go, and lint does not say so`,
        );
      } else {
        kept++;
        const wrong = findings.filter(
          (each) => each.field === field && removable.includes(each.code),
        );
        assert.deepEqual(
          wrong.map((each) => each.message),
          [],
          `${text} is needed`,
        );
      }
    }
  }
  assert(removed > 0 && kept > 0, "both kinds of rules occur");
});
