import type { FlowRow, FlowSample, FlowsDocument, FlowVerdict } from "./documents.js";

/** A flow as it is counted. */
export interface SeenFlow {
  /** Names of parties. */
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: number | null;
  readonly verdict: FlowVerdict;
  readonly reason: string | null;
  /** 1 for a connection that was opened or refused; 0 for the end of one. */
  readonly connections: number;
  readonly packets: number;
  readonly bytes: number;
  readonly timeMs: number;
  readonly last: FlowSample;
}

export interface FlowRowBounds {
  readonly rowsMax: number;
  /** Ports of one pair, protocol and verdict that have a row of their own. */
  readonly portsMax: number;
}

type Row = { -readonly [Key in keyof FlowRow]: FlowRow[Key] };

/**
 * Flows summed up by pair of parties, protocol, port and verdict.
 *
 * Shape: bounded. A scan of many ports is one row; of too many rows the one that was seen last the longest ago
 *        goes, and is counted on in `beyond`.
 * Cost:  constant for each flow.
 */
export class FlowRows {
  readonly #bounds: FlowRowBounds;
  /** The one seen longest ago first. */
  readonly #rows = new Map<string, { readonly row: Row; version: number }>();
  readonly #ports = new Map<string, number>();
  #gone: { readonly id: number; readonly version: number }[] = [];
  #version = 0;
  /** Which rows went before this version is not known any more. */
  #goneSince = 0;
  #nextId = 1;
  #seen = 0;
  #beyond = 0;

  constructor(bounds: FlowRowBounds = { rowsMax: 4_000, portsMax: 32 }) {
    this.#bounds = bounds;
  }

  /** Every row, the one seen longest ago first. */
  get rows(): readonly FlowRow[] {
    return [...this.#rows.values()].map(({ row }) => row);
  }

  add(flow: SeenFlow): void {
    const { from, to, protocol, verdict, port, connections } = flow;
    this.#seen += connections;
    const pair = `${from}\n${to}\n${protocol}\n${verdict}`;
    const own = `${pair}\n${port}`;
    const isOther = !this.#rows.has(own) && (this.#ports.get(pair) ?? 0) >= this.#bounds.portsMax;
    const key = isOther ? `${pair}\nother` : own;
    const known = this.#rows.get(key);
    this.#version++;
    if (known === undefined) {
      if (!isOther) this.#ports.set(pair, (this.#ports.get(pair) ?? 0) + 1);
      const { timeMs, ...rest } = flow;
      const row: Row = {
        id: this.#nextId++,
        ...rest,
        port: isOther ? null : port,
        otherPorts: isOther,
        firstMs: timeMs,
        lastMs: timeMs,
      };
      this.#rows.set(key, { row, version: this.#version });
      if (this.#rows.size > this.#bounds.rowsMax) this.#giveUpOne();
      return;
    }
    const { row } = known;
    row.connections += connections;
    row.packets += flow.packets;
    row.bytes += flow.bytes;
    row.lastMs = Math.max(row.lastMs, flow.timeMs);
    row.firstMs = Math.min(row.firstMs, flow.timeMs);
    if (connections > 0) {
      row.reason = flow.reason;
      row.last = flow.last;
    }
    known.version = this.#version;
    this.#rows.delete(key);
    this.#rows.set(key, known);
  }

  /** What has changed since a version; all, where that is 0 or too long ago. */
  since(
    version: number,
  ): Pick<FlowsDocument, "version" | "whole" | "rows" | "gone" | "seen" | "beyond"> {
    const whole = version <= this.#goneSince || version > this.#version;
    const from = whole ? 0 : version;
    const rows = [...this.#rows.values()].filter((each) => each.version > from);
    const gone = this.#gone.filter((each) => each.version > from).map(({ id }) => id);
    return {
      ...{ version: this.#version, whole, rows: rows.map(({ row }) => row), gone },
      ...{ seen: this.#seen, beyond: this.#beyond },
    };
  }

  #giveUpOne(): void {
    const [key, { row }] = this.#rows.entries().next().value!;
    this.#rows.delete(key);
    const pair = key.slice(0, key.lastIndexOf("\n"));
    if (!row.otherPorts) this.#ports.set(pair, this.#ports.get(pair)! - 1);
    if ((this.#ports.get(pair) ?? 0) <= 0) this.#ports.delete(pair);
    this.#beyond += row.connections;
    this.#gone.push({ id: row.id, version: this.#version });
    if (this.#gone.length > 2 * this.#bounds.rowsMax) {
      const left = this.#gone.slice(0, this.#bounds.rowsMax);
      this.#gone = this.#gone.slice(left.length);
      this.#goneSince = left.at(-1)!.version;
    }
  }
}
