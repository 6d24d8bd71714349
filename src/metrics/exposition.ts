import type { Histogram } from "./histogram.js";

/** Values of labels, in the order in which they are written. */
export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

/** One metric with all its series. */
export interface Family {
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly help: string;
  readonly samples: readonly Sample[];
}

export interface HistogramFamily {
  readonly name: string;
  readonly type: "histogram";
  readonly help: string;
  readonly histogram: Histogram;
}

/** What `Content-Type` says of the text that `exposition` writes. */
export const expositionType = "text/plain; version=0.0.4; charset=utf-8";

/**
 * Writes metrics in the format that Prometheus reads.
 *
 * Shape:  a family without series is left out; families keep their order.
 * Source: Prometheus' text-based exposition format, version 0.0.4.
 */
export function exposition(families: readonly (Family | HistogramFamily)[]): string {
  const lines: string[] = [];
  for (const family of families) {
    if (family.type !== "histogram" && family.samples.length === 0) continue;
    lines.push(`# HELP ${family.name} ${escapeHelp(family.help)}`);
    lines.push(`# TYPE ${family.name} ${family.type}`);
    if (family.type === "histogram") lines.push(...histogramLines(family));
    else
      for (const { labels, value } of family.samples) lines.push(line(family.name, labels, value));
  }
  return lines.map((each) => `${each}\n`).join("");
}

function histogramLines({ name, histogram }: HistogramFamily): string[] {
  const bucket = (bound: string, count: number) => line(`${name}_bucket`, { le: bound }, count);
  return [
    ...histogram.buckets.map(({ bound, count }) => bucket(String(bound), count)),
    bucket("+Inf", histogram.count),
    line(`${name}_sum`, undefined, histogram.sum),
    line(`${name}_count`, undefined, histogram.count),
  ];
}

function line(name: string, labels: Labels | undefined, value: number): string {
  const pairs = Object.entries(labels ?? {}).map(([key, text]) => `${key}="${escapeLabel(text)}"`);
  return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${value}`;
}

function escapeHelp(text: string): string {
  return text.replace(/\\/g, "\\\\").replace(/\n/g, "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replace(/"/g, '\\"');
}
