import { totalmem } from "node:os";
import { CONNECTIONS_DEFAULT_MAX, CONNECTIONS_DEFAULT_MIN } from "../layout/layout.gen.js";

/** The part of the memory that a full table of connections takes, where nobody says how large it is. */
const memoryShare = 1 / 32;

/** An entry, and its part of the index: see native/conntrack/conn-table.h. */
const bytesPerConnection = 128 + 16;

/**
 * Says how many connections are tracked where nobody says: as many as a 32nd of the memory that this
 * process may use has room for, within bounds. A place takes memory only from its first use on.
 */
export function connectionsDefault(memoryBytes: number = usableMemoryBytes()): number {
  const fit = Math.floor((memoryBytes * memoryShare) / bytesPerConnection);
  return Math.min(CONNECTIONS_DEFAULT_MAX, Math.max(CONNECTIONS_DEFAULT_MIN, fit));
}

/**
 * The most that one endpoint may be given of a table of this size; where nobody says how large it is, of the
 * smallest there is, so that what one machine takes another one takes too.
 */
export function quotaMost(connections: number | undefined): number {
  return connections ?? CONNECTIONS_DEFAULT_MIN;
}

/** The machine's memory, or what the control group allows of it. Units: bytes. */
export function usableMemoryBytes(): number {
  const allowed = process.constrainedMemory();
  return allowed > 0 ? Math.min(allowed, totalmem()) : totalmem();
}
