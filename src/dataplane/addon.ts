import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { LAYOUT_HASH } from "../layout/layout.gen.js";
import { AddonError } from "./errors.js";

/**
 * What the addon (native/binding/) offers, as it is: bytes, numbers and strings. Only this folder
 * may call it. Every call that the environment may refuse throws an Error with `code` (a
 * StatusCode's word), `syscall`, `errno` and `fault` (a Fault's word), which `DataplaneError` wraps.
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

  /** Namespaces are descriptors, -1 the process's own. See host.ts for what each call does. */
  createNamespace(): number;
  openNamespace(path: string): number;
  closeDescriptor(fd: number): void;
  /** What is undefined stays as it is. Addresses are `ADDRESS/LENGTH`, gateways without a length. */
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
  /** Whole netlink messages in and out. */
  netlink(namespaceFd: number, protocol: number, requests: Uint8Array): Uint8Array;
  /** Whether the kernel's own stack is kept off an interface, by what outlives this process. */
  holdStack(namespaceFd: number, index: number, hold: boolean): void;
  isStackHeld(namespaceFd: number, index: number): boolean;
  tryLock(fd: number): boolean;
  /** See interfaces.ts. `callback` is called when there is something to read. */
  readonly NativeInterfaceEvents: new (
    callback: () => void,
  ) => NativeInterfaceEvents;
  readonly NativeNameGuard: new () => NativeNameGuard;
  listNameGuards(): readonly FoundNameGuard[];
  releaseGuardedNames(names: readonly string[]): void;
  /** ProbeRequest records in, as many ProbeResult records out. */
  probe(requests: Uint8Array): Promise<Uint8Array>;
  /** Nanoseconds of each round trip, in the order they were made. */
  latency(
    clientNamespace: number,
    client: string,
    serverNamespace: number,
    server: string,
    port: number,
    count: number,
  ): Promise<Float64Array>;

  /** A TrafficRequest record. */
  traffic(request: Uint8Array): Promise<TrafficCounts>;
  pinThread(threadId: number, cpus: Uint32Array): void;
  /** `rules` are four words each. Returns the descriptors that keep it attached. */
  attachKernelFilter(
    namespaceFd: number,
    inside: string,
    outside: string,
    rules: Uint32Array,
  ): number[];

  /** See privilege.ts. Bit n of `keep` is capability n. */
  dropCapabilities(keep: bigint): void;
  confineListener(descriptorsMax: number, dataBytesMax: number): void;
  /** See tcp-listener.ts. Answers with the descriptor and its port. */
  listenTcp(address: string, port: number): [fd: number, port: number];
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
}

export interface TrafficCounts {
  readonly seconds: number;
  readonly sent: number;
  readonly received: number;
  readonly busySeconds: number;
  readonly roundTripsNs: Float32Array;
}

/** What tells which kind of link suits an interface. */
export interface InterfaceTraits {
  /** As ethtool names it: `veth`, `virtio_net`; empty when it has none. */
  readonly driver: string;
  readonly mtu: number;
  /** Queues that frames come in by. */
  readonly queues: number;
  /** It takes TCP superframes; the peer of a veth then sends them. */
  readonly segmentation: boolean;
  /** A device stands behind it. */
  readonly hardware: boolean;
}

export interface NativeInterfaceEvents {
  /** Whole netlink messages; undefined when some were lost. */
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
  /** Whether the process that made it is there. */
  readonly live: boolean;
}

/** `bytes` holds the frames, `frames` a CapturedFrame record for each. */
export interface NativeCaptureJudge {
  findSides(bytes: Uint8Array, frames: Uint8Array): void;
  /** `judged` gets a JudgedFrame record a frame. */
  judge(bytes: Uint8Array, frames: Uint8Array, judged: Uint8Array): void;
}

export interface NativeTable {
  /**
   * Judges `tuples` (FlowTuple records). `verdicts` gets a byte a tuple: bit 0 denied by the
   * sender's egress, bit 1 by the receiver's ingress; 0 is allowed.
   */
  classify(tuples: Uint8Array, verdicts: Uint8Array): void;
  /** The same as if audited policies were enforced too. */
  audit(tuples: Uint8Array, verdicts: Uint8Array): void;
  /** Leaf numbers of each tuple's source and destination, two a tuple. */
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

export interface NativeDataplane {
  /** An `index` of 0 is any; `into` is a link whose place it takes, or NONE. So below. */
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
  removeLink(linkId: number): void;
  /** Adds a link without an interface, in whose place another may be put. */
  addClosedLink(): number;
  /** Lets go of its interface; nothing comes or goes there until another link takes its place. */
  closeLink(linkId: number): void;
  /** The index of its interface; 0 when that has gone, and for TAPs. */
  interfaceOf(linkId: number): number;
  /** `linkByEndpoint[i]` is the link of endpoint i, or NONE. Returns the generation. */
  swapTable(blob: Uint8Array, linkByEndpoint: Uint32Array): number;
  /** `zone` is 0 to 255, another for each wire; `known` are as for loadConnections(). */
  joinWire(
    inside: number,
    outside: number,
    zone: number,
    routerAdvertisements: boolean,
    known: Uint8Array,
  ): number;
  makeSwitch(gatewayMac: string, uplink: number): void;
  start(): void;
  stop(): void;
  close(): void;
  /** Fills a DataplaneCounters record. */
  readCounters(record: Uint8Array): void;
  /** Fills a LinkCounters record. */
  readLinkCounters(linkId: number, record: Uint8Array): void;
  /** Goes up when every worker has made a round since it last did. */
  readProgress(): number;
  /** Fills whole FlowEvent records; returns how many. */
  drainEvents(buffer: Uint8Array): number;
  onEvents(callback: (() => void) | undefined): void;
  /**
   * Each starts a job, one at a time; `keys` are ConnectionRecord keys. `place` says where a list begins:
   * a worker, and an entry of its table.
   */
  listConnections(place: Uint32Array): void;
  /** The same, of SavedConnections. */
  keepConnections(place: Uint32Array): void;
  forgetConnections(keys: Uint8Array): void;
  /**
   * Undefined while the job is under way; then how many were forgotten, or some records, and
   * `place` says where the next ones begin. None: there are no more.
   */
  takeJob(place: Uint32Array): Uint8Array | number | undefined;
  /** What another process needs to go on with a link; its descriptors stay the link's. */
  handoffOf(linkId: number): NativeHandoff;
  /** Goes on with what another process had; takes the descriptors, also when it fails. */
  adoptLink(name: string, mac: string, handoff: NativeHandoff, lasting: boolean): number;
  /** Whether what guards the links, also those to come, stays when they go. */
  share(isShared: boolean): void;
  continueFrom(generation: number): void;
  /**
   * Fills SavedConnection records from `place` (two words, zeros to begin with), which it moves on;
   * returns how many.
   */
  saveConnections(place: Uint32Array, into: Uint8Array, onlyLasting: boolean): number;
  /** SavedConnection records, any bytes; returns how many were taken up. */
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
