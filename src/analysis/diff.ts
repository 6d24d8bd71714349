import type { Table } from "../dataplane/table.js";
import type { PortSet } from "../net/port-set.js";
import { Connectivity } from "./connectivity.js";
import { PortSetPool } from "./connectivity-ports.js";
import { type DiffSide, mergeChanges, type RawChange } from "./diff-merge.js";
import {
  type DiffParties,
  type DiffParty,
  diffParties,
  type ReaddressedPod,
} from "./diff-parties.js";
import { findWitnesses, type Witness } from "./diff-witness.js";

/** A compiled state, as bytes and as the native table that was opened from them. */
export interface DiffState {
  readonly blob: Uint8Array;
  readonly table: Table;
}

/** Connections between each sender and each receiver that only one of the states allows. */
export interface DiffChange {
  readonly from: DiffSide;
  readonly to: DiffSide;
  readonly families: readonly (4 | 6)[];
  /** Allowed after and not before. */
  readonly opened: PortSet;
  /** Allowed before and not after. */
  readonly closed: PortSet;
  /** A packet for each of the two that is not empty, judged by both native tables. */
  readonly witnesses: readonly Witness[];
}

export interface ConnectivityDiff {
  /** Both states have the same pods at the same addresses, and judge every packet alike. */
  readonly equivalent: boolean;
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly readdressed: readonly ReaddressedPod[];
  readonly changes: readonly DiffChange[];
}

/**
 * Finds every connection that one state allows and the other does not.
 *
 * Pods are compared by name, the rest of each address family by address. A pod that only one state has
 * is listed and otherwise left out, with its addresses.
 *
 * Shape:  changes sorted by their ends; no packet is in two of them.
 * Cost:   quadratic in the kinds of address that the tables tell apart, not in pods.
 * Errors: throws when the native tables contradict a witness: a bug.
 */
export function diffConnectivity(before: DiffState, after: DiffState): ConnectivityDiff {
  const pool = new PortSetPool();
  const old = new Connectivity(before.blob, pool);
  const now = new Connectivity(after.blob, pool);
  const found = diffParties(old, now);
  const raw = rawChanges(found, old, now);
  const changes = mergeChanges(raw, found).map(
    ({ from, to, families, opened, closed, sample }) => ({
      from,
      to,
      families,
      opened: pool.get(opened),
      closed: pool.get(closed),
      witnesses: findWitnesses(sample, pool, found, before.table, after.table),
    }),
  );
  const { added, removed, readdressed } = found;
  return {
    equivalent: [added, removed, readdressed, changes].every((list) => list.length === 0),
    added,
    removed,
    readdressed,
    changes,
  };
}

/** Compares every pair of parties of one family. */
function rawChanges(
  { parties }: DiffParties,
  before: Connectivity,
  after: Connectivity,
): readonly RawChange[] {
  const { pool } = before;
  const changes: RawChange[] = [];
  for (const from of parties) {
    for (const to of parties) {
      if (!canDiffer(from, to)) continue;
      const old = before.portsBetween(from.before, to.before);
      const now = after.portsBetween(from.after, to.after);
      if (old === now) continue;
      const opened = pool.subtract(now, old);
      const closed = pool.subtract(old, now);
      changes.push({ from, to, opened, closed });
    }
  }
  return changes;
}

/** Reports whether some packet between the two is judged at all. */
function canDiffer(from: DiffParty, to: DiffParty): boolean {
  if (from.family !== to.family) return false;
  if (from.outside !== undefined || to.outside !== undefined) {
    return from.members.length > 0 || to.members.length > 0;
  }
  const [first] = from.members;
  return from.members.length > 1 || to.members.some(({ pod }) => pod !== first?.pod);
}
