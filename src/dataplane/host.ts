import {
  NONE,
  ProbeOutcome,
  ProbeRequest,
  ProbeResult,
  probeOutcomeWords,
  readProbeResult,
  writeProbeRequest,
} from "../layout/layout.gen.js";
import { type Address, formatAddress } from "../net/address.js";
import { addon, type InterfaceTraits } from "./addon.js";
import { native, nativeAsync } from "./errors.js";

/**
 * Network namespaces and their interfaces, by direct system calls. iproute2 is not needed. Nothing is created
 * under /run/netns, so nothing stays when the process is killed.
 *
 * A namespace is a file descriptor. `undefined` means the namespace of this process.
 */

/**
 * Makes a network namespace with its loopback up. Returns a descriptor that keeps the namespace alive.
 *
 * Owner:  the caller closes it with `closeDescriptor`; the kernel deletes the namespace with its last user.
 * Errors: DataplaneError EPERM without CAP_SYS_ADMIN.
 */
export function createNamespace(): number {
  return native("create a network namespace", () => addon().createNamespace());
}

/** Opens a namespace file such as `/proc/123/ns/net`. Owner: the caller closes it. */
export function openNamespace(path: string): number {
  return native(`open the namespace ${path}`, () => addon().openNamespace(path));
}

export function closeDescriptor(fd: number): void {
  addon().closeDescriptor(fd);
}

/** An address of an interface, with the length of its on-link prefix. */
export interface InterfaceAddress {
  readonly address: Address;
  readonly length: number;
}

export interface Route {
  /** Absent: the default route of the gateway's family. */
  readonly destination?: InterfaceAddress;
  /** Absent: `destination` is on-link. */
  readonly gateway?: Address;
}

export interface Neighbour {
  readonly address: Address;
  readonly mac: string;
}

/** Settings for an interface; absent ones stay unchanged. */
export interface InterfaceConfig {
  readonly name: string;
  readonly rename?: string;
  /** `02:00:00:00:00:01`; set while the interface is down. */
  readonly mac?: string;
  readonly mtu?: number;
  /** Added without duplicate address detection: usable at once. */
  readonly addresses?: readonly InterfaceAddress[];
  /** Set after the interface is up. A gateway need not be within any address's prefix. */
  readonly routes?: readonly Route[];
  /** Permanent neighbour entries. */
  readonly neighbours?: readonly Neighbour[];
  readonly up?: boolean;
  /** Whether the kernel gives it an fe80:: address of its own when it comes up. */
  readonly linkLocal?: boolean;
}

/**
 * Configures an interface in a namespace: name, MAC, MTU, addresses, up, routes, neighbours, in this order.
 * Existing addresses, routes and neighbours stay.
 *
 * Errors: DataplaneError; the steps before the failing one have been done.
 */
export function configureInterface(namespaceFd: number | undefined, config: InterfaceConfig): void {
  const prefix = (each: InterfaceAddress): string =>
    `${formatAddress(each.address)}/${each.length}`;
  const { name, rename, mac, mtu, up, linkLocal } = config;
  native(`configure the interface ${name}`, () =>
    addon().configureInterface(namespaceFd ?? -1, {
      name,
      rename,
      mac,
      mtu,
      addresses: (config.addresses ?? []).map(prefix),
      up,
      linkLocal,
      routes: (config.routes ?? []).map(({ destination, gateway }) => ({
        destination: destination && prefix(destination),
        gateway: gateway && formatAddress(gateway),
      })),
      neighbours: (config.neighbours ?? []).map((each) => ({
        address: formatAddress(each.address),
        mac: each.mac,
      })),
    }),
  );
}

/** One end of a veth pair. */
export interface VethEnd {
  readonly namespaceFd?: number;
  readonly name: string;
}

/** Makes a veth pair, down, one end in each namespace. */
export function createVeth(a: VethEnd, b: VethEnd): void {
  native(`create the veth pair ${a.name}, ${b.name}`, () =>
    addon().createVeth(a.namespaceFd ?? -1, a.name, b.namespaceFd ?? -1, b.name),
  );
}

export function deleteInterface(namespaceFd: number | undefined, name: string): void {
  native(`delete the interface ${name}`, () => addon().deleteInterface(namespaceFd ?? -1, name));
}

/**
 * Sends netlink requests in one datagram, which the kernel handles without interruption. Returns all answers.
 * `strict`: the kernel reads the attributes of a request for a dump.
 *
 * Shape:  whole messages; the last request asks for a dump or an acknowledgement.
 * Errors: DataplaneError when sending fails; the kernel's refusals are in the answer.
 */
export function netlinkExchange(
  protocol: number,
  requests: Uint8Array,
  checks: "loose" | "strict" = "loose",
): Uint8Array {
  return native("ask the kernel by netlink", () =>
    addon().netlink(-1, protocol, requests, checks === "strict"),
  );
}

/**
 * Sends the same netlink requests in several namespaces, many at a time. Returns the answers in that order.
 *
 * Errors: as of `netlinkExchange`; all namespaces have been tried.
 */
export function netlinkExchangeEach(
  namespaceFds: readonly number[],
  protocol: number,
  requests: Uint8Array,
): Promise<Uint8Array[]> {
  return nativeAsync("ask the kernel by netlink", () =>
    addon().netlinkEach(Uint32Array.from(namespaceFds), protocol, requests),
  );
}

/**
 * Blocks the kernel stack on an interface, in both directions, by tc filters that only `releaseStack`
 * removes. So the interface carries nothing after this process ends, in whatever way. Frames of `lasting`
 * links pass.
 */
export function holdStack(interfaceIndex: number): void {
  native(`hold the interface ${interfaceIndex}`, () => addon().holdStack(-1, interfaceIndex, true));
}

/** Undoes `holdStack`, also another process's. */
export function releaseStack(interfaceIndex: number): void {
  native(`release the interface ${interfaceIndex}`, () =>
    addon().holdStack(-1, interfaceIndex, false),
  );
}

/** Whether `holdStack` filters are on an interface, also another process's. */
export function isStackHeld(interfaceIndex: number): boolean {
  return native(`look at the filters of the interface ${interfaceIndex}`, () =>
    addon().isStackHeld(-1, interfaceIndex),
  );
}

/** Locks an open file until it is closed; false when another process has locked it. */
export function tryLock(fd: number): boolean {
  return native("lock a file", () => addon().tryLock(fd));
}

/**
 * Reads an interface's properties. Errors: DataplaneError ENODEV when there is none of that name.
 */
export function interfaceTraits(namespaceFd: number | undefined, name: string): InterfaceTraits {
  return native(`look at the interface ${name}`, () =>
    addon().interfaceTraits(namespaceFd ?? -1, name),
  );
}

/**
 * Makes the kernel forward everything, unjudged, between two interfaces of a data plane if its process dies
 * without giving them back. Stays until `clearFailOpen`.
 *
 * Errors: DataplaneError EPERM without CAP_BPF; EOPNOTSUPP when filters that outlive the process block the
 *         interfaces.
 */
export function setFailOpen(
  namespaceFd: number | undefined,
  inside: string,
  outside: string,
): void {
  native(`let ${inside} and ${outside} fail open`, () =>
    addon().setFailOpen(namespaceFd ?? -1, inside, outside),
  );
}

/** Undoes `setFailOpen` if it is set, also by an earlier process. */
export function clearFailOpen(namespaceFd: number | undefined, name: string): void {
  native(`let ${name} fail closed`, () => addon().clearFailOpen(namespaceFd ?? -1, name));
}

/** The interfaces of a namespace that are set to fail open, or are failing open now. */
export function listFailOpen(namespaceFd?: number): readonly string[] {
  return native("look for interfaces that fail open", () =>
    addon().listFailOpen(namespaceFd ?? -1),
  );
}

/** Writes `/proc/sys/net/<key>` as a process in the namespace sees it, for example `ipv4/ip_forward`. */
export function setSysctl(namespaceFd: number | undefined, key: string, value: string): void {
  native(`set net/${key}`, () => addon().setSysctl(namespaceFd ?? -1, key, value));
}

/** One connection to try. Source and destination are of one family. */
export interface Probe {
  readonly sourceNamespaceFd: number;
  readonly source: Address;
  /**
   * The namespace in which a listener is opened during the probe. Absent: none is opened. If a process
   * already listens on the port, a TCP connection counts as answered.
   */
  readonly destinationNamespaceFd?: number;
  readonly destination: Address;
  /** IP protocol number: 6, 17, 132, 1 or 58 (an echo request). */
  readonly protocol: number;
  /** Ignored for ICMP. */
  readonly port: number;
  /** How long to wait for an answer: 400 when absent. An answer ends the wait. */
  readonly timeoutMs?: number;
}

export interface ProbeAnswer {
  /** `refused`: a reset or an ICMP error came back; policy sends these only with `deny: reject`. */
  readonly outcome: (typeof probeOutcomeWords)[number];
  /** From the first packet to the answer; 0 without one. */
  readonly roundTripUs: number;
  /** Why it could not be tried, when `failed`. */
  readonly errno: number;
}

/**
 * Tries every connection with real packets: TCP connects and exchanges a token; UDP, ICMP echo and
 * SCTP send a token twice (the second time halfway through the timeout) and wait for it to come back.
 *
 * Shape: one answer per probe, in order.
 * Cost:    about a millisecond each, a few hundred at a time; the denied ones share one timeout. Threads: one
 *          helper thread per call; the event loop is not blocked.
 * Errors:  a probe that cannot be tried is `failed`; the others go on.
 */
export async function probe(probes: readonly Probe[]): Promise<ProbeAnswer[]> {
  const requests = new Uint8Array(probes.length * ProbeRequest.bytes);
  const view = new DataView(requests.buffer);
  probes.forEach((each, index) => {
    if (each.source.family !== each.destination.family) {
      throw new RangeError(`probe ${index}: source and destination are of different families`);
    }
    writeProbeRequest(view, index * ProbeRequest.bytes, {
      source: each.source.bytes,
      destination: each.destination.bytes,
      sourceNamespace: each.sourceNamespaceFd,
      destinationNamespace: each.destinationNamespaceFd ?? NONE,
      port: each.port,
      protocol: each.protocol,
      family: each.source.family,
      timeoutMs: each.timeoutMs ?? 400,
    });
  });
  const results = await nativeAsync("probe", () => addon().probe(requests));
  const answers = new DataView(results.buffer, results.byteOffset, results.byteLength);
  return probes.map((_, index) => {
    const result = readProbeResult(answers, index * ProbeResult.bytes);
    return {
      outcome: probeOutcomeWords[result.outcome] ?? probeOutcomeWords[ProbeOutcome.Failed],
      roundTripUs: result.roundTripUs,
      errno: result.errorNumber,
    };
  });
}

/** Round trips of real UDP datagrams between two sockets. */
export interface LatencyRequest {
  readonly clientNamespaceFd: number;
  readonly client: Address;
  readonly serverNamespaceFd: number;
  readonly server: Address;
  readonly port: number;
  /** Round trips to time; a tenth as many go before them untimed. */
  readonly count: number;
}

/**
 * Times round trips from the client's socket to the server's and back. Each side is a thread that sleeps in
 * `recv`, as real programs do.
 *
 * Shape:  nanoseconds of each round trip, ascending.
 * Errors: DataplaneError ETIMEDOUT when an answer takes longer than a second.
 */
export async function latency(request: LatencyRequest): Promise<Float64Array> {
  const samples = await nativeAsync("measure the latency", () =>
    addon().latency(
      request.clientNamespaceFd,
      formatAddress(request.client),
      request.serverNamespaceFd,
      formatAddress(request.server),
      request.port,
      request.count,
    ),
  );
  return samples.sort();
}

/** The value below which `share` (0 to 1) of ascending samples lie. */
export function percentile(ascending: Float64Array, share: number): number {
  const index = Math.min(ascending.length - 1, Math.floor(ascending.length * share));
  return ascending[Math.max(index, 0)] ?? Number.NaN;
}
