import { Provenance } from "../compiler/decode.js";
import {
  EndpointRow,
  PORT_PAGE_INDEX_ENTRIES,
  PORT_PAGE_WORDS,
  PortSet as PortSetRecord,
  ProtocolSlot,
  Section,
  SectionId,
  type SectionName,
  TableHeader,
  TRIE_CHILD_BIT,
  TRIE_NODE_ENTRIES,
  TRIE_V6_PREFIX_NODE,
  TrieV6Node,
} from "../layout/layout.gen.js";
import type { PortRange, PortSet } from "../net/port-set.js";
import { type AddressRanges, AddressRangesBuilder } from "./connectivity-ranges.js";

/**
 * Reads the hot sections of a table blob as a whole. `Table` gives the verdict of one packet; this lists the
 * verdicts of all packets from the same bytes.
 *
 * Owner: keeps a reference to the blob, which must not change and which `Table.open` has accepted.
 * Source: docs/format.md, "How a packet is judged".
 */
export class TableContents {
  readonly classCount: number;
  readonly rowCount: number;
  readonly provenance: Provenance;
  readonly #view: DataView;

  constructor(blob: Uint8Array) {
    this.provenance = new Provenance(blob);
    this.#view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
    this.classCount = this.#u32(TableHeader.classCount);
    this.rowCount = this.#u32(TableHeader.rowCount);
  }

  rowsOf(endpointId: number): { readonly ingressRow: number; readonly egressRow: number } {
    const at = this.#offset("endpoints") + endpointId * EndpointRow.bytes;
    return {
      ingressRow: this.#u32(at + EndpointRow.ingressRow),
      egressRow: this.#u32(at + EndpointRow.egressRow),
    };
  }

  /** Returns the port-set numbers of one row, a number a class. */
  cellsOf(row: number): Uint32Array {
    const at = this.#offset("cells") + row * this.classCount * 2;
    return Uint32Array.from({ length: this.classCount }, (_, classId) =>
      this.#view.getUint16(at + classId * 2, true),
    );
  }

  portSets(): readonly PortSet[] {
    const indexes = new Map<number, readonly PortRange[]>();
    const rangesAt = (set: number, slot: ProtocolSlot): readonly PortRange[] => {
      const at = this.#offset("portSets") + set * PortSetRecord.bytes + PortSetRecord.pageIndex;
      const index = this.#u32(at + slot * 4);
      const ranges = indexes.get(index) ?? this.#pagesToRanges(index);
      indexes.set(index, ranges);
      return ranges;
    };
    return Array.from({ length: this.#count("portSets") }, (_, set) => ({
      tcp: rangesAt(set, ProtocolSlot.Tcp),
      udp: rangesAt(set, ProtocolSlot.Udp),
      sctp: rangesAt(set, ProtocolSlot.Sctp),
      other: rangesAt(set, ProtocolSlot.Other)[0]?.[0] === 0,
    }));
  }

  /** Lists the leaf of every address of a family, in the order of the addresses. */
  leafRanges(family: 4 | 6): AddressRanges<number> {
    return family === 4 ? this.#leafRangesV4() : this.#leafRangesV6();
  }

  #leafRangesV4(): AddressRanges<number> {
    const builder = new AddressRangesBuilder<number>(4);
    const nodes = this.#offset("trieV4Nodes");
    const walk = (entry: number, base: number, bits: number): void => {
      if (entry < TRIE_CHILD_BIT) {
        builder.add(BigInt(base), entry);
        return;
      }
      const node = nodes + (entry - TRIE_CHILD_BIT) * TRIE_NODE_ENTRIES * 4;
      for (let value = 0; value < TRIE_NODE_ENTRIES; value++) {
        walk(this.#u32(node + value * 4), base + value * 2 ** (bits - 8), bits - 8);
      }
    };
    this.#eachRootRun("trieV4Root", (entry, high) => walk(entry, high * 2 ** 16, 16));
    return builder.ranges();
  }

  #leafRangesV6(): AddressRanges<number> {
    const builder = new AddressRangesBuilder<number>(6);
    const nodes = this.#offset("trieV6Nodes");
    const allEntries = this.#offset("trieV6Entries");
    const walk = (entry: number, base: bigint, bits: number): void => {
      if (entry < TRIE_CHILD_BIT) {
        builder.add(base, entry);
        return;
      }
      const index = entry - TRIE_CHILD_BIT;
      const node = nodes + index * TrieV6Node.bytes;
      const below = 128 - this.#u8(node + TrieV6Node.bits);
      const start = this.#skippedTo(node, base, below);
      const missLeaf = this.#u32(node + TrieV6Node.missLeaf);
      builder.add(base, missLeaf);
      if (this.#u8(node + TrieV6Node.byteIndex) === TRIE_V6_PREFIX_NODE) {
        builder.add(start, this.#u32(node + TrieV6Node.hitLeaf));
      } else {
        const entries = allEntries + index * TRIE_NODE_ENTRIES * 4;
        for (let value = 0; value < TRIE_NODE_ENTRIES; value++) {
          const first = start + (BigInt(value) << BigInt(below - 8));
          walk(this.#u32(entries + value * 4), first, below - 8);
        }
      }
      const after = start + (1n << BigInt(below));
      if (after < base + (1n << BigInt(bits))) builder.add(after, missLeaf);
    };
    this.#eachRootRun("trieV6Root", (entry, high) => walk(entry, BigInt(high) << 112n, 112));
    return builder.ranges();
  }

  /** Visits the entries of a root; of neighbours with the same leaf only the first. */
  #eachRootRun(
    section: "trieV4Root" | "trieV6Root",
    visit: (entry: number, high: number) => void,
  ): void {
    const root = this.#offset(section);
    let last = TRIE_CHILD_BIT;
    const count = this.#count(section);
    for (let high = 0; high < count; high++) {
      const entry = this.#u32(root + high * 4);
      if (entry >= TRIE_CHILD_BIT || entry !== last) visit(entry, high);
      last = entry;
    }
  }

  /** The first address below a node, which may skip bytes that all its prefixes share. */
  #skippedTo(node: number, base: bigint, below: number): bigint {
    let value = 0n;
    for (let byte = 0; byte < 16; byte++) {
      value = (value << 8n) | BigInt(this.#u8(node + TrieV6Node.value + byte));
    }
    const free = BigInt(below);
    return base | ((value >> free) << free);
  }

  #pagesToRanges(index: number): readonly PortRange[] {
    const ranges: [number, number][] = [];
    const entries = this.#offset("portPageIndexes") + index * PORT_PAGE_INDEX_ENTRIES * 2;
    const pages = this.#offset("portPages");
    for (let word = 0; word < 65_536 / 32; word++) {
      const page = this.#view.getUint16(entries + (word >> 3) * 2, true);
      const bits = this.#u32(pages + (page * PORT_PAGE_WORDS + (word & 7)) * 4);
      if (bits === 0) continue;
      for (let bit = 0; bit < 32; bit++) {
        if (((bits >>> bit) & 1) === 0) continue;
        const port = word * 32 + bit;
        const last = ranges.at(-1);
        if (last !== undefined && last[1] === port - 1) last[1] = port;
        else ranges.push([port, port]);
      }
    }
    return ranges;
  }

  #offset(section: SectionName): number {
    return this.#u32(TableHeader.sections + SectionId[section] * Section.bytes + Section.offset);
  }

  #count(section: SectionName): number {
    return this.#u32(TableHeader.sections + SectionId[section] * Section.bytes + Section.count);
  }

  #u8(at: number): number {
    return this.#view.getUint8(at);
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, true);
  }
}
