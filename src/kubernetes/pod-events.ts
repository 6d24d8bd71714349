import { randomBytes } from "node:crypto";
import { TokenBucket } from "../control/token-bucket.js";
import type { Tell } from "../diagnostics/tell.js";
import { ApiClient } from "./api-client.js";
import type { ClusterAccess } from "./cluster-access.js";
import { MemoryBudget } from "./memory-budget.js";
import { Pace } from "./pace.js";
import { type Timing, usualTiming } from "./timing.js";

/** What is said of a pod, as an Event of the API server. */
export interface PodEvent {
  readonly namespace: string;
  readonly name: string;
  readonly type: "Normal" | "Warning";
  /** A word in CamelCase, for machines. */
  readonly reason: string;
  readonly message: string;
}

export interface PodEventsOptions {
  /** Owner: the source's; it is not closed here. */
  readonly access: ClusterAccess;
  /** Where it is said; absent: not told. */
  readonly node?: string;
  readonly tell: Tell;
  /** Absent: timing for a real server. */
  readonly timing?: Timing;
  /** At most so many a second, and at once. */
  readonly rate?: { readonly perSecond: number; readonly burst: number };
}

/** The most pods of which something is still to be said: of later ones it is left out. */
const waitingMax = 1_000;
/** The most pods of which it is known what was said last. */
const saidMax = 4_000;
/** As the kubelet's own. */
const usualRate = { perSecond: 5, burst: 25 } as const;
const retryMs = 200;
const messageMax = 1_024;

/**
 * Says on pods what has become of them, as Events (`kubectl get events`, `kubectl describe pod`): the last that is to
 * be said of each, and never the same twice in a row. A server that refuses costs the event, and is told once.
 *
 * Owner:  `close` ends it; what has not been said is left out.
 */
export class PodEvents {
  readonly #options: PodEventsOptions;
  readonly #client: ApiClient;
  readonly #bucket: TokenBucket;
  readonly #stop = new AbortController();
  readonly #waiting = new Map<string, PodEvent>();
  readonly #said = new Map<string, string>();
  #isBusy = false;
  #timer: NodeJS.Timeout | undefined;
  #told = "";

  constructor(options: PodEventsOptions) {
    const { access, timing = usualTiming, rate = usualRate } = options;
    this.#options = options;
    this.#bucket = new TokenBucket(rate.perSecond, rate.burst);
    const budget = new MemoryBudget(undefined);
    this.#client = new ApiClient({ access, timing, pace: new Pace(), budget });
  }

  /** Says something of a pod, soon. */
  say(event: PodEvent): void {
    const key = `${event.namespace}/${event.name}`;
    if (this.#said.get(key) === textOf(event)) {
      this.#waiting.delete(key);
      return;
    }
    if (this.#waiting.size < waitingMax || this.#waiting.has(key)) this.#waiting.set(key, event);
    this.#next();
  }

  close(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
    this.#waiting.clear();
  }

  #next(): void {
    if (this.#isBusy || this.#timer !== undefined || this.#stop.signal.aborted) return;
    const [first] = this.#waiting;
    if (first === undefined) return;
    if (!this.#bucket.take()) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#next();
      }, retryMs);
      this.#timer.unref();
      return;
    }
    const [key, event] = first;
    this.#waiting.delete(key);
    this.#said.delete(key);
    this.#said.set(key, textOf(event));
    for (const oldest of this.#said.keys()) {
      if (this.#said.size <= saidMax) break;
      this.#said.delete(oldest);
    }
    this.#isBusy = true;
    void this.#post(event).finally(() => {
      this.#isBusy = false;
      this.#next();
    });
  }

  async #post(event: PodEvent): Promise<void> {
    try {
      const uid = await this.#uidOf(event);
      if (uid === undefined) return;
      const path = `/api/v1/namespaces/${encodeURIComponent(event.namespace)}/events`;
      await this.#client.create(path, eventOf(event, uid, this.#options.node), this.#stop.signal);
      this.#told = "";
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const { message } = error as Error;
      if (message !== this.#told) {
        this.#options.tell(`events on pods cannot be written: ${message}`, "warning");
      }
      this.#told = message;
    }
  }

  /** The pod's own number, by which `kubectl describe` finds its events; undefined when it is no more. */
  async #uidOf({ namespace, name }: PodEvent): Promise<string | undefined> {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`;
    const query = new URLSearchParams({ fieldSelector: `metadata.name=${name}` });
    let uid: string | undefined;
    await this.#client.list(path, query, this.#stop.signal, (item) => {
      const { metadata } = (item ?? {}) as { readonly metadata?: { readonly uid?: unknown } };
      if (typeof metadata?.uid === "string") uid = metadata.uid;
    });
    return uid;
  }
}

function textOf({ reason, message }: PodEvent): string {
  return `${reason}: ${message}`;
}

/** Source: the Kubernetes API, core/v1, Event. */
function eventOf({ namespace, name, ...said }: PodEvent, uid: string, node = ""): unknown {
  const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  return {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: `${name.slice(0, 200)}.${randomBytes(8).toString("hex")}`, namespace },
    involvedObject: { apiVersion: "v1", kind: "Pod", namespace, name, uid },
    ...{ type: said.type, reason: said.reason, message: said.message.slice(0, messageMax) },
    source: { component: "sluice", host: node },
    reportingComponent: "sluice",
    reportingInstance: node,
    ...{ firstTimestamp: now, lastTimestamp: now, count: 1 },
  };
}
