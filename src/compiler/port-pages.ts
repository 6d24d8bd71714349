import { PORT_PAGE_INDEX_ENTRIES, PORT_PAGE_WORDS } from "../layout/layout.gen.js";
import type { PortRange, PortSet } from "../net/port-set.js";

const PAGE_PORTS = PORT_PAGE_WORDS * 32;
/** Page numbers are u16. */
export const PORT_PAGES_MAX = 65_536;

/** Port sets as the blob has them. */
export interface PortPages {
  /** Four page-index numbers a set, by ProtocolSlot. */
  readonly sets: Uint32Array;
  /** 256 page numbers an index. */
  readonly indexes: Uint16Array;
  readonly pages: Uint32Array;
  readonly pageCount: number;
}

/**
 * Lays port sets out as bitmaps of two levels, with equal pages and equal indexes stored once.
 *
 * Shape: `pageCount` may exceed PORT_PAGES_MAX, and the numbers are then of no use.
 */
export function buildPortPages(portSets: readonly PortSet[]): PortPages {
  const pages = new Interned();
  const indexes = new Interned();
  const indexOf = remembered((ranges: readonly PortRange[]) => {
    const index = new Uint32Array(PORT_PAGE_INDEX_ENTRIES);
    for (let page = 0; page < index.length; page++) {
      index[page] = pages.idOf(pageOf(ranges, page * PAGE_PORTS));
    }
    return indexes.idOf(index);
  });
  const sets = new Uint32Array(portSets.length * 4);
  portSets.forEach(({ tcp, udp, sctp, other }, set) => {
    sets.set([tcp, udp, sctp, other ? [[0, 0] as const] : []].map(indexOf), set * 4);
  });
  return {
    sets,
    indexes: Uint16Array.from(indexes.words(PORT_PAGE_INDEX_ENTRIES)),
    pages: pages.words(PORT_PAGE_WORDS),
    pageCount: pages.count,
  };
}

/** The bits of the ports from `first` on. */
function pageOf(ranges: readonly PortRange[], first: number): Uint32Array {
  const page = new Uint32Array(PORT_PAGE_WORDS);
  for (const [start, end] of ranges) {
    const to = Math.min(end, first + PAGE_PORTS - 1);
    for (let port = Math.max(start, first); port <= to; port++) {
      const bit = port - first;
      page[bit >> 5] = page[bit >> 5]! | (1 << (bit & 31));
    }
  }
  return page;
}

function remembered(
  make: (ranges: readonly PortRange[]) => number,
): (ranges: readonly PortRange[]) => number {
  const known = new Map<string, number>();
  return (ranges) => {
    const key = ranges.join(" ");
    const made = known.get(key) ?? make(ranges);
    known.set(key, made);
    return made;
  };
}

/** Arrays of words of one length, equal ones stored once. */
class Interned {
  readonly #ids = new Map<string, number>();
  readonly #arrays: Uint32Array[] = [];

  get count(): number {
    return this.#arrays.length;
  }

  idOf(array: Uint32Array): number {
    const key = array.join(",");
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.#arrays.push(array) - 1;
      this.#ids.set(key, id);
    }
    return id;
  }

  words(length: number): Uint32Array {
    const all = new Uint32Array(this.#arrays.length * length);
    this.#arrays.forEach((array, id) => {
      all.set(array, id * length);
    });
    return all;
  }
}
