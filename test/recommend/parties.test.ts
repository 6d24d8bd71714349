import { describe, expect, test } from "vitest";
import type { Pod } from "../../src/manifest/objects.js";
import { partiesOf } from "../../src/recommend/party.js";
import { madePod } from "../../src/workloads/expand.js";

const span = { file: "flows.json", line: 1, column: 1, endLine: 1, endColumn: 1 };
const annotations = new Map();

function lonePod(name: string, labels: Readonly<Record<string, string>>): Pod {
  const meta = { namespace: "shop", name, labels: new Map(Object.entries(labels)) };
  return madePod({ ...meta, annotations, span }, []);
}

function deployed(workload: string, labels: Readonly<Record<string, string>>): Pod {
  const { meta } = lonePod(workload, labels);
  return madePod({ ...meta, owner: { group: "apps", kind: "Deployment", name: workload } }, []);
}

// Goal: thousands of pods in one namespace, as a log of somebody else's may have them, get their labels in seconds, not
// in hours.
describe("thousands of pods in a namespace", () => {
  const many = 2_000;
  const numbers = Array.from({ length: many }, (_, number) => number);

  test("one that only the keys of all others tell apart", () => {
    const others = numbers.map((number) =>
      lonePod(`p${number}`, { app: "web", [`k${number}`]: "x" }),
    );
    const parties = partiesOf([lonePod("plain", { app: "web" }), ...others], []);
    expect(parties).toHaveLength(many + 1);
    const labels = new Map(parties.map((each) => [each.members[0], each.labels]));
    const plain = labels.get("Pod plain");
    expect(plain?.matchLabels).toEqual([["app", "web"]]);
    expect(plain?.absent).toEqual(numbers.map((number) => `k${number}`).sort());
    expect(labels.get("Pod p7")).toEqual({
      matchLabels: [
        ["app", "web"],
        ["k7", "x"],
      ],
      absent: [],
    });
  });

  test("pairs of workloads that no labels tell apart", () => {
    const pods = numbers.map((number) => deployed(`w${number}`, { app: `a${number >> 1}` }));
    const parties = partiesOf(pods, []);
    expect(parties).toHaveLength(many / 2);
    expect(parties.every(({ members }) => members.length === 2)).toBe(true);
    expect(parties.find(({ title }) => title === "w10")).toMatchObject({
      members: ["Deployment w10", "Deployment w11"],
      labels: { matchLabels: [["app", "a5"]], absent: [] },
    });
  });

  // A pod that has a key of its own keeps that key from telling its group apart.
  test("groups that are joined with what they share labels with, until none share any", () => {
    const web = [
      deployed("web", { app: "x", tier: "a" }),
      deployed("web", { app: "x", tier: "b" }),
    ];
    const named = web.map((pod, at) => ({ ...pod, meta: { ...pod.meta, name: `web-${at}` } }));
    const pods = [...named, deployed("api", { app: "x", tier: "c" }), deployed("db", { app: "y" })];
    expect(partiesOf(pods, []).map(({ members, labels }) => [members, labels])).toEqual([
      [["Deployment api", "Deployment web"], { matchLabels: [["app", "x"]], absent: [] }],
      [["Deployment db"], { matchLabels: [["app", "y"]], absent: [] }],
    ]);
  });
});
