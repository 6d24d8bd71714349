import { isEqual } from "../control/manifest-compiler.js";
import { type ApiValue, apiNames, readApiObject } from "../manifest/api-object.js";
import type { KubernetesObject } from "../manifest/objects.js";
import { hasTraffic } from "../policy/address-owners.js";
import type { PendingChanges } from "./pending-changes.js";
import type { ReflectorSink } from "./reflector.js";
import type { Resource } from "./resources.js";

/** Who wants to know of a store. */
export interface StoreListener {
  /** A change has been noted. */
  noted(): void;
  /** Following it goes otherwise than before. */
  stateChanged(): void;
}

/** The objects of one resource, as far as they matter. */
export class ResourceStore implements ReflectorSink {
  readonly resource: Resource;
  /** Settles when it has been listed for the first time. */
  readonly synced: Promise<void>;
  readonly #pending: PendingChanges;
  readonly #told: StoreListener;
  readonly #objects = new Map<string, KubernetesObject>();
  readonly #unreadable = new Set<string>();
  /** What a list that is under way has named. */
  #listed = new Set<string>();
  #markSynced: () => void = () => {};

  constructor(resource: Resource, pending: PendingChanges, told: StoreListener) {
    this.resource = resource;
    this.#pending = pending;
    this.#told = told;
    this.synced = new Promise((resolve) => {
      this.#markSynced = resolve;
    });
  }

  get size(): number {
    return this.#objects.size;
  }

  get unreadable(): number {
    return this.#unreadable.size;
  }

  stateChanged(): void {
    this.#told.stateChanged();
  }

  listBegins(): void {
    this.#listed = new Set();
  }

  listEnds(): void {
    for (const key of [...this.#objects.keys(), ...this.#unreadable]) {
      if (!this.#listed.has(key)) this.#forget(key);
    }
    this.#listed = new Set();
    this.#markSynced();
  }

  put(value: ApiValue): void {
    const key = keyOf(value);
    // Nobody can say which object that is; one more or less of it changes nothing.
    if (key.endsWith("/")) return;
    this.#listed.add(key);
    const { kind } = this.resource;
    const { object, diagnostics } = readApiObject(kind, value);
    const isReadable = diagnostics.every(({ code }) => code !== "SL1401");
    // Heartbeats of a node would otherwise say the same of its policy time and again.
    const isNew = isReadable ? !this.#objects.has(key) : !this.#unreadable.has(key);
    if (isNew) this.#pending.report(diagnostics);
    if (isReadable) this.#unreadable.delete(key);
    else this.#unreadable.add(key);

    const matters = object !== undefined && (object.kind !== "Pod" || hasTraffic(object));
    if (!matters) {
      const isKnown = this.#objects.delete(key);
      if (isKnown) this.#noteRemoval(key);
      return;
    }
    const before = this.#objects.get(key);
    if (before !== undefined && isEqual(before, object, "span")) return;
    this.#objects.set(key, object);
    this.#pending.note(`${kind} ${key}`, { put: object });
    this.#told.noted();
  }

  remove(value: ApiValue): void {
    this.#forget(keyOf(value));
  }

  #forget(key: string): void {
    this.#unreadable.delete(key);
    if (this.#objects.delete(key)) this.#noteRemoval(key);
  }

  #noteRemoval(key: string): void {
    const { kind } = this.resource;
    const [namespace = "", name = ""] = key.split("/");
    this.#pending.note(`${kind} ${key}`, { remove: { kind, namespace, name } });
    this.#told.noted();
  }
}

function keyOf(value: ApiValue): string {
  const { namespace, name } = apiNames(value);
  return `${namespace}/${name}`;
}
