import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Counters } from "../../src/dataplane/dataplane.js";
import { exposition } from "../../src/metrics/exposition.js";
import { Histogram } from "../../src/metrics/histogram.js";
import { HitSeries } from "../../src/metrics/hit-series.js";
import { sluiceMetrics } from "../../src/metrics/sluice-metrics.js";
import { missingPromtool, promtool } from "./promtool.js";

const link = {
  receivedFrames: 10,
  receivedBytes: 1_000,
  sentFrames: 7,
  sentBytes: 700,
  droppedFrames: 3,
  refusedFrames: 1,
  answeredFrames: 2,
  lostFrames: 4,
  connections: 0,
  connectionQuota: 0,
  evictedConnections: 0,
  refusedConnections: 0,
  fragments: 0,
  fragmentShare: 0,
  evictedFragments: 0,
  kernelFrames: 0,
  kernelBytes: 0,
};
const endpoint = {
  ...{ connections: 40, connectionQuota: 100, evictedConnections: 3, refusedConnections: 5 },
  ...{ fragments: 6, fragmentShare: 8, evictedFragments: 9 },
};
const counters: Counters = {
  drops: { "policy-ingress": 2, "spoofed-source": 1, "connection-quota": 15 },
  exempt: { arp: 8, neighbor: 4, listener: 0, "router-advertisement": 0 },
  links: new Map([
    [0, { ...link, ...endpoint }],
    [1, { ...link, ...endpoint }],
    [2, link],
    [3, { ...link, ...endpoint }],
  ]),
  connections: 5,
  opened: 9,
  closed: 3,
  cut: 1,
  evictions: { closing: 6, unanswered: 5, unassured: 4, assured: 0 },
  audited: 2,
  rejected: 1,
  reset: 7,
  fragmentsEvicted: 12,
  eventsLost: 6,
  generation: 4,
};

function text(): string {
  const [compile, delay] = [new Histogram(), new Histogram()];
  compile.observe(0.003);
  return exposition(
    sluiceMetrics({
      version: '1.0 "quoted"\\\n',
      counters,
      interfaces: [
        { name: "eth0", linkId: 0 },
        { name: "eth0", linkId: 1 },
        { name: "wan", linkId: 2, failMode: "open" },
        { name: "lan", linkId: 3, failMode: "open" },
      ],
      connectionsMax: 65_536,
      tableBytes: 545_472,
      endpoints: 7,
      isReady: true,
      retaken: 0,
      reloads: { succeeded: 2, failed: 1 },
      compiles: { none: 3, patch: 2, rebuild: 1 },
      compile,
      delay,
      flowsLost: 8,
      policies: new HitSeries().families([
        {
          ...{ kind: "NetworkPolicy", namespace: "shop", name: "db", direction: "ingress" },
          rules: { packets: 5, bytes: 300, connections: 1 },
          denied: { packets: 2, bytes: 120, connections: 0 },
        },
      ]),
      sinks: [
        { kind: "file", written: 5, lost: 0, waiting: 0 },
        { kind: "otlp", written: 3, lost: 2, waiting: 1 },
      ],
      hubble: {
        ...{ connections: 1, activeCalls: 2, calls: 3, flows: 4, lostFlows: 5, bytes: 6 },
        ...{ "refused:rate": 7, "refused:client": 0 },
      },
      inPlace: { totalPackets: 9, totalBytes: 900, guards: { on: 3, none: 1 } },
      source: {
        connected: true,
        ageSeconds: 1.5,
        unreadable: 0,
        memoryBytes: 10_000,
        memoryLimitBytes: 1_000_000,
        resources: [{ resource: "pods", ageSeconds: 12.5, objects: 7, events: 9, lists: 1 }],
      },
    }),
  );
}

interface Series {
  readonly name: string;
  readonly labels: string;
  readonly value: number;
}

// Goal: the text keeps Prometheus' rules; what promtool would say, said here where it is not there.
// Method: read the text back line by line, and hold each family to the rules.
describe("exposition", () => {
  const lines = text().trimEnd().split("\n");
  const series: Series[] = [];
  const types = new Map<string, string>();
  const helped = new Set<string>();
  for (const line of lines) {
    const [, about, name, rest] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (about === "HELP") helped.add(name!);
    else if (about === "TYPE") types.set(name!, rest!);
    else {
      const found = /^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (\S+)$/.exec(
        line,
      );
      expect(found, line).not.toBeNull();
      series.push({ name: found![1]!, labels: found![2] ?? "", value: Number(found![3]) });
    }
  }
  const familyOf = ({ name }: Series) =>
    types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "");

  test("every series has a type and a help, and a number", () => {
    for (const each of series) {
      const family = familyOf(each);
      expect(types.has(family) && helped.has(family), each.name).toBe(true);
      expect(Number.isFinite(each.value), each.name).toBe(true);
    }
    expect(lines.filter((line) => line.startsWith("# TYPE"))).toHaveLength(types.size);
  });

  test("names: counters end in _total, nothing else does, units are base units", () => {
    for (const [name, type] of types) {
      expect(name.endsWith("_total"), name).toBe(type === "counter");
      expect(name).toMatch(/^(sluice|process)_[a-z_]+$/);
      expect(name).not.toMatch(/milli|micro|kilo|_ms|_us/);
    }
  });

  test("no series stands twice, and families stand together", () => {
    const keys = series.map(({ name, labels }) => `${name}{${labels}}`);
    expect(new Set(keys).size).toBe(keys.length);
    const order = series.map(familyOf).filter((name, index, names) => name !== names[index - 1]);
    expect(new Set(order).size).toBe(order.length);
  });

  test("histograms add up to their count", () => {
    const buckets = series.filter(({ name }) => name === "sluice_compile_duration_seconds_bucket");
    const counts = buckets.map(({ value }) => value);
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
    expect(buckets.at(-1)).toMatchObject({ labels: 'le="+Inf"', value: 1 });
    expect(buckets.find(({ labels }) => labels === 'le="0.0025"')?.value).toBe(0);
    expect(buckets.find(({ labels }) => labels === 'le="0.005"')?.value).toBe(1);
  });

  test("interfaces of one name are one series, and labels hold no pod, address or port", () => {
    const received = series.filter(({ name }) => name === "sluice_bytes_total");
    expect(received.map(({ labels, value }) => [labels, value])).toEqual([
      ['interface="eth0",direction="in"', 2_000],
      ['interface="eth0",direction="out"', 1_400],
      ['interface="wan",direction="in"', 1_000],
      ['interface="wan",direction="out"', 700],
      ['interface="lan",direction="in"', 1_000],
      ['interface="lan",direction="out"', 700],
    ]);
    const keys = series.flatMap(({ labels }) =>
      [...labels.matchAll(/([a-z_]+)=/g)].map(([, k]) => k),
    );
    expect([...new Set(keys)].sort()).toEqual([
      ...[
        "class",
        "direction",
        "effort",
        "guard",
        "interface",
        "kind",
        "le",
        "mode",
        "node",
        "policy_kind",
        "policy_name",
        "policy_namespace",
        "reason",
        "resource",
        "result",
        "sink",
      ],
      ...["table", "verdict", "version"],
    ]);
  });

  const valuesOf = (family: string) =>
    series.filter(({ name }) => name === family).map(({ labels, value }) => [labels, value]);

  test("what endpoints have of the connection table is told by their interfaces, and of no uplink", () => {
    const families = ["entries", "entries_limit", "evictions_total", "refused_total"];
    const ofEndpoints = families.map((each) => valuesOf(`sluice_conntrack_endpoint_${each}`));
    expect(ofEndpoints).toEqual(
      [40, 100, 3, 5].map((value) => [
        ['interface="eth0"', 2 * value],
        ['interface="lan"', value],
      ]),
    );
    expect(valuesOf("sluice_conntrack_insert_failed_total")).toEqual([
      ['reason="full"', 0],
      ['reason="quota"', 15],
    ]);
    expect(valuesOf("sluice_fragment_evictions_total")).toEqual([["", 12]]);
    expect(valuesOf("sluice_conntrack_evictions_total")).toEqual([
      ['class="closing"', 6],
      ['class="unanswered"', 5],
      ['class="unassured"', 4],
      ['class="assured"', 0],
    ]);
  });

  test("what happens to traffic when the process ends is each interface's own", () => {
    expect(valuesOf("sluice_fail_mode")).toEqual([
      ['interface="eth0",mode="closed"', 1],
      ['interface="wan",mode="open"', 1],
      ['interface="lan",mode="open"', 1],
    ]);
  });

  test("interfaces of pods are counted by the state of their guard", () => {
    expect(valuesOf("sluice_in_place_interfaces")).toEqual([
      ['guard="on"', 3],
      ['guard="none"', 1],
    ]);
  });

  test("what Hubble's clients may not is counted by its reason", () => {
    expect(valuesOf("sluice_hubble_active_calls")).toEqual([["", 2]]);
    expect(valuesOf("sluice_hubble_refused_total")).toEqual([
      ['reason="rate"', 7],
      ['reason="client"', 0],
    ]);
  });

  test("text in labels is escaped", () => {
    expect(text()).toContain('version="1.0 \\"quoted\\"\\\\\\n"');
  });

  const root = new URL("../../", import.meta.url);
  const names = new Set(types.keys());
  const files = ["deploy/prometheus/alerts.yaml", "deploy/grafana/sluice.json", "docs/metrics.md"];
  test.each(files)("%s names only metrics that there are", (file) => {
    const content = readFileSync(new URL(file, root), "utf8");
    const used = new Set(content.match(/\b(sluice|process)_[a-z_]+\b/g));
    expect(used.size).toBeGreaterThan(5);
    const known = (name: string) =>
      names.has(name) || names.has(name.replace(/_(bucket|sum|count)$/, ""));
    expect([...used].filter((name) => !known(name))).toEqual([]);
  });

  test("the dashboard shows what becomes of pods in place", () => {
    const dashboard = readFileSync(new URL("deploy/grafana/sluice.json", root), "utf8");
    const wanted = [...names].filter((name) => /^sluice_(in_place|cni|pod)_/.test(name));
    expect(wanted.length).toBeGreaterThan(4);
    // Packets are shown, so that their bytes need no panel.
    const shown = wanted.filter((name) => dashboard.includes(name));
    expect(wanted.filter((name) => !shown.includes(name))).toEqual(["sluice_in_place_bytes_total"]);
  });

  test("the dashboard shows the hits of policies, and an alert tells of what they deny", () => {
    const text = (file: string) => readFileSync(new URL(file, root), "utf8");
    const wanted = [...names].filter((name) => /^sluice_policy_(rule|isolation)_/.test(name));
    expect(wanted.length).toBeGreaterThan(4);
    const dashboard = text("deploy/grafana/sluice.json");
    expect(wanted.filter((name) => !dashboard.includes(name))).toEqual([]);
    expect(text("deploy/prometheus/alerts.yaml")).toContain(
      "sluice_policy_isolation_packets_total",
    );
  });

  test("docs/metrics.md names every metric", () => {
    const page = readFileSync(new URL("docs/metrics.md", root), "utf8");
    expect(
      [...names].filter((name) => !page.includes(`\`${name}\``) && !page.includes(`\`${name}{`)),
    ).toEqual([]);
  });

  test("docs/runbook.md says what to do about each alert", () => {
    const text = (file: string) => readFileSync(new URL(file, root), "utf8");
    const alerts = text("deploy/prometheus/alerts.yaml").matchAll(/- alert: (\w+)/g);
    const headings = text("docs/runbook.md").matchAll(/^## (\w+)\n\n\S/gm);
    expect([...headings].map(([, name]) => name)).toEqual([...alerts].map(([, name]) => name));
  });

  describe.skipIf(missingPromtool !== undefined)(
    `promtool${missingPromtool === undefined ? "" : ` (cannot run: ${missingPromtool})`}`,
    () => {
      test("finds no fault in the metrics", () => {
        const result = spawnSync(promtool, ["check", "metrics"], {
          input: text(),
          encoding: "utf8",
        });
        expect(`${result.stdout}${result.stderr}`).toBe("");
        expect(result.status).toBe(0);
      });

      test("finds no fault in the alert rules", () => {
        const rules = new URL("deploy/prometheus/alerts.yaml", root).pathname;
        const result = spawnSync(promtool, ["check", "rules", rules], { encoding: "utf8" });
        expect(result.status, result.stdout + result.stderr).toBe(0);
        expect(result.stdout).toMatch(/SUCCESS: [1-9]\d* rules found/);
      });
    },
  );
});

test("Histogram.quantile lies in the bucket of the value that it estimates", () => {
  const histogram = new Histogram([1, 2, 4]);
  expect(histogram.quantile(0.5)).toBeUndefined();
  for (const value of [0.5, 1.5, 1.6, 3]) histogram.observe(value);
  expect(histogram.quantile(0.25)).toBe(1);
  expect(histogram.quantile(0.5)).toBe(1.5);
  expect(histogram.quantile(0.75)).toBe(2);
  expect(histogram.quantile(1)).toBe(4);
  histogram.observe(100);
  expect(histogram.quantile(0.99)).toBe(4);
});
