import fc from "fast-check";
import { assert, test } from "vitest";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import type { Pod } from "../../src/manifest/objects.js";
import { type Address, formatAddress } from "../../src/net/address.js";
import { protocolNumbers } from "../../src/net/protocol.js";
import { singleAddresses } from "../../src/recommend/blocks.js";
import { takeRecord } from "../../src/recommend/flow-records.js";
import { type Recommendation, recommend } from "../../src/recommend/recommend.js";
import { Seen } from "../../src/recommend/seen.js";
import { Random } from "../property/random.js";
import { outside, type RandomLab, randomFlows, randomLab } from "./random-lab.js";

// Goal: what was seen passes, and nothing else does but between pods with the labels of those that were seen.
// Method: random labs of 50 pods with random policies, and random connections in them. The native table of the result is
// asked for every pair of pods and addresses and every port, and the answers are compared with the flows themselves,
// each end by its namespace and labels: the test knows nothing of workloads, selectors or rules.

const ports = [53, 80, 81, 82, 83, 84, 443, 8080] as const;
const protocols = ["TCP", "UDP", "SCTP"] as const;
const flowsOfLab = 120;

function recommended(
  lab: RandomLab,
  records: readonly object[],
  withManifests: boolean,
): Recommendation {
  const seen = new Seen();
  for (const record of records) assert.isUndefined(takeRecord(record, seen));
  const { objects, workloads } = withManifests ? lab : { objects: [], workloads: [] };
  const given = { objects, workloads, services: [] };
  return recommend(given, seen, {
    mode: "enforce",
    defaultDeny: "namespace",
    blocks: singleAddresses,
    isAsked: () => true,
  });
}

/** How a test calls an end: by what labels can say of it. */
function labelled(pod: Pick<Pod, "meta"> | undefined, address: Address): string {
  if (pod === undefined) return formatAddress(address);
  const labels = [...pod.meta.labels].filter(([key]) => key !== "pod-template-hash").sort();
  return `${pod.meta.namespace} ${JSON.stringify(labels)}`;
}

function podOf({ pods }: RandomLab, end: { namespace?: string; pod_name?: string }) {
  return pods.find(({ meta }) => meta.namespace === end.namespace && meta.name === end.pod_name);
}

/** What passed, by labels, protocol and port; with the namespaces of the pods. */
function passedBy(lab: RandomLab, records: readonly object[]) {
  const passed = new Set<string>();
  const namespaces = new Set<string>();
  for (const record of records as { flow: Parameters<typeof JSON.stringify>[0] }[]) {
    const { verdict, source, destination, l4, IP } = record.flow;
    const [from, to] = [podOf(lab, source), podOf(lab, destination)];
    if (verdict !== "FORWARDED" || (from === undefined && to === undefined) || from === to)
      continue;
    for (const pod of [from, to]) if (pod !== undefined) namespaces.add(pod.meta.namespace);
    const name = (pod: Pod | undefined, text: string) =>
      pod === undefined ? text : labelled(pod, pod.addresses[0]!);
    const [[protocol, { destination_port: port }]] = Object.entries(l4) as [
      [string, { destination_port: number }],
    ];
    passed.add(`${name(from, IP.source)} > ${name(to, IP.destination)} ${protocol} ${port}`);
  }
  return { passed, namespaces };
}

/** Asks the table of a recommendation for everything; calls back with what is allowed, and is for policies to say. */
function allowedBy(
  made: Recommendation,
  lab: RandomLab,
  namespaces: ReadonlySet<string>,
): ReadonlySet<string> {
  const ends = [
    ...lab.pods.flatMap((pod) => pod.addresses.map((address) => ({ pod, address }))),
    ...outside.map((address) => ({ pod: undefined, address })),
  ];
  const batch = new TupleBatch(300_000);
  const names: string[] = [];
  for (const from of ends) {
    for (const to of ends) {
      const isJudged = [from, to].some(
        ({ pod }) => pod !== undefined && namespaces.has(pod.meta.namespace),
      );
      if (from.address.family !== to.address.family || from.pod === to.pod || !isJudged) continue;
      const name = `${labelled(from.pod, from.address)} > ${labelled(to.pod, to.address)}`;
      for (const protocol of protocols) {
        for (const port of ports) {
          batch.push(from.address, to.address, protocolNumbers[protocol]!, port);
          names.push(`${name} ${protocol} ${port}`);
        }
      }
    }
  }
  const verdicts = Table.open(made.proof.compiled.blob).classify(batch);
  return new Set(names.filter((_, index) => verdicts[index] === 0));
}

test("policies allow what was seen, no more, and grow with it", () => {
  let counted = 0;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (seed) => {
      const random = new Random(seed);
      const lab = randomLab(random);
      const records = randomFlows(random, lab, flowsOfLab);
      const { passed, namespaces } = passedBy(lab, records);
      const whole = recommended(lab, records, true);
      assert.lengthOf(whole.proof.refused, 0);
      const allowed = allowedBy(whole, lab, namespaces);
      assert.deepEqual(
        [...allowed].filter((each) => !passed.has(each)),
        [],
        "wider than what was seen",
      );
      assert.deepEqual(
        [...passed].filter((each) => !allowed.has(each)),
        [],
        "narrower than what was seen",
      );
      counted += passed.size;

      // The order of records and objects means nothing.
      const turned = {
        ...lab,
        objects: lab.objects.toReversed(),
        workloads: lab.workloads.toReversed(),
      };
      assert.equal(recommended(turned, records.toReversed(), true).yaml, whole.yaml);

      const part = records.slice(0, flowsOfLab / 2);
      const earlier = recommended(lab, part, true);
      const before = allowedBy(earlier, lab, passedBy(lab, part).namespaces);
      assert.deepEqual(
        [...before].filter((each) => !allowed.has(each)),
        [],
        "it shrank",
      );
      const names = new Set(whole.drafts.map(({ namespace, name }) => `${namespace}/${name}`));
      for (const { namespace, name } of earlier.drafts)
        assert.include([...names], `${namespace}/${name}`);
    }),
    { numRuns: 4 },
  );
  assert.isAbove(counted, 100);
});

test("without manifests, the flows alone say whose labels they are", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (seed) => {
      const random = new Random(seed);
      const lab = randomLab(random);
      const records = randomFlows(random, lab, flowsOfLab);
      const { proof, drafts } = recommended(lab, records, false);
      assert.lengthOf(proof.refused, 0);
      const passed = passedBy(lab, records);
      assert.equal(new Set(drafts.map(({ namespace }) => namespace)).size, passed.namespaces.size);
    }),
    { numRuns: 5 },
  );
});
