import { isEqual } from "../control/manifest-compiler.js";
import { type Diagnostic, diagnostic } from "../diagnostics/diagnostic.js";
import { type ApiValue, apiNames, readApiObject } from "../manifest/api-object.js";
import type { KubernetesObject } from "../manifest/objects.js";
import { SharedParts } from "../manifest/shared-parts.js";
import { hasTraffic } from "../policy/address-owners.js";
import { type LocalAddresses, type LocalPod, localPod } from "./local-addresses.js";
import { type MemoryBudget, weightOf } from "./memory-budget.js";
import type { Turns } from "./pace.js";
import type { PendingChanges } from "./pending-changes.js";
import type { ReflectorSink } from "./reflector.js";
import type { PolicyResource } from "./resources.js";

/** Listens to the changes of a store. */
export interface StoreListener {
  /** A change has been noted: an object, and what it was before; neither where one is gone. */
  noted(object?: KubernetesObject, before?: KubernetesObject): void;
  /** The state of following the resource has changed. */
  stateChanged(): void;
}

interface Names {
  readonly namespace: string;
  readonly name: string;
}

/** What is kept of an object: the fields that matter, or that it could not be read. */
interface Entry extends Names {
  readonly object: KubernetesObject | undefined;
  /** What the object is made of, where the node itself says more about it than the server. */
  readonly local: LocalPod | undefined;
  readonly isReadable: boolean;
  readonly diagnostics: readonly Diagnostic[];
  /** Its estimated memory. Units: bytes. */
  readonly weight: number;
}

const noDiagnostics: readonly Diagnostic[] = [];
/** Memory of an entry without its object. Units: bytes. */
const ENTRY_BYTES = 300;
/** The longest name that a server accepts. */
const NAME_LENGTH_MAX = 253;
const NAMESPACE_LENGTH_MAX = 63;

/**
 * The objects of one resource, reduced to the fields that matter.
 *
 * Errors: MemoryBudgetError when a listed or changed object does not fit; the kept objects stay unchanged.
 */
export class ResourceStore implements ReflectorSink {
  readonly resource: PolicyResource;
  /** Settles after the first complete list. */
  readonly synced: Promise<void>;
  readonly #pending: PendingChanges;
  readonly #budget: MemoryBudget;
  readonly #listener: StoreListener;
  readonly #local: LocalAddresses | undefined;
  readonly #parts = new SharedParts();
  readonly #entries = new Map<string, Entry>();
  /** The entries of pods of this node. */
  readonly #locals = new Set<string>();
  #size = 0;
  #unreadable = 0;
  /** Objects without a valid name, since the last list began. */
  #nameless = 0;
  /** The entries of the list under way; unchanged objects share their kept entry. */
  #listed = new Map<string, Entry>();
  /**
   * Weights of the kept and of the listed entries. The list will replace the kept ones, so only the larger
   * counts.
   */
  #keptBytes = 0;
  #listedBytes = 0;
  #isSynced = false;
  #markSynced: () => void = () => {};

  constructor(
    resource: PolicyResource,
    pending: PendingChanges,
    budget: MemoryBudget,
    listener: StoreListener,
    local?: LocalAddresses,
  ) {
    this.resource = resource;
    this.#pending = pending;
    this.#budget = budget;
    this.#listener = listener;
    this.#local = local;
    this.synced = new Promise((resolve) => {
      this.#markSynced = resolve;
    });
  }

  /** Number of kept objects, including unreadable ones. */
  get size(): number {
    return this.#size;
  }

  get unreadable(): number {
    return this.#unreadable + this.#nameless;
  }

  stateChanged(): void {
    this.#listener.stateChanged();
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

  async listEnds(pace: Turns): Promise<void> {
    const listed = this.#listed;
    for (const [key, entry] of [...this.#entries]) {
      if (!listed.has(key)) this.#forget(key, entry);
    }
    // Meanwhile the node may have given a pod an address.
    for (const [key, entry] of listed) {
      // What is taken from a first list is taken when it is whole. Later ones differ in little, and no half of such a
      // difference may be taken: a policy's removal without the one in its place.
      if (!this.#isSynced && pace.isOver) await pace.turn();
      this.#keep(key, this.#again(entry));
    }
    this.#listed = new Map();
    this.#weigh(0, -this.#listedBytes);
    this.#isSynced = true;
    this.#markSynced();
  }

  /** Takes what the node says of its own pods now. */
  refreshLocal(): void {
    for (const key of this.#locals) {
      const entry = this.#entries.get(key);
      if (entry !== undefined) this.#keep(key, this.#again(entry));
    }
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

  /**
   * Returns an object's names; counts it and returns undefined when no server could have given them.
   */
  #namesOf(value: ApiValue): Names | undefined {
    const names = apiNames(this.resource.kind, value);
    const { namespace, name } = names;
    const isName =
      name !== "" && name.length <= NAME_LENGTH_MAX && namespace.length <= NAMESPACE_LENGTH_MAX;
    if (isName && !name.includes("/") && !namespace.includes("/")) return names;
    // Such an object cannot be identified, so it is left out.
    if (this.#nameless++ === 0) {
      const { kind } = this.resource;
      const message = `got a ${kind} without a name that a server could give it; it is left out`;
      const span = { file: kind, line: 0, column: 0, endLine: 0, endColumn: 0 };
      this.#pending.report([diagnostic("SL1401", span, message)]);
    }
    return undefined;
  }

  /** Returns the entry to keep for an object; undefined when nothing is to be kept. */
  #read(names: Names, value: ApiValue): Entry | undefined {
    const { object: read, diagnostics } = readApiObject(this.resource.kind, value);
    const object = read && this.#parts.of(read);
    const isReadable = diagnostics.every(({ code }) => code !== "SL1401");
    const node = this.#local?.node;
    const local = node === undefined ? undefined : localPod(object, value, node);
    const { namespace, name } = object?.meta ?? names;
    const kept = diagnostics.length === 0 ? noDiagnostics : diagnostics;
    return this.#entryOf({ namespace, name, object, local, isReadable, diagnostics: kept });
  }

  /** The same entry with what the node says of its pod now. */
  #again(entry: Entry): Entry {
    const { local, object } = entry;
    if (local === undefined) return entry;
    // Most of a node's pods have the addresses that they had.
    const isKnown =
      object?.kind === "Pod" && isEqual(object.addresses, this.#local!.addressesOf(local));
    if (isKnown) return entry;
    const again = this.#entryOf({ ...entry, object: local.pod })!;
    return isSame(entry, again) ? entry : again;
  }

  /** Makes an entry; undefined when nothing is to be kept. */
  #entryOf({ object, local, ...entry }: Omit<Entry, "weight">): Entry | undefined {
    const said =
      local === undefined ? object : { ...local.pod, addresses: this.#local!.addressesOf(local) };
    const matters = said !== undefined && (said.kind !== "Pod" || hasTraffic(said));
    if (!matters && entry.isReadable && local === undefined) return undefined;
    const kept = matters ? said : undefined;
    const weight = ENTRY_BYTES + weightOf(local?.pod ?? kept);
    // Field by field: the engine makes a shape of its own for each object that is spread here.
    const { namespace, name, isReadable, diagnostics } = entry;
    return { namespace, name, object: kept, local, isReadable, diagnostics, weight };
  }

  /** Replaces an object's entry. */
  #keep(key: string, entry: Entry): void {
    const known = this.#entries.get(key);
    if (known === entry) return;
    this.#weigh(entry.weight - (known?.weight ?? 0), 0);
    // Otherwise each update, such as a node's heartbeat, would report the same findings again.
    const isNew = known === undefined || known.isReadable !== entry.isReadable;
    if (isNew) this.#pending.report(entry.diagnostics);
    if (known?.isReadable === false) this.#unreadable--;
    if (!entry.isReadable) this.#unreadable++;
    // Its diagnostics are dropped: they have been reported, or are not new.
    const isSilent = entry.diagnostics.length === 0;
    this.#entries.set(key, isSilent ? entry : { ...entry, diagnostics: noDiagnostics });
    if (entry.local === undefined) this.#locals.delete(key);
    else this.#locals.add(key);
    const { object } = entry;
    this.#size += Number(object !== undefined) - Number(known?.object !== undefined);
    if (object === undefined) {
      if (known?.object !== undefined) this.#noteRemoval(known);
      return;
    }
    if (known?.object !== undefined && isEqual(known.object, object, "span")) return;
    this.#pending.note(`${object.kind} ${key}`, { put: object });
    this.#listener.noted(object, known?.object);
  }

  #forget(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#locals.delete(key);
    this.#weigh(-entry.weight, 0);
    if (!entry.isReadable) this.#unreadable--;
    if (entry.object === undefined) return;
    this.#size--;
    this.#noteRemoval(entry);
  }

  /** Removes an object from the list under way. */
  #unlist(key: string): void {
    const entry = this.#listed.get(key);
    this.#listed.delete(key);
    if (entry !== undefined) this.#weigh(0, -entry.weight);
  }

  /** Reserves or frees memory. Errors: MemoryBudgetError; nothing is then reserved. */
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
    this.#listener.noted();
  }
}

function keyOf({ namespace, name }: Names): string {
  // Joined, and not a template: that would keep its pieces.
  return [namespace, name].join("/");
}

/** Whether two entries are equal for every policy. */
function isSame(a: Entry, b: Entry): boolean {
  return (
    a.isReadable === b.isReadable &&
    isEqual(a.object, b.object, "span") &&
    isEqual(a.local, b.local, "span")
  );
}
