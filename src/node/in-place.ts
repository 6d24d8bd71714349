import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import type { InPlaceStatus } from "../control/control-routes.js";
import type { CompiledTable } from "../control/controller.js";
import { RefusalError } from "../control/refusal.js";
import { DataplaneError } from "../dataplane/errors.js";
import {
  type ForwardCounts,
  ForwardFilter,
  setConntrackWanted,
} from "../dataplane/forward-filter.js";
import type { Tell } from "../diagnostics/tell.js";
import { formatPrefix, type Prefix } from "../net/prefix.js";
import type { InPlaceConfig } from "./node-config.js";

/** The most ranges of a family that the kernel's programs look through. */
const rangesMax = 4;

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
  #ranges: readonly Prefix[] = [];
  #toldBridge = "";

  /** Errors: RefusalError (environment) where the kernel or the process's privileges do not allow it. */
  constructor(config: InPlaceConfig, tell: Tell) {
    this.#config = config;
    this.#tell = tell;
    this.#filter = opened(config.pinFolder);
  }

  /** Fills FlowEvent records, as `Dataplane.drainEvents`. */
  drainEvents(buffer: Uint8Array): number {
    return this.#filter.drainEvents(buffer);
  }

  get counts(): ForwardCounts {
    return this.#filter.counts();
  }

  get status(): InPlaceStatus {
    const { totalPackets, totalBytes } = this.#filter.counts();
    return {
      attached: this.#filter.isAttached,
      pinFolder: this.#config.pinFolder,
      packets: totalPackets,
      bytes: totalBytes,
      unknownPods: this.#config.unknownPods,
      podRanges: this.#ranges.map(formatPrefix),
      bypass: bypassText() ?? null,
    };
  }

  /** Puts a table in force, for every packet from the next one on; attaches what is not attached. Errors: DataplaneError. */
  async enforce(table: CompiledTable, generation: number): Promise<void> {
    this.#closeUnknown(table);
    await this.#filter.publish(table.blob, generation);
    if (!this.#filter.isAttached) {
      setConntrackWanted(true);
      this.#filter.attach();
    }
    this.#tellBypass();
  }

  #closeUnknown({ objects }: CompiledTable): void {
    const node = objects.find(
      (each) => each.kind === "Node" && each.meta.name === this.#config.node,
    );
    const known = node?.kind === "Node" ? node.podCidrs : [];
    this.#ranges = this.#config.unknownPods === "closed" ? known.slice(0, rangesMax) : [];
    this.#filter.setPodRanges(this.#ranges);
  }

  #tellBypass(): void {
    const bypass = bypassText() ?? "";
    if (bypass !== "" && bypass !== this.#toldBridge) this.#tell(bypass, "warning");
    this.#toldBridge = bypass;
  }
}

/** Takes away what a node's process has left attached. Errors: DataplaneError. */
export function removeInPlace(pinFolder: string): void {
  ForwardFilter.remove(pinFolder);
  setConntrackWanted(false);
}

/** What passes the node without coming by the hook; undefined when nothing is known to. */
function bypassText(): string | undefined {
  const off = bridgeSettings.filter((path) => settingOf(path) === "0");
  if (off.length === 0) return undefined;
  const keys = off.map((path) => path.slice("/proc/sys/".length).replaceAll("/", "."));
  return `${keys.join(" and ")} is 0: packets between pods of one bridge are not judged; want 1`;
}

function settingOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined; // there are no bridges that could be looked into
  }
}

function opened(pinFolder: string): ForwardFilter {
  try {
    return ForwardFilter.open(pinFolder);
  } catch (error) {
    if (!(error instanceof DataplaneError)) throw error;
    throw new RefusalError("environment", error.message, remedyOf(error, pinFolder));
  }
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
