import { isEqual } from "../control/manifest-compiler.js";
import type { ManifestSource, SourceChanges, SourceStatus } from "../control/source.js";
import type { Tell } from "../diagnostics/tell.js";
import type { KubernetesObject } from "../manifest/objects.js";
import { ApiClient } from "./api-client.js";
import type { ClusterAccess } from "./cluster-access.js";
import type { LocalAddresses } from "./local-addresses.js";
import { MemoryBudget } from "./memory-budget.js";
import { Pace } from "./pace.js";
import { PendingChanges } from "./pending-changes.js";
import { Reflector } from "./reflector.js";
import { ResourceStore } from "./resource-store.js";
import { resources } from "./resources.js";
import { type Timing, usualTiming } from "./timing.js";

export interface KubernetesSourceOptions {
  readonly access: ClusterAccess;
  /** Reports to the operator when a resource cannot be followed, and when it can again. */
  readonly tell: Tell;
  /** Absent: timing for a real server. */
  readonly timing?: Timing;
  /** Items of a page of a list; 500 when absent. */
  readonly pageItems?: number;
  /** Memory limit of its objects; absent: a quarter of the process's memory. Units: bytes. */
  readonly memoryBytes?: number;
  /** What this node knows of its own pods before the server does. */
  readonly local?: LocalAddresses;
  /** Its pods' new addresses are urgent: until a table knows one, nothing passes to and from it. */
  readonly node?: string;
}

/**
 * How long to collect errors before a report: when a server is lost, all resources fail together.
 */
const TELL_AFTER_MS = 300;

/**
 * Manifests from a Kubernetes API server: lists them, then follows every change.
 *
 * It returns nothing before every resource has been listed once: pods without their policies would not be
 * isolated. After that, the last known state holds while the server is unreachable.
 *
 * Shape:  objects hold only fields that matter to policy; pods that nothing can match are left out.
 * Owner: owns the connections; the access is closed with it.
 */
export class KubernetesSource implements ManifestSource {
  readonly #options: KubernetesSourceOptions;
  readonly #stop = new AbortController();
  readonly #stores: readonly ResourceStore[];
  readonly #reflectors: readonly Reflector[];
  readonly #pending = new PendingChanges();
  readonly #budget: MemoryBudget;
  readonly #synced: Promise<void>;
  #isBegun = false;
  #isSynced = false;
  #changed: ((isUrgent: boolean) => void) | undefined;
  /** How what is pending has been reported. */
  #reported: "not" | "usual" | "urgent" = "not";
  #teller: NodeJS.Timeout | undefined;
  #reportedErrors = "";

  constructor(options: KubernetesSourceOptions) {
    this.#options = options;
    const { access, timing = usualTiming, pageItems = 500 } = options;
    const budget = new MemoryBudget(options.memoryBytes);
    this.#budget = budget;
    const pace = new Pace();
    const client = new ApiClient({ access, timing, pace, budget });
    this.#stores = resources.map(
      (resource) =>
        new ResourceStore(
          resource,
          this.#pending,
          budget,
          {
            noted: (...change) => this.#noteChange(this.#isUrgent(...change)),
            stateChanged: () => this.#gather(),
          },
          options.local,
        ),
    );
    this.#reflectors = this.#stores.map(
      (sink) => new Reflector({ client, resource: sink.resource, sink, timing, pace, pageItems }),
    );
    this.#synced = Promise.all(this.#stores.map(({ synced }) => synced)).then(() => {
      this.#isSynced = true;
    });
  }

  follow(changed: (isUrgent?: boolean) => void): void {
    this.#changed = changed;
    this.#noteChange();
  }

  /** Errors: Error when it is closed before every resource has been listed once. */
  async take(): Promise<SourceChanges> {
    this.#begin();
    if (!this.#isSynced) {
      const { signal } = this.#stop;
      await new Promise<void>((resolve, reject) => {
        const stopped = () => reject(new Error("the Kubernetes API was not reached"));
        if (signal.aborted) return stopped();
        signal.addEventListener("abort", stopped);
        void this.#synced.then(() => {
          signal.removeEventListener("abort", stopped);
          resolve();
        });
      });
    }
    this.#reported = "not";
    return this.#pending.take();
  }

  /** Takes what `local` says now. */
  refreshLocal(): void {
    for (const store of this.#stores) store.refreshLocal();
  }

  get isBehind(): boolean {
    return !this.#isSynced || this.#pending.size > 0;
  }

  status(): SourceStatus {
    const each = this.#reflectors.map(({ status }, index) => ({
      ...status,
      objects: this.#stores[index]!.size,
    }));
    const silences = this.#reflectors.flatMap(({ silenceMs }) => silenceMs ?? []);
    const silenceMs = silences.length === 0 ? undefined : Math.min(...silences);
    return {
      kind: "kubernetes",
      server: this.#options.access.server.origin,
      connected: each.every(({ state }) => state === "following" || state === "absent"),
      lastHeard: silenceMs === undefined ? null : new Date(Date.now() - silenceMs).toISOString(),
      ageSeconds: silenceMs === undefined ? null : silenceMs / 1_000,
      memoryBytes: this.#budget.usedBytes,
      memoryLimitBytes: this.#budget.limitBytes,
      objects: each.reduce((sum, { objects }) => sum + objects, 0),
      unreadable: this.#stores.reduce((sum, { unreadable }) => sum + unreadable, 0),
      resources: each,
    };
  }

  close(): void {
    this.#stop.abort();
    clearTimeout(this.#teller);
    this.#options.access.close();
  }

  /** Connects only when a caller first needs objects. */
  #begin(): void {
    if (this.#isBegun) return;
    this.#isBegun = true;
    for (const reflector of this.#reflectors) void reflector.run(this.#stop.signal);
  }

  /** Whether a pod of the node has got other addresses. */
  #isUrgent(object?: KubernetesObject, before?: KubernetesObject): boolean {
    const { node } = this.#options;
    if (node === undefined || object?.kind !== "Pod" || object.nodeName !== node) return false;
    return before?.kind !== "Pod" || !isEqual(before.addresses, object.addresses);
  }

  #noteChange(isUrgent = false): void {
    const changed = this.#changed;
    if (changed === undefined || !this.#isSynced || this.#pending.size === 0) return;
    if (this.#reported === "urgent" || (this.#reported === "usual" && !isUrgent)) return;
    this.#reported = isUrgent ? "urgent" : "usual";
    setImmediate(() => {
      if (!this.#stop.signal.aborted) changed(isUrgent);
    });
  }

  /** Reports each error once, for all resources that have it. */
  #gather(): void {
    if (this.#stop.signal.aborted) return;
    this.#teller ??= setTimeout(() => {
      this.#teller = undefined;
      const byError = new Map<string, string[]>();
      for (const { resource, error } of this.#reflectors.map(({ status }) => status)) {
        if (error !== null) byError.set(error, [...(byError.get(error) ?? []), resource]);
      }
      const lines = [...byError].map(([error, names]) => `${names.join(", ")}: ${error}`);
      const text = lines.sort().join("\n");
      if (text === this.#reportedErrors) return;
      this.#reportedErrors = text;
      const { origin } = this.#options.access.server;
      const until = this.#isSynced ? "the last state stays in force" : "nothing is in force yet";
      for (const line of lines) {
        this.#options.tell(`kubernetes ${origin}: ${line}; ${until}`, "warning");
      }
      if (lines.length === 0) this.#options.tell(`kubernetes ${origin}: everything is followed`);
    }, TELL_AFTER_MS);
  }
}
