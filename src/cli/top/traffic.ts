import { objectName } from "../../diagnostics/object-name.js";
import type { Flow, FlowVerdict } from "../../observe/flow.js";
import { ruleTextOf } from "./texts.js";

/** What ends of flows are told apart by. */
export const groupings = ["pod", "workload", "namespace"] as const;
export type Grouping = (typeof groupings)[number];

/** The flows from one end to another, to one port, with one verdict. */
export interface TrafficRow {
  readonly from: string;
  readonly to: string;
  /** `5432/tcp`, or the protocol. */
  readonly service: string;
  readonly verdict: FlowVerdict;
  /** What decided, in words. */
  readonly why: string;
  count: number;
  /** Flows a second, of about the last ten seconds. */
  rate: number;
  lastMs: number;
  /** The last of them. */
  flow: Flow;
}

/** Rows that are kept; the one that was seen longest ago gives way. */
const rowsMax = 5_000;
/** Over how long a rate is averaged. */
const rateMs = 10_000;

/** Flows, added up by who, to whom, which port and verdict. */
export class Traffic {
  readonly #rows = new Map<string, TrafficRow>();

  add(flow: Flow): void {
    // The end of a connection is no further flow.
    if (flow.ext.event === "closed" || flow.IP === undefined) return;
    const made = rowOf(flow, "pod");
    const key = keyOf(made);
    const known = this.#rows.get(key);
    this.#rows.delete(key);
    this.#rows.set(key, known === undefined ? made : sumOf(known, made));
    if (this.#rows.size > rowsMax) this.#rows.delete(this.#rows.keys().next().value!);
  }

  rows(grouping: Grouping, nowMs: number): TrafficRow[] {
    const sums = new Map<string, TrafficRow>();
    for (const row of this.#rows.values()) {
      const rate = faded(row.rate, nowMs - row.lastMs);
      const { from, to } = grouping === "pod" ? row : rowOf(row.flow, grouping);
      const grouped = { ...row, from, to, rate };
      const key = keyOf(grouped);
      const known = sums.get(key);
      if (known === undefined) sums.set(key, grouped);
      else {
        const newer = known.lastMs > row.lastMs ? known : grouped;
        const count = known.count + row.count;
        sums.set(key, { ...newer, count, rate: known.rate + rate });
      }
    }
    return [...sums.values()];
  }
}

function keyOf({ from, to, service, verdict, why }: TrafficRow): string {
  return [from, to, service, verdict, why].join("\n");
}

function faded(rate: number, ms: number): number {
  return rate * Math.exp(-Math.max(0, ms) / rateMs);
}

function sumOf(known: TrafficRow, more: TrafficRow): TrafficRow {
  const lastMs = Math.max(known.lastMs, more.lastMs);
  const rate = faded(known.rate, lastMs - known.lastMs) + more.rate;
  return { ...more, count: known.count + more.count, rate, lastMs };
}

function rowOf(flow: Flow, grouping: Grouping): TrafficRow {
  const { l4, verdict, ext } = flow;
  const ports =
    l4 && ("TCP" in l4 ? l4.TCP : "UDP" in l4 ? l4.UDP : "SCTP" in l4 ? l4.SCTP : undefined);
  const word = l4 === undefined ? "other" : Object.keys(l4)[0]!.toLowerCase();
  const deny = ext.isolated_by.map(objectName).join(" ");
  return {
    from: endOf(flow, "source", grouping),
    to: endOf(flow, "destination", grouping),
    service: ports === undefined ? word : `${ports.destination_port}/${word}`,
    verdict,
    why:
      ext.rule !== null
        ? ruleTextOf(ext.rule)
        : verdict === "FORWARDED"
          ? ""
          : (ext.reason ?? "").startsWith("policy")
            ? `no rule of ${deny}`
            : (ext.reason ?? ""),
    count: 1,
    rate: 1_000 / rateMs,
    lastMs: Date.parse(flow.time),
    flow,
  };
}

function endOf(flow: Flow, side: "source" | "destination", grouping: Grouping): string {
  const end = flow[side];
  if (end?.pod_name === undefined) return flow.IP?.[side] ?? "?";
  if (grouping === "namespace") return end.namespace ?? "";
  const workload = grouping === "workload" ? end.workloads?.[0]?.name : undefined;
  return `${end.namespace}/${workload ?? end.pod_name}`;
}
