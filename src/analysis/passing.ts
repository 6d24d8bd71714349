import { type Table, TupleBatch } from "../dataplane/table.js";
import { type Address, formatAddress } from "../net/address.js";
import type { PortSet } from "../net/port-set.js";
import { Connectivity, type Site } from "./connectivity.js";
import { addressPairs, type FlowEnd } from "./references.js";

/** What passes between two addresses. */
export interface Passing {
  readonly from: string;
  readonly to: string;
  /** A pod's traffic to itself, which is never judged. */
  readonly self: boolean;
  readonly ports: PortSet;
}

/**
 * Lists what a table lets through from one end to the other.
 *
 * Shape: a pair of addresses of one family each, in the order in which the ends have them.
 */
export function passingBetween(
  blob: Uint8Array,
  table: Table,
  from: FlowEnd,
  to: FlowEnd,
  connectivity = new Connectivity(blob),
): readonly Passing[] {
  const pairs = addressPairs(from, to);
  const batch = new TupleBatch(pairs.length);
  for (const { source, destination } of pairs) batch.push(source, destination, 0, 0);
  const leaves = table.locate(batch);
  const siteOf = (address: Address, leaf: number): Site & { readonly endpointId?: number } => {
    const { classId, endpointId } = connectivity.leaf(leaf);
    const site = { family: address.family, classId };
    return endpointId === undefined
      ? site
      : { ...site, endpointId, rows: connectivity.rowsOf(endpointId) };
  };
  return pairs.map(({ source, destination }, index) => {
    const sender = siteOf(source, leaves[index * 2]!);
    const receiver = siteOf(destination, leaves[index * 2 + 1]!);
    const self = sender.endpointId !== undefined && sender.endpointId === receiver.endpointId;
    const { pool } = connectivity;
    const ports = pool.get(self ? pool.all : connectivity.portsBetween(sender, receiver));
    return { from: formatAddress(source), to: formatAddress(destination), self, ports };
  });
}
