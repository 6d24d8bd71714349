import { filteringPeers, titleOf } from "./contenders.js";
import { type FlowRates, flowCounts, type SwapFigures } from "./many-flows.js";
import { number } from "./markup.js";
import { hookOf } from "./node-links.js";
import { type Block, kernelLink, type Measure, measures, type Pinning, pinnings } from "./plan.js";
import { median, spreadOf } from "./statistics.js";
import type { Sample, Series, SuiteResult } from "./suite.js";

/** CPU time of the whole machine, or of the programs on the path alone. */
type Of = "cpu" | "work";

/** A target of Sluice, as a ratio to a peer in the same run. */
interface Figure {
  readonly name: string;
  readonly measure: Measure;
  readonly pinning: Pinning;
  readonly against: string;
  /** Of `sluice node`; absent: of a wire. */
  readonly node?: true;
  /** Another value of the same measurement. */
  readonly of?: Of;
  /** The way of waiting that is meant; where a build has no choice, its only one. */
  readonly poll?: "adaptive" | "spin";
  /** The only link that is meant. */
  readonly link?: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

const figures: readonly Figure[] = [
  {
    name: "packets a second, 64 bytes, one direction",
    measure: "packets",
    pinning: "free",
    against: "nft-sets",
    atLeast: 1.8,
  },
  {
    name: "packets a second, 64 bytes, one direction, against linear rules",
    measure: "packets",
    pinning: "free",
    against: "nft-linear",
    atLeast: 80,
  },
  {
    name: "CPU time a packet, whole machine",
    measure: "packets",
    pinning: "free",
    against: "nft-sets",
    of: "cpu",
    atMost: 0.7,
  },
  {
    name: "round trip p50, all on one core",
    measure: "round-trip",
    pinning: "one-core",
    against: "bridge",
    atMost: 1.5,
  },
  {
    name: "round trip p50, client and server on different cores, worker spinning on its own",
    measure: "round-trip",
    pinning: "two-cores",
    against: "bridge",
    poll: "spin",
    atMost: 0.6,
  },
  {
    name: "round trip p50, nothing pinned, adaptive waiting",
    measure: "round-trip",
    pinning: "free",
    against: "nft-sets",
    poll: "adaptive",
    atMost: 0.7,
  },
  {
    name: "connections a second (connect, request, reply, close), adaptive waiting",
    measure: "connections",
    pinning: "free",
    against: "nft-sets",
    poll: "adaptive",
    atLeast: 1,
  },
  {
    name: "bulk TCP, 1 stream, default offloads",
    measure: "bulk-1",
    pinning: "free",
    against: "bridge",
    atLeast: 0.95,
  },
  ...inKernel("round trip p50, all on one core", "round-trip", "one-core", { atMost: 0.9 }),
  ...inKernel("round trip p50, two cores", "round-trip", "two-cores", { atMost: 0.8 }),
  ...inKernel("round trip p50, nothing pinned", "round-trip", "free", { atMost: 0.9 }),
  ...inKernel("bulk TCP, 1 stream", "bulk-1", "free", { atLeast: 1 }),
  ...inKernel("bulk TCP, 4 streams", "bulk-4", "free", { atLeast: 1 }),
  ...inKernel("packets a second, 64 bytes", "packets", "free", { atLeast: 1.35 }),
  ...inKernel("CPU time a packet", "packets", "free", { atMost: 0.95, of: "cpu" }),
  ...inKernel("connections a second", "connections", "free", { atLeast: 1 }),
  ...inKernel(measures["beside-flows"].title, "beside-flows", "free", {
    atLeast: 1.2,
    against: "bridge",
  }),
];

/** A target of the kernel path. */
function inKernel(
  name: string,
  measure: Measure,
  pinning: Pinning,
  more: Partial<Figure>,
): Figure[] {
  return [
    {
      name: `by the kernel path: ${name}`,
      measure,
      pinning,
      against: "nft-sets",
      link: kernelLink,
      ...more,
    },
  ];
}

/** The same of `sluice node`, beside the same path without policy, and with other ways of judging. */
const nodeFigures: readonly Figure[] = [
  ...inPlace("1 client: connections a second", "connections", { atLeast: 0.95 }),
  ...inPlace("4 clients: connections a second", "connections-4", { atLeast: 0.95 }),
  ...inPlace("CPU a connection", "connections", { of: "work", atMost: 1.05 }),
  ...inPlace("round trip p50", "round-trip", { atMost: 1.05 }),
  ...inPlace("bulk TCP, 1 stream", "bulk-1", { atLeast: 0.95 }),
  ...["service-nft-sets", "service-nfqueue"].flatMap((against) => [
    ...inPlace("1 client: connections a second", "connections", { against, atLeast: 1 }),
    ...inPlace("4 clients: connections a second", "connections-4", { against, atLeast: 1 }),
    ...inPlace("CPU a connection", "connections", { against, of: "work", atMost: 1 }),
    ...inPlace("CPU a packet", "packets", { against, of: "work", atMost: 1 }),
  ]),
];

function inPlace(name: string, measure: Measure, more: Partial<Figure>): Figure[] {
  return [
    {
      ...{ name, measure, pinning: "free", against: "service" },
      node: true,
      ...more,
    },
  ];
}

/** Ratios that vary by more than this from round to round say little. */
export const spreadMax = 0.3;
/** So long a swap may take until it is in force in the kernel. */
const swapMsMax = 50;
/** Less than this apart is level. */
const levelWithin = 0.03;
/** More load of other programs than this, in CPUs, affects the results. */
const backgroundMax = 0.15;

/** One ratio: the median over the rounds of Sluice's value by its peer's in the same round. */
export interface Row {
  readonly name: string;
  readonly ratio: number;
  readonly against: string;
  /** Of the rounds' ratios, as a share of their median. */
  readonly spread: number;
  /** Which way of running Sluice this is. */
  readonly by: string;
  readonly value: number;
  readonly base: number;
  readonly unit: string;
  readonly better: "more" | "less";
  /** Absent where no packets went past policies. */
  readonly policies?: number;
  readonly noisy: boolean;
  /** The target; only for figures. */
  readonly reach?: { readonly atLeast?: number; readonly atMost?: number };
  readonly reached?: boolean;
}

/** A series in one number for each thing that was measured: medians over the rounds. */
export interface Result {
  readonly measure: Measure;
  readonly pinning: Pinning;
  readonly policies: number;
  /** On the node; absent: of a wire. */
  readonly pods?: number;
  readonly contender: string;
  readonly title: string;
  readonly unit: string;
  /** Absent when nothing arrived in any round. */
  readonly value?: number;
  readonly spread?: number;
  readonly p50?: number;
  readonly p99?: number;
  readonly p999?: number;
  readonly cpuNsPerPacket?: number;
  readonly workNs?: number;
  /** By round. */
  readonly values: readonly (number | null)[];
}

/** How Sluice stands to a peer, by the variant that does best at each thing that was measured. */
export interface Verdict {
  readonly title: string;
  readonly better: readonly Row[];
  /** No further from 1 than the rounds lie apart. */
  readonly level: readonly Row[];
  readonly worse: readonly Row[];
}

export interface Report extends Omit<SuiteResult, "series" | "leftOut"> {
  /** The figures, each by the variant of Sluice that does best at it. */
  readonly rows: readonly Row[];
  /** Every variant of Sluice against every peer. */
  readonly comparisons: readonly Row[];
  /** One for each peer, with the largest number of policies. */
  readonly verdicts: readonly Verdict[];
  readonly results: readonly Result[];
  readonly leftOut: readonly {
    readonly contender: string;
    readonly title: string;
    readonly reason: string;
  }[];
  readonly noise: { readonly noisy: boolean; readonly reasons: readonly string[] };
}

/** The results with the sizes that everything was measured with. */
export function usualResults(results: readonly Result[]): Result[] {
  const policies = Math.max(...results.map((each) => each.policies));
  const pods = Math.min(...results.map((each) => each.pods ?? 0));
  return results.filter((each) => each.policies === policies && (each.pods ?? 0) === pods);
}

/** Turns measurements into ratios and medians, and says how far they can be trusted. */
export function makeReport({ series, leftOut, ...run }: SuiteResult): Report {
  const rows = [
    ...[...figures, ...nodeFigures].flatMap((figure) => figureRow(figure, series)),
    ...flowsRow(run.manyFlows?.rates),
    ...(run.manyFlows?.swaps ?? []).flatMap(swapRow),
    ...growthRows(series),
  ];
  const reasons = noiseOf(series, run.background, rows);
  return {
    rows,
    ...run,
    comparisons: series
      .filter(isSluice)
      .flatMap((ours) =>
        series
          .filter((other) => other.block === ours.block && !isSluice(other))
          .flatMap((other) => compared(ours, other)),
      ),
    verdicts: verdictsOf(series),
    results: series.map(resultOf),
    leftOut: leftOut.map((each) => ({ ...each, title: titleOf(each.contender) })),
    noise: { noisy: reasons.length > 0, reasons },
  };
}

/** A variant of Sluice by a peer, in one block. */
function compared(ours: Series, other: Series): Row[] {
  const { measure, pinning } = ours.block;
  const name = `${measures[measure].title}, ${pinnings[pinning].title}`;
  const cpu = measure === "packets" ? rowOf(`CPU time a packet, ${name}`, ours, other, "cpu") : [];
  const work = isNode(ours) ? rowOf(`CPU time of the path, ${name}`, ours, other, "work") : [];
  return [...rowOf(name, ours, other), ...cpu, ...work];
}

function verdictsOf(series: readonly Series[]): Verdict[] {
  const measured = series.filter(({ block }) => isUsual(block, series));
  const peers = new Set(measured.filter((each) => !isSluice(each)).map((each) => each.contender));
  return [...peers].flatMap((peer) => {
    const rows = measured
      .filter((other) => other.contender === peer)
      .flatMap((other) =>
        measured
          .filter((ours) => isSluice(ours) && ours.block === other.block)
          .flatMap((ours) => compared(ours, other)),
      );
    const bestOf = new Map<string, Row>();
    for (const row of rows) {
      const known = bestOf.get(row.name);
      if (known === undefined || gainOf(row) > gainOf(known)) bestOf.set(row.name, row);
    }
    const best = [...bestOf.values()];
    if (best.length === 0) return [];
    const apart = (row: Row) => Math.max(levelWithin, row.spread / 2);
    return [
      {
        title: titleOf(peer),
        better: best.filter((row) => gainOf(row) > 1 + apart(row)),
        level: best.filter((row) => Math.abs(gainOf(row) - 1) <= apart(row)),
        worse: best.filter((row) => gainOf(row) < 1 - apart(row)),
      },
    ];
  });
}

/** Above 1 where Sluice does better. */
function gainOf({ ratio, better }: Row): number {
  return better === "more" ? ratio : 1 / ratio;
}

export function isSluice({ contender }: { readonly contender: string }): boolean {
  return contender.startsWith("sluice ");
}

function isNode({ contender }: { readonly contender: string }): boolean {
  return hookOf(contender.split(" ")[1] ?? "") !== undefined;
}

function figureRow(figure: Figure, series: readonly Series[]): Row[] {
  const inBlock = series.filter(
    ({ block }) =>
      block.measure === figure.measure &&
      block.pinning === figure.pinning &&
      isUsual(block, series),
  );
  const base = inBlock.find(({ contender }) => contender === figure.against);
  if (base === undefined) return [];
  const { atLeast, atMost } = figure;
  const waits = (poll: string | undefined) =>
    figure.poll === undefined || poll === undefined || poll === figure.poll;
  const candidates = inBlock
    .filter((ours) => isSluice(ours) && isNode(ours) === (figure.node ?? false))
    .filter((ours) => waits(ours.contender.split(" ")[2]))
    .filter((ours) => figure.link === undefined || ours.contender.split(" ")[1] === figure.link)
    .flatMap((ours) => rowOf(figure.name, ours, base, figure.of));
  const better = atLeast === undefined ? 1 : -1;
  const [best] = candidates.sort((a, b) => better * (a.ratio - b.ratio));
  if (best === undefined) return [];
  return [
    {
      ...best,
      reach: {
        ...(atLeast === undefined ? {} : { atLeast }),
        ...(atMost === undefined ? {} : { atMost }),
      },
      reached:
        best.ratio >= (atLeast ?? Number.NEGATIVE_INFINITY) &&
        best.ratio <= (atMost ?? Number.POSITIVE_INFINITY),
    },
  ];
}

function flowsRow(rates: FlowRates | undefined): Row[] {
  if (rates === undefined) return [];
  const [few, many] = rates;
  const ratios = many.map((rate, round) => rate / (few[round] ?? Number.NaN));
  const ratio = median(ratios);
  const spread = spreadOf(ratios);
  const atLeast = 0.75;
  return [
    {
      name: `packet rate with ${number(flowCounts[1])} tracked connections`,
      ratio,
      against: `Sluice with ${number(flowCounts[0])}`,
      spread,
      by: "sluice af-packet",
      value: median(many),
      base: median(few),
      unit: measures.packets.unit,
      better: "more",
      policies: 0,
      noisy: spread > spreadMax,
      reach: { atLeast },
      reached: ratio >= atLeast,
    },
  ];
}

/** How long after the call the kernel passes nothing that the new policy denies, by the time it may take. */
function swapRow({ link, inForceMs }: SwapFigures): Row[] {
  if (link !== "kernel") return [];
  const ratios = inForceMs.map((each) => each / swapMsMax);
  const spread = spreadOf(ratios);
  return [
    {
      name: "swap under many connections, until in force",
      ratio: median(ratios),
      against: `${swapMsMax} ms`,
      spread,
      by: `sluice ${link}`,
      value: median(inForceMs),
      base: swapMsMax,
      unit: "ms",
      better: "less",
      policies: 0,
      noisy: spread > spreadMax,
      reach: { atMost: 1 },
      reached: median(ratios) <= 1,
    },
  ];
}

/** Whether a block has the sizes that everything is measured with: all policies, and the fewest pods. */
function isUsual(block: Block, series: readonly Series[]): boolean {
  const all = series.map((each) => each.block);
  return (
    block.policies === Math.max(...all.map(({ policies }) => policies)) &&
    (block.pods ?? 0) === Math.min(...all.map(({ pods = 0 }) => pods))
  );
}

/** What a packet and a connection cost in place with more policies, and with more pods, by what they cost with few. */
function growthRows(series: readonly Series[]): Row[] {
  const ours = series.filter((each) => isNode(each));
  return (["packets", "connections"] as const).flatMap((measure) => {
    const found = ours.filter(({ block }) => block.measure === measure);
    const what = `CPU a ${measure === "packets" ? "packet" : "connection"}`;
    const usual = found.find(({ block }) => isUsual(block, series));
    if (usual === undefined) return [];
    const own = found.filter(({ contender }) => contender === usual.contender);
    return own
      .filter(({ block }) => block !== usual.block)
      .flatMap((other) => {
        const [few, many] =
          (other.block.pods ?? 0) > (usual.block.pods ?? 0) ? [usual, other] : [other, usual];
        return rowOf(what, many, few, "work").map((row) => grown(row, few.block, many.block));
      });
  });
}

function grown(row: Row, few: Block, many: Block): Row {
  const atMost = 1.1;
  const isOfPods = few.pods !== many.pods;
  const sizeOf = ({ pods = 0, policies }: Block) =>
    isOfPods ? `${number(pods)} pods` : `${number(policies)} policies`;
  return {
    ...row,
    name: `${row.name}, ${sizeOf(many)}`,
    against: `with ${sizeOf(few)}`,
    reach: { atMost },
    reached: row.ratio <= atMost,
  };
}

/** None when the two share no round in which both were measured. */
function rowOf(name: string, ours: Series, other: Series, of?: Of): Row[] {
  const read = (sample: Sample | undefined) =>
    of === "cpu" ? sample?.cpuNsPerPacket : of === "work" ? sample?.workNs : sample?.value;
  const pairs = ours.samples.flatMap((sample, round) => {
    const value = read(sample);
    const base = read(other.samples[round]);
    return value === undefined || base === undefined || base === 0 ? [] : [{ value, base }];
  });
  if (pairs.length === 0) return [];
  const ratios = pairs.map(({ value, base }) => value / base);
  const spread = spreadOf(ratios);
  const { unit, better } = measures[ours.block.measure];
  const { policies } = ours.block;
  return [
    {
      name,
      ratio: median(ratios),
      against: filteringPeers.includes(other.contender)
        ? `${titleOf(other.contender)}, ${number(policies)} policies`
        : titleOf(other.contender),
      spread,
      by: ours.contender,
      value: median(pairs.map(({ value }) => value)),
      base: median(pairs.map(({ base }) => base)),
      unit: of === undefined ? unit : "ns",
      better: of === undefined ? better : "less",
      policies,
      noisy: spread > spreadMax,
    },
  ];
}

function resultOf({ block, contender, samples }: Series): Result {
  const arrived = samples.filter((sample) => sample !== undefined);
  const of = (read: (sample: Sample) => number | undefined): number | undefined => {
    const values = arrived.map(read).filter((value) => value !== undefined);
    return values.length === 0 ? undefined : median(values);
  };
  const values = samples.map((sample) => sample?.value ?? null);
  const found = {
    value: of((sample) => sample.value),
    spread: arrived.length === 0 ? undefined : spreadOf(arrived.map(({ value }) => value)),
    p50: of((sample) => sample.percentiles?.p50),
    p99: of((sample) => sample.percentiles?.p99),
    p999: of((sample) => sample.percentiles?.p999),
    cpuNsPerPacket: of((sample) => sample.cpuNsPerPacket),
    workNs: of((sample) => sample.workNs),
  };
  const present = Object.entries(found).filter(([, value]) => value !== undefined);
  return {
    measure: block.measure,
    pinning: block.pinning,
    policies: block.policies,
    ...(block.pods === undefined ? {} : { pods: block.pods }),
    contender,
    title: titleOf(contender),
    unit: measures[block.measure].unit,
    ...(Object.fromEntries(present) as Partial<Record<keyof typeof found, number>>),
    values,
  };
}

function noiseOf(
  series: readonly Series[],
  background: readonly number[],
  rows: readonly Row[],
): string[] {
  const reasons: string[] = [];
  const busy = median(background);
  if (busy > backgroundMax) {
    reasons.push(`other programs kept ${busy.toFixed(1)} CPUs busy while nothing was measured`);
  }
  if (background.length === 1) {
    reasons.push("there was time for one round only: nothing tells how far rounds lie apart");
  }
  for (const { block, contender, samples } of series) {
    if (contender !== "direct") continue;
    const drift = spreadOf(samples.flatMap((sample) => sample?.value ?? []));
    if (drift <= spreadMax) continue;
    const what = `${measures[block.measure].title}, ${pinnings[block.pinning].title}`;
    reasons.push(`the direct veth itself varied by ${(drift * 100).toFixed(0)} % (${what})`);
  }
  const unsure = rows.filter((row) => row.noisy).length;
  if (unsure > 0) {
    const most = (spreadMax * 100).toFixed(0);
    reasons.push(`${unsure} of ${rows.length} ratios varied by more than ${most} % between rounds`);
  }
  return reasons;
}
