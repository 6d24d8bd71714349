import type { ListenerBounds } from "./http-listener.js";

/** Bounds of a listener that untrusted clients may reach. */
export const metricsBounds: ListenerBounds = {
  connectionsMax: 256,
  connectionsPerClientMax: 16,
  requestsPerSecond: 1_000,
  requestsPerClientPerSecond: 50,
  headMs: 5_000,
  bodyMs: 5_000,
  bodiesBytesMax: 0,
  stallMs: 10_000,
  // Discarded as it comes: so a client that sends before it reads still learns why it is refused. Such a connection
  // gives way to a new one at any time.
  lingerMs: 20_000,
  lingerBytesMax: 1024 * 1024 * 1024,
};
