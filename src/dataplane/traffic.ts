import { type Address, formatAddress } from "../net/address.js";
import { formatPrefix, type Prefix } from "../net/prefix.js";
import { addon, type TrafficCounts } from "./addon.js";
import { native, nativeAsync } from "./errors.js";

/**
 * Traffic to measure with, between real sockets, from native threads: JavaScript would be the
 * slowest part of it.
 */

const trafficKinds = ["round-trips", "packets", "stream", "connections"] as const;

/**
 * `round-trips`: UDP, one datagram at a time. `packets`: UDP one way, as many as go. `stream`: TCP one
 * way. `connections`: connect, request, reply, close, one after the other.
 */
export type TrafficKind = (typeof trafficKinds)[number];

export interface TrafficRequest {
  readonly kind: TrafficKind;
  readonly clientNamespaceFd: number;
  readonly client: Address;
  readonly serverNamespaceFd: number;
  readonly server: Address;
  readonly port: number;
  /** Where the threads of each end run; anywhere when absent. */
  readonly clientCpu?: number;
  readonly serverCpu?: number;
  /** TCP connections of a `stream`: 1 when absent. */
  readonly streams?: number;
  /** Of a datagram: 18 when absent, which makes a frame of 64 bytes. */
  readonly payloadBytes?: number;
  /** Connections that `packets` take turns to belong to: 1 when absent. */
  readonly flows?: number;
  /** Sent before anything is counted. */
  readonly warmupMs: number;
  readonly durationMs: number;
}

export type { TrafficCounts };

/**
 * Sends traffic of one kind for a while and counts what arrived.
 *
 * Units:  datagrams, bytes, connections or round trips; `busySeconds` is the time that all CPUs of the
 *         machine were not idle.
 * Errors: DataplaneError ETIMEDOUT when nothing arrives at all.
 */
export async function measureTraffic(request: TrafficRequest): Promise<TrafficCounts> {
  const counts = await nativeAsync(`send ${request.kind}`, () =>
    addon().traffic(
      trafficKinds.indexOf(request.kind),
      request.clientNamespaceFd,
      formatAddress(request.client),
      request.serverNamespaceFd,
      formatAddress(request.server),
      request.port,
      request.clientCpu ?? -1,
      request.serverCpu ?? -1,
      request.streams ?? 1,
      request.payloadBytes ?? 18,
      request.warmupMs,
      request.durationMs,
      request.flows ?? 1,
    ),
  );
  counts.roundTripsNs.sort();
  return counts;
}

/** Binds a thread, of any process of ours, to CPUs; none named are all. Errors: DataplaneError. */
export function pinThread(threadId: number, cpus: readonly number[]): void {
  native(`pin thread ${threadId}`, () => addon().pinThread(threadId, Uint32Array.from(cpus)));
}

/** What may reach the inside of a kernel filter. */
export interface KernelFilterRule {
  /** IPv4. */
  readonly from: Prefix;
  readonly port: number;
  /** 6 or 17. */
  readonly protocol: number;
}

/**
 * Joins two interfaces by eBPF programs of our own: connections that are known in an LRU map, else a
 * longest-prefix trie and a hash of ports. The bound of what the kernel's own path can do.
 *
 * Owner:  the caller closes the descriptors with `closeDescriptor`; the programs go with them.
 * Errors: DataplaneError; EPERM in a user namespace, EINVAL before Linux 6.6.
 */
export function attachKernelFilter(
  namespaceFd: number,
  inside: string,
  outside: string,
  rules: readonly KernelFilterRule[],
): number[] {
  const words = new Uint32Array(rules.length * 4);
  rules.forEach(({ from, port, protocol }, index) => {
    if (from.address.family !== 4) throw new RangeError(`${formatPrefix(from)} is not IPv4`);
    const bytes = new DataView(from.address.bytes.buffer, from.address.bytes.byteOffset);
    words.set([bytes.getUint32(0), from.length, port, protocol], index * 4);
  });
  return native("attach the kernel filter", () =>
    addon().attachKernelFilter(namespaceFd, inside, outside, words),
  );
}
