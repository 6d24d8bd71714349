import {
  Action,
  BLOB_HASH,
  Direction,
  EndpointInfo,
  EndpointRow,
  Leaf,
  PolicyInfo,
  RowInfo,
  RuleInfo,
  Section,
  SectionId,
  type SectionName,
  sectionElementBytes,
  TABLE_ALIGNMENT_BYTES,
  TABLE_MAGIC,
  TABLE_VERSION,
  TableHeader,
  Tier,
  TRIE_NODE_ENTRIES,
  TRIE_V6_PREFIX_NODE,
  TrieV6Node,
} from "../layout/layout.gen.js";
import { checksumOf } from "./checksum.js";
import type { DecisionTable } from "./decision-table.js";
import { buildPortPages, PORT_PAGES_MAX } from "./port-pages.js";
import { byteAt, type PrefixList } from "./prefix-list.js";
import { buildTrieV4 } from "./trie-v4.js";
import { buildTrieV6, type TrieV6 } from "./trie-v6.js";

/** Cells are u16: half of what a packet may touch, and so twice what stays near the processor. */
const PORT_SETS_MAX = 65_536;
const BLOB_BYTES_MAX = 0xffff_ffff;

/** A limit of the format that a table does not fit. */
export interface EncodeRefusal {
  readonly got: string;
  readonly want: string;
}

/**
 * Lays a decision table out as a blob.
 *
 * Shape:  as docs/format.md says; equal tables give equal bytes.
 * Errors: a refusal when the table has more port pages, port sets or bytes than the format can number.
 */
export function encode(
  table: DecisionTable,
): { readonly blob: Uint8Array } | { readonly refusal: EncodeRefusal } {
  const ports = buildPortPages(table.portSets);
  if (ports.pageCount > PORT_PAGES_MAX) {
    const got = `${ports.pageCount} different patterns of 256 ports`;
    return { refusal: { got, want: `${PORT_PAGES_MAX} at most: write ports as ranges` } };
  }
  if (table.portSets.length > PORT_SETS_MAX) {
    const got = `${table.portSets.length} different sets of ports`;
    return { refusal: { got, want: `${PORT_SETS_MAX} at most: compile for one node` } };
  }
  const v4 = buildTrieV4(table.v4);
  const v6 = buildTrieV6(table.v6);
  const strings = new Strings();
  const lists = new Lists();
  const originSets = encodeOriginSets(table);

  const sections: Record<SectionName, Uint8Array> = {
    trieV4Root: bytesOf(v4.root),
    trieV4Nodes: bytesOf(v4.nodes),
    trieV6Root: bytesOf(v6.root),
    trieV6Nodes: encodeTrieV6Nodes(v6, table.v6),
    trieV6Entries: encodeTrieV6Entries(v6),
    leaves: records(table.leaves, Leaf.bytes, (view, at, { classId, endpointId, originId }) => {
      view.setUint32(at + Leaf.classId, classId, true);
      view.setUint32(at + Leaf.endpointId, endpointId, true);
      view.setUint32(at + Leaf.originId, originId, true);
    }),
    endpoints: records(table.endpoints, EndpointRow.bytes, (view, at, endpoint) => {
      view.setUint32(at + EndpointRow.ingressRow, endpoint.ingressRow, true);
      view.setUint32(at + EndpointRow.egressRow, endpoint.egressRow, true);
    }),
    auditRows: records(table.auditRows, EndpointRow.bytes, (view, at, rows) => {
      view.setUint32(at + EndpointRow.ingressRow, rows.ingressRow, true);
      view.setUint32(at + EndpointRow.egressRow, rows.egressRow, true);
    }),
    cells: bytesOf(Uint16Array.from(table.cells)),
    portSets: bytesOf(ports.sets),
    portPageIndexes: bytesOf(ports.indexes),
    portPages: bytesOf(ports.pages),
    endpointInfos: records(table.endpoints, EndpointInfo.bytes, (view, at, endpoint) => {
      strings.put(view, at + EndpointInfo.namespaceName, endpoint.namespace);
      strings.put(view, at + EndpointInfo.podName, endpoint.name);
    }),
    policyInfos: records(table.policies, PolicyInfo.bytes, (view, at, policy) => {
      strings.put(view, at + PolicyInfo.kind, policy.kind);
      strings.put(view, at + PolicyInfo.namespaceName, policy.namespace);
      strings.put(view, at + PolicyInfo.name, policy.name);
      strings.put(view, at + PolicyInfo.file, policy.span.file);
      view.setUint32(at + PolicyInfo.line, policy.span.line, true);
      view.setUint32(at + PolicyInfo.column, policy.span.column, true);
    }),
    ruleInfos: records(table.rules, RuleInfo.bytes, (view, at, rule) => {
      view.setUint32(at + RuleInfo.policy, rule.policy, true);
      view.setUint32(at + RuleInfo.ruleIndex, rule.index, true);
      view.setUint8(at + RuleInfo.tier, Tier[rule.tier]);
      view.setUint8(at + RuleInfo.action, Action[rule.action]);
      view.setUint8(at + RuleInfo.direction, Direction[rule.direction]);
      view.setUint32(at + RuleInfo.line, rule.line, true);
      view.setUint32(at + RuleInfo.column, rule.column, true);
      const set = rule.peers === "any" ? originSets.any : originSets.places[rule.peers]!;
      view.setUint32(at + RuleInfo.originSet, set, true);
      view.setUint32(at + RuleInfo.portSet, rule.ports, true);
      view.setUint32(at + RuleInfo.priority, rule.priority, true);
    }),
    rowInfos: records(table.rows, RowInfo.bytes, (view, at, row) => {
      view.setUint32(at + RowInfo.isolatedByStart, lists.add(row.isolatedBy), true);
      view.setUint32(at + RowInfo.isolatedByCount, row.isolatedBy.length, true);
      view.setUint32(at + RowInfo.rulesStart, lists.add(row.rules), true);
      view.setUint32(at + RowInfo.rulesCount, row.rules.length, true);
    }),
    originSets: bytesOf(originSets.words),
    // Filled while the records above were written.
    rowLists: new Uint8Array(),
    strings: new Uint8Array(),
  };
  sections.rowLists = lists.bytes();
  sections.strings = strings.bytes();
  return assemble(table, v4.innerCount, sections);
}

function assemble(
  table: DecisionTable,
  trieV4Inner: number,
  sections: Record<SectionName, Uint8Array>,
): { readonly blob: Uint8Array } | { readonly refusal: EncodeRefusal } {
  const names = Object.keys(SectionId) as SectionName[];
  const offsets: number[] = [];
  let totalBytes = aligned(TableHeader.bytes);
  for (const name of names) {
    offsets.push(totalBytes);
    totalBytes = aligned(totalBytes + sections[name].byteLength);
  }
  if (totalBytes > BLOB_BYTES_MAX) {
    return { refusal: { got: `a table of ${totalBytes} bytes`, want: "less than 4 GiB" } };
  }

  const blob = new Uint8Array(totalBytes);
  const view = new DataView(blob.buffer);
  view.setUint32(TableHeader.magic, TABLE_MAGIC, true);
  view.setUint32(TableHeader.version, TABLE_VERSION, true);
  view.setUint32(TableHeader.layoutHash, BLOB_HASH, true);
  view.setUint32(TableHeader.totalBytes, totalBytes, true);
  view.setUint32(TableHeader.classCount, table.classCount, true);
  view.setUint32(TableHeader.rowCount, table.rows.length, true);
  view.setUint32(TableHeader.trieV4Inner, trieV4Inner, true);
  names.forEach((name, order) => {
    const bytes = sections[name];
    const at = TableHeader.sections + SectionId[name] * Section.bytes;
    view.setUint32(at + Section.offset, offsets[order]!, true);
    view.setUint32(
      at + Section.count,
      bytes.byteLength / sectionElementBytes[SectionId[name]]!,
      true,
    );
    blob.set(bytes, offsets[order]);
  });
  view.setUint32(TableHeader.checksum, checksumOf(blob), true);
  return { blob };
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / TABLE_ALIGNMENT_BYTES) * TABLE_ALIGNMENT_BYTES;
}

function bytesOf(array: Uint32Array | Uint16Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function records<Item>(
  items: readonly Item[],
  bytes: number,
  write: (view: DataView, at: number, item: Item) => void,
): Uint8Array {
  const view = new DataView(new ArrayBuffer(items.length * bytes));
  items.forEach((item, index) => {
    write(view, index * bytes, item);
  });
  return new Uint8Array(view.buffer);
}

function encodeTrieV6Nodes({ nodes }: TrieV6, prefixes: PrefixList): Uint8Array {
  return records(nodes, TrieV6Node.bytes, (view, at, node) => {
    // The bits of a prefix past its length are zero.
    for (let byte = 0; byte * 8 < node.bits; byte++) {
      view.setUint8(at + TrieV6Node.value + byte, byteAt(prefixes, node.prefix, byte));
    }
    view.setUint32(at + TrieV6Node.missLeaf, node.missLeaf, true);
    view.setUint32(at + TrieV6Node.hitLeaf, node.hitLeaf, true);
    view.setUint8(at + TrieV6Node.bits, node.bits);
    view.setUint8(at + TrieV6Node.byteIndex, node.byteIndex);
    view.setUint8(at + TrieV6Node.skipFrom, node.skipFrom);
  });
}

function encodeTrieV6Entries({ nodes }: TrieV6): Uint8Array {
  const branching = nodes.filter(({ byteIndex }) => byteIndex !== TRIE_V6_PREFIX_NODE);
  const entries = new Uint32Array(branching.length * TRIE_NODE_ENTRIES);
  branching.forEach((node, number) => {
    entries.set(node.entries, number * TRIE_NODE_ENTRIES);
  });
  return bytesOf(entries);
}

/** Writes each set as its size and its classes; `any` comes first and holds all. */
function encodeOriginSets({ setOrigins, originCount }: DecisionTable): {
  readonly words: Uint32Array;
  readonly any: number;
  readonly places: readonly number[];
} {
  const everything = Array.from({ length: originCount }, (_, origin) => origin);
  const all = [everything, ...setOrigins];
  const words = new Uint32Array(all.reduce((total, { length }) => total + 1 + length, 0));
  const places: number[] = [];
  let at = 0;
  for (const origins of all) {
    places.push(at);
    words[at] = origins.length;
    words.set(origins, at + 1);
    at += 1 + origins.length;
  }
  return { words, any: 0, places: places.slice(1) };
}

/** The rowLists section: lists one after another. */
class Lists {
  readonly #values: number[] = [];

  add(list: readonly number[]): number {
    const start = this.#values.length;
    for (const value of list) this.#values.push(value);
    return start;
  }

  bytes(): Uint8Array {
    return bytesOf(Uint32Array.from(this.#values));
  }
}

/** The strings section: each text once, in the order in which it was first put. */
class Strings {
  readonly #places = new Map<string, readonly [offset: number, length: number]>();
  readonly #parts: Uint8Array[] = [];
  readonly #encoder = new TextEncoder();
  #bytes = 0;

  /** Writes a StringRef. */
  put(view: DataView, at: number, text: string): void {
    let place = this.#places.get(text);
    if (place === undefined) {
      const part = this.#encoder.encode(text);
      place = [this.#bytes, part.byteLength];
      this.#places.set(text, place);
      this.#parts.push(part);
      this.#bytes += part.byteLength;
    }
    view.setUint32(at, place[0], true);
    view.setUint32(at + 4, place[1], true);
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.#bytes);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.byteLength;
    }
    return all;
  }
}
