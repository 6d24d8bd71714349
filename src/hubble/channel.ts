import type { FlowLine } from "../observe/flow.js";

/**
 * What goes over the pipe between the process that enforces and its Hubble listener, a line each.
 *
 * The listener asks for flows, and for an end of them: flows cost nothing while nobody reads them. And it says what it
 * has counted, when that has changed.
 */
export const asks = ["follow", "stop"] as const;

export type Ask = (typeof asks)[number];

/** What the listener is told: who it answers for, then flows, and once that those which were kept have been sent. */
export type Told = HelloLine | FlowLine | { readonly current: true };

export interface HelloLine {
  readonly node: string;
  readonly version: string;
  /** When the process that enforces began, in milliseconds since the epoch. */
  readonly startedMs: number;
  /** Flows that it has seen before the first one that it sends now. */
  readonly seenBefore: number;
}
