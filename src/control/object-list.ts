import type { KubernetesObject, ObjectHead } from "../manifest/objects.js";

const chunkItems = 1_024;

/** The objects of one moment. */
export interface ObjectView<Item> {
  /** In no particular order; gathered when somebody asks. */
  readonly all: readonly Item[];
  /** The same in pieces: the same arrays in two views where nothing has changed in them. */
  readonly pieces: readonly (readonly Item[])[];
}

/**
 * Objects, each of its kind and names once, that come and go one by one.
 *
 * Cost: a change copies a chunk if a view has it, whatever the number of objects.
 */
export class ObjectList<Item extends ObjectHead> {
  readonly #chunks: Item[][] = [];
  /** By chunk, whether a view has it: it is copied before it changes. */
  readonly #isViewed: boolean[] = [];
  readonly #places = new Map<string, number>();

  constructor(items: Iterable<Item> = []) {
    for (const item of items) this.put(item);
  }

  /** Adds an object, or puts it in the place of the one with its kind and names. */
  put(item: Item): void {
    const key = keyOf(item.kind, item.meta);
    const place = this.#places.get(key) ?? this.#places.size;
    this.#places.set(key, place);
    this.#ownChunk(place)[place % chunkItems] = item;
  }

  remove(kind: KubernetesObject["kind"], name: Names): void {
    const key = keyOf(kind, name);
    const place = this.#places.get(key);
    if (place === undefined) return;
    this.#places.delete(key);
    const last = this.#ownChunk(this.#places.size).pop()!;
    if (place === this.#places.size) return;
    this.#ownChunk(place)[place % chunkItems] = last;
    this.#places.set(keyOf(last.kind, last.meta), place);
  }

  find(kind: KubernetesObject["kind"], name: Names): Item | undefined {
    const place = this.#places.get(keyOf(kind, name));
    return place === undefined
      ? undefined
      : this.#chunks[Math.floor(place / chunkItems)]![place % chunkItems];
  }

  view(): ObjectView<Item> {
    const pieces = this.#chunks.slice();
    this.#isViewed.fill(true);
    let all: readonly Item[] | undefined;
    return {
      pieces,
      get all() {
        all ??= pieces.flat();
        return all;
      },
    };
  }

  /** The chunk of a place, for changes. */
  #ownChunk(place: number): Item[] {
    const number = Math.floor(place / chunkItems);
    if (this.#isViewed[number] !== false) {
      this.#chunks[number] = this.#chunks[number]?.slice() ?? [];
      this.#isViewed[number] = false;
    }
    return this.#chunks[number]!;
  }
}

interface Names {
  readonly namespace: string;
  readonly name: string;
}

export function keyOf(kind: KubernetesObject["kind"], { namespace, name }: Names): string {
  return `${kind} ${namespace}/${name}`;
}
