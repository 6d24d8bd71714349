import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { guardsOf, type InPlaceStatus, type PodInterfaceItem } from "../control/control-routes.js";
import type { CompiledTable } from "../control/controller.js";
import { RefusalError } from "../control/refusal.js";
import { DataplaneError } from "../dataplane/errors.js";
import {
  type ForwardCounts,
  ForwardFilter,
  keepForwardRules,
  removeForwardRules,
} from "../dataplane/forward-filter.js";
import { SourceGuards } from "../dataplane/source-guards.js";
import type { Tell } from "../diagnostics/tell.js";
import type { PodEvent, PodEvents } from "../kubernetes/pod-events.js";
import { formatPrefix, type Prefix } from "../net/prefix.js";
import { KernelConnections } from "./kernel-connections.js";
import type { InPlaceConfig } from "./node-config.js";
import { type PodChange, PodInterfaces } from "./pod-interfaces.js";

/** The most ranges of a family that the kernel's programs look through. */
const rangesMax = 4;

/** How often what somebody may have taken away is looked for. */
const keepMs = 2_000;

/** What must be 1 for bridged packets to come by the forward hook, where there is such a setting. */
const bridgeSettings = [
  "/proc/sys/net/bridge/bridge-nf-call-iptables",
  "/proc/sys/net/bridge/bridge-nf-call-ip6tables",
];

/**
 * All pods of a node, judged where the kernel routes or bridges their packets: by programs at netfilter's forward
 * hook, after the translation of Services.
 *
 * The programs outlive this process. Until the next one has a table they go on judging by the last.
 */
export class InPlace {
  readonly #config: InPlaceConfig;
  readonly #tell: Tell;
  readonly #filter: ForwardFilter;
  readonly #connections: KernelConnections;
  /** Whose interfaces these are, and the guard of each. */
  readonly interfaces: PodInterfaces;
  #ranges: readonly Prefix[] = [];
  /** Whether a pod is isolated by the table in force. */
  #isolates = false;
  #toldBridge = "";
  #toldFailure = "";
  /** Puts again what is missing; from the first table on. */
  #keeper: NodeJS.Timeout | undefined;
  /** Whether frames between ports of bridges that are no IP are held off. */
  #coversBridges = true;

  /** Errors: RefusalError (environment) where the kernel or the process's privileges do not allow it. */
  constructor(config: InPlaceConfig, tell: Tell, events?: PodEvents) {
    this.#config = config;
    this.#tell = tell;
    this.#filter = refusing(config.pinFolder, () => ForwardFilter.open(config.pinFolder));
    this.#connections = new KernelConnections(this.#filter, tell);
    this.interfaces = refusing(config.pinFolder, () => interfacesOf(config, tell, events));
  }

  /** Fills FlowEvent records, as `Dataplane.drainEvents`: a connection's end after its first packet. */
  drainEvents(buffer: Uint8Array): number {
    return this.#connections.drainEvents(buffer, this.#filter.drainEvents(buffer));
  }

  /** The pods' connections as the kernel tracks them, as `Dataplane.connections`. */
  connections(): AsyncGenerator<Uint8Array> {
    return this.#connections.list();
  }

  get counts(): ForwardCounts {
    return this.#filter.counts();
  }

  get isAttached(): boolean {
    return this.#filter.isAttached;
  }

  get podInterfaces(): readonly PodInterfaceItem[] {
    return this.interfaces.items();
  }

  statusOf({ totalPackets, totalBytes }: ForwardCounts): InPlaceStatus {
    return {
      guards: guardsOf(this),
      attached: this.isAttached,
      pinFolder: this.#config.pinFolder,
      packets: totalPackets,
      bytes: totalBytes,
      unknownPods: this.#config.unknownPods,
      podRanges: this.#ranges.map(formatPrefix),
      bypass: this.#bypass ?? null,
      connectionEnds: this.#connections.status,
    };
  }

  /** Puts a table in force, for every packet from the next one on; attaches what is not attached. Errors: DataplaneError. */
  async enforce(table: CompiledTable, generation: number): Promise<void> {
    const isolates = this.#learn(table);
    // Before the table opens a pod's address, nobody else may have it.
    this.interfaces.follow(table.ruleset.endpoints);
    // What is not in force yet, or may have to stay in force, closes too.
    this.#filter.setClosed(this.#ranges, isolates || this.#isolates);
    await this.#filter.publish(table.blob, generation);
    this.#filter.setClosed(this.#ranges, isolates);
    this.#isolates = isolates;
    this.#keep();
    this.#keeper ??= setInterval(() => this.#keepOn(), keepMs).unref();
  }

  /** From here on nobody puts again what is taken away. What is attached stays. */
  close(): void {
    clearInterval(this.#keeper);
    this.interfaces.close();
  }

  #keepOn(): void {
    let failure = "";
    try {
      this.#keep();
    } catch (error) {
      failure = `what judges in place cannot be put again: ${(error as Error).message}`;
    }
    if (failure !== "" && failure !== this.#toldFailure) this.#tell(failure, "error");
    this.#toldFailure = failure;
  }

  /** Puts again what is missing: others flush rules, and remove pins. Errors: DataplaneError. */
  #keep(): void {
    const isFirst = this.#keeper === undefined;
    this.#coversBridges = keepForwardRules(isFirst) && (isFirst || this.#coversBridges);
    this.#filter.attach();
    const bypass = this.#bypass ?? "";
    if (bypass !== "" && bypass !== this.#toldBridge) this.#tell(bypass, "warning");
    this.#toldBridge = bypass;
  }

  /** Learns the node's ranges, which stay known when its Node is gone; returns whether a pod is isolated. */
  #learn({ objects, ruleset }: CompiledTable): boolean {
    const node = objects.find(
      (each) => each.kind === "Node" && each.meta.name === this.#config.node,
    );
    if (node?.kind === "Node" && this.#config.unknownPods === "closed") {
      this.#ranges = ([4, 6] as const).flatMap((family) =>
        node.podCidrs.filter(({ address }) => address.family === family).slice(0, rangesMax),
      );
    }
    return ruleset.endpoints.some(
      ({ ingress, egress }) => ingress.isolatedBy.length > 0 || egress.isolatedBy.length > 0,
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

/** Takes away what a node's process has left attached. Errors: DataplaneError. */
export function removeInPlace(pinFolder: string): void {
  refusing(pinFolder, () => ForwardFilter.remove(pinFolder));
  removeForwardRules();
}

function hasBridge(): boolean {
  const folder = "/sys/class/net";
  return readdirSync(folder).some((name) => existsSync(`${folder}/${name}/bridge`));
}

function settingsText(): string | undefined {
  const off = bridgeSettings.filter((path) => settingOf(path) !== "1");
  if (off.length === 0) return undefined;
  const keys = off.map((path) => path.slice("/proc/sys/".length).replaceAll("/", "."));
  return `${keys.join(" and ")} is not 1 (module br_netfilter): packets between pods of one bridge are not judged`;
}

function settingOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined; // the module that has it is not loaded
  }
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

function refusing<Opened>(pinFolder: string, open: () => Opened): Opened {
  try {
    return open();
  } catch (error) {
    throw refusalFor(error, pinFolder);
  }
}

function refusalFor(error: unknown, pinFolder: string): unknown {
  if (!(error instanceof DataplaneError)) return error;
  if (error.syscall === "flock") {
    const message = `another process judges in place, by ${pinFolder}`;
    return new RefusalError(
      "environment",
      message,
      "end it first: what it has attached stays in force",
    );
  }
  return new RefusalError("environment", error.message, remedyOf(error, pinFolder));
}

function remedyOf({ code, syscall }: DataplaneError, pinFolder: string): string {
  if (syscall === "statfs" || syscall === "mkdir") {
    const folder = dirname(pinFolder);
    return `mount a bpf file system there: mount -t bpf bpf ${folder}`;
  }
  if (syscall === "BPF_LINK_CREATE" || code === "EINVAL" || code === "argument") {
    return "needs Linux 6.4 or later with CONFIG_NETFILTER_BPF_LINK and CONFIG_DEBUG_INFO_BTF";
  }
  return "needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN";
}
