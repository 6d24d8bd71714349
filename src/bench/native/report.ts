import type { MixedFlood } from "./mixed-flood.js";
import type { Row } from "./turns.js";

/** What was measured. */
export interface NativeReport {
  readonly rows: readonly Row[];
  readonly floods: readonly FloodOutcome[];
  readonly mixedFlood?: MixedFlood;
  readonly tables: readonly TableMemory[];
  /** The peers that were not measured, and why. */
  readonly leftOut: readonly { readonly name: string; readonly reason: string }[];
}

/** The outcome for all other connections during a flood. */
export interface FloodOutcome {
  readonly syns: number;
  readonly synsPerSecond: number;
  /** Connections that the table has room for. */
  readonly connectionsMax: number;
  /**
   * Connections established before the flood, and how many of them continued after it, in the worst round.
   */
  readonly established: number;
  /** New clients during the flood; a handshake takes some thousand packets of the flood. */
  readonly legitimate: number;
  /** How many of both succeeded, in the worst round. */
  readonly served: number;
  /** Memory in use after the first flood, and after the last. */
  readonly residentBytes: readonly [first: number, last: number];
}

/** What a table takes in memory, and what of it the packets of one family may touch. */
export interface TableMemory {
  readonly entries: number;
  readonly family: 4 | 6;
  readonly bytes: number;
  readonly hotBytes: number;
  /** The target size of the hot part, at most. */
  readonly reach?: number;
  readonly reached?: boolean;
}

/** A number for a reader. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}
