import type { KubernetesObject, ObjectHead } from "../manifest/objects.js";

/**
 * Objects, each of its kind and names once, that come and go one by one.
 *
 * Cost: `list` copies references; of many objects that is far less than to walk through a map of them.
 */
export class ObjectList<Item extends ObjectHead> {
  readonly #items: Item[] = [];
  readonly #places = new Map<string, number>();

  constructor(items: Iterable<Item> = []) {
    for (const item of items) this.put(item);
  }

  /** Adds an object, or puts it in the place of the one with its kind and names. */
  put(item: Item): void {
    const key = keyOf(item.kind, item.meta);
    const place = this.#places.get(key);
    if (place === undefined) this.#places.set(key, this.#items.push(item) - 1);
    else this.#items[place] = item;
  }

  remove(kind: KubernetesObject["kind"], name: Names): void {
    const key = keyOf(kind, name);
    const place = this.#places.get(key);
    if (place === undefined) return;
    this.#places.delete(key);
    const last = this.#items.pop()!;
    if (place === this.#items.length) return;
    this.#items[place] = last;
    this.#places.set(keyOf(last.kind, last.meta), place);
  }

  find(kind: KubernetesObject["kind"], name: Names): Item | undefined {
    const place = this.#places.get(keyOf(kind, name));
    return place === undefined ? undefined : this.#items[place];
  }

  /** The objects of now, in no particular order. Owner: the caller. */
  list(): Item[] {
    return this.#items.slice();
  }
}

interface Names {
  readonly namespace: string;
  readonly name: string;
}

export function keyOf(kind: KubernetesObject["kind"], { namespace, name }: Names): string {
  return `${kind} ${namespace}/${name}`;
}
