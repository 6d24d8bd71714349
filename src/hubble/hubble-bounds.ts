/** Bounds of a gRPC listener that strangers may reach. Units: as the names say. */
export interface GrpcBounds {
  readonly connectionsMax: number;
  readonly connectionsPerClientMax: number;
  /** Calls under way, of all clients together, of one, and of one connection. */
  readonly callsMax: number;
  readonly callsPerClientMax: number;
  readonly callsPerConnectionMax: number;
  /** Calls of a connection that may be refused before it is ended. */
  readonly refusedMax: number;
  readonly callsPerSecond: number;
  readonly callsPerClientPerSecond: number;
  readonly requestBytesMax: number;
  /** Of all calls under way: a filter takes some hundred times its bytes. */
  readonly requestsBytesMax: number;
  readonly requestsBytesPerClientMax: number;
  /** From the start of a call until its request is whole, and of a connection until its first call. */
  readonly requestMs: number;
  /** How long a connection may be without a call before it is ended. */
  readonly idleMs: number;
  /** Bytes that may wait for a reader before it counts as behind. */
  readonly behindBytes: number;
  /** Memory of one connection, in megabytes. */
  readonly connectionMegabytes: number;
}

/** One client may have a quarter of what there is. Relay has one connection, and a call for each of its own users. */
export const hubbleBounds: GrpcBounds = {
  connectionsMax: 128,
  connectionsPerClientMax: 32,
  callsMax: 256,
  callsPerClientMax: 64,
  callsPerConnectionMax: 64,
  refusedMax: 100,
  callsPerSecond: 500,
  callsPerClientPerSecond: 100,
  // A list of 500 pods' names; who sends more is no reader of flows.
  requestBytesMax: 128 * 1024,
  requestsBytesMax: 512 * 1024,
  requestsBytesPerClientMax: 128 * 1024,
  requestMs: 10_000,
  idleMs: 10 * 60_000,
  behindBytes: 64 * 1024,
  connectionMegabytes: 4,
};
