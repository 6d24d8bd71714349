import {
  NONE,
  TrafficRequest as TrafficRecord,
  trafficKindWords,
  writeTrafficRequest,
} from "../layout/layout.gen.js";
import type { Address } from "../net/address.js";
import { formatPrefix, type Prefix } from "../net/prefix.js";
import { addon, type NativeAcceptQueue, type TrafficCounts } from "./addon.js";
import { native, nativeAsync } from "./errors.js";

/**
 * Traffic for measurements, between real sockets, from native threads: JavaScript would be the bottleneck.
 */

/**
 * `round-trips`: UDP, one datagram at a time. `packets`: UDP one way, as many as go. `stream`: TCP one
 * way. `connections`: connect, request, reply, close, one after the other for each client. `beside-flows`: a byte there and back over one TCP
 * connection, one at a time, while new UDP flows of IPv4 come to the same port; needs CAP_NET_RAW.
 */
export type TrafficKind = (typeof trafficKindWords)[number];

export interface TrafficRequest {
  readonly kind: TrafficKind;
  readonly clientNamespaceFd: number;
  readonly client: Address;
  readonly serverNamespaceFd: number;
  readonly server: Address;
  /** What the client calls the server: its own address when absent. */
  readonly target?: Address;
  readonly port: number;
  /** CPUs of the threads of each end; any when absent. */
  readonly clientCpu?: number;
  readonly serverCpu?: number;
  /** TCP connections of a `stream`, and clients that make `connections`, each beside the others: 1 when absent. */
  readonly streams?: number;
  /** Of a datagram: 18 when absent, which makes a frame of 64 bytes. */
  readonly payloadBytes?: number;
  /** Connections that `packets` cycles through, or new ones a second of `beside-flows`: 1 when absent. */
  readonly flows?: number;
  /** Sent before anything is counted. */
  readonly warmupMs: number;
  readonly durationMs: number;
}

export type { TrafficCounts };

/**
 * Sends traffic of one kind for a while and counts what arrived.
 *
 * Units:  datagrams, bytes, connections or round trips; `busySeconds` is the busy time of all CPUs of the
 *         machine together; `endsSeconds` that of clients and servers alone, with the kernel's work in their name.
 * Errors: DataplaneError ETIMEDOUT when nothing arrives at all.
 */
export async function measureTraffic(request: TrafficRequest): Promise<TrafficCounts> {
  const { family } = request.client;
  if (family !== request.server.family || (request.target ?? request.server).family !== family) {
    throw new RangeError("client and server are of different families");
  }
  const record = new Uint8Array(TrafficRecord.bytes);
  writeTrafficRequest(new DataView(record.buffer), 0, {
    kind: trafficKindWords.indexOf(request.kind),
    family: request.client.family,
    client: request.client.bytes,
    clientNamespace: request.clientNamespaceFd,
    clientCpu: request.clientCpu ?? NONE,
    server: request.server.bytes,
    serverNamespace: request.serverNamespaceFd,
    serverCpu: request.serverCpu ?? NONE,
    port: request.port,
    streams: request.streams ?? 1,
    payloadBytes: request.payloadBytes ?? 18,
    flows: request.flows ?? 1,
    warmupMs: request.warmupMs,
    durationMs: request.durationMs,
  });
  const target = request.target ?? request.server;
  const counts = await nativeAsync(`send ${request.kind}`, () =>
    addon().traffic(record, target.bytes),
  );
  counts.roundTripsNs.sort();
  return counts;
}

/**
 * Binds a thread, of any process of this user, to CPUs; an empty list means all. Errors: DataplaneError.
 */
export function pinThread(threadId: number, cpus: readonly number[]): void {
  native(`pin thread ${threadId}`, () => addon().pinThread(threadId, Uint32Array.from(cpus)));
}

/**
 * Takes a queue of netfilter in a namespace, and lets everything pass that comes there, from a thread of its own.
 *
 * Owner:  the caller closes it.
 * Errors: DataplaneError; `bind NFQUEUE` where the kernel has no queues.
 */
export function openAcceptQueue(namespaceFd: number, queue: number): NativeAcceptQueue {
  const { NativeAcceptQueue } = addon();
  return native("take a queue of netfilter", () => new NativeAcceptQueue(namespaceFd, queue));
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
 * Joins two interfaces by eBPF programs: known connections are in an LRU map; else a longest-prefix trie and
 * a hash of ports decide. It shows the most that a filter in the kernel's path can do.
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
