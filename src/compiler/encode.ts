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
  writeEndpointInfo,
  writeEndpointRow,
  writeLeaf,
  writePolicyInfo,
  writeRowInfo,
  writeRuleInfo,
  writeTableHeader,
  writeTrieV6Node,
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

/** A table exceeds a limit of the format. */
export interface EncodeRefusal {
  readonly got: string;
  readonly want: string;
}

type TrieSection = "trieV4Root" | "trieV4Nodes" | "trieV6Root" | "trieV6Nodes" | "trieV6Entries";

/** The sections that follow from rows and classes alone. */
type RowSection =
  | "cells"
  | "portSets"
  | "portPageIndexes"
  | "portPages"
  | "ruleInfos"
  | "rowInfos"
  | "originSets"
  | "rowLists";

/** The sections behind the tries, which come first in a blob. */
export type RestSection = Exclude<SectionName, TrieSection>;

export type RowSections = Readonly<Record<RowSection, Uint8Array>>;

/**
 * Lays a decision table out as a blob.
 *
 * Shape:  as docs/format.md says; equal tables give equal bytes.
 * Errors: a refusal when the table has more port pages, port sets or bytes than the format can number.
 */
export function encode(
  table: DecisionTable,
): { readonly blob: Uint8Array } | { readonly refusal: EncodeRefusal } {
  const rows = encodeRows(table);
  if ("refusal" in rows) return rows;
  const v4 = buildTrieV4(table.v4);
  const v6 = buildTrieV6(table.v6);
  return assemble(table, v4.innerCount, {
    trieV4Root: bytesOf(v4.root),
    trieV4Nodes: bytesOf(v4.nodes),
    trieV6Root: bytesOf(v6.root),
    trieV6Nodes: encodeTrieV6Nodes(v6, table.v6),
    trieV6Entries: encodeTrieV6Entries(v6),
    ...rows.sections,
    ...encodeEndpoints(table),
  });
}

/** Lays out what follows from rows and classes alone. Errors: a refusal, as `encode`. */
export function encodeRows(
  table: Pick<
    DecisionTable,
    "portSets" | "setOrigins" | "originCount" | "cells" | "rules" | "rows"
  >,
): { readonly sections: RowSections } | { readonly refusal: EncodeRefusal } {
  const ports = buildPortPages(table.portSets);
  if (ports.pageCount > PORT_PAGES_MAX) {
    const got = `${ports.pageCount} different patterns of 256 ports`;
    return { refusal: { got, want: `${PORT_PAGES_MAX} at most: write ports as ranges` } };
  }
  if (table.portSets.length > PORT_SETS_MAX) {
    const got = `${table.portSets.length} different sets of ports`;
    return { refusal: { got, want: `${PORT_SETS_MAX} at most: compile for one node` } };
  }
  const lists = new Lists();
  const originSets = encodeOriginSets(table);
  const rowInfos = records(table.rows, RowInfo.bytes, (view, at, row) => {
    writeRowInfo(view, at, {
      isolatedByStart: lists.add(row.isolatedBy),
      isolatedByCount: row.isolatedBy.length,
      rulesStart: lists.add(row.rules),
      rulesCount: row.rules.length,
    });
  });
  const sections: RowSections = {
    cells: bytesOf(Uint16Array.from(table.cells)),
    portSets: bytesOf(ports.sets),
    portPageIndexes: bytesOf(ports.indexes),
    portPages: bytesOf(ports.pages),
    ruleInfos: records(table.rules, RuleInfo.bytes, (view, at, rule) => {
      writeRuleInfo(view, at, {
        policy: rule.policy,
        ruleIndex: rule.index,
        tier: Tier[rule.tier],
        action: Action[rule.action],
        direction: Direction[rule.direction],
        line: rule.line,
        column: rule.column,
        originSet: rule.peers === "any" ? originSets.any : originSets.places[rule.peers]!,
        portSet: rule.ports,
        priority: rule.priority,
      });
    }),
    rowInfos,
    originSets: bytesOf(originSets.words),
    rowLists: lists.bytes(),
  };
  return { sections };
}

/** Lays out the leaves, the endpoints and all names. */
export function encodeEndpoints(
  table: Pick<DecisionTable, "leaves" | "endpoints" | "auditRows" | "policies">,
): Readonly<Record<Exclude<RestSection, RowSection>, Uint8Array>> {
  const strings = new Strings();
  const endpointInfos = records(table.endpoints, EndpointInfo.bytes, (view, at, endpoint) => {
    writeEndpointInfo(view, at, {
      namespaceName: strings.put(endpoint.namespace),
      podName: strings.put(endpoint.name),
    });
  });
  const policyInfos = records(table.policies, PolicyInfo.bytes, (view, at, policy) => {
    writePolicyInfo(view, at, {
      kind: strings.put(policy.kind),
      namespaceName: strings.put(policy.namespace),
      name: strings.put(policy.name),
      file: strings.put(policy.span.file),
      line: policy.span.line,
      column: policy.span.column,
    });
  });
  return {
    leaves: records(table.leaves, Leaf.bytes, writeLeaf),
    endpoints: records(table.endpoints, EndpointRow.bytes, writeEndpointRow),
    auditRows: records(table.auditRows, EndpointRow.bytes, writeEndpointRow),
    endpointInfos,
    policyInfos,
    strings: strings.bytes(),
  };
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
  writeTableHeader(view, 0, {
    magic: TABLE_MAGIC,
    version: TABLE_VERSION,
    layoutHash: BLOB_HASH,
    checksum: 0, // of the whole, this field taken as zero
    totalBytes,
    classCount: table.classCount,
    rowCount: table.rows.length,
    trieV4Inner,
    sections: names.flatMap((name, order) => [
      offsets[order]!,
      sections[name].byteLength / sectionElementBytes[SectionId[name]]!,
    ]),
  });
  names.forEach((name, order) => {
    blob.set(sections[name], offsets[order]);
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
    const value = new Uint8Array(Math.ceil(node.bits / 8));
    for (let byte = 0; byte < value.length; byte++) {
      value[byte] = byteAt(prefixes, node.prefix, byte);
    }
    const { missLeaf, hitLeaf, bits, byteIndex, skipFrom } = node;
    writeTrieV6Node(view, at, { value, missLeaf, hitLeaf, bits, byteIndex, skipFrom });
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
function encodeOriginSets({
  setOrigins,
  originCount,
}: Pick<DecisionTable, "setOrigins" | "originCount">): {
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

  /** Returns a StringRef. */
  put(text: string): readonly [offset: number, length: number] {
    let place = this.#places.get(text);
    if (place === undefined) {
      const part = this.#encoder.encode(text);
      place = [this.#bytes, part.byteLength];
      this.#places.set(text, place);
      this.#parts.push(part);
      this.#bytes += part.byteLength;
    }
    return place;
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
