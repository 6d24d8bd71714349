import { describe, expect, test } from "vitest";
import { reportHtml } from "../../src/bench/html.js";
import { type Block, makePlan } from "../../src/bench/plan.js";
import { makeReport } from "../../src/bench/report.js";
import { changeText, earlierOf, readReport } from "../../src/bench/saved-report.js";
import { median, quantile, spreadOf } from "../../src/bench/statistics.js";
import type { Sample, SuiteResult } from "../../src/bench/suite.js";
import { makeWorkload } from "../../src/bench/workload.js";
import { formatAddress } from "../../src/net/address.js";

describe("statistics", () => {
  test("quantiles lie between neighbours in proportion", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1])).toBe(2.5);
    expect(quantile([0, 10, 20, 30, 40], 0.25)).toBe(10);
    expect(quantile([7], 0.99)).toBe(7);
  });

  test("the spread of few values is their range, of many their middle half", () => {
    expect(spreadOf([10])).toBe(0);
    expect(spreadOf([9, 10, 12])).toBeCloseTo(0.3);
    expect(spreadOf([1, 10, 10, 10, 1_000])).toBe(0);
  });
});

describe("plan", () => {
  const options = {
    quick: true,
    peers: ["direct", "bridge", "nft-sets", "nft-linear"],
    policies: [10, 100],
    links: ["af-packet", "tap"],
    polls: ["adaptive", "sleep", "spin"],
    cpus: 2,
  };
  const names = (block: Block | undefined) =>
    block?.contenders.map((each) =>
      typeof each === "string" ? each : `${each.link} ${each.poll}`,
    );

  test("each row finds its peers, and a spinning worker where it is asked for", () => {
    const blocks = makePlan(options);
    const find = (measure: string, pinning: string, policies: number) =>
      blocks.find(
        (block) =>
          block.measure === measure && block.pinning === pinning && block.policies === policies,
      );
    expect(names(find("packets", "free", 100))).toEqual([
      ...options.peers,
      "af-packet adaptive",
      "tap adaptive",
    ]);
    expect(names(find("round-trip", "two-cores", 100))).toContain("af-packet spin");
    expect(names(find("packets", "free", 10))).toEqual([
      "nft-sets",
      "nft-linear",
      "af-packet adaptive",
      "tap adaptive",
    ]);
  });

  test("the kernel path waits in one way alone, on two cores too", () => {
    for (const block of makePlan({ ...options, quick: false, links: ["kernel"] })) {
      const own = (names(block) ?? []).filter((name) => name?.startsWith("kernel"));
      expect(own).toEqual(["kernel adaptive"]);
    }
  });

  test("one CPU has no second core, and no choice of waiting is no flag", () => {
    const blocks = makePlan({ ...options, cpus: 1, polls: [] });
    expect(blocks.some(({ pinning }) => pinning === "two-cores")).toBe(false);
    expect(blocks.flatMap((block) => names(block) ?? [])).not.toContain("af-packet adaptive");
  });
});

describe("plan of a node", () => {
  test("all contenders by every measure, the first hook alone by other sizes", () => {
    const blocks = makePlan({
      quick: true,
      peers: ["service", "service-nft-sets", "service-nfqueue"],
      policies: [10, 1_000],
      pods: [10, 250],
      links: ["node-netfilter", "node-iptables"],
      polls: [],
      cpus: 2,
    });
    const shown = blocks.map(({ measure, pinning, policies, pods, contenders }) => {
      const names = contenders.map((each) => (typeof each === "string" ? each : each.link));
      return `${measure} ${pinning} ${policies} ${pods}: ${names.join(" ")}`;
    });
    const all = "service service-nft-sets service-nfqueue node-netfilter node-iptables";
    expect(shown).toEqual([
      `connections free 1000 10: ${all}`,
      `connections-4 free 1000 10: ${all}`,
      `round-trip one-core 1000 10: ${all}`,
      `round-trip free 1000 10: ${all}`,
      `packets free 1000 10: ${all}`,
      `bulk-1 free 1000 10: ${all}`,
      "packets free 10 10: service-nft-sets node-netfilter",
      "connections free 10 10: service-nft-sets node-netfilter",
      "packets free 1000 250: node-netfilter",
      "connections free 1000 250: node-netfilter",
    ]);
  });
});

describe("workload", () => {
  test("more pods are more policies and addresses, and change nothing of the others", () => {
    const few = JSON.parse(makeWorkload(7).manifests).items;
    const { manifests, others } = makeWorkload(7, 250);
    const many = JSON.parse(manifests).items;
    expect(others.length).toBe(248);
    expect(new Set(others.map(formatAddress)).size).toBe(248);
    expect(many.slice(0, few.length)).toEqual(few);
    expect(many.length).toBe(few.length + 2 * 248);
  });

  test("every filter is told the same: so many prefixes, the client's the last", () => {
    const { manifests, nftSets, nftFlowtable, nftLinear, iptables, kernelRules } =
      makeWorkload(5_000);
    const policies = JSON.parse(manifests).items.filter(
      (item: { kind: string }) => item.kind === "NetworkPolicy",
    );
    const cidrs = policies.map(
      (policy: { spec: { ingress: [{ from: [{ ipBlock: { cidr: string } }] }] } }) =>
        policy.spec.ingress[0].from[0].ipBlock.cidr,
    );
    expect(new Set(cidrs).size).toBe(5_000);
    expect(cidrs.at(-1)).toBe("10.0.1.0/28");
    for (const cidr of [cidrs[0], cidrs[2_500], cidrs.at(-1)]) {
      for (const text of [nftSets, nftFlowtable, nftLinear, iptables])
        expect(text).toContain(`${cidr} `);
    }
    expect(kernelRules.length).toBe(10_000);
  });
});

// Goal: ratios are taken within a round, and noise is told.
// Method: a suite's result made by hand.
describe("report", () => {
  const block = (policies: number): Block => ({
    measure: "packets",
    pinning: "free",
    policies,
    contenders: [],
  });
  const samples = (...values: (number | undefined)[]): (Sample | undefined)[] =>
    values.map((value) =>
      value === undefined ? undefined : { value, cpuNsPerPacket: 1e9 / value },
    );
  const large = block(10_000);
  const small = block(10);
  const result: SuiteResult = {
    machine: { cpus: 2, model: "A <fast> CPU", kernel: "6.18", node: "v20" },
    at: "2026-11-21T10:00:00.000Z",
    quick: true,
    rounds: 3,
    seconds: 0.25,
    leftOut: [{ contender: "iptables", reason: "iptables-restore is not installed" }],
    memory: [{ contender: "sluice af-packet", policies: 10_000, bytes: 2 ** 27 }],
    background: [0, 0, 0],
    manyFlows: {
      rates: [
        [100, 200, 400],
        [90, 180, 360],
      ],
      swaps: [
        { link: "af-packet", connections: 999_000, inForceMs: [0.1, 0.2, 0.1], lost: 0 },
        { link: "kernel", connections: 998_000, inForceMs: [40, 30, 35], cameUp: 2, lost: 1 },
      ],
    },
    series: [
      { block: large, contender: "direct", samples: samples(500, 500, 500) },
      { block: large, contender: "nft-sets", samples: samples(100, 200, 400) },
      { block: large, contender: "nft-linear", samples: samples(undefined, undefined, undefined) },
      { block: large, contender: "sluice af-packet", samples: samples(150, 300, 600) },
      { block: large, contender: "sluice af-xdp", samples: samples(200, 400, undefined) },
      { block: small, contender: "nft-sets", samples: samples(100, 100, 100) },
      { block: small, contender: "sluice af-packet", samples: samples(150, 150, 150) },
    ],
  };

  test("a machine that halves its speed changes no ratio; the best variant stands in the row", () => {
    const { rows, noise, comparisons } = makeReport(result);
    expect(rows.map(({ name }) => name)).toEqual([
      "packets a second, 64 bytes, one direction",
      "CPU time a packet, whole machine",
      "packet rate with 1,000,000 tracked connections",
      "swap under many connections, until in force",
    ]);
    expect(rows.at(-1)).toMatchObject({ value: 35, by: "sluice kernel", reached: true });
    const [packets, cpu, flows] = rows;
    expect(packets).toMatchObject({
      ratio: 2,
      against: "nftables best practice, 10,000 policies",
      spread: 0,
      by: "sluice af-xdp",
      reached: true,
      noisy: false,
    });
    expect(cpu).toMatchObject({ ratio: 0.5, unit: "ns", better: "less", reached: true });
    expect(flows?.ratio).toBeCloseTo(0.9);
    expect(noise).toEqual({ noisy: false, reasons: [] });
    // Two variants by two peers that had packets, as rate and as CPU time, and one of the small size.
    expect(comparisons.length).toBe(2 * 2 * 2 + 2);
  });

  test("a verdict for each peer, by the variant that does best; what the rounds blur is level", () => {
    const flows: Block = { ...large, measure: "beside-flows" };
    const { verdicts, rows } = makeReport({
      ...result,
      series: [
        ...result.series,
        { block: large, contender: "sluice kernel adaptive", samples: samples(140, 270, 540) },
        { block: flows, contender: "bridge", samples: samples(100, 100, 100) },
        { block: flows, contender: "sluice af-packet", samples: samples(40, 40, 40) },
        { block: flows, contender: "sluice kernel adaptive", samples: samples(90, 100, 110) },
      ],
    });
    const counted = verdicts.map(({ title, better, level, worse }) => [
      title,
      ...[better, level, worse].map((each) => each.map(({ by }) => by)),
    ]);
    expect(counted).toEqual([
      ["direct veth", [], ["sluice af-packet"], ["sluice af-xdp"]],
      ["nftables best practice", ["sluice af-xdp", "sluice af-xdp"], [], []],
      ["Linux bridge", [], ["sluice kernel adaptive"], []],
    ]);
    const kernel = rows.filter(({ name }) => name.startsWith("by the kernel path: "));
    expect(kernel.map(({ by, reached }) => [by, reached])).toEqual([
      ["sluice kernel adaptive", true],
      ["sluice kernel adaptive", true],
      ["sluice kernel adaptive", false],
    ]);
  });

  test("what swings, and what else runs, is called noise", () => {
    const shaken = makeReport({
      ...result,
      background: [1, 1, 1],
      series: result.series.map((each) =>
        each.contender === "direct" || each.contender === "nft-sets"
          ? { ...each, samples: samples(100, 50, 200) }
          : each,
      ),
    });
    expect(shaken.rows[0]).toMatchObject({ noisy: true });
    expect(shaken.noise.reasons.length).toBe(3);
    const hurried = makeReport({ ...result, background: [0] });
    expect(hurried.noise.reasons.some((each) => each.includes("one round only"))).toBe(true);
  });

  test("the page stands alone and takes text as text", () => {
    const report = makeReport(result);
    const whole = reportHtml(report);
    const [, json = ""] = /href="data:application\/json;base64,([^"]*)"/.exec(whole) ?? [];
    expect(JSON.parse(Buffer.from(json, "base64").toString())).toEqual(
      JSON.parse(JSON.stringify(report)),
    );
    const page = whole.replace(/href="data:[^"]*"/, "");
    expect(page).toContain("A &#60;fast&#62; CPU");
    expect(page).not.toMatch(/<script|<link|src=|href=|url\(|NaN|undefined/);
    expect(page.match(/<svg/g)?.length).toBe(page.match(/<\/svg>/g)?.length);
    expect(page).toContain("iptables-restore is not installed");
    // Each picture says in words what it shows.
    const spoken = page.match(/<svg[^>]* aria-label="[^"]+"/g);
    expect(spoken?.length).toBe(page.match(/<svg/g)?.length);
  });

  test("a saved report is shown beside another, and says what is clear and what is not", () => {
    const report = makeReport(result);
    const slower = {
      ...report,
      rows: report.rows.map((row) => ({ ...row, ratio: row.ratio / 2, spread: 0.1 })),
    };
    const saved = readReport(JSON.stringify(slower));
    if (typeof saved === "string") throw new Error(saved);
    const page = reportHtml(report, earlierOf(saved));
    expect(page).toContain("before 1 × (+100 %)");
    expect(page.match(/fill="none" stroke="var\(--soft\)"/g)?.length).toBe(report.rows.length);
    const [row] = report.rows;
    expect(changeText({ ...row!, ratio: 1.05, spread: 0.1 }, { ...row!, ratio: 1 })).toBe(
      "+5 %, within the spread",
    );
    expect(readReport("{")).toMatch(/^want the JSON of sluice bench: /);
    expect(readReport('{"rows":[]}')).toMatch(/got another document$/);
    expect(readReport("null")).toMatch(/got another document$/);
  });

  test("in place has its own aims, and what it costs with more policies and pods", () => {
    const of = (policies: number, pods: number): Block => ({
      ...{ measure: "connections", pinning: "free", policies, pods },
      contenders: [],
    });
    const costs = (...each: number[]) => each.map((workNs) => ({ value: 1e9 / workNs, workNs }));
    const node = "sluice node-netfilter";
    const [usual, few, many] = [of(1_000, 10), of(10, 10), of(1_000, 250)];
    const { manyFlows: _, ...run } = result;
    const { rows, verdicts, results } = makeReport({
      ...run,
      series: [
        { block: usual, contender: "service", samples: costs(100, 200) },
        { block: usual, contender: "service-nft-sets", samples: costs(110, 220) },
        { block: usual, contender: node, samples: costs(102, 204) },
        { block: few, contender: node, samples: costs(102, 204) },
        { block: many, contender: node, samples: costs(153, 306) },
      ],
    });
    const shown = rows.map(({ name, against, ratio, reached }) => ({
      name,
      against,
      ratio,
      reached,
    }));
    const title = "no policy";
    const best = "nftables best practice, 1,000 policies";
    const ratio = (value: number) => expect.closeTo(value, 3);
    const each = "1 client: connections a second";
    const cpu = "CPU a connection";
    expect(shown).toEqual([
      { name: each, against: title, ratio: ratio(1 / 1.02), reached: true },
      { name: cpu, against: title, ratio: ratio(1.02), reached: true },
      { name: each, against: best, ratio: ratio(1.1 / 1.02), reached: true },
      { name: cpu, against: best, ratio: ratio(1.02 / 1.1), reached: true },
      { name: `${cpu}, 1,000 policies`, against: "with 10 policies", ratio: 1, reached: true },
      { name: `${cpu}, 250 pods`, against: "with 10 pods", ratio: 1.5, reached: false },
    ]);
    expect(verdicts.map(({ title: peer, worse }) => [peer, worse.length])).toEqual([
      [title, 0],
      ["nftables best practice", 0],
    ]);
    expect(results.map(({ pods, workNs }) => [pods, workNs])).toContainEqual([250, 229.5]);
  });
});
