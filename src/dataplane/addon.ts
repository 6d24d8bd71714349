import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { type Deny, type ForwardHook, LAYOUT_HASH } from "../layout/layout.gen.js";
import { AddonError } from "./errors.js";

/**
 * The addon's functions (native/binding/): they take and return bytes, numbers and strings. Only this folder
 * may call them. A call that the environment can refuse throws an Error with `code` (a StatusCode's word),
 * `syscall`, `errno` and `fault` (a Fault's word), which `DataplaneError` wraps.
 */
export interface Addon {
  readonly layoutHash: number;
  /** Copies and checks the blob. Throws with `code` table-magic, table-bounds, … */
  readonly NativeTable: new (
    blob: Uint8Array,
  ) => NativeTable;
  readonly NativeDataplane: new (
    /** A DataplaneSettings record. */
    settings: Uint8Array,
  ) => NativeDataplane;

  /** See capture-judge.ts. `endpointId` is NONE where an interface is watched, `podMac` six bytes or empty. */
  readonly NativeCaptureJudge: new (
    blob: Uint8Array,
    endpointId: number,
    podMac: Uint8Array,
    connectionsMax: number,
  ) => NativeCaptureJudge;

  /** See forward-filter.ts. */
  readonly NativeForwardFilter: new (
    folder: string,
    hook: ForwardHook,
    deny: Deny,
  ) => NativeForwardFilter;
  /** See forward-filter.ts, too. */
  readonly NativePodConnectionEnds: new (
    filter: NativeForwardFilter,
    /** A descriptor, which it takes; -1: it opens one. */
    inherited: number,
  ) => NativePodConnectionEnds;
  readonly NativeAcceptQueue: new (namespaceFd: number, queue: number) => NativeAcceptQueue;
  readonly NativePodConnectionList: new (filter: NativeForwardFilter) => NativePodConnectionList;
  removeForwardFilter(folder: string): void;
  /** See source-guards.ts. */
  readonly NativeSourceGuards: new (
    folder: string,
  ) => NativeSourceGuards;
  /** Whether bridges are covered; undefined when all was there already, which is asked unless `isFirst`. */
  keepForwardRules(isFirst: boolean): boolean | undefined;
  removeForwardRules(): void;

  /** A namespace is a descriptor; -1 is the process's own. host.ts says what each call does. */
  createNamespace(): number;
  openNamespace(path: string): number;
  closeDescriptor(fd: number): void;
  /** Undefined settings stay unchanged. Addresses are `ADDRESS/LENGTH`, gateways have no length. */
  configureInterface(
    namespaceFd: number,
    config: {
      readonly name: string;
      readonly rename: string | undefined;
      readonly mac: string | undefined;
      readonly mtu: number | undefined;
      readonly addresses: readonly string[];
      readonly up: boolean | undefined;
      readonly linkLocal: boolean | undefined;
      readonly routes: readonly {
        readonly destination: string | undefined;
        readonly gateway: string | undefined;
      }[];
      readonly neighbours: readonly { readonly address: string; readonly mac: string }[];
    },
  ): void;
  createVeth(namespaceA: number, nameA: string, namespaceB: number, nameB: string): void;
  deleteInterface(namespaceFd: number, name: string): void;
  setFailOpen(namespaceFd: number, inside: string, outside: string): void;
  clearFailOpen(namespaceFd: number, name: string): void;
  listFailOpen(namespaceFd: number): readonly string[];
  setSysctl(namespaceFd: number, key: string, value: string): void;
  interfaceTraits(namespaceFd: number, name: string): InterfaceTraits;
  /** Whole netlink messages in and out. `isStrict`: the kernel reads the attributes of requests for dumps. */
  netlink(
    namespaceFd: number,
    protocol: number,
    requests: Uint8Array,
    isStrict: boolean,
  ): Uint8Array;
  /** The same requests in several namespaces; an answer of each. */
  netlinkEach(
    namespaceFds: Uint32Array,
    protocol: number,
    requests: Uint8Array,
  ): Promise<Uint8Array[]>;
  /** Blocks or unblocks the kernel stack on an interface, by filters that outlive this process. */
  holdStack(namespaceFd: number, index: number, hold: boolean): void;
  isStackHeld(namespaceFd: number, index: number): boolean;
  tryLock(fd: number): boolean;
  /** See interfaces.ts. Calls `callback` when there is something to read. */
  readonly NativeInterfaceEvents: new (
    callback: () => void,
  ) => NativeInterfaceEvents;
  readonly NativeNameGuard: new () => NativeNameGuard;
  listNameGuards(): readonly FoundNameGuard[];
  /** 0 when it is not known. */
  ownerOfGuard(table: string): number;
  releaseGuardedNames(names: readonly string[]): void;
  /** ProbeRequest records in, as many ProbeResult records out. */
  probe(requests: Uint8Array): Promise<Uint8Array>;
  /** Nanoseconds of each round trip, in order. */
  latency(
    clientNamespace: number,
    client: string,
    serverNamespace: number,
    server: string,
    port: number,
    count: number,
  ): Promise<Float64Array>;

  /** A TrafficRequest record. */
  traffic(request: Uint8Array, target: Uint8Array): Promise<TrafficCounts>;
  pinThread(threadId: number, cpus: Uint32Array): void;
  /** `rules` are four words each. Returns the descriptors that keep the filter attached. */
  attachKernelFilter(
    namespaceFd: number,
    inside: string,
    outside: string,
    rules: Uint32Array,
  ): number[];

  /** See privilege.ts. Bit n of `keep` is capability n. */
  dropCapabilities(keep: bigint): void;
  confineListener(descriptorsMax: number, dataBytesMax: number): void;
  /** See server-sockets.ts. Answers with the descriptor and its port. */
  listenTcp(namespaceFd: number, address: string, port: number): [fd: number, port: number];
  listenUnix(path: string): number;
  bindUdp(namespaceFd: number, address: string, port: number): number;
  /** See own-connections.ts. Both descriptors are of one socket. */
  holdTcpPort(address: string): [fd: number, keeper: number, port: number];
  beginConnect(fd: number, address: string, port: number): void;
  endConnection(fd: number): void;
  readableWithoutCapabilities(paths: readonly string[]): boolean;
  /** An errno by KernelFeature; 0 when it works. */
  tryKernelFeatures(): number[];
  /** See service.ts. */
  notifyService(socketPath: string, message: string, descriptors: readonly number[]): void;
  awaitService(socketPath: string, timeoutMs: number): Promise<void>;
  /** See take-over.ts. */
  listenForProcess(path: string): number;
  acceptProcess(listener: number, timeoutMs: number): Promise<number>;
  callProcess(path: string): number;
  passDescriptors(connection: number, message: Uint8Array, descriptors: readonly number[]): void;
  receiveDescriptors(
    connection: number,
    timeoutMs: number,
  ): Promise<{ readonly bytes: Uint8Array; readonly descriptors: readonly number[] }>;
  createMemoryFile(name: string): number;
  sealMemoryFile(file: number): void;
  isSealed(file: number): boolean;
  isTrustedPeer(connection: number): boolean;
}

export interface TrafficCounts {
  readonly seconds: number;
  readonly sent: number;
  readonly received: number;
  readonly busySeconds: number;
  readonly endsSeconds: number;
  readonly roundTripsNs: Float32Array;
}

/** The properties of an interface that decide which kind of link suits it. */
export interface InterfaceTraits {
  /** The driver's name as in ethtool: `veth`, `virtio_net`; empty when there is none. */
  readonly driver: string;
  readonly mtu: number;
  /** Receive queues. */
  readonly queues: number;
  /** TCP segmentation offload is on; a veth's peer then sends superframes. */
  readonly segmentation: boolean;
  /** It is a hardware device. */
  readonly hardware: boolean;
}

export interface NativeInterfaceEvents {
  /** Returns whole netlink messages; undefined when some were lost. */
  read(): Uint8Array | undefined;
  close(): void;
}

export interface NativeNameGuard {
  /** Returns an errno for each family of interfaces.ts, in their order; 0 where it is in force. */
  hold(names: readonly string[], exempt: Uint32Array): number[];
  remove(): void;
  table(): string;
}

/** An nftables table that guards interfaces by their names. */
export interface FoundNameGuard {
  readonly table: string;
  readonly names: readonly string[];
  /** Whether the process that made it still runs. */
  readonly live: boolean;
}

/** `bytes` holds the frames; `frames` has a CapturedFrame record for each. */
export interface NativeCaptureJudge {
  findSides(bytes: Uint8Array, frames: Uint8Array): void;
  /** Writes one JudgedFrame record per frame to `judged`. */
  judge(bytes: Uint8Array, frames: Uint8Array, judged: Uint8Array): void;
}

export interface NativeTable {
  /**
   * Judges `tuples` (FlowTuple records). Writes one byte per tuple to `verdicts`: bit 0: denied by the
   * sender's egress; bit 1: by the receiver's ingress; 0: allowed.
   */
  classify(tuples: Uint8Array, verdicts: Uint8Array): void;
  /** As `classify`, with audited policies enforced too. */
  audit(tuples: Uint8Array, verdicts: Uint8Array): void;
  /** Writes the leaf numbers of source and destination, two per tuple. */
  locate(tuples: Uint8Array, leaves: Uint32Array): void;
}

/** See take-over.ts: `kind` is a LinkKind. */
export interface NativeHandoff {
  readonly kind: number;
  readonly ways: readonly {
    readonly descriptors: readonly number[];
    readonly words: readonly number[];
  }[];
  readonly guard: readonly number[];
  readonly program: readonly number[];
}

/** Each call is of ForwardFilter. */
export interface NativeForwardFilter {
  /** The blob must not change until the promise settles. */
  publish(blob: Uint8Array, generation: number): Promise<void>;
  /** See ChangedLines. */
  publishLines(numbers: Uint32Array, bytes: Uint8Array, generation: number): Promise<void>;
  settle(): Promise<void>;
  attach(): void;
  isAttached(): boolean;
  setClosed(v4: Uint32Array, v6: Uint32Array, closesLink: boolean): void;
  keepPodRanges(v4: Uint32Array, v6: Uint32Array): void;
  /** The words of the last `keepPodRanges`, by an earlier process too: eight of IPv4, then 32 of IPv6. */
  podRanges(): Uint8Array;
  renewLease(forNs: number): void;
  /** Five words for each address: its family and its own, in the order of memory. */
  setOpenPods(pods: Uint32Array): void;
  /** Fills a ForwardCounters record. */
  readCounters(counters: Uint8Array): void;
  /** Answers sent to senders of what policy denied. */
  rejects(): number;
  /** Fills FlowEvent records and returns how many. */
  drainEvents(events: Uint8Array): number;
  askForDrops(wanted: boolean): void;
  /** Fills whole DroppedFrame records; returns how many. */
  drainDrops(frames: Uint8Array): number;
  leave(): void;
  judgeOnce(packet: Uint8Array): boolean;
}

/** See openAcceptQueue in traffic.ts. */
export interface NativeAcceptQueue {
  close(): void;
}

export interface NativePodConnectionEnds {
  descriptor(): number;
  /** Fills FlowEvent records and returns how many. */
  drain(events: Uint8Array): number;
  overruns(): number;
}

export interface NativePodConnectionList {
  /** The next ConnectionRecords, which may be none; null at the end. */
  next(): Promise<Uint8Array | null>;
}

/** Each call is of SourceGuards. */
export interface NativeSourceGuards {
  /** A GuardedInterface record. */
  guard(interfaceIndex: number, own: Uint8Array): void;
  guardMeanwhile(interfaceIndex: number, own: Uint8Array): Promise<void>;
  unguard(interfaceIndex: number): void;
  /** GuardState records. */
  list(): Uint8Array;
}

export interface NativeDataplane {
  /**
   * `index` 0 means any; `into` is the link to replace, or NONE. The same for the next two calls.
   */
  addTap(
    namespaceFd: number,
    name: string,
    mac: string,
    mtu: number,
    lasting: boolean,
    index: number,
    into: number,
  ): number;
  addPacketLink(
    namespaceFd: number,
    name: string,
    slots: number,
    mac: string,
    lasting: boolean,
    into: number,
  ): number;
  addXdpLink(
    namespaceFd: number,
    name: string,
    mac: string,
    generic: boolean,
    lasting: boolean,
    into: number,
  ): number;
  /** Makes what links of the kind `kernel` have in common, if that is not there yet. */
  prepareKernelLinks(): void;
  addKernelLink(
    namespaceFd: number,
    name: string,
    mac: string,
    lasting: boolean,
    into: number,
  ): number;
  removeLink(linkId: number): void;
  /** Adds a link without an interface, which another link may replace. */
  addClosedLink(): number;
  /** Releases the link's interface; the link carries nothing until another replaces it. */
  closeLink(linkId: number): void;
  /** The index of its interface; 0 when that was deleted, and for TAPs. */
  interfaceOf(linkId: number): number;
  /** `linkByEndpoint[i]` is the link of endpoint i, or NONE. Returns the generation. */
  swapTable(blob: Uint8Array, linkByEndpoint: Uint32Array): number;
  /** See ChangedLines. */
  swapLines(numbers: Uint32Array, bytes: Uint8Array, linkByEndpoint: Uint32Array): number;
  /** `zone` is 0 to 255, unique to the wire; `known` as for loadConnections(). */
  joinWire(
    inside: number,
    outside: number,
    zone: number,
    routerAdvertisements: boolean,
    known: Uint8Array,
  ): number;
  /** Which connections are this process's own: see own-connections.ts. Addresses are 16 bytes. */
  setOwnWay(family: 4 | 6, local: Uint8Array, remote: Uint8Array, remotePort: number): void;
  addOwnPort(port: number): void;
  removeOwnPort(port: number): void;
  makeSwitch(gatewayMac: string, uplink: number): void;
  start(): void;
  stop(): void;
  close(): void;
  /** Fills a DataplaneCounters record. */
  readCounters(record: Uint8Array): void;
  /** Fills a LinkCounters record. */
  readLinkCounters(linkId: number, record: Uint8Array): void;
  /** Increases when every worker has made a round since the last increase. */
  readProgress(): number;
  /** Fills whole FlowEvent records; returns how many. */
  drainEvents(buffer: Uint8Array): number;
  onEvents(callback: (() => void) | undefined): void;
  askForDrops(wanted: boolean): void;
  /** Fills whole DroppedFrame records; returns how many. */
  drainDrops(frames: Uint8Array): number;
  /**
   * Each starts a job, one at a time; `keys` are ConnectionRecord keys. `place` says where a list begins:
   * a worker, and an entry of its table.
   */
  listConnections(place: Uint32Array): void;
  /** `live`: with what living connections have carried. */
  readHits(place: Uint32Array, live: boolean): void;
  hitsWaiting(): number;
  /** The same, of SavedConnections. */
  keepConnections(place: Uint32Array): void;
  forgetConnections(keys: Uint8Array): void;
  /**
   * Undefined while the job runs. Then the number of forgotten connections, or some records, with `place` set
   * to where the next ones begin. An empty result: there are no more.
   */
  takeJob(place: Uint32Array): Uint8Array | number | undefined;
  /** What a successor needs to continue a link; the link still owns the descriptors. */
  handoffOf(linkId: number): NativeHandoff;
  /** Continues a predecessor's link. Takes ownership of the descriptors, even when it fails. */
  adoptLink(name: string, mac: string, handoff: NativeHandoff, lasting: boolean): number;
  /**
   * Whether filters and programs on the links' interfaces stay when the links are removed; holds for later
   * links too.
   */
  share(isShared: boolean): void;
  continueFrom(generation: number): void;
  /**
   * Writes SavedConnection records from `place` on (two words, at first 0), and advances it; returns how
   * many.
   */
  saveConnections(place: Uint32Array, into: Uint8Array, onlyLasting: boolean): number;
  /** SavedConnection records, which may be any bytes; returns how many were loaded. */
  loadConnections(records: Uint8Array): number;
}

let loaded: Addon | undefined;

/** Loads the addon once. Errors: AddonError when there is none for this machine or for this layout. */
export function addon(): Addon {
  loaded ??= loadAddon(fileURLToPath(new URL("../..", import.meta.url)));
  return loaded;
}

/** Loads the addon of a package folder. Errors: AddonError. */
function loadAddon(root: string): Addon {
  let candidate: Addon;
  try {
    const load = createRequire(import.meta.url)("node-gyp-build") as (folder: string) => Addon;
    candidate = load(root);
  } catch (error) {
    throw new AddonError((error as Error).message);
  }
  if (candidate.layoutHash !== LAYOUT_HASH) {
    throw new AddonError("it was built with another layout");
  }
  return candidate;
}
