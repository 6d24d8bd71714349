// Generated from src/layout/schema.ts by `npm run generate`; do not edit.

/** Of what a table blob holds. */
export const BLOB_HASH = 0x2083e8b;
/** Of all that TypeScript and the addon share. */
export const LAYOUT_HASH = 0x7e28f35f;

export const TABLE_MAGIC = 1413696595;
export const TABLE_VERSION = 1;
export const TABLE_ALIGNMENT_BYTES = 64;
export const TRIE_CHILD_BIT = 2147483648;
export const TRIE_V4_ROOT_ENTRIES = 65536;
export const TRIE_V6_ROOT_ENTRIES = 65536;
export const TRIE_NODE_ENTRIES = 256;
export const TRIE_V6_PREFIX_NODE = 16;
export const PORT_PAGE_INDEX_ENTRIES = 256;
export const PORT_PAGE_WORDS = 8;
export const NONE = 4294967295;
export const BATCH_FRAMES_MAX = 64;
export const FRAME_BYTES_MAX = 65568;
export const LINKS_MAX = 1024;
export const WORKERS_MAX = 16;
export const ZONES_MAX = 256;
export const XDP_MTU_MAX = 3498;
export const EVENTS_DEFAULT = 8192;
export const DROPPED_FRAME_BYTES = 256;
export const DROPPED_FRAMES = 256;
export const CONNECTIONS_MAX = 67108864;
export const CONNECTIONS_DEFAULT_MIN = 65536;
export const CONNECTIONS_DEFAULT_MAX = 4194304;
export const FRAGMENTS_MAX = 1048576;
export const FRAGMENTS_DEFAULT = 16384;
export const EXTENSION_HEADERS_MAX = 8;
export const SUPERFRAME_SEGMENTS_MAX = 128;
export const SUPERFRAME_SEGMENT_BYTES_MIN = 64;
export const EXEMPT_POD_BYTES_PER_SECOND = 512;
export const EXEMPT_POD_BYTES_AT_ONCE = 4096;
export const EXEMPT_NETWORK_BYTES_PER_SECOND = 16384;
export const EXEMPT_NETWORK_BYTES_AT_ONCE = 65536;
export const LISTENER_RECORDS_MAX = 32;
export const LISTENER_SOURCES_MAX = 16;
export const ROUTER_ADVERTISEMENT_BYTES_MAX = 512;
export const DENIED_BY_EGRESS = 1;
export const DENIED_BY_INGRESS = 2;
export const SAVED_CONNECTIONS_VERSION = 1;
export const SAVED_UNREPLIED = 1;
export const SAVED_NO_WINDOW = 2;
export const SAVED_SYN_IGNORED = 4;
export const SAVED_ACK_SEEN_OPENER = 8;
export const SAVED_ACK_SEEN_OTHER = 16;
export const SAVED_AUDITED_BY = 96;

/** Which of a port set's page indexes answers for a protocol. */
export const ProtocolSlot = {
  /** protocol 6 */
  Tcp: 0,
  /** protocol 17 */
  Udp: 1,
  /** protocol 132 */
  Sctp: 2,
  /** every other protocol, with port 0 */
  Other: 3,
} as const;
export type ProtocolSlot = (typeof ProtocolSlot)[keyof typeof ProtocolSlot];
/** The word for each value of ProtocolSlot, by its number. */
export const protocolSlotWords = [
  "tcp",
  "udp",
  "sctp",
  "other",
] as const;

/** Who wrote a rule; evaluated in this order. */
export const Tier = {
  /** built in: a node reaches its own pods */
  Node: 0,
  /** ClusterNetworkPolicy, tier Admin */
  Admin: 1,
  /** networking.k8s.io/v1 */
  NetworkPolicy: 2,
  /** ClusterNetworkPolicy, tier Baseline */
  Baseline: 3,
} as const;
export type Tier = (typeof Tier)[keyof typeof Tier];
/** The word for each value of Tier, by its number. */
export const tierWords = [
  "node",
  "admin",
  "network-policy",
  "baseline",
] as const;

/** What a rule does with a packet it matches. */
export const Action = {
  /** allow, finally */
  Accept: 0,
  /** deny, finally */
  Deny: 1,
  /** leave the tier */
  Pass: 2,
} as const;
export type Action = (typeof Action)[keyof typeof Action];
/** The word for each value of Action, by its number. */
export const actionWords = [
  "accept",
  "deny",
  "pass",
] as const;

/** Seen from the endpoint. */
export const Direction = {
  /** to the endpoint */
  Ingress: 0,
  /** from the endpoint */
  Egress: 1,
} as const;
export type Direction = (typeof Direction)[keyof typeof Direction];
/** The word for each value of Direction, by its number. */
export const directionWords = [
  "ingress",
  "egress",
] as const;

/** How a native call ended. */
export const StatusCode = {
  /** done */
  Ok: 0,
  /** the blob is shorter than its header says */
  TableTooShort: 1,
  /** the bytes are no table blob */
  TableMagic: 2,
  /** written by another version of the format */
  TableVersion: 3,
  /** written with another layout (BLOB_HASH differs) */
  TableLayout: 4,
  /** the checksum does not fit the bytes */
  TableChecksum: 5,
  /** a section or an index points outside its array */
  TableBounds: 6,
  /** a trie node points at itself or upwards */
  TableCycle: 7,
  /** a system call failed; errno and the call's name say which */
  System: 8,
  /** an argument is outside what the call accepts */
  Argument: 9,
  /** a fixed limit is reached */
  Limit: 10,
  /** not possible in the present state */
  State: 11,
} as const;
export type StatusCode = (typeof StatusCode)[keyof typeof StatusCode];
/** The word for each value of StatusCode, by its number. */
export const statusCodeWords = [
  "ok",
  "table-too-short",
  "table-magic",
  "table-version",
  "table-layout",
  "table-checksum",
  "table-bounds",
  "table-cycle",
  "system",
  "argument",
  "limit",
  "state",
] as const;

/** What a refusal is about, where the system call and its errno do not tell. */
export const Fault = {
  /** they do */
  None: 0,
  /** /dev/net/tun is not there, or not ours to open */
  TunDevice: 1,
  /** the kernel's stack is kept off the interface by filters that outlive the process */
  StackFilters: 2,
  /** no such CPU, or not one that this process may use */
  WorkerCpu: 3,
  /** another program reads the interface's queue by AF_XDP */
  XdpQueueBusy: 4,
} as const;
export type Fault = (typeof Fault)[keyof typeof Fault];
/** The word for each value of Fault, by its number. */
export const faultWords = [
  "none",
  "tun-device",
  "stack-filters",
  "worker-cpu",
  "xdp-queue-busy",
] as const;

/** How a worker waits for frames. The first is the default. */
export const PollMode = {
  /** looks on for a little while where that pays, then sleeps */
  Adaptive: 0,
  /** never sleeps: a CPU for each worker */
  Spin: 1,
  /** always sleeps */
  Sleep: 2,
} as const;
export type PollMode = (typeof PollMode)[keyof typeof PollMode];
/** The word for each value of PollMode, by its number. */
export const pollModeWords = [
  "adaptive",
  "spin",
  "sleep",
] as const;

/** What a table swap means for the connections that run. The first is the default. */
export const Established = {
  /** the next packet of each is judged again, and a connection now denied is cut */
  Recheck: 0,
  /** they go on to their end */
  Keep: 1,
  /** all are judged again at once, without waiting for their packets */
  Cut: 2,
} as const;
export type Established = (typeof Established)[keyof typeof Established];
/** The word for each value of Established, by its number. */
export const establishedWords = [
  "recheck",
  "keep",
  "cut",
] as const;

/** What the sender of a packet hears that policy denies. The first is the default. */
export const Deny = {
  /** nothing */
  Drop: 0,
  /** a TCP reset or an ICMP error, within a rate */
  Reject: 1,
} as const;
export type Deny = (typeof Deny)[keyof typeof Deny];
/** The word for each value of Deny, by its number. */
export const denyWords = [
  "drop",
  "reject",
] as const;

/** How an interface's frames come in. */
export const LinkKind = {
  /** a TAP interface of our own */
  Tap: 0,
  /** an existing interface by AF_PACKET */
  Packet: 1,
  /** an existing interface by AF_XDP */
  Xdp: 2,
  /** an existing interface by a program, which passes packets of admitted connections itself */
  Kernel: 3,
} as const;
export type LinkKind = (typeof LinkKind)[keyof typeof LinkKind];
/** The word for each value of LinkKind, by its number. */
export const linkKindWords = [
  "tap",
  "af-packet",
  "af-xdp",
  "kernel",
] as const;

/** What judges where the kernel forwards packets. */
export const ForwardHook = {
  /** a program at netfilter's forward hook */
  Netfilter: 0,
  /** a program as the match of rules at the forward hook */
  Iptables: 1,
  /** this process, of packets that rules at the forward hook queue */
  Nfqueue: 2,
} as const;
export type ForwardHook = (typeof ForwardHook)[keyof typeof ForwardHook];
/** The word for each value of ForwardHook, by its number. */
export const forwardHookWords = [
  "netfilter",
  "iptables",
  "nfqueue",
] as const;

/** What a packet is to its connection, as a rule at the forward hook finds it. */
export const MatchRole = {
  /** the client's, before the server has answered */
  First: 0,
  /** the client's */
  Onward: 1,
  /** the server's */
  Reply: 2,
  /** it belongs to none */
  Untracked: 3,
} as const;
export type MatchRole = (typeof MatchRole)[keyof typeof MatchRole];
/** The word for each value of MatchRole, by its number. */
export const matchRoleWords = [
  "first",
  "onward",
  "reply",
  "untracked",
] as const;

/** What is sent to measure with. */
export const TrafficKind = {
  /** UDP, one datagram at a time, there and back */
  RoundTrips: 0,
  /** UDP datagrams one way, as many as go */
  Packets: 1,
  /** TCP bytes one way, as many as go */
  Stream: 2,
  /** TCP: connect, request, reply, close; one after the other */
  Connections: 3,
  /** bytes there and back over one TCP connection, while new UDP flows come to its port */
  BesideFlows: 4,
} as const;
export type TrafficKind = (typeof TrafficKind)[keyof typeof TrafficKind];
/** The word for each value of TrafficKind, by its number. */
export const trafficKindWords = [
  "round-trips",
  "packets",
  "stream",
  "connections",
  "beside-flows",
] as const;

/** What the data plane asks of a kernel. */
export const KernelFeature = {
  /** AF_PACKET */
  PacketSocket: 0,
  /** AF_XDP */
  XdpSocket: 1,
  /** /dev/net/tun */
  Tun: 2,
  /** bpf(BPF_PROG_LOAD) of a program for tc */
  LoadProgram: 3,
  /** a bpf link on an interface's ingress */
  AttachTcx: 4,
  /** a filter of system calls */
  Seccomp: 5,
} as const;
export type KernelFeature = (typeof KernelFeature)[keyof typeof KernelFeature];
/** The word for each value of KernelFeature, by its number. */
export const kernelFeatureWords = [
  "packetSocket",
  "xdpSocket",
  "tun",
  "loadProgram",
  "attachTcx",
  "seccomp",
] as const;

/** What an event tells. */
export const FlowEventKind = {
  /** a new connection was allowed */
  Opened: 0,
  /** a connection ended or timed out */
  Closed: 1,
  /** a frame was dropped */
  Dropped: 2,
  /** an existing connection is no longer allowed */
  Cut: 3,
  /** a frame passed that audited policies would have denied */
  Audited: 4,
  /** a message passed that no policy judges; a sample of them */
  Exempt: 5,
} as const;
export type FlowEventKind = (typeof FlowEventKind)[keyof typeof FlowEventKind];
/** The word for each value of FlowEventKind, by its number. */
export const flowEventKindWords = [
  "opened",
  "closed",
  "dropped",
  "cut",
  "audited",
  "exempt",
] as const;

/** A message that no policy judges: the link itself needs it. */
export const ExemptKind = {
  /** policy judges it */
  None: 0,
  /** ARP for IPv4 */
  Arp: 1,
  /** neighbour and router solicitations, neighbour advertisements */
  Neighbor: 2,
  /** multicast listener discovery */
  Listener: 3,
  /** a router advertisement from the network */
  RouterAdvertisement: 4,
} as const;
export type ExemptKind = (typeof ExemptKind)[keyof typeof ExemptKind];
/** The word for each value of ExemptKind, by its number. */
export const exemptKindWords = [
  "none",
  "arp",
  "neighbor",
  "listener",
  "router-advertisement",
] as const;

/** State of a tracked connection. */
export const ConnState = {
  /** free slot */
  None: 0,
  /** TCP: a SYN was seen */
  SynSent: 1,
  /** TCP: answered by SYN and ACK */
  SynReceived: 2,
  /** TCP: handshake complete */
  Established: 3,
  /** TCP: one side has closed */
  FinWait: 4,
  /** TCP: the close was acknowledged */
  CloseWait: 5,
  /** TCP: both sides have closed */
  LastAck: 6,
  /** TCP: the last close was acknowledged */
  TimeWait: 7,
  /** TCP: reset */
  Close: 8,
  /** TCP: simultaneous open */
  SynSent2: 9,
  /** not TCP: one direction only so far */
  Unreplied: 10,
  /** not TCP: both directions seen */
  Replied: 11,
} as const;
export type ConnState = (typeof ConnState)[keyof typeof ConnState];
/** The word for each value of ConnState, by its number. */
export const connStateWords = [
  "none",
  "syn-sent",
  "syn-received",
  "established",
  "fin-wait",
  "close-wait",
  "last-ack",
  "time-wait",
  "close",
  "syn-sent2",
  "unreplied",
  "replied",
] as const;

/** Which connections give way first when there is no room for a new one. */
export const ConnClass = {
  /** TCP: closed by both ends, which know it, or reset */
  Closing: 0,
  /** nothing shows yet that the other end is there */
  Unanswered: 1,
  /** answered, but an ICMP query, not TCP and just begun, or TCP that is being closed */
  Unassured: 2,
  /** an established TCP connection, or another that goes on */
  Assured: 3,
} as const;
export type ConnClass = (typeof ConnClass)[keyof typeof ConnClass];
/** The word for each value of ConnClass, by its number. */
export const connClassWords = [
  "closing",
  "unanswered",
  "unassured",
  "assured",
] as const;

/** How a probe ended. */
export const ProbeOutcome = {
  /** the request arrived and the answer came back */
  Answered: 0,
  /** nothing came back in time */
  TimedOut: 1,
  /** the destination, or a router on the way, refused it */
  Refused: 2,
  /** it could not be tried; errno says why */
  Failed: 3,
} as const;
export type ProbeOutcome = (typeof ProbeOutcome)[keyof typeof ProbeOutcome];
/** The word for each value of ProbeOutcome, by its number. */
export const probeOutcomeWords = [
  "answered",
  "timed-out",
  "refused",
  "failed",
] as const;

/** Why a frame was dropped. From the outside in: link, addresses, header, fragment, transport, state, policy, resources. */
export const DropReason = {
  /** not dropped */
  None: 0,
  /** shorter than an Ethernet header, or sent from a group address */
  MalformedEthernet: 1,
  /** carries an 802.1Q or 802.1ad tag and no VLAN is configured */
  VlanTag: 2,
  /** neither IPv4, IPv6 nor ARP, or its destination MAC does not fit its destination */
  L2Protocol: 3,
  /** Ethernet source is not the pod's own (from the pod), or is the pod's (to the pod) */
  SpoofedMac: 4,
  /** ARP whose sizes, types, opcode, length or hardware addresses are not those of Ethernet and IPv4 */
  MalformedArp: 5,
  /** ARP that claims an address or a MAC that is not the sender's */
  SpoofedArp: 6,
  /** version, header length, total length or options are wrong, or the frame is cut */
  MalformedIpv4: 7,
  /** version, payload length or header chain is wrong, or the frame is cut; jumbograms */
  MalformedIpv6: 8,
  /** the IPv4 header checksum is wrong */
  BadChecksum: 9,
  /** from the pod: an address that is not its own; to the pod: the pod's own */
  SpoofedSource: 10,
  /** loopback, multicast, broadcast, unspecified or IPv4-mapped source */
  MartianSource: 11,
  /** TTL or hop limit is 0 */
  TtlExpired: 12,
  /** IPv4 loose or strict source route */
  ForbiddenIpOption: 13,
  /** IPv6 routing header, or a chain that is not allowed */
  ForbiddenExtHeader: 14,
  /** more extension headers than are walked */
  ExtHeaderLimit: 15,
  /** a fragment that is not the last one, with no data or a length that is no multiple of 8 */
  MalformedFragment: 16,
  /** a first fragment without the whole layer-4 header, or a TCP fragment at offset 8 */
  FragmentTiny: 17,
  /** an IPv6 first fragment without the whole header chain */
  FragmentIncompleteChain: 18,
  /** overlaps an earlier fragment, its datagram had an overlap, or it could complete one that is denied now */
  FragmentOverlap: 19,
  /** would make a datagram of more than 65,535 bytes */
  FragmentOversize: 20,
  /** a later fragment whose first one was not seen, has expired or was refused */
  FragmentOrphan: 21,
  /** shorter than its header, or a data offset outside the segment */
  MalformedTcp: 22,
  /** shorter than 8 bytes, or a length field that does not fit */
  MalformedUdp: 23,
  /** shorter than its type needs */
  MalformedIcmp: 24,
  /** shorter than the common header, or a chunk that does not fit */
  MalformedSctp: 25,
  /** breaks a rule of neighbour discovery: hop limit, code, options, lengths, target */
  MalformedNdp: 26,
  /** neighbour discovery that claims what is not the sender's; redirects */
  SpoofedNdp: 27,
  /** a router advertisement, or the role of a router, from the pod; one from the network where none is wanted */
  RouterAdvertisement: 28,
  /** a combination of flags that no TCP sends */
  InvalidTcpFlags: 29,
  /** an ICMP error whose quote is cut, broken or without ports */
  RelatedTruncated: 30,
  /** an ICMP error sent to somebody who did not send the quoted packet */
  RelatedMismatch: 31,
  /** an ICMP error that quotes no tracked connection */
  RelatedUnknown: 32,
  /** a segment that the connection's state does not admit */
  InvalidTcpState: 33,
  /** a segment, or a quoted one, outside the tracked window */
  OutOfWindow: 34,
  /** needs a connection (TCP without SYN, an echo reply) and has none */
  NoConnection: 35,
  /** no ingress rule of the receiver allows it */
  PolicyIngress: 36,
  /** no egress rule of the sender allows it */
  PolicyEgress: 37,
  /** the connection table is full and nothing may give way */
  ConntrackFull: 38,
  /** the endpoint has as many connections as it may, and none of its own may give way */
  ConnectionQuota: 39,
  /** it leaves more gaps in its datagram than are kept */
  FragmentFull: 40,
  /** longer than the receive slot, so part of it is missing */
  FrameTruncated: 41,
  /** its offload header (checksum start, segment size) does not fit the frame */
  OffloadInvalid: 42,
  /** no link leads to the destination */
  NoDestination: 43,
  /** the outgoing link could not take the frame */
  TransmitFull: 44,
  /** no table is in force */
  NoTable: 45,
  /** a superframe that would be cut into more segments than any stack makes */
  OffloadSegments: 46,
  /** more ARP, neighbour or listener messages than a link may send unjudged */
  ExemptLimit: 47,
  /** in place: an address of the node's pod ranges that no pod of the table has, or one that is for a link alone */
  UnknownPod: 48,
  /** in place: no process has renewed the lease, and the pod is closed without one */
  LeaseOver: 49,
} as const;
export type DropReason = (typeof DropReason)[keyof typeof DropReason];
/** The word for each value of DropReason, by its number. */
export const dropReasonWords = [
  "none",
  "malformed-ethernet",
  "vlan-tag",
  "l2-protocol",
  "spoofed-mac",
  "malformed-arp",
  "spoofed-arp",
  "malformed-ipv4",
  "malformed-ipv6",
  "bad-checksum",
  "spoofed-source",
  "martian-source",
  "ttl-expired",
  "forbidden-ip-option",
  "forbidden-ext-header",
  "ext-header-limit",
  "malformed-fragment",
  "fragment-tiny",
  "fragment-incomplete-chain",
  "fragment-overlap",
  "fragment-oversize",
  "fragment-orphan",
  "malformed-tcp",
  "malformed-udp",
  "malformed-icmp",
  "malformed-sctp",
  "malformed-ndp",
  "spoofed-ndp",
  "router-advertisement",
  "invalid-tcp-flags",
  "related-truncated",
  "related-mismatch",
  "related-unknown",
  "invalid-tcp-state",
  "out-of-window",
  "no-connection",
  "policy-ingress",
  "policy-egress",
  "conntrack-full",
  "connection-quota",
  "fragment-full",
  "frame-truncated",
  "offload-invalid",
  "no-destination",
  "transmit-full",
  "no-table",
  "offload-segments",
  "exempt-limit",
  "unknown-pod",
  "lease-over",
] as const;

/** Where one array of the blob starts, and how many elements it has. Byte offsets of its fields. */
export const Section = {
  bytes: 8,
  /** u32: bytes from the start of the blob, a multiple of 64 */
  offset: 0,
  /** u32: elements, not bytes */
  count: 4,
} as const;

/** The first bytes of a table blob. Byte offsets of its fields. */
export const TableHeader = {
  bytes: 192,
  /** u32: TABLE_MAGIC */
  magic: 0,
  /** u32: TABLE_VERSION */
  version: 4,
  /** u32: BLOB_HASH of the schema that wrote the blob */
  layoutHash: 8,
  /** u32: of the whole blob, this field taken as zero */
  checksum: 12,
  /** u32: length of the blob, a multiple of 64 */
  totalBytes: 16,
  /** u32: address classes: the width of a row */
  classCount: 20,
  /** u32: policy rows */
  rowCount: 24,
  /** u32: IPv4 nodes for byte 2; those for byte 3 follow */
  trieV4Inner: 28,
  /** 38 × u32: a Section for each value of SectionId, then zeros */
  sections: 32,
  /** 2 × u32: zero */
  reserved: 184,
} as const;

/** The fields of a TableHeader. */
export interface TableHeaderFields {
  /** TABLE_MAGIC */
  readonly magic: number;
  /** TABLE_VERSION */
  readonly version: number;
  /** BLOB_HASH of the schema that wrote the blob */
  readonly layoutHash: number;
  /** of the whole blob, this field taken as zero */
  readonly checksum: number;
  /** length of the blob, a multiple of 64 */
  readonly totalBytes: number;
  /** address classes: the width of a row */
  readonly classCount: number;
  /** policy rows */
  readonly rowCount: number;
  /** IPv4 nodes for byte 2; those for byte 3 follow */
  readonly trieV4Inner: number;
  /** a Section for each value of SectionId, then zeros */
  readonly sections: readonly number[];
}

/** Writes a TableHeader at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeTableHeader(view: DataView, at: number, fields: TableHeaderFields): void {
  view.setUint32(at, fields.magic, true);
  view.setUint32(at + 4, fields.version, true);
  view.setUint32(at + 8, fields.layoutHash, true);
  view.setUint32(at + 12, fields.checksum, true);
  view.setUint32(at + 16, fields.totalBytes, true);
  view.setUint32(at + 20, fields.classCount, true);
  view.setUint32(at + 24, fields.rowCount, true);
  view.setUint32(at + 28, fields.trieV4Inner, true);
  for (let place = 0; place < 38; place++) view.setUint32(at + 32 + place * 4, fields.sections[place] ?? 0, true);
}

/** What the trie knows of an address. Byte offsets of its fields. */
export const Leaf = {
  bytes: 12,
  /** u32: column of the cells */
  classId: 0,
  /** u32: local endpoint that owns the address, or NONE */
  endpointId: 4,
  /** u32: class before equal columns were merged: provenance */
  originId: 8,
} as const;

/** The fields of a Leaf. */
export interface LeafFields {
  /** column of the cells */
  readonly classId: number;
  /** local endpoint that owns the address, or NONE */
  readonly endpointId: number;
  /** class before equal columns were merged: provenance */
  readonly originId: number;
}

/** Reads the Leaf at byte `at`; arrays are copies. */
export function readLeaf(view: DataView, at: number): LeafFields {
  return {
    classId: u32At(view, at),
    endpointId: u32At(view, at + 4),
    originId: u32At(view, at + 8),
  };
}

/** Writes a Leaf at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeLeaf(view: DataView, at: number, fields: LeafFields): void {
  view.setUint32(at, fields.classId, true);
  view.setUint32(at + 4, fields.endpointId, true);
  view.setUint32(at + 8, fields.originId, true);
}

/** An IPv6 node. One that branches has 256 entries at the same index in trieV6Entries; one that stands for a single prefix has none. Byte offsets of its fields. */
export const TrieV6Node = {
  bytes: 32,
  /** 16 × u8: address bits that the path to here has, network order, then zeros */
  value: 0,
  /** u32: leaf of an address that differs from `value` in its first `bits` */
  missLeaf: 16,
  /** u32: single prefix: leaf of one that does not; else missLeaf */
  hitLeaf: 20,
  /** u8: how many bits of `value` count: of a node that branches, 8 × byteIndex */
  bits: 24,
  /** u8: which address byte picks the entry, 2 to 15; grows with depth. TRIE_V6_PREFIX_NODE: single prefix */
  byteIndex: 25,
  /** u8: first byte that no node above has looked at: of two addresses that agree before it, both come here or neither */
  skipFrom: 26,
  /** 5 × u8: zero */
  reserved: 27,
} as const;

/** The fields of a TrieV6Node. */
export interface TrieV6NodeFields {
  /** address bits that the path to here has, network order, then zeros */
  readonly value: Uint8Array;
  /** leaf of an address that differs from `value` in its first `bits` */
  readonly missLeaf: number;
  /** single prefix: leaf of one that does not; else missLeaf */
  readonly hitLeaf: number;
  /** how many bits of `value` count: of a node that branches, 8 × byteIndex */
  readonly bits: number;
  /** which address byte picks the entry, 2 to 15; grows with depth. TRIE_V6_PREFIX_NODE: single prefix */
  readonly byteIndex: number;
  /** first byte that no node above has looked at: of two addresses that agree before it, both come here or neither */
  readonly skipFrom: number;
}

/** Writes a TrieV6Node at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeTrieV6Node(view: DataView, at: number, fields: TrieV6NodeFields): void {
  setBytes(view, at, 16, fields.value);
  view.setUint32(at + 16, fields.missLeaf, true);
  view.setUint32(at + 20, fields.hitLeaf, true);
  view.setUint8(at + 24, fields.bits);
  view.setUint8(at + 25, fields.byteIndex);
  view.setUint8(at + 26, fields.skipFrom);
}

/** The policy rows of a local endpoint. Byte offsets of its fields. */
export const EndpointRow = {
  bytes: 8,
  /** u32: row for packets to the endpoint */
  ingressRow: 0,
  /** u32: row for packets from the endpoint */
  egressRow: 4,
} as const;

/** The fields of a EndpointRow. */
export interface EndpointRowFields {
  /** row for packets to the endpoint */
  readonly ingressRow: number;
  /** row for packets from the endpoint */
  readonly egressRow: number;
}

/** Writes a EndpointRow at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeEndpointRow(view: DataView, at: number, fields: EndpointRowFields): void {
  view.setUint32(at, fields.ingressRow, true);
  view.setUint32(at + 4, fields.egressRow, true);
}

/** A page index for each ProtocolSlot: which (protocol, port) pairs are allowed. Byte offsets of its fields. */
export const PortSet = {
  bytes: 16,
  /** 4 × u32: number of the page index, by ProtocolSlot */
  pageIndex: 0,
} as const;

/** Text in the strings section, UTF-8, not terminated. Byte offsets of its fields. */
export const StringRef = {
  bytes: 8,
  /** u32: bytes from the start of the strings section */
  offset: 0,
  /** u32: bytes */
  length: 4,
} as const;

/** Provenance: who a local endpoint is. Byte offsets of its fields. */
export const EndpointInfo = {
  bytes: 16,
  /** 2 × u32: StringRef */
  namespaceName: 0,
  /** 2 × u32: StringRef */
  podName: 8,
} as const;

/** The fields of a EndpointInfo. */
export interface EndpointInfoFields {
  /** StringRef */
  readonly namespaceName: readonly number[];
  /** StringRef */
  readonly podName: readonly number[];
}

/** Reads the EndpointInfo at byte `at`; arrays are copies. */
export function readEndpointInfo(view: DataView, at: number): EndpointInfoFields {
  return {
    namespaceName: listAt(view, at, 2, u32At, 4),
    podName: listAt(view, at + 8, 2, u32At, 4),
  };
}

/** Writes a EndpointInfo at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeEndpointInfo(view: DataView, at: number, fields: EndpointInfoFields): void {
  for (let place = 0; place < 2; place++) view.setUint32(at + place * 4, fields.namespaceName[place] ?? 0, true);
  for (let place = 0; place < 2; place++) view.setUint32(at + 8 + place * 4, fields.podName[place] ?? 0, true);
}

/** Provenance: a policy and where it was written. Byte offsets of its fields. */
export const PolicyInfo = {
  bytes: 40,
  /** 2 × u32: StringRef */
  kind: 0,
  /** 2 × u32: StringRef, empty for cluster policies */
  namespaceName: 8,
  /** 2 × u32: StringRef */
  name: 16,
  /** 2 × u32: StringRef */
  file: 24,
  /** u32: 1-based */
  line: 32,
  /** u32: 1-based */
  column: 36,
} as const;

/** The fields of a PolicyInfo. */
export interface PolicyInfoFields {
  /** StringRef */
  readonly kind: readonly number[];
  /** StringRef, empty for cluster policies */
  readonly namespaceName: readonly number[];
  /** StringRef */
  readonly name: readonly number[];
  /** StringRef */
  readonly file: readonly number[];
  /** 1-based */
  readonly line: number;
  /** 1-based */
  readonly column: number;
}

/** Reads the PolicyInfo at byte `at`; arrays are copies. */
export function readPolicyInfo(view: DataView, at: number): PolicyInfoFields {
  return {
    kind: listAt(view, at, 2, u32At, 4),
    namespaceName: listAt(view, at + 8, 2, u32At, 4),
    name: listAt(view, at + 16, 2, u32At, 4),
    file: listAt(view, at + 24, 2, u32At, 4),
    line: u32At(view, at + 32),
    column: u32At(view, at + 36),
  };
}

/** Writes a PolicyInfo at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writePolicyInfo(view: DataView, at: number, fields: PolicyInfoFields): void {
  for (let place = 0; place < 2; place++) view.setUint32(at + place * 4, fields.kind[place] ?? 0, true);
  for (let place = 0; place < 2; place++) view.setUint32(at + 8 + place * 4, fields.namespaceName[place] ?? 0, true);
  for (let place = 0; place < 2; place++) view.setUint32(at + 16 + place * 4, fields.name[place] ?? 0, true);
  for (let place = 0; place < 2; place++) view.setUint32(at + 24 + place * 4, fields.file[place] ?? 0, true);
  view.setUint32(at + 32, fields.line, true);
  view.setUint32(at + 36, fields.column, true);
}

/** Provenance: a rule as one row applies it. Byte offsets of its fields. */
export const RuleInfo = {
  bytes: 32,
  /** u32: index into policyInfos */
  policy: 0,
  /** u32: 0-based, in the direction's list of the policy */
  ruleIndex: 4,
  /** u8: Tier */
  tier: 8,
  /** u8: Action */
  action: 9,
  /** u8: Direction */
  direction: 10,
  /** u8: zero */
  reserved: 11,
  /** u32: 1-based */
  line: 12,
  /** u32: 1-based */
  column: 16,
  /** u32: set of origin classes that the peers cover, in originSets */
  originSet: 20,
  /** u32: index into portSets */
  portSet: 24,
  /** u32: lower first within a tier; 0 for NetworkPolicy */
  priority: 28,
} as const;

/** The fields of a RuleInfo. */
export interface RuleInfoFields {
  /** index into policyInfos */
  readonly policy: number;
  /** 0-based, in the direction's list of the policy */
  readonly ruleIndex: number;
  /** Tier */
  readonly tier: number;
  /** Action */
  readonly action: number;
  /** Direction */
  readonly direction: number;
  /** 1-based */
  readonly line: number;
  /** 1-based */
  readonly column: number;
  /** set of origin classes that the peers cover, in originSets */
  readonly originSet: number;
  /** index into portSets */
  readonly portSet: number;
  /** lower first within a tier; 0 for NetworkPolicy */
  readonly priority: number;
}

/** Reads the RuleInfo at byte `at`; arrays are copies. */
export function readRuleInfo(view: DataView, at: number): RuleInfoFields {
  return {
    policy: u32At(view, at),
    ruleIndex: u32At(view, at + 4),
    tier: view.getUint8(at + 8),
    action: view.getUint8(at + 9),
    direction: view.getUint8(at + 10),
    line: u32At(view, at + 12),
    column: u32At(view, at + 16),
    originSet: u32At(view, at + 20),
    portSet: u32At(view, at + 24),
    priority: u32At(view, at + 28),
  };
}

/** Writes a RuleInfo at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeRuleInfo(view: DataView, at: number, fields: RuleInfoFields): void {
  view.setUint32(at, fields.policy, true);
  view.setUint32(at + 4, fields.ruleIndex, true);
  view.setUint8(at + 8, fields.tier);
  view.setUint8(at + 9, fields.action);
  view.setUint8(at + 10, fields.direction);
  view.setUint32(at + 12, fields.line, true);
  view.setUint32(at + 16, fields.column, true);
  view.setUint32(at + 20, fields.originSet, true);
  view.setUint32(at + 24, fields.portSet, true);
  view.setUint32(at + 28, fields.priority, true);
}

/** Provenance: which policies isolate, and the rules in the order of evaluation. Byte offsets of its fields. */
export const RowInfo = {
  bytes: 16,
  /** u32: first index into rowLists, of policies */
  isolatedByStart: 0,
  /** u32: policies */
  isolatedByCount: 4,
  /** u32: first index into rowLists, of rules */
  rulesStart: 8,
  /** u32: rules */
  rulesCount: 12,
} as const;

/** The fields of a RowInfo. */
export interface RowInfoFields {
  /** first index into rowLists, of policies */
  readonly isolatedByStart: number;
  /** policies */
  readonly isolatedByCount: number;
  /** first index into rowLists, of rules */
  readonly rulesStart: number;
  /** rules */
  readonly rulesCount: number;
}

/** Reads the RowInfo at byte `at`; arrays are copies. */
export function readRowInfo(view: DataView, at: number): RowInfoFields {
  return {
    isolatedByStart: u32At(view, at),
    isolatedByCount: u32At(view, at + 4),
    rulesStart: u32At(view, at + 8),
    rulesCount: u32At(view, at + 12),
  };
}

/** Writes a RowInfo at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeRowInfo(view: DataView, at: number, fields: RowInfoFields): void {
  view.setUint32(at, fields.isolatedByStart, true);
  view.setUint32(at + 4, fields.isolatedByCount, true);
  view.setUint32(at + 8, fields.rulesStart, true);
  view.setUint32(at + 12, fields.rulesCount, true);
}

/** The first packet of a flow, as `Table.classify` takes it. Byte offsets of its fields. */
export const FlowTuple = {
  bytes: 40,
  /** 16 × u8: address, network order; IPv4 in the first four */
  source: 0,
  /** 16 × u8: address, network order */
  destination: 16,
  /** u16: destination port; 0 when the protocol has none */
  port: 32,
  /** u8: IP protocol number */
  protocol: 34,
  /** u8: 4 or 6 */
  family: 35,
  /** u32: zero */
  reserved: 36,
} as const;

/** The fields of a FlowTuple. */
export interface FlowTupleFields {
  /** address, network order; IPv4 in the first four */
  readonly source: Uint8Array;
  /** address, network order */
  readonly destination: Uint8Array;
  /** destination port; 0 when the protocol has none */
  readonly port: number;
  /** IP protocol number */
  readonly protocol: number;
  /** 4 or 6 */
  readonly family: number;
}

/** Reads the FlowTuple at byte `at`; arrays are copies. */
export function readFlowTuple(view: DataView, at: number): FlowTupleFields {
  return {
    source: bytesAt(view, at, 16),
    destination: bytesAt(view, at + 16, 16),
    port: u16At(view, at + 32),
    protocol: view.getUint8(at + 34),
    family: view.getUint8(at + 35),
  };
}

/** Writes a FlowTuple at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeFlowTuple(view: DataView, at: number, fields: FlowTupleFields): void {
  setBytes(view, at, 16, fields.source);
  setBytes(view, at + 16, 16, fields.destination);
  view.setUint16(at + 32, fields.port, true);
  view.setUint8(at + 34, fields.protocol);
  view.setUint8(at + 35, fields.family);
}

/** One record of the event ring. Byte offsets of its fields. */
export const FlowEvent = {
  bytes: 80,
  /** u64: microseconds since the epoch */
  timeUs: 0,
  /** 16 × u8: address, network order; IPv4 in the first four */
  source: 8,
  /** 16 × u8: address, network order */
  destination: 24,
  /** u16: 0 when the protocol has none */
  sourcePort: 40,
  /** u16: 0 when the protocol has none; ICMP: type << 8 | code */
  destinationPort: 42,
  /** u8: IP protocol number; 0 when there is no IP header */
  protocol: 44,
  /** u8: FlowEventKind */
  kind: 45,
  /** u8: DropReason; Exempt: ExemptKind */
  reason: 46,
  /** u8: 4, 6, or 0 when there is no IP header */
  family: 47,
  /** u32: of the table that judged */
  generation: 48,
  /** u32: events that found the ring full since the last record */
  lostBefore: 52,
  /** u16: link that the frame came in by */
  linkId: 56,
  /** u8: DENIED_BY_… bits; Audited and Closed: who would have denied */
  deniedBy: 58,
  /** u8: of the frame; 0 when it is no TCP */
  tcpFlags: 59,
  /** u32: length of the frame; 0 for Closed */
  frameBytes: 60,
  /** u64: Closed: frames of the connection, both ways; a superframe is one */
  totalPackets: 64,
  /** u64: Closed: their bytes */
  totalBytes: 72,
} as const;

/** The fields of a FlowEvent. */
export interface FlowEventFields {
  /** microseconds since the epoch */
  readonly timeUs: number;
  /** address, network order; IPv4 in the first four */
  readonly source: Uint8Array;
  /** address, network order */
  readonly destination: Uint8Array;
  /** 0 when the protocol has none */
  readonly sourcePort: number;
  /** 0 when the protocol has none; ICMP: type << 8 | code */
  readonly destinationPort: number;
  /** IP protocol number; 0 when there is no IP header */
  readonly protocol: number;
  /** FlowEventKind */
  readonly kind: number;
  /** DropReason; Exempt: ExemptKind */
  readonly reason: number;
  /** 4, 6, or 0 when there is no IP header */
  readonly family: number;
  /** of the table that judged */
  readonly generation: number;
  /** events that found the ring full since the last record */
  readonly lostBefore: number;
  /** link that the frame came in by */
  readonly linkId: number;
  /** DENIED_BY_… bits; Audited and Closed: who would have denied */
  readonly deniedBy: number;
  /** of the frame; 0 when it is no TCP */
  readonly tcpFlags: number;
  /** length of the frame; 0 for Closed */
  readonly frameBytes: number;
  /** Closed: frames of the connection, both ways; a superframe is one */
  readonly totalPackets: number;
  /** Closed: their bytes */
  readonly totalBytes: number;
}

/** Reads the FlowEvent at byte `at`; arrays are copies. */
export function readFlowEvent(view: DataView, at: number): FlowEventFields {
  return {
    timeUs: u64At(view, at),
    source: bytesAt(view, at + 8, 16),
    destination: bytesAt(view, at + 24, 16),
    sourcePort: u16At(view, at + 40),
    destinationPort: u16At(view, at + 42),
    protocol: view.getUint8(at + 44),
    kind: view.getUint8(at + 45),
    reason: view.getUint8(at + 46),
    family: view.getUint8(at + 47),
    generation: u32At(view, at + 48),
    lostBefore: u32At(view, at + 52),
    linkId: u16At(view, at + 56),
    deniedBy: view.getUint8(at + 58),
    tcpFlags: view.getUint8(at + 59),
    frameBytes: u32At(view, at + 60),
    totalPackets: u64At(view, at + 64),
    totalBytes: u64At(view, at + 72),
  };
}

/** A dropped frame with its event, for who wants to see it. At the forward hook no frame has a first header: it is zero but for the protocol, and counts as bytes of the frame. Byte offsets of its fields. */
export const DroppedFrame = {
  bytes: 344,
  /** 80 × u8: its FlowEvent; lostBefore counts frames that found this ring full */
  event: 0,
  /** u32: how many of the bytes are the frame's */
  capturedBytes: 80,
  /** u32: zero */
  reserved: 84,
  /** 256 × u8: its first bytes */
  frame: 88,
} as const;

/** The fields of a DroppedFrame. */
export interface DroppedFrameFields {
  /** its FlowEvent; lostBefore counts frames that found this ring full */
  readonly event: Uint8Array;
  /** how many of the bytes are the frame's */
  readonly capturedBytes: number;
  /** its first bytes */
  readonly frame: Uint8Array;
}

/** Reads the DroppedFrame at byte `at`; arrays are copies. */
export function readDroppedFrame(view: DataView, at: number): DroppedFrameFields {
  return {
    event: bytesAt(view, at, 80),
    capturedBytes: u32At(view, at + 80),
    frame: bytesAt(view, at + 88, 256),
  };
}

/** One tracked connection, as it is listed. Byte offsets of its fields. */
export const ConnectionRecord = {
  bytes: 112,
  /** 16 × u8: of the first packet, network order; IPv4 in the first four */
  source: 0,
  /** 16 × u8: address, network order */
  destination: 16,
  /** 40 × u8: what names the connection in the table */
  key: 32,
  /** u64: frames so far, both ways; a superframe is one */
  totalPackets: 72,
  /** u64: their bytes */
  totalBytes: 80,
  /** u32: how long it lives without another packet */
  expiresInMs: 88,
  /** u32: of the table that allowed it last */
  generation: 92,
  /** u16: 0 when the protocol has none */
  sourcePort: 96,
  /** u16: the same */
  destinationPort: 98,
  /** u8: IP protocol number */
  protocol: 100,
  /** u8: 4 or 6 */
  family: 101,
  /** u8: ConnState */
  state: 102,
  /** u8: which of the networks that may use the same addresses: a wire's; 0 in a switch */
  zone: 103,
  /** u8: 1 when both ends are known to be there */
  assured: 104,
  /** u8: DENIED_BY_… bits: audited policies would deny its egress, its ingress */
  auditedBy: 105,
  /** u8: 1 when the kernel passes its packets, by a program that reads the connection table */
  inKernel: 106,
  /** 5 × u8: zero */
  reserved: 107,
} as const;

/** The fields of a ConnectionRecord. */
export interface ConnectionRecordFields {
  /** of the first packet, network order; IPv4 in the first four */
  readonly source: Uint8Array;
  /** address, network order */
  readonly destination: Uint8Array;
  /** what names the connection in the table */
  readonly key: Uint8Array;
  /** frames so far, both ways; a superframe is one */
  readonly totalPackets: number;
  /** their bytes */
  readonly totalBytes: number;
  /** how long it lives without another packet */
  readonly expiresInMs: number;
  /** of the table that allowed it last */
  readonly generation: number;
  /** 0 when the protocol has none */
  readonly sourcePort: number;
  /** the same */
  readonly destinationPort: number;
  /** IP protocol number */
  readonly protocol: number;
  /** 4 or 6 */
  readonly family: number;
  /** ConnState */
  readonly state: number;
  /** which of the networks that may use the same addresses: a wire's; 0 in a switch */
  readonly zone: number;
  /** 1 when both ends are known to be there */
  readonly assured: number;
  /** DENIED_BY_… bits: audited policies would deny its egress, its ingress */
  readonly auditedBy: number;
  /** 1 when the kernel passes its packets, by a program that reads the connection table */
  readonly inKernel: number;
}

/** Reads the ConnectionRecord at byte `at`; arrays are copies. */
export function readConnectionRecord(view: DataView, at: number): ConnectionRecordFields {
  return {
    source: bytesAt(view, at, 16),
    destination: bytesAt(view, at + 16, 16),
    key: bytesAt(view, at + 32, 40),
    totalPackets: u64At(view, at + 72),
    totalBytes: u64At(view, at + 80),
    expiresInMs: u32At(view, at + 88),
    generation: u32At(view, at + 92),
    sourcePort: u16At(view, at + 96),
    destinationPort: u16At(view, at + 98),
    protocol: view.getUint8(at + 100),
    family: view.getUint8(at + 101),
    state: view.getUint8(at + 102),
    zone: view.getUint8(at + 103),
    assured: view.getUint8(at + 104),
    auditedBy: view.getUint8(at + 105),
    inKernel: view.getUint8(at + 106),
  };
}

/** What passed or was denied by the same rules since it was last read. Byte offsets of its fields. */
export const HitRecord = {
  bytes: 48,
  /** u64: frames, both ways; a superframe is one */
  totalPackets: 0,
  /** u64: their bytes */
  totalBytes: 8,
  /** u32: that began */
  connections: 16,
  /** u32: how long ago the last of it was */
  agoMs: 20,
  /** u32: of the table that judged; 0: it is not known what did */
  generation: 24,
  /** u32: of that table: the end that opened or sent */
  sourceLeaf: 28,
  /** u32: the other end */
  destinationLeaf: 32,
  /** u32: of the count in its worker */
  number: 36,
  /** u16: destination; 0 where it does not matter */
  port: 40,
  /** u8: whose count it is */
  worker: 42,
  /** u8: ProtocolSlot */
  protocolSlot: 43,
  /** u8: DENIED_BY_… bits; 0: it passed */
  deniedBy: 44,
  /** u8: DENIED_BY_… bits: audited policies would deny it */
  auditedBy: 45,
  /** u8: 1: the number is free for another count */
  isOver: 46,
  /** u8: zero */
  reserved: 47,
} as const;

/** The fields of a HitRecord. */
export interface HitRecordFields {
  /** frames, both ways; a superframe is one */
  readonly totalPackets: number;
  /** their bytes */
  readonly totalBytes: number;
  /** that began */
  readonly connections: number;
  /** how long ago the last of it was */
  readonly agoMs: number;
  /** of the table that judged; 0: it is not known what did */
  readonly generation: number;
  /** of that table: the end that opened or sent */
  readonly sourceLeaf: number;
  /** the other end */
  readonly destinationLeaf: number;
  /** of the count in its worker */
  readonly number: number;
  /** destination; 0 where it does not matter */
  readonly port: number;
  /** whose count it is */
  readonly worker: number;
  /** ProtocolSlot */
  readonly protocolSlot: number;
  /** DENIED_BY_… bits; 0: it passed */
  readonly deniedBy: number;
  /** DENIED_BY_… bits: audited policies would deny it */
  readonly auditedBy: number;
  /** 1: the number is free for another count */
  readonly isOver: number;
}

/** Reads the HitRecord at byte `at`; arrays are copies. */
export function readHitRecord(view: DataView, at: number): HitRecordFields {
  return {
    totalPackets: u64At(view, at),
    totalBytes: u64At(view, at + 8),
    connections: u32At(view, at + 16),
    agoMs: u32At(view, at + 20),
    generation: u32At(view, at + 24),
    sourceLeaf: u32At(view, at + 28),
    destinationLeaf: u32At(view, at + 32),
    number: u32At(view, at + 36),
    port: u16At(view, at + 40),
    worker: view.getUint8(at + 42),
    protocolSlot: view.getUint8(at + 43),
    deniedBy: view.getUint8(at + 44),
    auditedBy: view.getUint8(at + 45),
    isOver: view.getUint8(at + 46),
  };
}

/** One tracked connection, as it goes from a process to its successor, which may be of another version: a change here, or to ConnState, needs another SAVED_CONNECTIONS_VERSION. The end that opened it comes first. Byte offsets of its fields. */
export const SavedConnection = {
  bytes: 112,
  /** 16 × u8: who opened it, network order; IPv4 in the first four, then zeros */
  source: 0,
  /** 16 × u8: the other end, likewise */
  destination: 16,
  /** u64: how long it lives without another packet */
  remainingUs: 32,
  /** u64: of its frames so far, both ways */
  totalBytes: 40,
  /** u32: how many */
  totalPackets: 48,
  /** u32: of the table that allowed it last; 0: to be judged on its next packet, whatever becomes of others */
  generation: 52,
  /** u32: which of the networks that may use the same addresses */
  zone: 56,
  /** 2 × u32: TCP: past the highest sequence number sent */
  sentEnd: 60,
  /** 2 × u32: past the highest one that may be sent */
  limit: 68,
  /** 2 × u32: largest window offered, scaled */
  windowMax: 76,
  /** 2 × u32: highest acknowledgement sent */
  ackMax: 84,
  /** u32: of a SYN that was let through */
  ignoredSynEnd: 92,
  /** u16: likewise */
  ignoredSynWindow: 96,
  /** u16: ICMP: the identifier */
  sourcePort: 98,
  /** u16: the same */
  destinationPort: 100,
  /** u8: IP protocol number */
  protocol: 102,
  /** u8: 4 or 6 */
  family: 103,
  /** u8: ConnState */
  state: 104,
  /** u8: SAVED_… bits */
  flags: 105,
  /** 2 × u8: 255: not offered */
  windowScale: 106,
  /** u8: likewise */
  ignoredSynScale: 108,
  /** u8: ICMP: the type of the query */
  icmpKind: 109,
  /** u16: 0 */
  reserved: 110,
} as const;

/** The fields of a SavedConnection. */
export interface SavedConnectionFields {
  /** who opened it, network order; IPv4 in the first four, then zeros */
  readonly source: Uint8Array;
  /** the other end, likewise */
  readonly destination: Uint8Array;
  /** how long it lives without another packet */
  readonly remainingUs: number;
  /** of its frames so far, both ways */
  readonly totalBytes: number;
  /** how many */
  readonly totalPackets: number;
  /** of the table that allowed it last; 0: to be judged on its next packet, whatever becomes of others */
  readonly generation: number;
  /** which of the networks that may use the same addresses */
  readonly zone: number;
  /** TCP: past the highest sequence number sent */
  readonly sentEnd: readonly number[];
  /** past the highest one that may be sent */
  readonly limit: readonly number[];
  /** largest window offered, scaled */
  readonly windowMax: readonly number[];
  /** highest acknowledgement sent */
  readonly ackMax: readonly number[];
  /** of a SYN that was let through */
  readonly ignoredSynEnd: number;
  /** likewise */
  readonly ignoredSynWindow: number;
  /** ICMP: the identifier */
  readonly sourcePort: number;
  /** the same */
  readonly destinationPort: number;
  /** IP protocol number */
  readonly protocol: number;
  /** 4 or 6 */
  readonly family: number;
  /** ConnState */
  readonly state: number;
  /** SAVED_… bits */
  readonly flags: number;
  /** 255: not offered */
  readonly windowScale: Uint8Array;
  /** likewise */
  readonly ignoredSynScale: number;
  /** ICMP: the type of the query */
  readonly icmpKind: number;
}

/** Writes a SavedConnection at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeSavedConnection(view: DataView, at: number, fields: SavedConnectionFields): void {
  setBytes(view, at, 16, fields.source);
  setBytes(view, at + 16, 16, fields.destination);
  view.setBigUint64(at + 32, BigInt(fields.remainingUs), true);
  view.setBigUint64(at + 40, BigInt(fields.totalBytes), true);
  view.setUint32(at + 48, fields.totalPackets, true);
  view.setUint32(at + 52, fields.generation, true);
  view.setUint32(at + 56, fields.zone, true);
  for (let place = 0; place < 2; place++) view.setUint32(at + 60 + place * 4, fields.sentEnd[place] ?? 0, true);
  for (let place = 0; place < 2; place++) view.setUint32(at + 68 + place * 4, fields.limit[place] ?? 0, true);
  for (let place = 0; place < 2; place++) view.setUint32(at + 76 + place * 4, fields.windowMax[place] ?? 0, true);
  for (let place = 0; place < 2; place++) view.setUint32(at + 84 + place * 4, fields.ackMax[place] ?? 0, true);
  view.setUint32(at + 92, fields.ignoredSynEnd, true);
  view.setUint16(at + 96, fields.ignoredSynWindow, true);
  view.setUint16(at + 98, fields.sourcePort, true);
  view.setUint16(at + 100, fields.destinationPort, true);
  view.setUint8(at + 102, fields.protocol);
  view.setUint8(at + 103, fields.family);
  view.setUint8(at + 104, fields.state);
  view.setUint8(at + 105, fields.flags);
  setBytes(view, at + 106, 2, fields.windowScale);
  view.setUint8(at + 108, fields.ignoredSynScale);
  view.setUint8(at + 109, fields.icmpKind);
}

/** What is fixed when a data plane is made. Byte offsets of its fields. */
export const DataplaneSettings = {
  bytes: 28,
  /** u32: connections tracked at once, of all workers */
  connectionsMax: 0,
  /** u32: those of one endpoint, of all workers; 0: an equal share */
  connectionsPerEndpoint: 4,
  /** u32: fragmented datagrams followed at once, likewise */
  fragmentsMax: 8,
  /** u32: events that wait in each worker; a power of two */
  eventsMax: 12,
  /** u32: threads that judge */
  workers: 16,
  /** u32: of the first worker, the next ones behind it; NONE: any */
  cpu: 20,
  /** u8: Established */
  established: 24,
  /** u8: PollMode */
  poll: 25,
  /** u8: 1: an ACK may open a connection */
  loose: 26,
  /** u8: Deny */
  deny: 27,
} as const;

/** The fields of a DataplaneSettings. */
export interface DataplaneSettingsFields {
  /** connections tracked at once, of all workers */
  readonly connectionsMax: number;
  /** those of one endpoint, of all workers; 0: an equal share */
  readonly connectionsPerEndpoint: number;
  /** fragmented datagrams followed at once, likewise */
  readonly fragmentsMax: number;
  /** events that wait in each worker; a power of two */
  readonly eventsMax: number;
  /** threads that judge */
  readonly workers: number;
  /** of the first worker, the next ones behind it; NONE: any */
  readonly cpu: number;
  /** Established */
  readonly established: number;
  /** PollMode */
  readonly poll: number;
  /** 1: an ACK may open a connection */
  readonly loose: number;
  /** Deny */
  readonly deny: number;
}

/** Writes a DataplaneSettings at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeDataplaneSettings(view: DataView, at: number, fields: DataplaneSettingsFields): void {
  view.setUint32(at, fields.connectionsMax, true);
  view.setUint32(at + 4, fields.connectionsPerEndpoint, true);
  view.setUint32(at + 8, fields.fragmentsMax, true);
  view.setUint32(at + 12, fields.eventsMax, true);
  view.setUint32(at + 16, fields.workers, true);
  view.setUint32(at + 20, fields.cpu, true);
  view.setUint8(at + 24, fields.established);
  view.setUint8(at + 25, fields.poll);
  view.setUint8(at + 26, fields.loose);
  view.setUint8(at + 27, fields.deny);
}

/** What a data plane has counted since it was made, all workers together. Byte offsets of its fields. */
export const DataplaneCounters = {
  bytes: 552,
  /** u64: tracked now */
  connections: 0,
  /** u64: events that found their ring full */
  eventsLost: 8,
  /** u64: of the table in force; 0 before the first */
  generation: 16,
  /** u64: connections allowed */
  opened: 24,
  /** u64: connections ended or timed out */
  closed: 32,
  /** u64: connections that a newer table denies */
  cut: 40,
  /** u64: connections, and packets of none, that audit alone let through */
  audited: 48,
  /** u64: resets and ICMP errors sent for what policy denied */
  rejected: 56,
  /** u64: TCP segments of no known connection, ends told */
  reset: 64,
  /** u64: unfinished fragmented datagrams that gave way to new ones */
  fragmentsEvicted: 72,
  /** 50 × u64: frames dropped, by DropReason */
  drops: 80,
  /** 5 × u64: passed unjudged, by ExemptKind */
  exempt: 480,
  /** 4 × u64: connections that gave way to new ones, by ConnClass */
  evictions: 520,
} as const;

/** The fields of a DataplaneCounters. */
export interface DataplaneCountersFields {
  /** tracked now */
  readonly connections: number;
  /** events that found their ring full */
  readonly eventsLost: number;
  /** of the table in force; 0 before the first */
  readonly generation: number;
  /** connections allowed */
  readonly opened: number;
  /** connections ended or timed out */
  readonly closed: number;
  /** connections that a newer table denies */
  readonly cut: number;
  /** connections, and packets of none, that audit alone let through */
  readonly audited: number;
  /** resets and ICMP errors sent for what policy denied */
  readonly rejected: number;
  /** TCP segments of no known connection, ends told */
  readonly reset: number;
  /** unfinished fragmented datagrams that gave way to new ones */
  readonly fragmentsEvicted: number;
  /** frames dropped, by DropReason */
  readonly drops: readonly number[];
  /** passed unjudged, by ExemptKind */
  readonly exempt: readonly number[];
  /** connections that gave way to new ones, by ConnClass */
  readonly evictions: readonly number[];
}

/** Reads the DataplaneCounters at byte `at`; arrays are copies. */
export function readDataplaneCounters(view: DataView, at: number): DataplaneCountersFields {
  return {
    connections: u64At(view, at),
    eventsLost: u64At(view, at + 8),
    generation: u64At(view, at + 16),
    opened: u64At(view, at + 24),
    closed: u64At(view, at + 32),
    cut: u64At(view, at + 40),
    audited: u64At(view, at + 48),
    rejected: u64At(view, at + 56),
    reset: u64At(view, at + 64),
    fragmentsEvicted: u64At(view, at + 72),
    drops: listAt(view, at + 80, 50, u64At, 8),
    exempt: listAt(view, at + 480, 5, u64At, 8),
    evictions: listAt(view, at + 520, 4, u64At, 8),
  };
}

/** What the process tells the programs at the kernel's forward hook. Byte offsets of its fields. */
export const ForwardControl = {
  bytes: 184,
  /** u32: which of the two tables is in force */
  inForce: 0,
  /** u32: of that table; 0 before the first */
  generation: 4,
  /** 8 × u32: four times address and mask, in the order of memory: where an unknown address passes nothing */
  podRangesV4: 8,
  /** 32 × u32: four times the words of both */
  podRangesV6: 40,
  /** u32: 1: link-local, multicast and broadcast addresses pass nothing, as some pod is isolated */
  closesLink: 168,
  /** u32: 1: the process answers the senders of what policy denies, and gets it as RefusedPackets */
  answers: 172,
  /** u64: from when on, on the monotonic clock, pods pass nothing unless a process renews it; 0: never */
  leaseEndNs: 176,
} as const;

/** What the programs at the kernel's forward hook have counted, on one processor or on all. Byte offsets of its fields. */
export const ForwardCounters = {
  bytes: 488,
  /** u64: packets that were judged; a superframe is one */
  totalPackets: 0,
  /** u64: their bytes, from the IP header on */
  totalBytes: 8,
  /** u64: first packets of connections that were allowed */
  opened: 16,
  /** u64: first packets that audit alone let through */
  audited: 24,
  /** u64: events that found the ring full */
  eventsLost: 32,
  /** u64: DroppedFrames that found their ring full since the last one that did not */
  framesLostSince: 40,
  /** 50 × u64: packets dropped, by DropReason */
  drops: 48,
  /** 5 × u64: passed unjudged, by ExemptKind */
  exempt: 448,
} as const;

/** The fields of a ForwardCounters. */
export interface ForwardCountersFields {
  /** packets that were judged; a superframe is one */
  readonly totalPackets: number;
  /** their bytes, from the IP header on */
  readonly totalBytes: number;
  /** first packets of connections that were allowed */
  readonly opened: number;
  /** first packets that audit alone let through */
  readonly audited: number;
  /** events that found the ring full */
  readonly eventsLost: number;
  /** DroppedFrames that found their ring full since the last one that did not */
  readonly framesLostSince: number;
  /** packets dropped, by DropReason */
  readonly drops: readonly number[];
  /** passed unjudged, by ExemptKind */
  readonly exempt: readonly number[];
}

/** Reads the ForwardCounters at byte `at`; arrays are copies. */
export function readForwardCounters(view: DataView, at: number): ForwardCountersFields {
  return {
    totalPackets: u64At(view, at),
    totalBytes: u64At(view, at + 8),
    opened: u64At(view, at + 16),
    audited: u64At(view, at + 24),
    eventsLost: u64At(view, at + 32),
    framesLostSince: u64At(view, at + 40),
    drops: listAt(view, at + 48, 50, u64At, 8),
    exempt: listAt(view, at + 448, 5, u64At, 8),
  };
}

/** A packet that policy denies at the kernel's forward hook, for the answer to its sender. Byte offsets of its fields. */
export const RefusedPacket = {
  bytes: 1264,
  /** u64: when, on the monotonic clock */
  timeNs: 0,
  /** 16 × u8: whom its sender has sent it to, such as a Service's address; network order, IPv4 in the first four */
  destination: 8,
  /** u16: likewise; where the protocol has ports */
  destinationPortBe: 24,
  /** u16: how many follow */
  packetBytes: 26,
  /** u32: not written */
  reserved: 28,
  /** 1232 × u8: from its IP header on, as it came by; what fits is all that an ICMPv6 error may quote */
  packet: 32,
} as const;

/** Whose frames a pod's interface on the node may bring: the addresses of the pod behind it. Byte offsets of its fields. */
export const GuardedInterface = {
  bytes: 96,
  /** 4 × u32: addresses in the order of memory; 0: none */
  v4: 0,
  /** 16 × u32: four times the words of an address, in the order of memory; 0: none */
  v6: 16,
  /** 6 × u8: the only source MAC, if it is checked */
  mac: 80,
  /** u16: what FlowEvent calls the interface */
  linkId: 86,
  /** u32: 1: frames of other MACs are dropped */
  checksMac: 88,
  /** u32: zero */
  reserved: 92,
} as const;

/** The fields of a GuardedInterface. */
export interface GuardedInterfaceFields {
  /** addresses in the order of memory; 0: none */
  readonly v4: readonly number[];
  /** four times the words of an address, in the order of memory; 0: none */
  readonly v6: readonly number[];
  /** the only source MAC, if it is checked */
  readonly mac: Uint8Array;
  /** what FlowEvent calls the interface */
  readonly linkId: number;
  /** 1: frames of other MACs are dropped */
  readonly checksMac: number;
}

/** Reads the GuardedInterface at byte `at`; arrays are copies. */
export function readGuardedInterface(view: DataView, at: number): GuardedInterfaceFields {
  return {
    v4: listAt(view, at, 4, u32At, 4),
    v6: listAt(view, at + 16, 16, u32At, 4),
    mac: bytesAt(view, at + 80, 6),
    linkId: u16At(view, at + 86),
    checksMac: u32At(view, at + 88),
  };
}

/** Writes a GuardedInterface at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeGuardedInterface(view: DataView, at: number, fields: GuardedInterfaceFields): void {
  for (let place = 0; place < 4; place++) view.setUint32(at + place * 4, fields.v4[place] ?? 0, true);
  for (let place = 0; place < 16; place++) view.setUint32(at + 16 + place * 4, fields.v6[place] ?? 0, true);
  setBytes(view, at + 80, 6, fields.mac);
  view.setUint16(at + 86, fields.linkId, true);
  view.setUint32(at + 88, fields.checksMac, true);
}

/** What the guard of a pod's interface has dropped. Byte offsets of its fields. */
export const GuardCounts = {
  bytes: 16,
  /** u64: frames */
  drops: 0,
  /** u64: when the last of them was told as an event */
  toldNs: 8,
} as const;

/** A guarded interface as it is. Byte offsets of its fields. */
export const GuardState = {
  bytes: 112,
  /** u32: its index */
  interfaceIndex: 0,
  /** u32: 1: the guard is attached to it */
  attached: 4,
  /** u64: frames dropped since it was guarded */
  drops: 8,
  /** 4 × u32: as GuardedInterface */
  v4: 16,
  /** 16 × u32: as GuardedInterface */
  v6: 32,
  /** u16: as GuardedInterface */
  linkId: 96,
  /** 14 × u8: zero */
  reserved: 98,
} as const;

/** The fields of a GuardState. */
export interface GuardStateFields {
  /** its index */
  readonly interfaceIndex: number;
  /** 1: the guard is attached to it */
  readonly attached: number;
  /** frames dropped since it was guarded */
  readonly drops: number;
  /** as GuardedInterface */
  readonly v4: readonly number[];
  /** as GuardedInterface */
  readonly v6: readonly number[];
  /** as GuardedInterface */
  readonly linkId: number;
}

/** Reads the GuardState at byte `at`; arrays are copies. */
export function readGuardState(view: DataView, at: number): GuardStateFields {
  return {
    interfaceIndex: u32At(view, at),
    attached: u32At(view, at + 4),
    drops: u64At(view, at + 8),
    v4: listAt(view, at + 16, 4, u32At, 4),
    v6: listAt(view, at + 32, 16, u32At, 4),
    linkId: u16At(view, at + 96),
  };
}

/** What has passed a link since it was added, and what the endpoint behind it has of the tables of connections and of fragmented datagrams. Byte offsets of its fields. */
export const LinkCounters = {
  bytes: 136,
  /** u64: frames taken from the link; a superframe is one */
  receivedFrames: 0,
  /** u64: their bytes */
  receivedBytes: 8,
  /** u64: frames that the link took */
  sentFrames: 16,
  /** u64: their bytes */
  sentBytes: 24,
  /** u64: frames received here and dropped, for any reason */
  droppedFrames: 32,
  /** u64: frames that the link could not take */
  refusedFrames: 40,
  /** u64: ARP and neighbour requests answered for the gateway */
  answeredFrames: 48,
  /** u64: frames that the kernel could not keep for us */
  lostFrames: 56,
  /** u64: tracked now that count for the endpoint behind the link; 0 where none is, and so below */
  connections: 64,
  /** u64: as many as it may have */
  connectionQuota: 72,
  /** u64: of it that gave way to new ones */
  evictedConnections: 80,
  /** u64: new ones of it that were refused at its quota */
  refusedConnections: 88,
  /** u64: fragmented datagrams of it that have begun and are not whole */
  fragments: 96,
  /** u64: its share of the table of these */
  fragmentShare: 104,
  /** u64: of these that gave way to new ones */
  evictedFragments: 112,
  /** u64: frames received here that the kernel passed itself: they are among receivedFrames */
  kernelFrames: 120,
  /** u64: their bytes */
  kernelBytes: 128,
} as const;

/** The fields of a LinkCounters. */
export interface LinkCountersFields {
  /** frames taken from the link; a superframe is one */
  readonly receivedFrames: number;
  /** their bytes */
  readonly receivedBytes: number;
  /** frames that the link took */
  readonly sentFrames: number;
  /** their bytes */
  readonly sentBytes: number;
  /** frames received here and dropped, for any reason */
  readonly droppedFrames: number;
  /** frames that the link could not take */
  readonly refusedFrames: number;
  /** ARP and neighbour requests answered for the gateway */
  readonly answeredFrames: number;
  /** frames that the kernel could not keep for us */
  readonly lostFrames: number;
  /** tracked now that count for the endpoint behind the link; 0 where none is, and so below */
  readonly connections: number;
  /** as many as it may have */
  readonly connectionQuota: number;
  /** of it that gave way to new ones */
  readonly evictedConnections: number;
  /** new ones of it that were refused at its quota */
  readonly refusedConnections: number;
  /** fragmented datagrams of it that have begun and are not whole */
  readonly fragments: number;
  /** its share of the table of these */
  readonly fragmentShare: number;
  /** of these that gave way to new ones */
  readonly evictedFragments: number;
  /** frames received here that the kernel passed itself: they are among receivedFrames */
  readonly kernelFrames: number;
  /** their bytes */
  readonly kernelBytes: number;
}

/** Reads the LinkCounters at byte `at`; arrays are copies. */
export function readLinkCounters(view: DataView, at: number): LinkCountersFields {
  return {
    receivedFrames: u64At(view, at),
    receivedBytes: u64At(view, at + 8),
    sentFrames: u64At(view, at + 16),
    sentBytes: u64At(view, at + 24),
    droppedFrames: u64At(view, at + 32),
    refusedFrames: u64At(view, at + 40),
    answeredFrames: u64At(view, at + 48),
    lostFrames: u64At(view, at + 56),
    connections: u64At(view, at + 64),
    connectionQuota: u64At(view, at + 72),
    evictedConnections: u64At(view, at + 80),
    refusedConnections: u64At(view, at + 88),
    fragments: u64At(view, at + 96),
    fragmentShare: u64At(view, at + 104),
    evictedFragments: u64At(view, at + 112),
    kernelFrames: u64At(view, at + 120),
    kernelBytes: u64At(view, at + 128),
  };
}

/** A captured frame, as `replay` and `capture` have it judged. Byte offsets of its fields. */
export const CapturedFrame = {
  bytes: 24,
  /** u32: where it starts in the buffer of all frames */
  offset: 0,
  /** u32: captured length */
  frameBytes: 4,
  /** u64: microseconds of the capture's clock */
  timeUs: 8,
  /** u8: 1 when it did not come from the pod */
  fromOutside: 16,
  /** u8: 1 when the frame was longer than what was captured */
  truncated: 17,
  /** u8: 1 when it starts at its IP header */
  bareIp: 18,
  /** 5 × u8: zero */
  reserved: 19,
} as const;

/** The fields of a CapturedFrame. */
export interface CapturedFrameFields {
  /** where it starts in the buffer of all frames */
  readonly offset: number;
  /** captured length */
  readonly frameBytes: number;
  /** microseconds of the capture's clock */
  readonly timeUs: number;
  /** 1 when it did not come from the pod */
  readonly fromOutside: number;
  /** 1 when the frame was longer than what was captured */
  readonly truncated: number;
  /** 1 when it starts at its IP header */
  readonly bareIp: number;
}

/** Writes a CapturedFrame at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeCapturedFrame(view: DataView, at: number, fields: CapturedFrameFields): void {
  view.setUint32(at, fields.offset, true);
  view.setUint32(at + 4, fields.frameBytes, true);
  view.setBigUint64(at + 8, BigInt(fields.timeUs), true);
  view.setUint8(at + 16, fields.fromOutside);
  view.setUint8(at + 17, fields.truncated);
  view.setUint8(at + 18, fields.bareIp);
}

/** What a captured frame is, and what the filter says of it. Byte offsets of its fields. */
export const JudgedFrame = {
  bytes: 80,
  /** 16 × u8: address, network order; IPv4 in the first four; ARP: the sender's */
  source: 0,
  /** 16 × u8: likewise; ARP: the target's */
  destination: 16,
  /** 6 × u8: zero where there is no Ethernet header */
  sourceMac: 32,
  /** 6 × u8: likewise */
  destinationMac: 38,
  /** u16: likewise */
  etherType: 44,
  /** u16: 0 when the protocol has none */
  sourcePort: 46,
  /** u16: likewise */
  destinationPort: 48,
  /** u16: ICMP: type << 8 | code; ARP: the operation */
  typeCode: 50,
  /** u16: destination port of its connection's first packet */
  firstPort: 52,
  /** u8: IP protocol number; 0 for ARP */
  protocol: 54,
  /** u8: of its connection */
  firstProtocol: 55,
  /** u32: behind the header of TCP or UDP; others: with it */
  payloadBytes: 56,
  /** 2 × u32: of its connection's first packet: leaf numbers of source and destination */
  leaves: 60,
  /** u8: 4, 6, or 0 when there is no header that could be read */
  family: 68,
  /** u8: DropReason */
  reason: 69,
  /** u8: DENIED_BY_… bits */
  deniedBy: 70,
  /** u8: ExemptKind: it passes, and no policy was asked */
  exempt: 71,
  /** u8: of the frame; 0 when it is no TCP */
  tcpFlags: 72,
  /** u8: 1 when what follows the IP header was read */
  transport: 73,
  /** u8: 1 when it is no first fragment: it has no ports */
  laterFragment: 74,
  /** u8: 1 when it goes against its connection's first packet */
  reply: 75,
  /** u8: 1 for an ICMP error: its connection is that of the packet that it quotes */
  quoted: 76,
  /** u8: 1 when its connection was not seen to start */
  joined: 77,
  /** 2 × u8: zero */
  reserved: 78,
} as const;

/** The fields of a JudgedFrame. */
export interface JudgedFrameFields {
  /** address, network order; IPv4 in the first four; ARP: the sender's */
  readonly source: Uint8Array;
  /** likewise; ARP: the target's */
  readonly destination: Uint8Array;
  /** zero where there is no Ethernet header */
  readonly sourceMac: Uint8Array;
  /** likewise */
  readonly destinationMac: Uint8Array;
  /** likewise */
  readonly etherType: number;
  /** 0 when the protocol has none */
  readonly sourcePort: number;
  /** likewise */
  readonly destinationPort: number;
  /** ICMP: type << 8 | code; ARP: the operation */
  readonly typeCode: number;
  /** destination port of its connection's first packet */
  readonly firstPort: number;
  /** IP protocol number; 0 for ARP */
  readonly protocol: number;
  /** of its connection */
  readonly firstProtocol: number;
  /** behind the header of TCP or UDP; others: with it */
  readonly payloadBytes: number;
  /** of its connection's first packet: leaf numbers of source and destination */
  readonly leaves: readonly number[];
  /** 4, 6, or 0 when there is no header that could be read */
  readonly family: number;
  /** DropReason */
  readonly reason: number;
  /** DENIED_BY_… bits */
  readonly deniedBy: number;
  /** ExemptKind: it passes, and no policy was asked */
  readonly exempt: number;
  /** of the frame; 0 when it is no TCP */
  readonly tcpFlags: number;
  /** 1 when what follows the IP header was read */
  readonly transport: number;
  /** 1 when it is no first fragment: it has no ports */
  readonly laterFragment: number;
  /** 1 when it goes against its connection's first packet */
  readonly reply: number;
  /** 1 for an ICMP error: its connection is that of the packet that it quotes */
  readonly quoted: number;
  /** 1 when its connection was not seen to start */
  readonly joined: number;
}

/** Reads the JudgedFrame at byte `at`; arrays are copies. */
export function readJudgedFrame(view: DataView, at: number): JudgedFrameFields {
  return {
    source: bytesAt(view, at, 16),
    destination: bytesAt(view, at + 16, 16),
    sourceMac: bytesAt(view, at + 32, 6),
    destinationMac: bytesAt(view, at + 38, 6),
    etherType: u16At(view, at + 44),
    sourcePort: u16At(view, at + 46),
    destinationPort: u16At(view, at + 48),
    typeCode: u16At(view, at + 50),
    firstPort: u16At(view, at + 52),
    protocol: view.getUint8(at + 54),
    firstProtocol: view.getUint8(at + 55),
    payloadBytes: u32At(view, at + 56),
    leaves: listAt(view, at + 60, 2, u32At, 4),
    family: view.getUint8(at + 68),
    reason: view.getUint8(at + 69),
    deniedBy: view.getUint8(at + 70),
    exempt: view.getUint8(at + 71),
    tcpFlags: view.getUint8(at + 72),
    transport: view.getUint8(at + 73),
    laterFragment: view.getUint8(at + 74),
    reply: view.getUint8(at + 75),
    quoted: view.getUint8(at + 76),
    joined: view.getUint8(at + 77),
  };
}

/** One connection for the prober to try. Byte offsets of its fields. */
export const ProbeRequest = {
  bytes: 56,
  /** 16 × u8: address, network order; IPv4 in the first four */
  source: 0,
  /** 16 × u8: address, network order */
  destination: 16,
  /** u32: descriptor of the namespace that sends */
  sourceNamespace: 32,
  /** u32: descriptor of the namespace that listens, or NONE */
  destinationNamespace: 36,
  /** u16: destination port; 0 for ICMP */
  port: 40,
  /** u8: IP protocol number: TCP, UDP, SCTP, ICMP, ICMPv6 */
  protocol: 42,
  /** u8: 4 or 6 */
  family: 43,
  /** u32: how long to wait for an answer */
  timeoutMs: 44,
  /** 2 × u32: zero */
  reserved: 48,
} as const;

/** The fields of a ProbeRequest. */
export interface ProbeRequestFields {
  /** address, network order; IPv4 in the first four */
  readonly source: Uint8Array;
  /** address, network order */
  readonly destination: Uint8Array;
  /** descriptor of the namespace that sends */
  readonly sourceNamespace: number;
  /** descriptor of the namespace that listens, or NONE */
  readonly destinationNamespace: number;
  /** destination port; 0 for ICMP */
  readonly port: number;
  /** IP protocol number: TCP, UDP, SCTP, ICMP, ICMPv6 */
  readonly protocol: number;
  /** 4 or 6 */
  readonly family: number;
  /** how long to wait for an answer */
  readonly timeoutMs: number;
}

/** Writes a ProbeRequest at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeProbeRequest(view: DataView, at: number, fields: ProbeRequestFields): void {
  setBytes(view, at, 16, fields.source);
  setBytes(view, at + 16, 16, fields.destination);
  view.setUint32(at + 32, fields.sourceNamespace, true);
  view.setUint32(at + 36, fields.destinationNamespace, true);
  view.setUint16(at + 40, fields.port, true);
  view.setUint8(at + 42, fields.protocol);
  view.setUint8(at + 43, fields.family);
  view.setUint32(at + 44, fields.timeoutMs, true);
}

/** How a probe ended. Byte offsets of its fields. */
export const ProbeResult = {
  bytes: 16,
  /** u32: from the first packet to the answer; 0 without one */
  roundTripUs: 0,
  /** u32: errno, when the outcome is Failed */
  errorNumber: 4,
  /** u8: ProbeOutcome */
  outcome: 8,
  /** 7 × u8: zero */
  reserved: 9,
} as const;

/** The fields of a ProbeResult. */
export interface ProbeResultFields {
  /** from the first packet to the answer; 0 without one */
  readonly roundTripUs: number;
  /** errno, when the outcome is Failed */
  readonly errorNumber: number;
  /** ProbeOutcome */
  readonly outcome: number;
}

/** Reads the ProbeResult at byte `at`; arrays are copies. */
export function readProbeResult(view: DataView, at: number): ProbeResultFields {
  return {
    roundTripUs: u32At(view, at),
    errorNumber: u32At(view, at + 4),
    outcome: view.getUint8(at + 8),
  };
}

/** Traffic between two sockets of real namespaces, to measure with. Byte offsets of its fields. */
export const TrafficRequest = {
  bytes: 72,
  /** 16 × u8: address, network order */
  client: 0,
  /** 16 × u8: address, network order */
  server: 16,
  /** u32: descriptor of the namespace that sends */
  clientNamespace: 32,
  /** u32: descriptor of the other one */
  serverNamespace: 36,
  /** u32: where its threads run; NONE: anywhere */
  clientCpu: 40,
  /** u32: the same of the other end */
  serverCpu: 44,
  /** u32: of Stream; each has a thread at both ends */
  streams: 48,
  /** u32: of a datagram */
  payloadBytes: 52,
  /** u32: of Packets: connections that they take turns to belong to; of BesideFlows: new ones a second */
  flows: 56,
  /** u32: sent before anything is counted */
  warmupMs: 60,
  /** u32: how long it is counted */
  durationMs: 64,
  /** u16: where the server listens */
  port: 68,
  /** u8: TrafficKind */
  kind: 70,
  /** u8: 4 or 6 */
  family: 71,
} as const;

/** The fields of a TrafficRequest. */
export interface TrafficRequestFields {
  /** address, network order */
  readonly client: Uint8Array;
  /** address, network order */
  readonly server: Uint8Array;
  /** descriptor of the namespace that sends */
  readonly clientNamespace: number;
  /** descriptor of the other one */
  readonly serverNamespace: number;
  /** where its threads run; NONE: anywhere */
  readonly clientCpu: number;
  /** the same of the other end */
  readonly serverCpu: number;
  /** of Stream; each has a thread at both ends */
  readonly streams: number;
  /** of a datagram */
  readonly payloadBytes: number;
  /** of Packets: connections that they take turns to belong to; of BesideFlows: new ones a second */
  readonly flows: number;
  /** sent before anything is counted */
  readonly warmupMs: number;
  /** how long it is counted */
  readonly durationMs: number;
  /** where the server listens */
  readonly port: number;
  /** TrafficKind */
  readonly kind: number;
  /** 4 or 6 */
  readonly family: number;
}

/** Writes a TrafficRequest at byte `at`. Shape: those bytes are zero before; short arrays leave zeros. */
export function writeTrafficRequest(view: DataView, at: number, fields: TrafficRequestFields): void {
  setBytes(view, at, 16, fields.client);
  setBytes(view, at + 16, 16, fields.server);
  view.setUint32(at + 32, fields.clientNamespace, true);
  view.setUint32(at + 36, fields.serverNamespace, true);
  view.setUint32(at + 40, fields.clientCpu, true);
  view.setUint32(at + 44, fields.serverCpu, true);
  view.setUint32(at + 48, fields.streams, true);
  view.setUint32(at + 52, fields.payloadBytes, true);
  view.setUint32(at + 56, fields.flows, true);
  view.setUint32(at + 60, fields.warmupMs, true);
  view.setUint32(at + 64, fields.durationMs, true);
  view.setUint16(at + 68, fields.port, true);
  view.setUint8(at + 70, fields.kind);
  view.setUint8(at + 71, fields.family);
}

/** Array sections of a table blob. */
export const SectionId = {
  /** u32: by the first 16 bits of an IPv4 address: a leaf, or TRIE_CHILD_BIT and a node */
  trieV4Root: 0,
  /** u32: 256 entries a node, by the next 8 bits */
  trieV4Nodes: 1,
  /** u32: by the first 16 bits of an IPv6 address */
  trieV6Root: 2,
  /** TrieV6Node: path-compressed nodes, by byteIndex and then by value */
  trieV6Nodes: 3,
  /** u32: 256 entries a node that branches: a leaf, or TRIE_CHILD_BIT and a node */
  trieV6Entries: 4,
  /** Leaf: leaf number to class and endpoint */
  leaves: 5,
  /** EndpointRow: rows of each local endpoint */
  endpoints: 6,
  /** u16: rowCount × classCount port-set numbers, row by row */
  cells: 7,
  /** PortSet: deduplicated port sets */
  portSets: 8,
  /** u16: 256 page numbers an index, by the port's high byte */
  portPageIndexes: 9,
  /** u32: 256 bits a page, by the port's low byte */
  portPages: 10,
  /** u8: UTF-8 text, referred to by StringRef */
  strings: 11,
  /** EndpointInfo: one for each endpoint */
  endpointInfos: 12,
  /** PolicyInfo: policies that select a local endpoint */
  policyInfos: 13,
  /** RuleInfo: rules of those policies, ports resolved */
  ruleInfos: 14,
  /** RowInfo: one for each row */
  rowInfos: 15,
  /** u32: policy and rule indexes that rowInfos refer to */
  rowLists: 16,
  /** u32: sets of origin classes: count, then that many ids, ascending */
  originSets: 17,
  /** EndpointRow: rows of each local endpoint with the audited policies; empty when nothing is audited */
  auditRows: 18,
} as const;
export type SectionName = keyof typeof SectionId;
/** Bytes of one element of each section, by SectionId. */
export const sectionElementBytes = [
  4,
  4,
  4,
  32,
  4,
  12,
  8,
  2,
  16,
  2,
  4,
  1,
  16,
  40,
  32,
  16,
  4,
  4,
  8,
] as const;

function u16At(view: DataView, at: number): number {
  return view.getUint16(at, true);
}

function u32At(view: DataView, at: number): number {
  return view.getUint32(at, true);
}

/** The nearest number that is exact: beyond it is no time and no count, but a broken clock. */
function u64At(view: DataView, at: number): number {
  const value = view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
  return Math.min(value, Number.MAX_SAFE_INTEGER);
}

function bytesAt(view: DataView, at: number, count: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, count).slice();
}

function listAt(
  view: DataView,
  at: number,
  count: number,
  read: (view: DataView, at: number) => number,
  size: number,
): readonly number[] {
  return Array.from({ length: count }, (_, place) => read(view, at + place * size));
}

function setBytes(view: DataView, at: number, count: number, bytes: Uint8Array): void {
  if (bytes.length > count) throw new RangeError(`got ${bytes.length} bytes, want ${count} at most`);
  new Uint8Array(view.buffer, view.byteOffset + at, count).set(bytes);
}
