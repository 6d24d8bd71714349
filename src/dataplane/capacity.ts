import { totalmem } from "node:os";
import { CONNECTIONS_DEFAULT_MAX, CONNECTIONS_DEFAULT_MIN } from "../layout/layout.gen.js";

/** The share of memory for a full connection table when its size is not configured. */
const memoryShare = 1 / 32;

/** An entry and its share of the index: native/conntrack/shared-table.h. */
const bytesPerConnection = 192 + 16;

/**
 * The default size of the connection table: what fits into 1/32 of the memory that this process may use,
 * within bounds. An entry takes memory only from its first use on.
 */
export function connectionsDefault(memoryBytes: number = usableMemoryBytes()): number {
  const fit = Math.floor((memoryBytes * memoryShare) / bytesPerConnection);
  return Math.min(CONNECTIONS_DEFAULT_MAX, Math.max(CONNECTIONS_DEFAULT_MIN, fit));
}

/**
 * The largest quota of one endpoint in a table of this size. When the size is not configured, the limit is
 * that of the smallest table, so that a config is valid on every machine or on none.
 */
export function quotaMost(connections: number | undefined): number {
  return connections ?? CONNECTIONS_DEFAULT_MIN;
}

/** The machine's memory, or the control group's limit. Units: bytes. */
export function usableMemoryBytes(): number {
  const allowed = process.constrainedMemory();
  return allowed > 0 ? Math.min(allowed, totalmem()) : totalmem();
}
