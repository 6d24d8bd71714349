/** Bounds of a gRPC listener that strangers may reach. Units: as the names say. */
export interface GrpcBounds {
  readonly connectionsMax: number;
  readonly connectionsPerClientMax: number;
  /** Calls under way, of all connections together, and of one. */
  readonly callsMax: number;
  readonly callsPerConnectionMax: number;
  readonly callsPerSecond: number;
  readonly callsPerClientPerSecond: number;
  readonly requestBytesMax: number;
  /** Of all calls under way: a filter takes some hundred times its bytes. */
  readonly requestsBytesMax: number;
  /** From the start of a call until its request is whole, and of a connection until its first call. */
  readonly requestMs: number;
  /** How long a connection may be without a call before it is ended. */
  readonly idleMs: number;
  /** Bytes that may wait for a reader before it counts as behind. */
  readonly behindBytes: number;
  /** Memory of one connection, in megabytes. */
  readonly connectionMegabytes: number;
}

export const hubbleBounds: GrpcBounds = {
  connectionsMax: 128,
  connectionsPerClientMax: 64,
  callsMax: 256,
  callsPerConnectionMax: 64,
  callsPerSecond: 500,
  callsPerClientPerSecond: 100,
  // A list of 500 pods' names; who sends more is no reader of flows.
  requestBytesMax: 128 * 1024,
  requestsBytesMax: 512 * 1024,
  requestMs: 10_000,
  idleMs: 10 * 60_000,
  behindBytes: 64 * 1024,
  connectionMegabytes: 4,
};
