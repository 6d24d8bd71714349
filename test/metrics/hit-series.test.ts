import { expect, test } from "vitest";
import { exposition } from "../../src/metrics/exposition.js";
import { HitSeries, type PolicySide } from "../../src/metrics/hit-series.js";

function side(name: string, packets: number, more: Partial<PolicySide> = {}): PolicySide {
  return {
    ...{ kind: "NetworkPolicy", namespace: "shop", name, direction: "ingress" },
    rules: { packets, bytes: packets * 60, connections: 1 },
    denied: { packets: 2, bytes: 120, connections: 0 },
    ...more,
  };
}

/** The value of a family by the name of its policy; `other` by its kind. */
function valuesOf(series: HitSeries, sides: readonly PolicySide[], family = "rule_packets") {
  const all = series.families(sides);
  const found = all.find(({ name }) => name === `sluice_policy_${family}_total`);
  return Object.fromEntries(
    found!.samples.map(({ labels, value }) => [
      labels!["policy_name"] || labels!["policy_kind"],
      value,
    ]),
  );
}

test("a policy has series for a direction, with packets, bytes and connections", () => {
  const text = exposition(new HitSeries().families([side("db", 5)]));
  const labels =
    '{policy_kind="NetworkPolicy",policy_namespace="shop",policy_name="db",direction="ingress"}';
  expect(text.split("\n").filter((line) => !line.startsWith("#"))).toEqual([
    `sluice_policy_rule_packets_total${labels} 5`,
    `sluice_policy_rule_bytes_total${labels} 300`,
    `sluice_policy_rule_connections_total${labels} 1`,
    `sluice_policy_isolation_packets_total${labels} 2`,
    `sluice_policy_isolation_bytes_total${labels} 120`,
    "",
  ]);
});

test("those for whom there is no room are summed as other, and stay there", () => {
  const series = new HitSeries(2);
  expect(valuesOf(series, [side("a", 1), side("b", 2)])).toEqual({ a: 1, b: 2 });
  const four = [side("c", 100), side("a", 1), side("b", 3), side("d", 1_000)];
  expect(valuesOf(series, four)).toEqual({ a: 1, b: 3, other: 1_100 });
  // `a` and `d` go: the room is for who comes, and no counter goes down.
  const later = [side("c", 101), side("b", 3), side("e", 7)];
  expect(valuesOf(series, later)).toEqual({ b: 3, e: 7, other: 1_101 });
  expect(valuesOf(series, later)).toEqual({ b: 3, e: 7, other: 1_101 });
  expect(valuesOf(series, [])).toEqual({ other: 1_101 });
});

test("the directions of a policy, and of the others, are apart", () => {
  const series = new HitSeries(1);
  const sides = [side("a", 1), side("b", 2), side("a", 4, { direction: "egress" })];
  const [packets] = series.families(sides);
  expect(packets!.samples.map(({ labels, value }) => [...Object.values(labels!), value])).toEqual([
    ["NetworkPolicy", "shop", "a", "ingress", 1],
    ["other", "", "", "ingress", 2],
    ["other", "", "", "egress", 4],
  ]);
});

test("a policy that came anew under its name between two readings adds what it counts now", () => {
  const series = new HitSeries(0);
  expect(valuesOf(series, [side("a", 50)])).toEqual({ other: 50 });
  expect(valuesOf(series, [side("a", 4)])).toEqual({ other: 54 });
});

test("however many policies there are, a thousand series and those of the others are written", () => {
  const many = Array.from({ length: 5_000 }, (_, at) => side(`p${at}`, 1));
  const all = new HitSeries().families(many);
  const count = all.reduce((sum, { samples }) => sum + samples.length, 0);
  expect(count).toBe(1_000 + all.length);
  expect(all[0]!.samples.reduce((sum, { value }) => sum + value, 0)).toBe(5_000);
});
