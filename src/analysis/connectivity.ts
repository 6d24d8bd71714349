import type { Address } from "../net/address.js";
import { formatPrefix } from "../net/prefix.js";
import { PortSetPool } from "./connectivity-ports.js";
import {
  type AddressBlock,
  type AddressRanges,
  AddressRangesBuilder,
  addressFromBits,
  describeAddresses,
  eachRange,
  type Membership,
} from "./connectivity-ranges.js";
import { TableContents } from "./connectivity-table.js";

/** An end of a packet as the table sees it: everything that the verdict depends on. */
export interface Site {
  readonly family: 4 | 6;
  readonly classId: number;
  /** Absent when no endpoint has the address: nothing is judged there. */
  readonly rows?: { readonly ingressRow: number; readonly egressRow: number };
}

/** One address of a pod. */
export interface PodSite extends Site {
  readonly address: Address;
  readonly rows: { readonly ingressRow: number; readonly egressRow: number };
}

/** A pod whose traffic the table judges. */
export interface ConnectedPod {
  readonly endpointId: number;
  readonly namespace: string;
  readonly name: string;
  /** IPv4 first, each family in the order of its addresses. */
  readonly sites: readonly PodSite[];
}

/** Addresses that no pod has and that every row treats alike. */
export interface OutsideClass {
  readonly classId: number;
  readonly name: string;
  /** Blocks of its addresses; they may contain pods' addresses, which do not count. */
  readonly blocks: readonly AddressBlock[];
  /** A site for each family that has such addresses. */
  readonly sites: readonly Site[];
}

/**
 * Computes who can reach whom, for all parties, from one table.
 *
 * `Table.classify` decides one packet. Here the answer is the set of all allowed packets: the intersection of
 * the sender's egress cell and the receiver's ingress cell.
 *
 * Cost: one pass over the blob; then a question takes two loads and a cached intersection.
 */
export class Connectivity {
  /** Port sets are answered by their number in here. */
  readonly pool: PortSetPool;
  readonly pods: readonly ConnectedPod[];
  /** In the order of their first address. */
  readonly outside: readonly OutsideClass[];
  /** Leaf of every address, by family. */
  readonly leaves: { readonly 4: AddressRanges<number>; readonly 6: AddressRanges<number> };
  readonly #contents: TableContents;
  readonly #cells: readonly Uint32Array[];
  readonly #sameRow: readonly number[];
  readonly #everywhere = new Map<number, number>();

  /**
   * Shape: `blob` has been accepted by `Table.open`. Give two tables one `pool` to compare them.
   */
  constructor(blob: Uint8Array, pool = new PortSetPool()) {
    this.pool = pool;
    const contents = new TableContents(blob);
    this.#contents = contents;
    const setIds = contents.portSets().map((set) => pool.idOf(set));
    this.#cells = Array.from({ length: contents.rowCount }, (_, row) =>
      contents.cellsOf(row).map((set) => setIds[set]!),
    );
    this.#sameRow = firstEqual(this.#cells);
    this.leaves = { 4: contents.leafRanges(4), 6: contents.leafRanges(6) };
    this.pods = this.#findPods();
    this.outside = this.#findOutside();
  }

  /**
   * Returns the number of the set of ports on which `source` may open connections to `destination`.
   *
   * Shape: not asked of a pod and itself, which is always allowed, nor of two families.
   */
  portsBetween(source: Site, destination: Site): number {
    const sent =
      source.rows === undefined
        ? this.pool.all
        : this.#cells[source.rows.egressRow]![destination.classId]!;
    const taken =
      destination.rows === undefined
        ? this.pool.all
        : this.#cells[destination.rows.ingressRow]![source.classId]!;
    return this.pool.intersect(sent, taken);
  }

  /** Returns the set of ports that a row allows for every address there is. */
  portsEverywhere(row: number): number {
    let ports = this.#everywhere.get(row);
    if (ports === undefined) {
      const distinct = new Set(this.#cells[row]!);
      ports = [...distinct].reduce((a, b) => this.pool.intersect(a, b), this.pool.all);
      this.#everywhere.set(row, ports);
    }
    return ports;
  }

  /** Tells the leaf's class, and the endpoint that owns its addresses. */
  leaf(leafId: number): { readonly classId: number; readonly endpointId: number | undefined } {
    return this.#contents.provenance.leaf(leafId);
  }

  /** Returns the rows of an endpoint; endpoints whose rows say the same get the same numbers. */
  rowsOf(endpointId: number): { readonly ingressRow: number; readonly egressRow: number } {
    const { ingressRow, egressRow } = this.#contents.rowsOf(endpointId);
    return { ingressRow: this.#sameRow[ingressRow]!, egressRow: this.#sameRow[egressRow]! };
  }

  /** Whether a NetworkPolicy isolates an endpoint, in some direction. */
  isIsolated(endpointId: number): boolean {
    const { provenance } = this.#contents;
    return (["Ingress", "Egress"] as const).some(
      (direction) => provenance.isolatedBy(endpointId, direction).length > 0,
    );
  }

  #findPods(): readonly ConnectedPod[] {
    const { provenance } = this.#contents;
    const pods = Array.from({ length: provenance.endpointCount }, (_, endpointId) => ({
      endpointId,
      ...provenance.endpoint(endpointId),
      sites: [] as PodSite[],
    }));
    for (const family of [4, 6] as const) {
      for (const { first, last, value } of eachRange(this.leaves[family])) {
        const { classId, endpointId } = this.leaf(value);
        if (endpointId === undefined) continue;
        const rows = this.rowsOf(endpointId);
        // One range may hold several: a pod's addresses can follow each other.
        for (let bits = first; bits <= last; bits++) {
          const address = addressFromBits(family, bits);
          pods[endpointId]!.sites.push({ family, classId, address, rows });
        }
      }
    }
    return pods;
  }

  #findOutside(): readonly OutsideClass[] {
    const families = new Map<number, Set<4 | 6>>();
    for (const family of [4, 6] as const) {
      for (const leafId of this.leaves[family].values) {
        const { classId, endpointId } = this.leaf(leafId);
        if (endpointId !== undefined) continue;
        families.set(classId, (families.get(classId) ?? new Set()).add(family));
      }
    }
    const names = new UniqueNames();
    return [...families].map(([classId, present]) => {
      const blocks = [...present].flatMap((family) => this.#blocksOf(classId, family));
      const name = names.make(nameBlocks(blocks, families.size > 1));
      const sites = [...present].map((family): Site => ({ family, classId }));
      return { classId, name, blocks, sites };
    });
  }

  #blocksOf(wanted: number, family: 4 | 6): readonly AddressBlock[] {
    const builder = new AddressRangesBuilder<Membership>(family);
    for (const { first, value } of eachRange(this.leaves[family])) {
      const { classId, endpointId } = this.leaf(value);
      builder.add(first, endpointId !== undefined ? "either" : classId === wanted ? "in" : "out");
    }
    return describeAddresses(builder.ranges());
  }
}

/** Writes a block as a person would: `10.0.0.0/8 except 10.1.0.0/16`. */
export function formatBlock({ cidr, except }: AddressBlock): string {
  if (except.length === 0) return formatPrefix(cidr);
  if (except.length > 3) return `${formatPrefix(cidr)} except ${except.length} blocks`;
  return `${formatPrefix(cidr)} except ${except.map(formatPrefix).join(", ")}`;
}

/**
 * Names a set of addresses by its blocks. One that begins with a whole family is "any" address,
 * without those that have a name of their own.
 */
function nameBlocks(blocks: readonly AddressBlock[], amongOthers: boolean): string {
  const whole = blocks.filter(({ cidr }) => cidr.length === 0);
  if (whole.length === 2) return amongOthers ? "anywhere else" : "anywhere";
  const rest = blocks.filter(({ cidr }) => cidr.length > 0);
  const parts = [
    ...whole.map(({ cidr }) => `any other IPv${cidr.address.family} address`),
    ...rest.slice(0, 2).map(formatBlock),
  ];
  return parts.join(", ") + (rest.length > 2 ? ` and ${rest.length - 2} more` : "");
}

/** Appends a number to the names of the second and later parties with the same name. */
class UniqueNames {
  readonly #used = new Map<string, number>();

  make(name: string): string {
    const count = (this.#used.get(name) ?? 0) + 1;
    this.#used.set(name, count);
    return count === 1 ? name : `${name} (${count})`;
  }
}

/** Finds for each array the first one that is equal to it. */
function firstEqual(arrays: readonly Uint32Array[]): readonly number[] {
  const candidates = new Map<number, number[]>();
  return arrays.map((array, index) => {
    let hash = 0;
    for (const value of array) hash = Math.imul(hash ^ value, 0x9e3779b1) + 1;
    const list = candidates.get(hash) ?? [];
    const known = list.find((other) => array.every((value, at) => arrays[other]![at] === value));
    if (known !== undefined) return known;
    candidates.set(hash, [...list, index]);
    return index;
  });
}
