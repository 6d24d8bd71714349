import { assert, test } from "vitest";
import type { Party, PolicyTest, Service } from "../../../src/analysis/policy-test/policy-test.js";
import { runTestFile } from "../../../src/analysis/policy-test/run-tests.js";
import { TupleBatch } from "../../../src/dataplane/table.js";
import type { KubernetesObject } from "../../../src/manifest/objects.js";
import { type Address, addressKey } from "../../../src/net/address.js";
import { parsePrefix, prefixContains } from "../../../src/net/prefix.js";
import { Random } from "../../property/random.js";
import { addressesIn, randomCluster } from "../../property/random-cluster.js";
import { stateOf } from "./state.js";

const CLUSTERS = 15;
const TESTS = 12;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

const ports = [1, 2, 53, 54, 79, 80, 81, 82, 443, 444, 8080, 8081, 65_535];
const numbers = { TCP: 6, UDP: 17, SCTP: 132 } as const;
const span = { file: "t.yaml", line: 1, column: 1, endLine: 1, endColumn: 1 };

function randomParty(random: Random): Party {
  const labels = new Map(
    random.some(["app", "role", "tier"], 3).map((key) => [key, random.pick(["", "a", "b"])]),
  );
  switch (random.below(4)) {
    case 0:
      return { by: "any" };
    case 1: {
      const text = random.pick([
        "10.0.0.0/24",
        "10.0.1.3/32",
        "0.0.0.0/0",
        "fd00::/16",
        "203.0.113.0/24",
      ]);
      return { by: "cidr", cidr: parsePrefix(text)! };
    }
    default: {
      const namespace = random.pick(["blue", "green", "red", "default", undefined]);
      return { by: "pods", namespace, labels };
    }
  }
}

function randomService(random: Random): Service {
  const protocol = random.pick(["TCP", "UDP", "SCTP"] as const);
  if (random.oneIn(3)) return { by: "all", protocol: random.pick([undefined, "ICMP", protocol]) };
  const [a, b] = [random.pick(ports), random.pick(ports)];
  return { by: "range", protocol, first: Math.min(a, b), last: Math.max(a, b) };
}

function randomTests(random: Random): PolicyTest[] {
  return Array.from({ length: TESTS }, (_, index) => ({
    name: `${index}`,
    from: randomParty(random),
    to: randomParty(random),
    service: randomService(random),
    expect: random.pick(["allow", "deny"] as const),
    via: undefined,
    reason: undefined,
    except: index > 0 && random.oneIn(3) ? [`${random.below(index)}`] : [],
    span,
  }));
}

function keyOf({ family, bytes }: Address): string {
  return addressKey({ family, bytes });
}

function following({ family, bytes }: Address): Address {
  const next = Uint8Array.from(bytes);
  for (let at = next.length - 1; at >= 0; at--) {
    next[at] = (next[at]! + 1) & 0xff;
    if (next[at] !== 0) break;
  }
  return { family, bytes: next };
}

interface End {
  readonly address: Address;
  readonly pod:
    | {
        readonly namespace: string;
        readonly labels: ReadonlyMap<string, string>;
        readonly name: string;
      }
    | undefined;
}

/** Every address on the bounds of what anybody names, with the pod that has it. */
function endsOf(objects: readonly KubernetesObject[], state: ReturnType<typeof stateOf>): End[] {
  const owners = new Map(
    state.compiled.cluster.pods.flatMap(({ pod, addresses }) =>
      addresses.map((address) => [keyOf(address), pod.meta] as const),
    ),
  );
  const blocks = [
    "10.0.0.0",
    "10.0.1.0",
    "10.0.1.3",
    "fd00::",
    "fd01::",
    "203.0.113.0",
    "203.0.114.0",
    "0.0.0.0",
  ].map((text) => parsePrefix(`${text}/${text.includes(":") ? 128 : 32}`)!.address);
  const named = [...objects.flatMap(addressesIn), ...blocks];
  const all = new Map([...named, ...named.map(following)].map((each) => [keyOf(each), each]));
  return [...all].map(([key, address]) => ({ address, pod: owners.get(key) }));
}

function isIn(party: Party, { address, pod }: End): boolean {
  if (party.by === "any") return true;
  if (party.by === "cidr") return prefixContains(party.cidr, address);
  if (party.by !== "pods" || pod === undefined) return false;
  if (party.namespace !== undefined && party.namespace !== pod.namespace) return false;
  return [...party.labels].every(([key, value]) => pod.labels.get(key) === value);
}

function holds(service: Service, protocol: number, port: number): boolean {
  if (service.by === "range") {
    return numbers[service.protocol] === protocol && service.first <= port && port <= service.last;
  }
  if (service.by !== "all" || service.protocol === undefined) return true;
  if (service.protocol === "ICMP") return protocol === 1;
  return numbers[service.protocol] === protocol;
}

// Goal: a test passes when, and only when, every connection that it selects is as it says.
// Method: random clusters and random tests; every connection between addresses and ports on the
// bounds of what either names is judged, selected by an own reading of the test.
test(`tests answer for every connection (SEED=${seed})`, () => {
  const seen = { passed: 0, failed: 0, vacuous: 0 };
  for (let round = 0; round < CLUSTERS; round++) {
    const random = new Random(seed + round);
    const objects = randomCluster(random).filter(({ kind }) => kind !== "Node");
    const state = stateOf(objects);
    const tests = randomTests(random);
    const { results } = runTestFile(state, { file: "t.yaml", tests }, () => 0);
    const ends = endsOf(objects, state);
    for (const [index, policyTest] of tests.entries()) {
      const excepted = policyTest.except.map((name) => tests[Number(name)]!);
      const batch = new TupleBatch();
      for (const from of ends.filter((end) => isIn(policyTest.from, end))) {
        for (const to of ends.filter((end) => isIn(policyTest.to, end))) {
          if (from.address.family !== to.address.family || from.pod === to.pod) continue;
          const without = excepted.filter((other) => isIn(other.from, from) && isIn(other.to, to));
          for (const protocol of [6, 17, 132, 1]) {
            for (const port of protocol === 1 ? [0] : ports) {
              if (!holds(policyTest.service, protocol, port)) continue;
              if (without.some((other) => holds(other.service, protocol, port))) continue;
              batch.push(from.address, to.address, protocol, port);
            }
          }
        }
      }
      const verdicts = state.table.classify(batch);
      const asSaid = verdicts.every((bits) => (bits === 0) === (policyTest.expect === "allow"));
      const want = verdicts.length === 0 ? "vacuous" : asSaid ? "passed" : "failed";
      const { status, vacuous, message } = results[index]!;
      seen[want]++;
      const text = `SEED=${seed + round} test ${index}: ${message}`;
      assert.equal(vacuous ? "vacuous" : status, want, text);
    }
  }
  for (const [outcome, count] of Object.entries(seen)) assert.isAbove(count, 0, outcome);
});
