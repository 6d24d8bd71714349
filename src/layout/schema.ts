/**
 * The bytes that TypeScript and C++ share, as data: structs, enums, drop reasons, limits.
 *
 * Edit this file, then `npm run generate`. `generate.ts` writes `layout.gen.ts`, `layout.gen.h` and
 * the tables of `docs/format.md`. Everything is little-endian; every field is naturally aligned and
 * the fields fill the struct, so that no compiler pads.
 *
 * Two parts, each with a hash: what a table blob holds (`blob…`), by which stored tables are refused,
 * and all that TypeScript and the addon tell each other, by which an addon is refused.
 */

export type FieldType = "u8" | "u16" | "u32" | "u64";

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  /** How many of `type` in a row, or the enum that has one of them for each value; 1 when absent. */
  readonly count?: number | string;
  readonly doc: string;
}

export interface Struct {
  readonly name: string;
  /** What the fields must come to; absent where an enum decides. */
  readonly bytes?: number;
  readonly doc: string;
  /** What TypeScript does with records of this struct: a function is generated for each. */
  readonly typescript?: readonly ("read" | "write")[];
  readonly fields: readonly Field[];
}

export interface EnumValue {
  readonly name: string;
  /** The word that users see, kebab-case; made from `name` when absent. */
  readonly word?: string;
  readonly doc: string;
}

export interface Enum {
  readonly name: string;
  readonly doc: string;
  readonly values: readonly EnumValue[];
}

/** The numbers that a table blob is laid out by. Units are in the name. */
const blobLimits = {
  TABLE_MAGIC: 0x54434c53, // "SLCT"
  TABLE_VERSION: 1,
  TABLE_ALIGNMENT_BYTES: 64,
  TRIE_CHILD_BIT: 0x80000000,
  TRIE_V4_ROOT_ENTRIES: 65_536,
  TRIE_V6_ROOT_ENTRIES: 65_536,
  TRIE_NODE_ENTRIES: 256,
  TRIE_V6_PREFIX_NODE: 16,
  PORT_PAGE_INDEX_ENTRIES: 256,
  PORT_PAGE_WORDS: 8,
  NONE: 0xffffffff,
} as const;

/** Other numbers that both sides hold to. */
export const limits = {
  BATCH_FRAMES_MAX: 64,
  FRAME_BYTES_MAX: 65_568,
  LINKS_MAX: 1_024,
  WORKERS_MAX: 16,
  ZONES_MAX: 256,
  XDP_MTU_MAX: 3_498, // a frame lies in a page, behind the kernel's headroom
  EVENTS_DEFAULT: 8_192,
  DROPPED_FRAME_BYTES: 256, // of each dropped frame, for who wants to see it
  DROPPED_FRAMES: 256, // that wait to be read, of each worker
  CONNECTIONS_MAX: 67_108_864,
  CONNECTIONS_DEFAULT_MIN: 65_536,
  CONNECTIONS_DEFAULT_MAX: 4_194_304,
  FRAGMENTS_MAX: 1_048_576,
  FRAGMENTS_DEFAULT: 16_384,
  EXTENSION_HEADERS_MAX: 8,
  SUPERFRAME_SEGMENTS_MAX: 128, // of any size; TCP may have more, where none is shorter than:
  SUPERFRAME_SEGMENT_BYTES_MIN: 64,
  // What no policy judges: what a pod may tell by it, and how much may come to a pod from the network.
  EXEMPT_POD_BYTES_PER_SECOND: 512,
  EXEMPT_POD_BYTES_AT_ONCE: 4_096,
  EXEMPT_NETWORK_BYTES_PER_SECOND: 16_384,
  EXEMPT_NETWORK_BYTES_AT_ONCE: 65_536,
  LISTENER_RECORDS_MAX: 32,
  LISTENER_SOURCES_MAX: 16,
  ROUTER_ADVERTISEMENT_BYTES_MAX: 512,
  DENIED_BY_EGRESS: 1, // bits of a verdict
  DENIED_BY_INGRESS: 2,
  SAVED_CONNECTIONS_VERSION: 1,
  SAVED_UNREPLIED: 1,
  SAVED_NO_WINDOW: 2,
  SAVED_SYN_IGNORED: 4,
  SAVED_ACK_SEEN_OPENER: 8,
  SAVED_ACK_SEEN_OTHER: 16,
  SAVED_AUDITED_BY: 96, // two bits: audited policies would deny its egress, its ingress
} as const;

const blobStructs: readonly Struct[] = [
  {
    name: "Section",
    bytes: 8,
    doc: "Where one array of the blob starts, and how many elements it has.",
    fields: [
      { name: "offset", type: "u32", doc: "bytes from the start of the blob, a multiple of 64" },
      { name: "count", type: "u32", doc: "elements, not bytes" },
    ],
  },
  {
    name: "TableHeader",
    bytes: 192,
    doc: "The first bytes of a table blob.",
    typescript: ["write"],
    fields: [
      { name: "magic", type: "u32", doc: "TABLE_MAGIC" },
      { name: "version", type: "u32", doc: "TABLE_VERSION" },
      { name: "layoutHash", type: "u32", doc: "BLOB_HASH of the schema that wrote the blob" },
      { name: "checksum", type: "u32", doc: "of the whole blob, this field taken as zero" },
      { name: "totalBytes", type: "u32", doc: "length of the blob, a multiple of 64" },
      { name: "classCount", type: "u32", doc: "address classes: the width of a row" },
      { name: "rowCount", type: "u32", doc: "policy rows" },
      { name: "trieV4Inner", type: "u32", doc: "IPv4 nodes for byte 2; those for byte 3 follow" },
      {
        name: "sections",
        type: "u32",
        count: 38,
        doc: "a Section for each value of SectionId, then zeros",
      },
      { name: "reserved", type: "u32", count: 2, doc: "zero" },
    ],
  },
  {
    name: "Leaf",
    bytes: 12,
    doc: "What the trie knows of an address.",
    typescript: ["read", "write"],
    fields: [
      { name: "classId", type: "u32", doc: "column of the cells" },
      { name: "endpointId", type: "u32", doc: "local endpoint that owns the address, or NONE" },
      { name: "originId", type: "u32", doc: "class before equal columns were merged: provenance" },
    ],
  },
  {
    name: "TrieV6Node",
    bytes: 32,
    doc: "An IPv6 node. One that branches has 256 entries at the same index in trieV6Entries; one that stands for a single prefix has none.",
    typescript: ["write"],
    fields: [
      {
        name: "value",
        type: "u8",
        count: 16,
        doc: "address bits that the path to here has, network order, then zeros",
      },
      {
        name: "missLeaf",
        type: "u32",
        doc: "leaf of an address that differs from `value` in its first `bits`",
      },
      {
        name: "hitLeaf",
        type: "u32",
        doc: "single prefix: leaf of one that does not; else missLeaf",
      },
      {
        name: "bits",
        type: "u8",
        doc: "how many bits of `value` count: of a node that branches, 8 × byteIndex",
      },
      {
        name: "byteIndex",
        type: "u8",
        doc: "which address byte picks the entry, 2 to 15; grows with depth. TRIE_V6_PREFIX_NODE: single prefix",
      },
      {
        name: "skipFrom",
        type: "u8",
        doc: "first byte that no node above has looked at: of two addresses that agree before it, both come here or neither",
      },
      { name: "reserved", type: "u8", count: 5, doc: "zero" },
    ],
  },
  {
    name: "EndpointRow",
    bytes: 8,
    doc: "The policy rows of a local endpoint.",
    typescript: ["write"],
    fields: [
      { name: "ingressRow", type: "u32", doc: "row for packets to the endpoint" },
      { name: "egressRow", type: "u32", doc: "row for packets from the endpoint" },
    ],
  },
  {
    name: "PortSet",
    bytes: 16,
    doc: "A page index for each ProtocolSlot: which (protocol, port) pairs are allowed.",
    fields: [
      {
        name: "pageIndex",
        type: "u32",
        count: 4,
        doc: "number of the page index, by ProtocolSlot",
      },
    ],
  },
  {
    name: "StringRef",
    bytes: 8,
    doc: "Text in the strings section, UTF-8, not terminated.",
    fields: [
      { name: "offset", type: "u32", doc: "bytes from the start of the strings section" },
      { name: "length", type: "u32", doc: "bytes" },
    ],
  },
  {
    name: "EndpointInfo",
    bytes: 16,
    doc: "Provenance: who a local endpoint is.",
    typescript: ["read", "write"],
    fields: [
      { name: "namespaceName", type: "u32", count: 2, doc: "StringRef" },
      { name: "podName", type: "u32", count: 2, doc: "StringRef" },
    ],
  },
  {
    name: "PolicyInfo",
    bytes: 40,
    doc: "Provenance: a policy and where it was written.",
    typescript: ["read", "write"],
    fields: [
      { name: "kind", type: "u32", count: 2, doc: "StringRef" },
      {
        name: "namespaceName",
        type: "u32",
        count: 2,
        doc: "StringRef, empty for cluster policies",
      },
      { name: "name", type: "u32", count: 2, doc: "StringRef" },
      { name: "file", type: "u32", count: 2, doc: "StringRef" },
      { name: "line", type: "u32", doc: "1-based" },
      { name: "column", type: "u32", doc: "1-based" },
    ],
  },
  {
    name: "RuleInfo",
    bytes: 32,
    doc: "Provenance: a rule as one row applies it.",
    typescript: ["read", "write"],
    fields: [
      { name: "policy", type: "u32", doc: "index into policyInfos" },
      { name: "ruleIndex", type: "u32", doc: "0-based, in the direction's list of the policy" },
      { name: "tier", type: "u8", doc: "Tier" },
      { name: "action", type: "u8", doc: "Action" },
      { name: "direction", type: "u8", doc: "Direction" },
      { name: "reserved", type: "u8", doc: "zero" },
      { name: "line", type: "u32", doc: "1-based" },
      { name: "column", type: "u32", doc: "1-based" },
      {
        name: "originSet",
        type: "u32",
        doc: "set of origin classes that the peers cover, in originSets",
      },
      { name: "portSet", type: "u32", doc: "index into portSets" },
      { name: "priority", type: "u32", doc: "lower first within a tier; 0 for NetworkPolicy" },
    ],
  },
  {
    name: "RowInfo",
    bytes: 16,
    doc: "Provenance: which policies isolate, and the rules in the order of evaluation.",
    typescript: ["read", "write"],
    fields: [
      { name: "isolatedByStart", type: "u32", doc: "first index into rowLists, of policies" },
      { name: "isolatedByCount", type: "u32", doc: "policies" },
      { name: "rulesStart", type: "u32", doc: "first index into rowLists, of rules" },
      { name: "rulesCount", type: "u32", doc: "rules" },
    ],
  },
];

export const structs: readonly Struct[] = [
  {
    name: "FlowTuple",
    bytes: 40,
    doc: "The first packet of a flow, as `Table.classify` takes it.",
    typescript: ["read", "write"],
    fields: [
      {
        name: "source",
        type: "u8",
        count: 16,
        doc: "address, network order; IPv4 in the first four",
      },
      { name: "destination", type: "u8", count: 16, doc: "address, network order" },
      { name: "port", type: "u16", doc: "destination port; 0 when the protocol has none" },
      { name: "protocol", type: "u8", doc: "IP protocol number" },
      { name: "family", type: "u8", doc: "4 or 6" },
      { name: "reserved", type: "u32", doc: "zero" },
    ],
  },
  {
    name: "FlowEvent",
    bytes: 80,
    doc: "One record of the event ring.",
    typescript: ["read"],
    fields: [
      { name: "timeUs", type: "u64", doc: "microseconds since the epoch" },
      {
        name: "source",
        type: "u8",
        count: 16,
        doc: "address, network order; IPv4 in the first four",
      },
      { name: "destination", type: "u8", count: 16, doc: "address, network order" },
      { name: "sourcePort", type: "u16", doc: "0 when the protocol has none" },
      {
        name: "destinationPort",
        type: "u16",
        doc: "0 when the protocol has none; ICMP: type << 8 | code",
      },
      { name: "protocol", type: "u8", doc: "IP protocol number; 0 when there is no IP header" },
      { name: "kind", type: "u8", doc: "FlowEventKind" },
      { name: "reason", type: "u8", doc: "DropReason; Exempt: ExemptKind" },
      { name: "family", type: "u8", doc: "4, 6, or 0 when there is no IP header" },
      { name: "generation", type: "u32", doc: "of the table that judged" },
      {
        name: "lostBefore",
        type: "u32",
        doc: "events that found the ring full since the last record",
      },
      { name: "linkId", type: "u16", doc: "link that the frame came in by" },
      {
        name: "deniedBy",
        type: "u8",
        doc: "DENIED_BY_… bits; Audited and Closed: who would have denied",
      },
      { name: "tcpFlags", type: "u8", doc: "of the frame; 0 when it is no TCP" },
      { name: "frameBytes", type: "u32", doc: "length of the frame; 0 for Closed" },
      {
        name: "totalPackets",
        type: "u64",
        doc: "Closed: frames of the connection, both ways; a superframe is one",
      },
      { name: "totalBytes", type: "u64", doc: "Closed: their bytes" },
    ],
  },
  {
    name: "DroppedFrame",
    bytes: 344,
    doc: "A dropped frame with its event, for who wants to see it. At the forward hook no frame has a first header: it is zero but for the protocol, and counts as bytes of the frame.",
    typescript: ["read"],
    fields: [
      {
        name: "event",
        type: "u8",
        count: 80,
        doc: "its FlowEvent; lostBefore counts frames that found this ring full",
      },
      { name: "capturedBytes", type: "u32", doc: "how many of the bytes are the frame's" },
      { name: "reserved", type: "u32", doc: "zero" },
      { name: "frame", type: "u8", count: 256, doc: "its first bytes" },
    ],
  },
  {
    name: "ConnectionRecord",
    bytes: 112,
    doc: "One tracked connection, as it is listed.",
    typescript: ["read"],
    fields: [
      {
        name: "source",
        type: "u8",
        count: 16,
        doc: "of the first packet, network order; IPv4 in the first four",
      },
      { name: "destination", type: "u8", count: 16, doc: "address, network order" },
      { name: "key", type: "u8", count: 40, doc: "what names the connection in the table" },
      { name: "totalPackets", type: "u64", doc: "frames so far, both ways; a superframe is one" },
      { name: "totalBytes", type: "u64", doc: "their bytes" },
      { name: "expiresInMs", type: "u32", doc: "how long it lives without another packet" },
      { name: "generation", type: "u32", doc: "of the table that allowed it last" },
      { name: "sourcePort", type: "u16", doc: "0 when the protocol has none" },
      { name: "destinationPort", type: "u16", doc: "the same" },
      { name: "protocol", type: "u8", doc: "IP protocol number" },
      { name: "family", type: "u8", doc: "4 or 6" },
      { name: "state", type: "u8", doc: "ConnState" },
      {
        name: "zone",
        type: "u8",
        doc: "which of the networks that may use the same addresses: a wire's; 0 in a switch",
      },
      { name: "assured", type: "u8", doc: "1 when both ends are known to be there" },
      {
        name: "auditedBy",
        type: "u8",
        doc: "DENIED_BY_… bits: audited policies would deny its egress, its ingress",
      },
      {
        name: "inKernel",
        type: "u8",
        doc: "1 when the kernel passes its packets, by a program that reads the connection table",
      },
      { name: "reserved", type: "u8", count: 5, doc: "zero" },
    ],
  },
  {
    name: "HitRecord",
    bytes: 48,
    doc: "What passed or was denied by the same rules since it was last read.",
    typescript: ["read"],
    fields: [
      { name: "totalPackets", type: "u64", doc: "frames, both ways; a superframe is one" },
      { name: "totalBytes", type: "u64", doc: "their bytes" },
      { name: "connections", type: "u32", doc: "that began" },
      { name: "agoMs", type: "u32", doc: "how long ago the last of it was" },
      {
        name: "generation",
        type: "u32",
        doc: "of the table that judged; 0: it is not known what did",
      },
      { name: "sourceLeaf", type: "u32", doc: "of that table: the end that opened or sent" },
      { name: "destinationLeaf", type: "u32", doc: "the other end" },
      { name: "number", type: "u32", doc: "of the count in its worker" },
      { name: "port", type: "u16", doc: "destination; 0 where it does not matter" },
      { name: "worker", type: "u8", doc: "whose count it is" },
      { name: "protocolSlot", type: "u8", doc: "ProtocolSlot" },
      { name: "deniedBy", type: "u8", doc: "DENIED_BY_… bits; 0: it passed" },
      { name: "auditedBy", type: "u8", doc: "DENIED_BY_… bits: audited policies would deny it" },
      { name: "isOver", type: "u8", doc: "1: the number is free for another count" },
      { name: "reserved", type: "u8", doc: "zero" },
    ],
  },
  {
    name: "SavedConnection",
    bytes: 112,
    doc: "One tracked connection, as it goes from a process to its successor, which may be of another version: a change here, or to ConnState, needs another SAVED_CONNECTIONS_VERSION. The end that opened it comes first.",
    typescript: ["write"],
    fields: [
      {
        name: "source",
        type: "u8",
        count: 16,
        doc: "who opened it, network order; IPv4 in the first four, then zeros",
      },
      { name: "destination", type: "u8", count: 16, doc: "the other end, likewise" },
      { name: "remainingUs", type: "u64", doc: "how long it lives without another packet" },
      { name: "totalBytes", type: "u64", doc: "of its frames so far, both ways" },
      { name: "totalPackets", type: "u32", doc: "how many" },
      {
        name: "generation",
        type: "u32",
        doc: "of the table that allowed it last; 0: to be judged on its next packet, whatever becomes of others",
      },
      { name: "zone", type: "u32", doc: "which of the networks that may use the same addresses" },
      { name: "sentEnd", type: "u32", count: 2, doc: "TCP: past the highest sequence number sent" },
      { name: "limit", type: "u32", count: 2, doc: "past the highest one that may be sent" },
      { name: "windowMax", type: "u32", count: 2, doc: "largest window offered, scaled" },
      { name: "ackMax", type: "u32", count: 2, doc: "highest acknowledgement sent" },
      { name: "ignoredSynEnd", type: "u32", doc: "of a SYN that was let through" },
      { name: "ignoredSynWindow", type: "u16", doc: "likewise" },
      { name: "sourcePort", type: "u16", doc: "ICMP: the identifier" },
      { name: "destinationPort", type: "u16", doc: "the same" },
      { name: "protocol", type: "u8", doc: "IP protocol number" },
      { name: "family", type: "u8", doc: "4 or 6" },
      { name: "state", type: "u8", doc: "ConnState" },
      { name: "flags", type: "u8", doc: "SAVED_… bits" },
      { name: "windowScale", type: "u8", count: 2, doc: "255: not offered" },
      { name: "ignoredSynScale", type: "u8", doc: "likewise" },
      { name: "icmpKind", type: "u8", doc: "ICMP: the type of the query" },
      { name: "reserved", type: "u16", doc: "0" },
    ],
  },
  {
    name: "DataplaneSettings",
    bytes: 28,
    doc: "What is fixed when a data plane is made.",
    typescript: ["write"],
    fields: [
      { name: "connectionsMax", type: "u32", doc: "connections tracked at once, of all workers" },
      {
        name: "connectionsPerEndpoint",
        type: "u32",
        doc: "those of one endpoint, of all workers; 0: an equal share",
      },
      { name: "fragmentsMax", type: "u32", doc: "fragmented datagrams followed at once, likewise" },
      { name: "eventsMax", type: "u32", doc: "events that wait in each worker; a power of two" },
      { name: "workers", type: "u32", doc: "threads that judge" },
      { name: "cpu", type: "u32", doc: "of the first worker, the next ones behind it; NONE: any" },
      { name: "established", type: "u8", doc: "Established" },
      { name: "poll", type: "u8", doc: "PollMode" },
      { name: "loose", type: "u8", doc: "1: an ACK may open a connection" },
      { name: "deny", type: "u8", doc: "Deny" },
    ],
  },
  {
    name: "DataplaneCounters",
    doc: "What a data plane has counted since it was made, all workers together.",
    typescript: ["read"],
    fields: [
      { name: "connections", type: "u64", doc: "tracked now" },
      { name: "eventsLost", type: "u64", doc: "events that found their ring full" },
      { name: "generation", type: "u64", doc: "of the table in force; 0 before the first" },
      { name: "opened", type: "u64", doc: "connections allowed" },
      { name: "closed", type: "u64", doc: "connections ended or timed out" },
      { name: "cut", type: "u64", doc: "connections that a newer table denies" },
      {
        name: "audited",
        type: "u64",
        doc: "connections, and packets of none, that audit alone let through",
      },
      { name: "rejected", type: "u64", doc: "resets and ICMP errors sent for what policy denied" },
      { name: "reset", type: "u64", doc: "TCP segments of no known connection, ends told" },
      {
        name: "fragmentsEvicted",
        type: "u64",
        doc: "unfinished fragmented datagrams that gave way to new ones",
      },
      { name: "drops", type: "u64", count: "DropReason", doc: "frames dropped, by DropReason" },
      { name: "exempt", type: "u64", count: "ExemptKind", doc: "passed unjudged, by ExemptKind" },
      {
        name: "evictions",
        type: "u64",
        count: "ConnClass",
        doc: "connections that gave way to new ones, by ConnClass",
      },
    ],
  },
  {
    name: "ForwardControl",
    bytes: 184,
    doc: "What the process tells the programs at the kernel's forward hook.",
    fields: [
      { name: "inForce", type: "u32", doc: "which of the two tables is in force" },
      { name: "generation", type: "u32", doc: "of that table; 0 before the first" },
      {
        name: "podRangesV4",
        type: "u32",
        count: 8,
        doc: "four times address and mask, in the order of memory: where an unknown address passes nothing",
      },
      { name: "podRangesV6", type: "u32", count: 32, doc: "four times the words of both" },
      {
        name: "closesLink",
        type: "u32",
        doc: "1: link-local, multicast and broadcast addresses pass nothing, as some pod is isolated",
      },
      {
        name: "answers",
        type: "u32",
        doc: "1: the process answers the senders of what policy denies, and gets it as RefusedPackets",
      },
      {
        name: "leaseEndNs",
        type: "u64",
        doc: "from when on, on the monotonic clock, pods pass nothing unless a process renews it; 0: never",
      },
    ],
  },
  {
    name: "ForwardCounters",
    doc: "What the programs at the kernel's forward hook have counted, on one processor or on all.",
    typescript: ["read"],
    fields: [
      { name: "totalPackets", type: "u64", doc: "packets that were judged; a superframe is one" },
      { name: "totalBytes", type: "u64", doc: "their bytes, from the IP header on" },
      { name: "opened", type: "u64", doc: "first packets of connections that were allowed" },
      { name: "audited", type: "u64", doc: "first packets that audit alone let through" },
      { name: "eventsLost", type: "u64", doc: "events that found the ring full" },
      {
        name: "framesLostSince",
        type: "u64",
        doc: "DroppedFrames that found their ring full since the last one that did not",
      },
      { name: "drops", type: "u64", count: "DropReason", doc: "packets dropped, by DropReason" },
      { name: "exempt", type: "u64", count: "ExemptKind", doc: "passed unjudged, by ExemptKind" },
    ],
  },
  {
    name: "RefusedPacket",
    bytes: 1264,
    doc: "A packet that policy denies at the kernel's forward hook, for the answer to its sender.",
    fields: [
      { name: "timeNs", type: "u64", doc: "when, on the monotonic clock" },
      {
        name: "destination",
        type: "u8",
        count: 16,
        doc: "whom its sender has sent it to, such as a Service's address; network order, IPv4 in the first four",
      },
      { name: "destinationPortBe", type: "u16", doc: "likewise; where the protocol has ports" },
      { name: "packetBytes", type: "u16", doc: "how many follow" },
      { name: "reserved", type: "u32", doc: "not written" },
      {
        name: "packet",
        type: "u8",
        count: 1232,
        doc: "from its IP header on, as it came by; what fits is all that an ICMPv6 error may quote",
      },
    ],
  },
  {
    name: "GuardedInterface",
    bytes: 96,
    doc: "Whose frames a pod's interface on the node may bring: the addresses of the pod behind it.",
    typescript: ["read", "write"],
    fields: [
      { name: "v4", type: "u32", count: 4, doc: "addresses in the order of memory; 0: none" },
      {
        name: "v6",
        type: "u32",
        count: 16,
        doc: "four times the words of an address, in the order of memory; 0: none",
      },
      { name: "mac", type: "u8", count: 6, doc: "the only source MAC, if it is checked" },
      { name: "linkId", type: "u16", doc: "what FlowEvent calls the interface" },
      { name: "checksMac", type: "u32", doc: "1: frames of other MACs are dropped" },
      { name: "reserved", type: "u32", doc: "zero" },
    ],
  },
  {
    name: "GuardCounts",
    bytes: 16,
    doc: "What the guard of a pod's interface has dropped.",
    fields: [
      { name: "drops", type: "u64", doc: "frames" },
      { name: "toldNs", type: "u64", doc: "when the last of them was told as an event" },
    ],
  },
  {
    name: "GuardState",
    bytes: 112,
    doc: "A guarded interface as it is.",
    typescript: ["read"],
    fields: [
      { name: "interfaceIndex", type: "u32", doc: "its index" },
      { name: "attached", type: "u32", doc: "1: the guard is attached to it" },
      { name: "drops", type: "u64", doc: "frames dropped since it was guarded" },
      { name: "v4", type: "u32", count: 4, doc: "as GuardedInterface" },
      { name: "v6", type: "u32", count: 16, doc: "as GuardedInterface" },
      { name: "linkId", type: "u16", doc: "as GuardedInterface" },
      { name: "reserved", type: "u8", count: 14, doc: "zero" },
    ],
  },
  {
    name: "LinkCounters",
    bytes: 136,
    doc: "What has passed a link since it was added, and what the endpoint behind it has of the tables of connections and of fragmented datagrams.",
    typescript: ["read"],
    fields: [
      {
        name: "receivedFrames",
        type: "u64",
        doc: "frames taken from the link; a superframe is one",
      },
      { name: "receivedBytes", type: "u64", doc: "their bytes" },
      { name: "sentFrames", type: "u64", doc: "frames that the link took" },
      { name: "sentBytes", type: "u64", doc: "their bytes" },
      {
        name: "droppedFrames",
        type: "u64",
        doc: "frames received here and dropped, for any reason",
      },
      { name: "refusedFrames", type: "u64", doc: "frames that the link could not take" },
      {
        name: "answeredFrames",
        type: "u64",
        doc: "ARP and neighbour requests answered for the gateway",
      },
      { name: "lostFrames", type: "u64", doc: "frames that the kernel could not keep for us" },
      {
        name: "connections",
        type: "u64",
        doc: "tracked now that count for the endpoint behind the link; 0 where none is, and so below",
      },
      { name: "connectionQuota", type: "u64", doc: "as many as it may have" },
      {
        name: "evictedConnections",
        type: "u64",
        doc: "of it that gave way to new ones",
      },
      {
        name: "refusedConnections",
        type: "u64",
        doc: "new ones of it that were refused at its quota",
      },
      {
        name: "fragments",
        type: "u64",
        doc: "fragmented datagrams of it that have begun and are not whole",
      },
      { name: "fragmentShare", type: "u64", doc: "its share of the table of these" },
      {
        name: "evictedFragments",
        type: "u64",
        doc: "of these that gave way to new ones",
      },
      {
        name: "kernelFrames",
        type: "u64",
        doc: "frames received here that the kernel passed itself: they are among receivedFrames",
      },
      { name: "kernelBytes", type: "u64", doc: "their bytes" },
    ],
  },
  {
    name: "CapturedFrame",
    bytes: 24,
    doc: "A captured frame, as `replay` and `capture` have it judged.",
    typescript: ["write"],
    fields: [
      { name: "offset", type: "u32", doc: "where it starts in the buffer of all frames" },
      { name: "frameBytes", type: "u32", doc: "captured length" },
      { name: "timeUs", type: "u64", doc: "microseconds of the capture's clock" },
      { name: "fromOutside", type: "u8", doc: "1 when it did not come from the pod" },
      { name: "truncated", type: "u8", doc: "1 when the frame was longer than what was captured" },
      { name: "bareIp", type: "u8", doc: "1 when it starts at its IP header" },
      { name: "reserved", type: "u8", count: 5, doc: "zero" },
    ],
  },
  {
    name: "JudgedFrame",
    bytes: 80,
    doc: "What a captured frame is, and what the filter says of it.",
    typescript: ["read"],
    fields: [
      {
        name: "source",
        type: "u8",
        count: 16,
        doc: "address, network order; IPv4 in the first four; ARP: the sender's",
      },
      { name: "destination", type: "u8", count: 16, doc: "likewise; ARP: the target's" },
      { name: "sourceMac", type: "u8", count: 6, doc: "zero where there is no Ethernet header" },
      { name: "destinationMac", type: "u8", count: 6, doc: "likewise" },
      { name: "etherType", type: "u16", doc: "likewise" },
      { name: "sourcePort", type: "u16", doc: "0 when the protocol has none" },
      { name: "destinationPort", type: "u16", doc: "likewise" },
      { name: "typeCode", type: "u16", doc: "ICMP: type << 8 | code; ARP: the operation" },
      { name: "firstPort", type: "u16", doc: "destination port of its connection's first packet" },
      { name: "protocol", type: "u8", doc: "IP protocol number; 0 for ARP" },
      { name: "firstProtocol", type: "u8", doc: "of its connection" },
      {
        name: "payloadBytes",
        type: "u32",
        doc: "behind the header of TCP or UDP; others: with it",
      },
      {
        name: "leaves",
        type: "u32",
        count: 2,
        doc: "of its connection's first packet: leaf numbers of source and destination",
      },
      { name: "family", type: "u8", doc: "4, 6, or 0 when there is no header that could be read" },
      { name: "reason", type: "u8", doc: "DropReason" },
      { name: "deniedBy", type: "u8", doc: "DENIED_BY_… bits" },
      { name: "exempt", type: "u8", doc: "ExemptKind: it passes, and no policy was asked" },
      { name: "tcpFlags", type: "u8", doc: "of the frame; 0 when it is no TCP" },
      { name: "transport", type: "u8", doc: "1 when what follows the IP header was read" },
      { name: "laterFragment", type: "u8", doc: "1 when it is no first fragment: it has no ports" },
      { name: "reply", type: "u8", doc: "1 when it goes against its connection's first packet" },
      {
        name: "quoted",
        type: "u8",
        doc: "1 for an ICMP error: its connection is that of the packet that it quotes",
      },
      { name: "joined", type: "u8", doc: "1 when its connection was not seen to start" },
      { name: "reserved", type: "u8", count: 2, doc: "zero" },
    ],
  },
  {
    name: "ProbeRequest",
    bytes: 56,
    doc: "One connection for the prober to try.",
    typescript: ["write"],
    fields: [
      {
        name: "source",
        type: "u8",
        count: 16,
        doc: "address, network order; IPv4 in the first four",
      },
      { name: "destination", type: "u8", count: 16, doc: "address, network order" },
      { name: "sourceNamespace", type: "u32", doc: "descriptor of the namespace that sends" },
      {
        name: "destinationNamespace",
        type: "u32",
        doc: "descriptor of the namespace that listens, or NONE",
      },
      { name: "port", type: "u16", doc: "destination port; 0 for ICMP" },
      { name: "protocol", type: "u8", doc: "IP protocol number: TCP, UDP, SCTP, ICMP, ICMPv6" },
      { name: "family", type: "u8", doc: "4 or 6" },
      { name: "timeoutMs", type: "u32", doc: "how long to wait for an answer" },
      { name: "reserved", type: "u32", count: 2, doc: "zero" },
    ],
  },
  {
    name: "ProbeResult",
    bytes: 16,
    doc: "How a probe ended.",
    typescript: ["read"],
    fields: [
      {
        name: "roundTripUs",
        type: "u32",
        doc: "from the first packet to the answer; 0 without one",
      },
      { name: "errorNumber", type: "u32", doc: "errno, when the outcome is Failed" },
      { name: "outcome", type: "u8", doc: "ProbeOutcome" },
      { name: "reserved", type: "u8", count: 7, doc: "zero" },
    ],
  },
  {
    name: "TrafficRequest",
    bytes: 72,
    doc: "Traffic between two sockets of real namespaces, to measure with.",
    typescript: ["write"],
    fields: [
      { name: "client", type: "u8", count: 16, doc: "address, network order" },
      { name: "server", type: "u8", count: 16, doc: "address, network order" },
      { name: "clientNamespace", type: "u32", doc: "descriptor of the namespace that sends" },
      { name: "serverNamespace", type: "u32", doc: "descriptor of the other one" },
      { name: "clientCpu", type: "u32", doc: "where its threads run; NONE: anywhere" },
      { name: "serverCpu", type: "u32", doc: "the same of the other end" },
      { name: "streams", type: "u32", doc: "of Stream; each has a thread at both ends" },
      { name: "payloadBytes", type: "u32", doc: "of a datagram" },
      {
        name: "flows",
        type: "u32",
        doc: "of Packets: connections that they take turns to belong to; of BesideFlows: new ones a second",
      },
      { name: "warmupMs", type: "u32", doc: "sent before anything is counted" },
      { name: "durationMs", type: "u32", doc: "how long it is counted" },
      { name: "port", type: "u16", doc: "where the server listens" },
      { name: "kind", type: "u8", doc: "TrafficKind" },
      { name: "family", type: "u8", doc: "4 or 6" },
    ],
  },
];

/** Array sections of a table blob, in the order of SectionId. */
export const sections: readonly {
  readonly name: string;
  /** A struct of this schema, or a scalar. */
  readonly element: string;
  /** Elements that belong together: the count is a multiple of this. */
  readonly group?: number;
  readonly doc: string;
}[] = [
  {
    name: "trieV4Root",
    element: "u32",
    group: 65_536,
    doc: "by the first 16 bits of an IPv4 address: a leaf, or TRIE_CHILD_BIT and a node",
  },
  {
    name: "trieV4Nodes",
    element: "u32",
    group: 256,
    doc: "256 entries a node, by the next 8 bits",
  },
  {
    name: "trieV6Root",
    element: "u32",
    group: 65_536,
    doc: "by the first 16 bits of an IPv6 address",
  },
  {
    name: "trieV6Nodes",
    element: "TrieV6Node",
    doc: "path-compressed nodes, by byteIndex and then by value",
  },
  {
    name: "trieV6Entries",
    element: "u32",
    group: 256,
    doc: "256 entries a node that branches: a leaf, or TRIE_CHILD_BIT and a node",
  },
  { name: "leaves", element: "Leaf", doc: "leaf number to class and endpoint" },
  { name: "endpoints", element: "EndpointRow", doc: "rows of each local endpoint" },
  { name: "cells", element: "u16", doc: "rowCount × classCount port-set numbers, row by row" },
  { name: "portSets", element: "PortSet", doc: "deduplicated port sets" },
  {
    name: "portPageIndexes",
    element: "u16",
    group: 256,
    doc: "256 page numbers an index, by the port's high byte",
  },
  { name: "portPages", element: "u32", group: 8, doc: "256 bits a page, by the port's low byte" },
  { name: "strings", element: "u8", doc: "UTF-8 text, referred to by StringRef" },
  { name: "endpointInfos", element: "EndpointInfo", doc: "one for each endpoint" },
  { name: "policyInfos", element: "PolicyInfo", doc: "policies that select a local endpoint" },
  { name: "ruleInfos", element: "RuleInfo", doc: "rules of those policies, ports resolved" },
  { name: "rowInfos", element: "RowInfo", doc: "one for each row" },
  { name: "rowLists", element: "u32", doc: "policy and rule indexes that rowInfos refer to" },
  {
    name: "originSets",
    element: "u32",
    doc: "sets of origin classes: count, then that many ids, ascending",
  },
  {
    name: "auditRows",
    element: "EndpointRow",
    doc: "rows of each local endpoint with the audited policies; empty when nothing is audited",
  },
];

const blobEnums: readonly Enum[] = [
  {
    name: "ProtocolSlot",
    doc: "Which of a port set's page indexes answers for a protocol.",
    values: [
      { name: "Tcp", doc: "protocol 6" },
      { name: "Udp", doc: "protocol 17" },
      { name: "Sctp", doc: "protocol 132" },
      { name: "Other", doc: "every other protocol, with port 0" },
    ],
  },
  {
    name: "Tier",
    doc: "Who wrote a rule; evaluated in this order.",
    values: [
      { name: "Node", doc: "built in: a node reaches its own pods" },
      { name: "Admin", doc: "ClusterNetworkPolicy, tier Admin" },
      { name: "NetworkPolicy", doc: "networking.k8s.io/v1" },
      { name: "Baseline", doc: "ClusterNetworkPolicy, tier Baseline" },
    ],
  },
  {
    name: "Action",
    doc: "What a rule does with a packet it matches.",
    values: [
      { name: "Accept", doc: "allow, finally" },
      { name: "Deny", doc: "deny, finally" },
      { name: "Pass", doc: "leave the tier" },
    ],
  },
  {
    name: "Direction",
    doc: "Seen from the endpoint.",
    values: [
      { name: "Ingress", doc: "to the endpoint" },
      { name: "Egress", doc: "from the endpoint" },
    ],
  },
];

export const enums: readonly Enum[] = [
  {
    name: "StatusCode",
    doc: "How a native call ended.",
    values: [
      { name: "Ok", doc: "done" },
      { name: "TableTooShort", doc: "the blob is shorter than its header says" },
      { name: "TableMagic", doc: "the bytes are no table blob" },
      { name: "TableVersion", doc: "written by another version of the format" },
      { name: "TableLayout", doc: "written with another layout (BLOB_HASH differs)" },
      { name: "TableChecksum", doc: "the checksum does not fit the bytes" },
      { name: "TableBounds", doc: "a section or an index points outside its array" },
      { name: "TableCycle", doc: "a trie node points at itself or upwards" },
      { name: "System", doc: "a system call failed; errno and the call's name say which" },
      { name: "Argument", doc: "an argument is outside what the call accepts" },
      { name: "Limit", doc: "a fixed limit is reached" },
      { name: "State", doc: "not possible in the present state" },
    ],
  },
  {
    name: "Fault",
    doc: "What a refusal is about, where the system call and its errno do not tell.",
    values: [
      { name: "None", doc: "they do" },
      { name: "TunDevice", doc: "/dev/net/tun is not there, or not ours to open" },
      {
        name: "StackFilters",
        doc: "the kernel's stack is kept off the interface by filters that outlive the process",
      },
      { name: "WorkerCpu", doc: "no such CPU, or not one that this process may use" },
      { name: "XdpQueueBusy", doc: "another program reads the interface's queue by AF_XDP" },
    ],
  },
  {
    name: "PollMode",
    doc: "How a worker waits for frames. The first is the default.",
    values: [
      { name: "Adaptive", doc: "looks on for a little while where that pays, then sleeps" },
      { name: "Spin", doc: "never sleeps: a CPU for each worker" },
      { name: "Sleep", doc: "always sleeps" },
    ],
  },
  {
    name: "Established",
    doc: "What a table swap means for the connections that run. The first is the default.",
    values: [
      {
        name: "Recheck",
        doc: "the next packet of each is judged again, and a connection now denied is cut",
      },
      { name: "Keep", doc: "they go on to their end" },
      { name: "Cut", doc: "all are judged again at once, without waiting for their packets" },
    ],
  },
  {
    name: "Deny",
    doc: "What the sender of a packet hears that policy denies. The first is the default.",
    values: [
      { name: "Drop", doc: "nothing" },
      { name: "Reject", doc: "a TCP reset or an ICMP error, within a rate" },
    ],
  },
  {
    name: "LinkKind",
    doc: "How an interface's frames come in.",
    values: [
      { name: "Tap", doc: "a TAP interface of our own" },
      { name: "Packet", word: "af-packet", doc: "an existing interface by AF_PACKET" },
      { name: "Xdp", word: "af-xdp", doc: "an existing interface by AF_XDP" },
      {
        name: "Kernel",
        word: "kernel",
        doc: "an existing interface by a program, which passes packets of admitted connections itself",
      },
    ],
  },
  {
    name: "ForwardHook",
    doc: "What judges where the kernel forwards packets.",
    values: [
      { name: "Netfilter", doc: "a program at netfilter's forward hook" },
      { name: "Iptables", doc: "a program as the match of rules at the forward hook" },
      { name: "Nfqueue", doc: "this process, of packets that rules at the forward hook queue" },
    ],
  },
  {
    name: "MatchRole",
    doc: "What a packet is to its connection, as a rule at the forward hook finds it.",
    values: [
      { name: "First", doc: "the client's, before the server has answered" },
      { name: "Onward", doc: "the client's" },
      { name: "Reply", doc: "the server's" },
      { name: "Untracked", doc: "it belongs to none" },
    ],
  },
  {
    name: "TrafficKind",
    doc: "What is sent to measure with.",
    values: [
      { name: "RoundTrips", doc: "UDP, one datagram at a time, there and back" },
      { name: "Packets", doc: "UDP datagrams one way, as many as go" },
      { name: "Stream", doc: "TCP bytes one way, as many as go" },
      { name: "Connections", doc: "TCP: connect, request, reply, close; one after the other" },
      {
        name: "BesideFlows",
        doc: "bytes there and back over one TCP connection, while new UDP flows come to its port",
      },
    ],
  },
  {
    name: "KernelFeature",
    doc: "What the data plane asks of a kernel.",
    values: [
      { name: "PacketSocket", word: "packetSocket", doc: "AF_PACKET" },
      { name: "XdpSocket", word: "xdpSocket", doc: "AF_XDP" },
      { name: "Tun", doc: "/dev/net/tun" },
      {
        name: "LoadProgram",
        word: "loadProgram",
        doc: "bpf(BPF_PROG_LOAD) of a program for tc",
      },
      { name: "AttachTcx", word: "attachTcx", doc: "a bpf link on an interface's ingress" },
      { name: "Seccomp", doc: "a filter of system calls" },
    ],
  },
  {
    name: "FlowEventKind",
    doc: "What an event tells.",
    values: [
      { name: "Opened", doc: "a new connection was allowed" },
      { name: "Closed", doc: "a connection ended or timed out" },
      { name: "Dropped", doc: "a frame was dropped" },
      { name: "Cut", doc: "an existing connection is no longer allowed" },
      { name: "Audited", doc: "a frame passed that audited policies would have denied" },
      { name: "Exempt", doc: "a message passed that no policy judges; a sample of them" },
    ],
  },
  {
    name: "ExemptKind",
    doc: "A message that no policy judges: the link itself needs it.",
    values: [
      { name: "None", doc: "policy judges it" },
      { name: "Arp", doc: "ARP for IPv4" },
      { name: "Neighbor", doc: "neighbour and router solicitations, neighbour advertisements" },
      { name: "Listener", doc: "multicast listener discovery" },
      { name: "RouterAdvertisement", doc: "a router advertisement from the network" },
    ],
  },
  {
    name: "ConnState",
    doc: "State of a tracked connection.",
    values: [
      { name: "None", doc: "free slot" },
      { name: "SynSent", doc: "TCP: a SYN was seen" },
      { name: "SynReceived", doc: "TCP: answered by SYN and ACK" },
      { name: "Established", doc: "TCP: handshake complete" },
      { name: "FinWait", doc: "TCP: one side has closed" },
      { name: "CloseWait", doc: "TCP: the close was acknowledged" },
      { name: "LastAck", doc: "TCP: both sides have closed" },
      { name: "TimeWait", doc: "TCP: the last close was acknowledged" },
      { name: "Close", doc: "TCP: reset" },
      { name: "SynSent2", doc: "TCP: simultaneous open" },
      { name: "Unreplied", doc: "not TCP: one direction only so far" },
      { name: "Replied", doc: "not TCP: both directions seen" },
    ],
  },
  {
    name: "ConnClass",
    doc: "Which connections give way first when there is no room for a new one.",
    values: [
      { name: "Closing", doc: "TCP: closed by both ends, which know it, or reset" },
      { name: "Unanswered", doc: "nothing shows yet that the other end is there" },
      {
        name: "Unassured",
        doc: "answered, but an ICMP query, not TCP and just begun, or TCP that is being closed",
      },
      { name: "Assured", doc: "an established TCP connection, or another that goes on" },
    ],
  },
  {
    name: "ProbeOutcome",
    doc: "How a probe ended.",
    values: [
      { name: "Answered", doc: "the request arrived and the answer came back" },
      { name: "TimedOut", doc: "nothing came back in time" },
      { name: "Refused", doc: "the destination, or a router on the way, refused it" },
      { name: "Failed", doc: "it could not be tried; errno says why" },
    ],
  },
  {
    name: "DropReason",
    doc: "Why a frame was dropped. From the outside in: link, addresses, header, fragment, transport, state, policy, resources.",
    values: [
      { name: "None", doc: "not dropped" },
      {
        name: "MalformedEthernet",
        doc: "shorter than an Ethernet header, or sent from a group address",
      },
      { name: "VlanTag", doc: "carries an 802.1Q or 802.1ad tag and no VLAN is configured" },
      {
        name: "L2Protocol",
        doc: "neither IPv4, IPv6 nor ARP, or its destination MAC does not fit its destination",
      },
      {
        name: "SpoofedMac",
        doc: "Ethernet source is not the pod's own (from the pod), or is the pod's (to the pod)",
      },
      {
        name: "MalformedArp",
        doc: "ARP whose sizes, types, opcode, length or hardware addresses are not those of Ethernet and IPv4",
      },
      { name: "SpoofedArp", doc: "ARP that claims an address or a MAC that is not the sender's" },
      {
        name: "MalformedIpv4",
        word: "malformed-ipv4",
        doc: "version, header length, total length or options are wrong, or the frame is cut",
      },
      {
        name: "MalformedIpv6",
        word: "malformed-ipv6",
        doc: "version, payload length or header chain is wrong, or the frame is cut; jumbograms",
      },
      { name: "BadChecksum", doc: "the IPv4 header checksum is wrong" },
      {
        name: "SpoofedSource",
        doc: "from the pod: an address that is not its own; to the pod: the pod's own",
      },
      {
        name: "MartianSource",
        doc: "loopback, multicast, broadcast, unspecified or IPv4-mapped source",
      },
      { name: "TtlExpired", doc: "TTL or hop limit is 0" },
      { name: "ForbiddenIpOption", doc: "IPv4 loose or strict source route" },
      { name: "ForbiddenExtHeader", doc: "IPv6 routing header, or a chain that is not allowed" },
      { name: "ExtHeaderLimit", doc: "more extension headers than are walked" },
      {
        name: "MalformedFragment",
        doc: "a fragment that is not the last one, with no data or a length that is no multiple of 8",
      },
      {
        name: "FragmentTiny",
        doc: "a first fragment without the whole layer-4 header, or a TCP fragment at offset 8",
      },
      {
        name: "FragmentIncompleteChain",
        doc: "an IPv6 first fragment without the whole header chain",
      },
      {
        name: "FragmentOverlap",
        doc: "overlaps an earlier fragment, its datagram had an overlap, or it could complete one that is denied now",
      },
      { name: "FragmentOversize", doc: "would make a datagram of more than 65,535 bytes" },
      {
        name: "FragmentOrphan",
        doc: "a later fragment whose first one was not seen, has expired or was refused",
      },
      {
        name: "MalformedTcp",
        doc: "shorter than its header, or a data offset outside the segment",
      },
      { name: "MalformedUdp", doc: "shorter than 8 bytes, or a length field that does not fit" },
      { name: "MalformedIcmp", doc: "shorter than its type needs" },
      {
        name: "MalformedSctp",
        doc: "shorter than the common header, or a chunk that does not fit",
      },
      {
        name: "MalformedNdp",
        doc: "breaks a rule of neighbour discovery: hop limit, code, options, lengths, target",
      },
      {
        name: "SpoofedNdp",
        doc: "neighbour discovery that claims what is not the sender's; redirects",
      },
      {
        name: "RouterAdvertisement",
        doc: "a router advertisement, or the role of a router, from the pod; one from the network where none is wanted",
      },
      { name: "InvalidTcpFlags", doc: "a combination of flags that no TCP sends" },
      {
        name: "RelatedTruncated",
        doc: "an ICMP error whose quote is cut, broken or without ports",
      },
      {
        name: "RelatedMismatch",
        doc: "an ICMP error sent to somebody who did not send the quoted packet",
      },
      { name: "RelatedUnknown", doc: "an ICMP error that quotes no tracked connection" },
      { name: "InvalidTcpState", doc: "a segment that the connection's state does not admit" },
      { name: "OutOfWindow", doc: "a segment, or a quoted one, outside the tracked window" },
      {
        name: "NoConnection",
        doc: "needs a connection (TCP without SYN, an echo reply) and has none",
      },
      { name: "PolicyIngress", doc: "no ingress rule of the receiver allows it" },
      { name: "PolicyEgress", doc: "no egress rule of the sender allows it" },
      { name: "ConntrackFull", doc: "the connection table is full and nothing may give way" },
      {
        name: "ConnectionQuota",
        doc: "the endpoint has as many connections as it may, and none of its own may give way",
      },
      { name: "FragmentFull", doc: "it leaves more gaps in its datagram than are kept" },
      { name: "FrameTruncated", doc: "longer than the receive slot, so part of it is missing" },
      {
        name: "OffloadInvalid",
        doc: "its offload header (checksum start, segment size) does not fit the frame",
      },
      { name: "NoDestination", doc: "no link leads to the destination" },
      { name: "TransmitFull", doc: "the outgoing link could not take the frame" },
      { name: "NoTable", doc: "no table is in force" },
      {
        name: "OffloadSegments",
        doc: "a superframe that would be cut into more segments than any stack makes",
      },
      {
        name: "ExemptLimit",
        doc: "more ARP, neighbour or listener messages than a link may send unjudged",
      },
      {
        name: "UnknownPod",
        doc: "in place: an address of the node's pod ranges that no pod of the table has, or one that is for a link alone",
      },
      {
        name: "LeaseOver",
        doc: "in place: no process has renewed the lease, and the pod is closed without one",
      },
    ],
  },
];

/** What one hash covers. */
export interface SchemaPart {
  readonly limits: Readonly<Record<string, number>>;
  readonly structs: readonly Struct[];
  readonly enums: readonly Enum[];
}

export interface Schema {
  readonly blob: SchemaPart & { readonly sections: typeof sections };
  /** What crosses between TypeScript and the addon besides blobs. */
  readonly addon: SchemaPart;
}

export const schema: Schema = {
  blob: { limits: blobLimits, structs: blobStructs, enums: blobEnums, sections },
  addon: { limits, structs, enums },
};
