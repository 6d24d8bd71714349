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
 * Network namespaces and what stands in them, by system calls of our own: no iproute2 is needed, and
 * nothing appears under /run/netns, so that nothing stays when the process is killed.
 *
 * A namespace is a file descriptor. `undefined` means the namespace of this process.
 */

/**
 * Makes a network namespace with its loopback up; returns a descriptor that keeps it alive.
 *
 * Owner:  the caller closes it with `closeDescriptor`; the namespace goes with its last user.
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
  /** Absent: everything under `destination` is on the link. */
  readonly gateway?: Address;
}

export interface Neighbour {
  readonly address: Address;
  readonly mac: string;
}

/** What an interface is to become; what is absent stays as it is. */
export interface InterfaceConfig {
  readonly name: string;
  readonly rename?: string;
  /** `02:00:00:00:00:01`; set while the interface is down. */
  readonly mac?: string;
  readonly mtu?: number;
  /** Put on without duplicate address detection: usable at once. */
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
 * Configures an interface in a namespace: name, MAC, MTU, addresses, up, routes, neighbours, in this
 * order. Addresses, routes and neighbours that are there already are left.
 *
 * Errors: DataplaneError; what came before the failing step has been done.
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
 * Sends netlink requests in one datagram, which the kernel works through without a break, and returns
 * all that it answers.
 *
 * Shape:  whole messages; the last request asks for a dump or an acknowledgement.
 * Errors: DataplaneError when nothing could be asked; what was refused stands in the answer.
 */
export function netlinkExchange(protocol: number, requests: Uint8Array): Uint8Array {
  return native("ask the kernel by netlink", () => addon().netlink(-1, protocol, requests));
}

/**
 * Keeps the kernel's own stack off an interface, in both directions, by tc filters that nothing but
 * `releaseStack` takes out: whatever ends this process, the interface carries nothing afterwards. Links
 * that are `lasting` go through.
 */
export function holdStack(interfaceIndex: number): void {
  native(`hold the interface ${interfaceIndex}`, () => addon().holdStack(-1, interfaceIndex, true));
}

/** Undoes `holdStack`, whoever did it. */
export function releaseStack(interfaceIndex: number): void {
  native(`release the interface ${interfaceIndex}`, () =>
    addon().holdStack(-1, interfaceIndex, false),
  );
}

/** Says whether an interface is held by tc filters, whoever did it. */
export function isStackHeld(interfaceIndex: number): boolean {
  return native(`look at the filters of the interface ${interfaceIndex}`, () =>
    addon().isStackHeld(-1, interfaceIndex),
  );
}

/** Locks an open file until it is closed; false when another process has locked it. */
export function tryLock(fd: number): boolean {
  return native("lock a file", () => addon().tryLock(fd));
}

/** Asks what an interface can do. Errors: DataplaneError ENODEV when there is none of that name. */
export function interfaceTraits(namespaceFd: number | undefined, name: string): InterfaceTraits {
  return native(`look at the interface ${name}`, () =>
    addon().interfaceTraits(namespaceFd ?? -1, name),
  );
}

/**
 * Has the kernel pass everything between two interfaces that a data plane holds, unjudged, from the moment
 * that its process is gone without having given them back. Stays until `clearFailOpen`.
 *
 * Errors: DataplaneError EPERM without CAP_BPF; EOPNOTSUPP where the interfaces are held by filters that
 *         outlive the process.
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

/** Takes that away again, where it is: also what a process that is gone has left. */
export function clearFailOpen(namespaceFd: number | undefined, name: string): void {
  native(`let ${name} fail closed`, () => addon().clearFailOpen(namespaceFd ?? -1, name));
}

/** The interfaces of a namespace that fail open, or have. */
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
   * Where a listener is opened for the time of the probing. Absent: nobody is made to listen. Where
   * a process listens on the port already, a TCP connection counts as answered.
   */
  readonly destinationNamespaceFd?: number;
  readonly destination: Address;
  /** IP protocol number: 6, 17, 132, 1 or 58 (an echo request). */
  readonly protocol: number;
  /** Ignored for ICMP. */
  readonly port: number;
  /** How long to wait for an answer: 400 when absent. Costs nothing when the answer comes. */
  readonly timeoutMs?: number;
}

export interface ProbeAnswer {
  /** `refused`: a reset or an ICMP error came back, which policy sends only where denied senders are told. */
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
 * Shape:   one answer a probe, in order.
 * Cost:    about a millisecond each, a few hundred at a time; one timeout for all that are denied.
 * Threads: one helper thread a call; the event loop stays free.
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
 * Times round trips from the client's socket to the server's and back, each side a thread of its own
 * that sleeps in `recv`, as real programs do.
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
