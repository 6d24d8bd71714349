import { isEqual } from "../control/manifest-compiler.js";
import { type Diagnostic, diagnostic } from "../diagnostics/diagnostic.js";
import { type ApiValue, apiNames, readApiObject } from "../manifest/api-object.js";
import type { KubernetesObject } from "../manifest/objects.js";
import { hasTraffic } from "../policy/address-owners.js";
import { type MemoryBudget, weightOf } from "./memory-budget.js";
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

interface Names {
  readonly namespace: string;
  readonly name: string;
}

/** What is kept of an object: that which matters, or that it could not be read. */
interface Entry extends Names {
  readonly object: KubernetesObject | undefined;
  readonly isReadable: boolean;
  readonly diagnostics: readonly Diagnostic[];
  /** What it takes of the memory. Units: bytes. */
  readonly weight: number;
}

/** What an entry takes beside its object. Units: bytes. */
const ENTRY_BYTES = 300;
/** The longest names that a server takes. */
const NAME_LENGTH_MAX = 253;
const NAMESPACE_LENGTH_MAX = 63;

/**
 * The objects of one resource, as far as they matter.
 *
 * Errors: MemoryBudgetError, where what is listed or put does not fit; what is kept stays as it was.
 */
export class ResourceStore implements ReflectorSink {
  readonly resource: Resource;
  /** Settles when it has been listed for the first time. */
  readonly synced: Promise<void>;
  readonly #pending: PendingChanges;
  readonly #budget: MemoryBudget;
  readonly #told: StoreListener;
  readonly #entries = new Map<string, Entry>();
  #unreadable = 0;
  /** Objects without a name to know them by, since the last list began. */
  #nameless = 0;
  /** What a list that is under way has named; entries that are as before are the same. */
  #listed = new Map<string, Entry>();
  /** Weights of what is kept and of what is listed. The one takes the place of the other: the larger counts. */
  #keptBytes = 0;
  #listedBytes = 0;
  #markSynced: () => void = () => {};

  constructor(
    resource: Resource,
    pending: PendingChanges,
    budget: MemoryBudget,
    told: StoreListener,
  ) {
    this.resource = resource;
    this.#pending = pending;
    this.#budget = budget;
    this.#told = told;
    this.synced = new Promise((resolve) => {
      this.#markSynced = resolve;
    });
  }

  /** Objects that are kept; those that stand for one that could not be read are among them. */
  get size(): number {
    let size = 0;
    for (const { object } of this.#entries.values()) if (object !== undefined) size++;
    return size;
  }

  get unreadable(): number {
    return this.#unreadable + this.#nameless;
  }

  stateChanged(): void {
    this.#told.stateChanged();
  }

  listBegins(): void {
    this.listBreaks();
    this.#nameless = 0;
  }

  listed(value: ApiValue): void {
    const names = this.#namesOf(value);
    if (names === undefined) return;
    const key = keyOf(names);
    this.#unlist(key);
    const entry = this.#read(names, value);
    if (entry === undefined) return;
    const known = this.#entries.get(key);
    const isKnown = known !== undefined && isSame(known, entry);
    this.#weigh(0, entry.weight);
    this.#listed.set(key, isKnown ? known : entry);
  }

  listBreaks(): void {
    this.#listed = new Map();
    this.#weigh(0, -this.#listedBytes);
  }

  listEnds(): void {
    const listed = this.#listed;
    for (const [key, entry] of [...this.#entries]) {
      if (!listed.has(key)) this.#forget(key, entry);
    }
    for (const [key, entry] of listed) this.#keep(key, entry);
    this.#listed = new Map();
    this.#weigh(0, -this.#listedBytes);
    this.#markSynced();
  }

  put(value: ApiValue): void {
    const names = this.#namesOf(value);
    if (names === undefined) return;
    const key = keyOf(names);
    const known = this.#entries.get(key);
    const entry = this.#read(names, value);
    if (entry === undefined) {
      if (known !== undefined) this.#forget(key, known);
      return;
    }
    if (known !== undefined && isSame(known, entry)) return;
    this.#keep(key, entry);
  }

  remove(value: ApiValue): void {
    const names = this.#namesOf(value);
    if (names === undefined) return;
    const key = keyOf(names);
    const known = this.#entries.get(key);
    if (known !== undefined) this.#forget(key, known);
  }

  /** Returns what an object is called; undefined, and counted, when that is no name of a server's. */
  #namesOf(value: ApiValue): Names | undefined {
    const names = apiNames(this.resource.kind, value);
    const { namespace, name } = names;
    const isName =
      name !== "" && name.length <= NAME_LENGTH_MAX && namespace.length <= NAMESPACE_LENGTH_MAX;
    if (isName && !name.includes("/") && !namespace.includes("/")) return names;
    // Nobody can say which object that is; one more or less of it changes nothing.
    if (this.#nameless++ === 0) {
      const { kind } = this.resource;
      const message = `got a ${kind} without a name that a server could give it; it is left out`;
      const span = { file: kind, line: 0, column: 0, endLine: 0, endColumn: 0 };
      this.#pending.report([diagnostic("SL1401", span, message)]);
    }
    return undefined;
  }

  /** Returns what there is to keep of an object; undefined when that is nothing. */
  #read(names: Names, value: ApiValue): Entry | undefined {
    const { object, diagnostics } = readApiObject(this.resource.kind, value);
    const isReadable = diagnostics.every(({ code }) => code !== "SL1401");
    const matters = object !== undefined && (object.kind !== "Pod" || hasTraffic(object));
    if (!matters && isReadable) return undefined;
    const kept = matters ? object : undefined;
    const weight = ENTRY_BYTES + weightOf(kept);
    return { ...names, object: kept, isReadable, diagnostics, weight };
  }

  /** Puts an entry in the place of the one before. */
  #keep(key: string, entry: Entry): void {
    const known = this.#entries.get(key);
    if (known === entry) return;
    this.#weigh(entry.weight - (known?.weight ?? 0), 0);
    // Heartbeats of a node would otherwise say the same of its policy time and again.
    const isNew = known === undefined || known.isReadable !== entry.isReadable;
    if (isNew) this.#pending.report(entry.diagnostics);
    if (known?.isReadable === false) this.#unreadable--;
    if (!entry.isReadable) this.#unreadable++;
    // Diagnostics have been told, or are no news.
    const isSilent = entry.diagnostics.length === 0;
    this.#entries.set(key, isSilent ? entry : { ...entry, diagnostics: [] });
    const { object } = entry;
    if (object === undefined) {
      if (known?.object !== undefined) this.#noteRemoval(known);
      return;
    }
    if (known?.object !== undefined && isEqual(known.object, object, "span")) return;
    this.#pending.note(`${object.kind} ${key}`, { put: object });
    this.#told.noted();
  }

  #forget(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#weigh(-entry.weight, 0);
    if (!entry.isReadable) this.#unreadable--;
    if (entry.object !== undefined) this.#noteRemoval(entry);
  }

  /** Forgets what the list that is under way has said of one object. */
  #unlist(key: string): void {
    const entry = this.#listed.get(key);
    this.#listed.delete(key);
    if (entry !== undefined) this.#weigh(0, -entry.weight);
  }

  /** Takes room for more, or gives it back. Errors: MemoryBudgetError; nothing is then taken. */
  #weigh(keptBytes: number, listedBytes: number): void {
    const kept = this.#keptBytes + keptBytes;
    const listed = this.#listedBytes + listedBytes;
    const before = Math.max(this.#keptBytes, this.#listedBytes);
    const after = Math.max(kept, listed);
    this.#budget.take(after - before, after);
    this.#keptBytes = kept;
    this.#listedBytes = listed;
  }

  #noteRemoval({ namespace, name }: Names): void {
    const { kind } = this.resource;
    this.#pending.note(`${kind} ${namespace}/${name}`, { remove: { kind, namespace, name } });
    this.#told.noted();
  }
}

function keyOf({ namespace, name }: Names): string {
  return `${namespace}/${name}`;
}

/** Reports whether two entries are alike to every policy. */
function isSame(a: Entry, b: Entry): boolean {
  return a.isReadable === b.isReadable && isEqual(a.object, b.object, "span");
}
