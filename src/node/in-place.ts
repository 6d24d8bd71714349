import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { guardsOf, type InPlaceStatus, type PodInterfaceItem } from "../control/control-routes.js";
import { RefusalError } from "../control/refusal.js";
import type { CompiledTable, FindObject } from "../control/table-compiler.js";
import type { Deny } from "../dataplane/dataplane.js";
import { DataplaneError } from "../dataplane/errors.js";
import {
  type ForwardCounts,
  ForwardFilter,
  keepForwardRules,
  rangesMax,
  removeForwardRules,
} from "../dataplane/forward-filter.js";
import { bridgeSettingsOff } from "../dataplane/kernel-settings.js";
import { lockHolder } from "../dataplane/lock-holder.js";
import { SourceGuards } from "../dataplane/source-guards.js";
import type { Tell } from "../diagnostics/tell.js";
import type { PodEvent, PodEvents } from "../kubernetes/pod-events.js";
import type { Histogram } from "../metrics/histogram.js";
import { formatPrefix, type Prefix } from "../net/prefix.js";
import { hasBridge } from "../netlink/link.js";
import { type Hook, isLacking, needsOf, openHook } from "./forward-hook.js";
import { KernelConnections } from "./kernel-connections.js";
import { Lease } from "./lease.js";
import type { InPlaceConfig } from "./node-config.js";
import { type PodChange, PodInterfaces } from "./pod-interfaces.js";

/**
 * How often what somebody may have taken away is looked for: without rules that lead to the judge, all passes. A look
 * takes less than 0.1 ms with 250 pods, so that it needs no thread of its own.
 */
const keepMs = 250;

/** How long a predecessor that has handed over may still hold the pin folder. */
const predecessorMs = 15_000;
const lockPauseMs = 5;

/** What is open while this process has the pin folder. */
interface Opened {
  readonly filter: ForwardFilter;
  readonly hook: Hook;
  readonly why: string | null;
  readonly connections: KernelConnections;
  /** Whose interfaces these are, and the guard of each. */
  readonly interfaces: PodInterfaces;
  readonly lease: Lease | undefined;
}

export interface InPlaceOptions {
  readonly tell: Tell;
  /** Where a pod's own Events go. */
  readonly events?: PodEvents | undefined;
  /** Whether another process may judge by the pin folder until the first table is to be in force. */
  readonly takesOver?: boolean | undefined;
  /** What the sender of a denied packet gets, where the hook can tell it. */
  readonly deny: Deny;
}

/**
 * All pods of a node, judged where the kernel routes or bridges their packets: by programs at netfilter's forward
 * hook, after the translation of Services.
 *
 * The programs outlive this process. Until the next one has a table they go on judging by the last.
 */
export class InPlace {
  readonly #config: InPlaceConfig;
  readonly #tell: Tell;
  readonly #options: InPlaceOptions;
  /** Undefined while the process that this one takes over from has the pin folder. */
  #opened: Opened | undefined;
  /** The node's, closed or not. Undefined: not known yet, and none. */
  #ranges: readonly Prefix[] | undefined;
  #toldOpen = false;
  /** Whether a pod is isolated by the table in force. */
  #isolates = false;
  #toldBridge = "";
  #toldFailure = "";
  /** Puts again what is missing; from the first table on. */
  #keeper: NodeJS.Timeout | undefined;
  /** Whether what is told of flows waits for a successor. */
  #isHeld = false;
  /** Whether somebody wants to see dropped frames. */
  #wantsFrames = false;
  /** A predecessor's descriptor of connections that end. */
  #ends: number | undefined;
  /** Whether frames between ports of bridges that are no IP are held off. */
  #coversBridges = true;

  /** Errors: RefusalError (environment) where the kernel or the process's privileges do not allow it. */
  constructor(config: InPlaceConfig, options: InPlaceOptions) {
    this.#config = config;
    this.#options = options;
    this.#tell = options.tell;
    this.#opened = this.#open(options.takesOver ?? false);
  }

  /** Fills FlowEvent records, as `Dataplane.drainEvents`: a connection's end after its first packet. */
  drainEvents(buffer: Uint8Array): number {
    if (this.#opened === undefined || this.#isHeld) return 0;
    const { filter, connections } = this.#opened;
    return connections.drainEvents(buffer, filter.drainEvents(buffer));
  }

  /** As `Dataplane.askForDroppedFrames`; while another process has the pin folder, from when on this one has it. */
  askForDroppedFrames(wanted: boolean): void {
    this.#wantsFrames = wanted;
    this.#opened?.filter.askForDroppedFrames(wanted);
  }

  /** Fills DroppedFrame records, as `Dataplane.drainDroppedFrames`. */
  drainDroppedFrames(buffer: Uint8Array): number {
    if (this.#opened === undefined || this.#isHeld) return 0;
    return this.#opened.filter.drainDroppedFrames(buffer);
  }

  /**
   * Leaves what is told of flows from now on to a successor, in the ring that is pinned and behind the descriptor that
   * this returns: undefined where no ends are told. `goOn` takes that back.
   */
  hold(): number | undefined {
    this.#isHeld = true;
    return this.#opened?.connections.descriptor;
  }

  goOn(): void {
    this.#isHeld = false;
  }

  /** Goes on behind a predecessor's descriptor, as `hold` returns it. Owner: takes it. */
  inherit(ends: number): void {
    this.#ends = ends;
  }

  /** The pods' connections as the kernel tracks them, as `Dataplane.connections`. */
  connections(): AsyncGenerator<Uint8Array> {
    return this.#inUse.connections.list();
  }

  get counts(): ForwardCounts {
    return this.#inUse.filter.counts();
  }

  get deny(): Deny {
    return answersBy(this.#inUse.hook) ? this.#options.deny : "drop";
  }

  get isAttached(): boolean {
    return this.#opened?.filter.isAttached ?? false;
  }

  /** Leaves what is attached to the next process. */
  leave(): void {
    this.#opened?.lease?.close();
    this.#opened?.filter.leave();
  }

  /** Nobody asks before the first table, which comes after the predecessor. */
  get #inUse(): Opened {
    if (this.#opened === undefined) throw new Error("another process has the pin folder");
    return this.#opened;
  }

  /** Undefined where another process has the folder and `mayWait`. */
  #open(mayWait: boolean): Opened | undefined {
    const { pinFolder, hook: wanted, lease } = this.#config;
    const { deny } = this.#options;
    const open = (): Opened => {
      const { filter, hook, why } = openHook(pinFolder, wanted, deny);
      if (wanted === "auto" && why !== null) this.#tell(`judges by ${hook}: ${why}`, "warning");
      if (deny === "reject" && !answersBy(hook)) this.#tell(unansweredText, "warning");
      filter.askForDroppedFrames(this.#wantsFrames);
      return {
        filter,
        hook,
        why,
        connections: new KernelConnections(filter, this.#tell, this.#ends),
        interfaces: interfacesOf(this.#config, this.#tell, this.#options.events),
        lease: lease && new Lease(filter, lease),
      };
    };
    return openUnlessTaken(pinFolder, mayWait, open, needsOf(wanted));
  }

  /** Opens what the predecessor leaves: until then its last table judges. Errors: RefusalError (environment). */
  async #openAfterPredecessor(): Promise<Opened> {
    const untilMs = performance.now() + predecessorMs;
    for (;;) {
      this.#opened ??= this.#open(performance.now() < untilMs);
      if (this.#opened !== undefined) return this.#opened;
      await pause(lockPauseMs);
    }
  }

  /** Undefined while the process that this one takes over from has the pin folder. */
  get interfaces(): PodInterfaces | undefined {
    return this.#opened?.interfaces;
  }

  get podInterfaces(): readonly PodInterfaceItem[] {
    return this.#opened?.interfaces.items() ?? [];
  }

  statusOf({ totalPackets, totalBytes }: ForwardCounts): InPlaceStatus {
    return {
      guards: guardsOf(this),
      attached: this.isAttached,
      hook: this.#inUse.hook,
      hookReason: this.#inUse.why,
      denyReason: this.deny === this.#options.deny ? null : unansweredText,
      pinFolder: this.#config.pinFolder,
      packets: totalPackets,
      bytes: totalBytes,
      unknownPods: this.#config.unknownPods,
      podRanges: this.#closed.map(formatPrefix),
      bypass: this.#bypass ?? null,
      lease: leaseStatus(this.#config),
      connectionEnds: this.#inUse.connections.status,
    };
  }

  get unknownTimes(): Histogram | undefined {
    return this.#opened?.interfaces.unknownTimes;
  }

  /**
   * Puts a table in force, for every packet from the next one on; attaches what is not attached. `find` knows the
   * objects that it is made of. Errors: DataplaneError.
   */
  async enforce(table: CompiledTable, generation: number, find: FindObject): Promise<void> {
    const { filter, interfaces, lease } = await this.#openAfterPredecessor();
    this.#learnRanges(filter, find);
    const isolates = isolatesAny(table);
    // Before the table opens a pod's address, nobody else may have it.
    interfaces.follow(table.ruleset.endpoints);
    const learned = lease?.learn(table, find);
    // What is not in force yet, or may have to stay in force, closes too.
    filter.setClosed(this.#closed, isolates || this.#isolates);
    await filter.publish(table.blob, generation);
    interfaces.enforced();
    filter.setClosed(this.#closed, isolates);
    this.#isolates = isolates;
    learned?.();
    this.#keep(filter);
    this.#keeper ??= setInterval(() => this.#keepOn(filter), keepMs).unref();
  }

  /** From here on nobody puts again what is taken away. What is attached stays. */
  close(): void {
    clearInterval(this.#keeper);
    this.#opened?.interfaces.close();
  }

  #keepOn(filter: ForwardFilter): void {
    let failure = "";
    try {
      this.#keep(filter);
    } catch (error) {
      failure = `the programs or rules that judge in place cannot be restored: ${(error as Error).message}`;
    }
    if (failure !== "" && failure !== this.#toldFailure) this.#tell(failure, "error");
    this.#toldFailure = failure;
  }

  /** Puts again what is missing: others flush rules, and remove pins. Errors: DataplaneError. */
  #keep(filter: ForwardFilter): void {
    const isFirst = this.#keeper === undefined;
    this.#coversBridges = keepForwardRules(isFirst) && (isFirst || this.#coversBridges);
    filter.attach();
    const bypass = this.#bypass ?? "";
    if (bypass !== "" && bypass !== this.#toldBridge) this.#tell(bypass, "warning");
    this.#toldBridge = bypass;
  }

  /** Learns the node's ranges, which stay known when its Node is gone: those that an earlier process knew, too. */
  #learnRanges(filter: ForwardFilter, find: FindObject): void {
    const { node: name } = this.#config;
    if (name === undefined) return;
    const node = find("Node", { namespace: "", name });
    if (node?.kind !== "Node") this.#ranges ??= filter.podRanges;
    else {
      this.#ranges = ([4, 6] as const).flatMap((family) =>
        node.podCidrs.filter(({ address }) => address.family === family).slice(0, rangesMax),
      );
      filter.keepPodRanges(this.#ranges);
    }
    this.#tellOpen(this.#ranges);
  }

  /** The ranges in which an address that no pod is known to have passes nothing. */
  get #closed(): readonly Prefix[] {
    return this.#config.unknownPods === "closed" ? (this.#ranges ?? []) : [];
  }

  /** Once: an earlier process may have had them closed, and a flag is soon forgotten. */
  #tellOpen(ranges: readonly Prefix[]): void {
    if (this.#toldOpen || this.#config.unknownPods === "closed" || ranges.length === 0) return;
    this.#toldOpen = true;
    const which = ranges.map(formatPrefix).join(" and ");
    this.#tell(
      `addresses of ${which} that no pod is known to have pass everything, as --unknown-pods open says`,
      "warning",
    );
  }

  /** What passes the node without coming by the hook; undefined when nothing is known to. */
  get #bypass(): string | undefined {
    return hasBridge() ? (settingsText() ?? this.#otherFramesText()) : undefined;
  }

  #otherFramesText(): string | undefined {
    return this.#coversBridges
      ? undefined
      : "this kernel has no nftables for bridges: frames between pods of one bridge that are no IP are not judged";
  }
}

const unansweredText = "denied packets get no answer: --deny reject needs --hook netfilter";

/** Whether what judges there knows whom the sender of a packet has sent it to, and so can answer for that. */
function answersBy(hook: Hook): boolean {
  return hook === "netfilter";
}

/** Whether a pod of the node is isolated. */
function isolatesAny({ ruleset }: CompiledTable): boolean {
  return ruleset.endpoints.some(
    ({ ingress, egress }) => ingress.isolatedBy.length > 0 || egress.isolatedBy.length > 0,
  );
}

function leaseStatus({ lease }: InPlaceConfig): InPlaceStatus["lease"] {
  return lease === undefined ? null : { seconds: lease.ms / 1_000, failMode: lease.failMode };
}

/** Takes away what a node's process has left attached. Errors: DataplaneError. */
export function removeInPlace(pinFolder: string): void {
  refusing(pinFolder, () => ForwardFilter.remove(pinFolder));
  removeForwardRules();
}

function settingsText(): string | undefined {
  const off = bridgeSettingsOff();
  if (off.length === 0) return undefined;
  return `${off.join(" and ")} is not 1 (module br_netfilter): packets between pods of one bridge are not judged`;
}

function interfacesOf(
  { pinFolder, sourceGuard }: InPlaceConfig,
  tell: Tell,
  events?: PodEvents,
): PodInterfaces {
  const guards = SourceGuards.open(pinFolder);
  if (sourceGuard === "on") {
    return new PodInterfaces(guards, tell, (change) => events?.say(eventOf(change)));
  }
  for (const { interfaceIndex } of guards.list()) guards.unguard(interfaceIndex);
  return new PodInterfaces(undefined, tell);
}

/** What is said on a pod: whether its policy is enforced, and whether others can speak in its name. */
function eventOf({ pod: { namespace, name }, guard, note }: PodChange): PodEvent {
  const about = { namespace, name };
  const enforced = "network policy is enforced on this node";
  switch (guard) {
    case "on":
      return {
        ...about,
        ...{ type: "Normal", reason: "PolicyEnforced" },
        message: `${enforced}; nobody else speaks ${note}`,
      };
    case "none":
      return {
        ...about,
        ...{ type: "Normal", reason: "PolicyEnforcedByAddress" },
        message: `${enforced} by the pod's addresses alone: ${note}`,
      };
    case "missing":
      return {
        ...about,
        ...{ type: "Warning", reason: "InterfaceNotGuarded" },
        message: `others can speak in this pod's name: its interface is not guarded: ${note}`,
      };
  }
}

/** Errors: what `work` throws, as RefusalError (environment). */
function refusing<Result>(pinFolder: string, work: () => Result, needs = ""): Result {
  try {
    return work();
  } catch (error) {
    throw refusalFor(error, pinFolder, needs);
  }
}

/** Undefined where another process has the folder and `mayWait`. Errors: RefusalError (environment). */
function openUnlessTaken(
  pinFolder: string,
  mayWait: boolean,
  open: () => Opened,
  needs: string,
): Opened | undefined {
  try {
    return open();
  } catch (error) {
    if (mayWait && error instanceof DataplaneError && error.syscall === "flock") return undefined;
    throw refusalFor(error, pinFolder, needs);
  }
}

function refusalFor(error: unknown, pinFolder: string, needs = ""): unknown {
  if (!(error instanceof DataplaneError)) return error;
  if (error.syscall === "flock") {
    const pid = lockHolder(pinFolder);
    const who = pid === undefined ? "another process" : `another process (pid ${pid})`;
    return new RefusalError(
      "environment",
      `${who} judges in place, by ${pinFolder}`,
      "take its place with --take-over, or end it first: what it has attached stays in force",
    );
  }
  return new RefusalError("environment", error.message, remedyOf(error, pinFolder, needs));
}

function remedyOf(error: DataplaneError, pinFolder: string, needs: string): string {
  const { syscall } = error;
  if (syscall === "statfs" || syscall === "mkdir") {
    const folder = dirname(pinFolder);
    return `mount a bpf file system there: mount -t bpf bpf ${folder}`;
  }
  if (syscall === "socket SOCK_RAW") return "--deny reject needs CAP_NET_RAW";
  if (needs !== "" && isLacking(error)) return `needs ${needs}`;
  if (syscall === "bind NFQUEUE") return "end the other process that has these queues";
  return "needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN";
}
