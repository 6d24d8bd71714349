import {
  Section,
  SectionId,
  type SectionName,
  sectionElementBytes,
  TableHeader,
} from "../layout/layout.gen.js";

const tries = {
  ipv4: ["trieV4Root", "trieV4Nodes"],
  ipv6: ["trieV6Root", "trieV6Nodes", "trieV6Entries"],
} as const;
const behindThem = [
  "leaves",
  "endpoints",
  "cells",
  "portSets",
  "portPageIndexes",
  "portPages",
] as const;

/** The bytes of a table that packets may read, which should fit into the processor's caches. */
export interface HotBytes {
  readonly ipv4: number;
  readonly ipv6: number;
}

/**
 * Sizes the sections that judging a packet may read, the rest being provenance.
 *
 * Shape: for a packet of either family; what stands behind the tries counts in both.
 */
export function hotBytesOf(blob: Uint8Array): HotBytes {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  const bytesOf = (name: SectionName): number => {
    const at = TableHeader.sections + SectionId[name] * Section.bytes;
    return view.getUint32(at + Section.count, true) * sectionElementBytes[SectionId[name]]!;
  };
  const sum = (names: readonly SectionName[]): number =>
    names.reduce((total, name) => total + bytesOf(name), 0);
  const shared = sum(behindThem);
  return { ipv4: sum(tries.ipv4) + shared, ipv6: sum(tries.ipv6) + shared };
}
