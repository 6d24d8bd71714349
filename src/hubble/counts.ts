import { type Refusal, refusals } from "./admission.js";

/** What there is now. */
const gauges = ["connections", "activeCalls"] as const;
/** What has been since the start: calls let in, flows sent and told of as lost, bytes of messages, and refusals. */
const counters = [
  ...(["calls", "flows", "lostFlows", "bytes"] as const),
  ...refusals.map((why): `refused:${Refusal}` => `refused:${why}`),
];
const names = [...gauges, ...counters];

/** What a Hubble listener has counted. */
export type HubbleCounts = Readonly<Record<(typeof names)[number], number>>;

/** Refusals as they are among the counts. */
export function refusalCounts(
  refused: Readonly<Record<Refusal, number>>,
): Pick<HubbleCounts, `refused:${Refusal}`> {
  const named = refusals.map((why) => [`refused:${why}`, refused[why]]);
  return Object.fromEntries(named) as Pick<HubbleCounts, `refused:${Refusal}`>;
}

export const noCounts = countsOf(() => 0);

const form = new RegExp(String.raw`^counts((?: \d{1,15}){${names.length}})$`);

/** Writes counts as one line, without its end. */
export function writeCounts(counts: HubbleCounts): string {
  return `counts ${names.map((name) => counts[name]).join(" ")}`;
}

/** Reads what `writeCounts` has written; undefined for anything else. */
export function readCounts(line: string): HubbleCounts | undefined {
  const numbers = form.exec(line)?.[1]?.slice(1).split(" ");
  return numbers && countsOf((_, at) => Number(numbers[at]));
}

/** What a process counts that goes on where others have ended. */
export function addCounts(before: HubbleCounts, now: HubbleCounts): HubbleCounts {
  const isGauge = (name: string) => (gauges as readonly string[]).includes(name);
  return countsOf((name) => now[name] + (isGauge(name) ? 0 : before[name]));
}

function countsOf(count: (name: (typeof names)[number], at: number) => number): HubbleCounts {
  return Object.fromEntries(names.map((name, at) => [name, count(name, at)])) as HubbleCounts;
}
