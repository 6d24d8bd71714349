// Generated from src/layout/schema.ts by `npm run generate`; do not edit.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

static_assert(std::endian::native == std::endian::little, "the layout is little-endian");

// Of what a table blob holds, and of all that TypeScript and the addon share.
inline constexpr uint32_t BLOB_HASH = 0x2083e8bu;
inline constexpr uint32_t LAYOUT_HASH = 0x7e28f35fu;
inline constexpr uint32_t TABLE_MAGIC = 1413696595u;
inline constexpr uint32_t TABLE_VERSION = 1u;
inline constexpr uint32_t TABLE_ALIGNMENT_BYTES = 64u;
inline constexpr uint32_t TRIE_CHILD_BIT = 2147483648u;
inline constexpr uint32_t TRIE_V4_ROOT_ENTRIES = 65536u;
inline constexpr uint32_t TRIE_V6_ROOT_ENTRIES = 65536u;
inline constexpr uint32_t TRIE_NODE_ENTRIES = 256u;
inline constexpr uint32_t TRIE_V6_PREFIX_NODE = 16u;
inline constexpr uint32_t PORT_PAGE_INDEX_ENTRIES = 256u;
inline constexpr uint32_t PORT_PAGE_WORDS = 8u;
inline constexpr uint32_t NONE = 4294967295u;
inline constexpr uint32_t BATCH_FRAMES_MAX = 64u;
inline constexpr uint32_t FRAME_BYTES_MAX = 65568u;
inline constexpr uint32_t LINKS_MAX = 1024u;
inline constexpr uint32_t WORKERS_MAX = 16u;
inline constexpr uint32_t ZONES_MAX = 256u;
inline constexpr uint32_t XDP_MTU_MAX = 3498u;
inline constexpr uint32_t EVENTS_DEFAULT = 8192u;
inline constexpr uint32_t DROPPED_FRAME_BYTES = 256u;
inline constexpr uint32_t DROPPED_FRAMES = 256u;
inline constexpr uint32_t CONNECTIONS_MAX = 67108864u;
inline constexpr uint32_t CONNECTIONS_DEFAULT_MIN = 65536u;
inline constexpr uint32_t CONNECTIONS_DEFAULT_MAX = 4194304u;
inline constexpr uint32_t FRAGMENTS_MAX = 1048576u;
inline constexpr uint32_t FRAGMENTS_DEFAULT = 16384u;
inline constexpr uint32_t EXTENSION_HEADERS_MAX = 8u;
inline constexpr uint32_t SUPERFRAME_SEGMENTS_MAX = 128u;
inline constexpr uint32_t SUPERFRAME_SEGMENT_BYTES_MIN = 64u;
inline constexpr uint32_t EXEMPT_POD_BYTES_PER_SECOND = 512u;
inline constexpr uint32_t EXEMPT_POD_BYTES_AT_ONCE = 4096u;
inline constexpr uint32_t EXEMPT_NETWORK_BYTES_PER_SECOND = 16384u;
inline constexpr uint32_t EXEMPT_NETWORK_BYTES_AT_ONCE = 65536u;
inline constexpr uint32_t LISTENER_RECORDS_MAX = 32u;
inline constexpr uint32_t LISTENER_SOURCES_MAX = 16u;
inline constexpr uint32_t ROUTER_ADVERTISEMENT_BYTES_MAX = 512u;
inline constexpr uint32_t DENIED_BY_EGRESS = 1u;
inline constexpr uint32_t DENIED_BY_INGRESS = 2u;
inline constexpr uint32_t SAVED_CONNECTIONS_VERSION = 1u;
inline constexpr uint32_t SAVED_UNREPLIED = 1u;
inline constexpr uint32_t SAVED_NO_WINDOW = 2u;
inline constexpr uint32_t SAVED_SYN_IGNORED = 4u;
inline constexpr uint32_t SAVED_ACK_SEEN_OPENER = 8u;
inline constexpr uint32_t SAVED_ACK_SEEN_OTHER = 16u;
inline constexpr uint32_t SAVED_AUDITED_BY = 96u;

// Which of a port set's page indexes answers for a protocol.
enum class ProtocolSlot : uint8_t {
  // protocol 6
  Tcp,
  // protocol 17
  Udp,
  // protocol 132
  Sctp,
  // every other protocol, with port 0
  Other,
};
inline constexpr size_t PROTOCOL_SLOT_COUNT = 4;
inline constexpr std::array<std::string_view, 4> protocolSlotWords = {{
    "tcp",
    "udp",
    "sctp",
    "other",
}};

// Who wrote a rule; evaluated in this order.
enum class Tier : uint8_t {
  // built in: a node reaches its own pods
  Node,
  // ClusterNetworkPolicy, tier Admin
  Admin,
  // networking.k8s.io/v1
  NetworkPolicy,
  // ClusterNetworkPolicy, tier Baseline
  Baseline,
};
inline constexpr size_t TIER_COUNT = 4;
inline constexpr std::array<std::string_view, 4> tierWords = {{
    "node",
    "admin",
    "network-policy",
    "baseline",
}};

// What a rule does with a packet it matches.
enum class Action : uint8_t {
  // allow, finally
  Accept,
  // deny, finally
  Deny,
  // leave the tier
  Pass,
};
inline constexpr size_t ACTION_COUNT = 3;
inline constexpr std::array<std::string_view, 3> actionWords = {{
    "accept",
    "deny",
    "pass",
}};

// Seen from the endpoint.
enum class Direction : uint8_t {
  // to the endpoint
  Ingress,
  // from the endpoint
  Egress,
};
inline constexpr size_t DIRECTION_COUNT = 2;
inline constexpr std::array<std::string_view, 2> directionWords = {{
    "ingress",
    "egress",
}};

// How a native call ended.
enum class StatusCode : uint8_t {
  // done
  Ok,
  // the blob is shorter than its header says
  TableTooShort,
  // the bytes are no table blob
  TableMagic,
  // written by another version of the format
  TableVersion,
  // written with another layout (BLOB_HASH differs)
  TableLayout,
  // the checksum does not fit the bytes
  TableChecksum,
  // a section or an index points outside its array
  TableBounds,
  // a trie node points at itself or upwards
  TableCycle,
  // a system call failed; errno and the call's name say which
  System,
  // an argument is outside what the call accepts
  Argument,
  // a fixed limit is reached
  Limit,
  // not possible in the present state
  State,
};
inline constexpr size_t STATUS_CODE_COUNT = 12;
inline constexpr std::array<std::string_view, 12> statusCodeWords = {{
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
}};

// What a refusal is about, where the system call and its errno do not tell.
enum class Fault : uint8_t {
  // they do
  None,
  // /dev/net/tun is not there, or not ours to open
  TunDevice,
  // the kernel's stack is kept off the interface by filters that outlive the process
  StackFilters,
  // no such CPU, or not one that this process may use
  WorkerCpu,
  // another program reads the interface's queue by AF_XDP
  XdpQueueBusy,
};
inline constexpr size_t FAULT_COUNT = 5;
inline constexpr std::array<std::string_view, 5> faultWords = {{
    "none",
    "tun-device",
    "stack-filters",
    "worker-cpu",
    "xdp-queue-busy",
}};

// How a worker waits for frames. The first is the default.
enum class PollMode : uint8_t {
  // looks on for a little while where that pays, then sleeps
  Adaptive,
  // never sleeps: a CPU for each worker
  Spin,
  // always sleeps
  Sleep,
};
inline constexpr size_t POLL_MODE_COUNT = 3;
inline constexpr std::array<std::string_view, 3> pollModeWords = {{
    "adaptive",
    "spin",
    "sleep",
}};

// What a table swap means for the connections that run. The first is the default.
enum class Established : uint8_t {
  // the next packet of each is judged again, and a connection now denied is cut
  Recheck,
  // they go on to their end
  Keep,
  // all are judged again at once, without waiting for their packets
  Cut,
};
inline constexpr size_t ESTABLISHED_COUNT = 3;
inline constexpr std::array<std::string_view, 3> establishedWords = {{
    "recheck",
    "keep",
    "cut",
}};

// What the sender of a packet hears that policy denies. The first is the default.
enum class Deny : uint8_t {
  // nothing
  Drop,
  // a TCP reset or an ICMP error, within a rate
  Reject,
};
inline constexpr size_t DENY_COUNT = 2;
inline constexpr std::array<std::string_view, 2> denyWords = {{
    "drop",
    "reject",
}};

// How an interface's frames come in.
enum class LinkKind : uint8_t {
  // a TAP interface of our own
  Tap,
  // an existing interface by AF_PACKET
  Packet,
  // an existing interface by AF_XDP
  Xdp,
  // an existing interface by a program, which passes packets of admitted connections itself
  Kernel,
};
inline constexpr size_t LINK_KIND_COUNT = 4;
inline constexpr std::array<std::string_view, 4> linkKindWords = {{
    "tap",
    "af-packet",
    "af-xdp",
    "kernel",
}};

// What judges where the kernel forwards packets.
enum class ForwardHook : uint8_t {
  // a program at netfilter's forward hook
  Netfilter,
  // a program as the match of rules at the forward hook
  Iptables,
  // this process, of packets that rules at the forward hook queue
  Nfqueue,
};
inline constexpr size_t FORWARD_HOOK_COUNT = 3;
inline constexpr std::array<std::string_view, 3> forwardHookWords = {{
    "netfilter",
    "iptables",
    "nfqueue",
}};

// What a packet is to its connection, as a rule at the forward hook finds it.
enum class MatchRole : uint8_t {
  // the client's, before the server has answered
  First,
  // the client's
  Onward,
  // the server's
  Reply,
  // it belongs to none
  Untracked,
};
inline constexpr size_t MATCH_ROLE_COUNT = 4;
inline constexpr std::array<std::string_view, 4> matchRoleWords = {{
    "first",
    "onward",
    "reply",
    "untracked",
}};

// What is sent to measure with.
enum class TrafficKind : uint8_t {
  // UDP, one datagram at a time, there and back
  RoundTrips,
  // UDP datagrams one way, as many as go
  Packets,
  // TCP bytes one way, as many as go
  Stream,
  // TCP: connect, request, reply, close; one after the other
  Connections,
  // bytes there and back over one TCP connection, while new UDP flows come to its port
  BesideFlows,
};
inline constexpr size_t TRAFFIC_KIND_COUNT = 5;
inline constexpr std::array<std::string_view, 5> trafficKindWords = {{
    "round-trips",
    "packets",
    "stream",
    "connections",
    "beside-flows",
}};

// What the data plane asks of a kernel.
enum class KernelFeature : uint8_t {
  // AF_PACKET
  PacketSocket,
  // AF_XDP
  XdpSocket,
  // /dev/net/tun
  Tun,
  // bpf(BPF_PROG_LOAD) of a program for tc
  LoadProgram,
  // a bpf link on an interface's ingress
  AttachTcx,
  // a filter of system calls
  Seccomp,
};
inline constexpr size_t KERNEL_FEATURE_COUNT = 6;
inline constexpr std::array<std::string_view, 6> kernelFeatureWords = {{
    "packetSocket",
    "xdpSocket",
    "tun",
    "loadProgram",
    "attachTcx",
    "seccomp",
}};

// What an event tells.
enum class FlowEventKind : uint8_t {
  // a new connection was allowed
  Opened,
  // a connection ended or timed out
  Closed,
  // a frame was dropped
  Dropped,
  // an existing connection is no longer allowed
  Cut,
  // a frame passed that audited policies would have denied
  Audited,
  // a message passed that no policy judges; a sample of them
  Exempt,
};
inline constexpr size_t FLOW_EVENT_KIND_COUNT = 6;
inline constexpr std::array<std::string_view, 6> flowEventKindWords = {{
    "opened",
    "closed",
    "dropped",
    "cut",
    "audited",
    "exempt",
}};

// A message that no policy judges: the link itself needs it.
enum class ExemptKind : uint8_t {
  // policy judges it
  None,
  // ARP for IPv4
  Arp,
  // neighbour and router solicitations, neighbour advertisements
  Neighbor,
  // multicast listener discovery
  Listener,
  // a router advertisement from the network
  RouterAdvertisement,
};
inline constexpr size_t EXEMPT_KIND_COUNT = 5;
inline constexpr std::array<std::string_view, 5> exemptKindWords = {{
    "none",
    "arp",
    "neighbor",
    "listener",
    "router-advertisement",
}};

// State of a tracked connection.
enum class ConnState : uint8_t {
  // free slot
  None,
  // TCP: a SYN was seen
  SynSent,
  // TCP: answered by SYN and ACK
  SynReceived,
  // TCP: handshake complete
  Established,
  // TCP: one side has closed
  FinWait,
  // TCP: the close was acknowledged
  CloseWait,
  // TCP: both sides have closed
  LastAck,
  // TCP: the last close was acknowledged
  TimeWait,
  // TCP: reset
  Close,
  // TCP: simultaneous open
  SynSent2,
  // not TCP: one direction only so far
  Unreplied,
  // not TCP: both directions seen
  Replied,
};
inline constexpr size_t CONN_STATE_COUNT = 12;
inline constexpr std::array<std::string_view, 12> connStateWords = {{
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
}};

// Which connections give way first when there is no room for a new one.
enum class ConnClass : uint8_t {
  // TCP: closed by both ends, which know it, or reset
  Closing,
  // nothing shows yet that the other end is there
  Unanswered,
  // answered, but an ICMP query, not TCP and just begun, or TCP that is being closed
  Unassured,
  // an established TCP connection, or another that goes on
  Assured,
};
inline constexpr size_t CONN_CLASS_COUNT = 4;
inline constexpr std::array<std::string_view, 4> connClassWords = {{
    "closing",
    "unanswered",
    "unassured",
    "assured",
}};

// How a probe ended.
enum class ProbeOutcome : uint8_t {
  // the request arrived and the answer came back
  Answered,
  // nothing came back in time
  TimedOut,
  // the destination, or a router on the way, refused it
  Refused,
  // it could not be tried; errno says why
  Failed,
};
inline constexpr size_t PROBE_OUTCOME_COUNT = 4;
inline constexpr std::array<std::string_view, 4> probeOutcomeWords = {{
    "answered",
    "timed-out",
    "refused",
    "failed",
}};

// Why a frame was dropped. From the outside in: link, addresses, header, fragment, transport, state, policy, resources.
enum class DropReason : uint8_t {
  // not dropped
  None,
  // shorter than an Ethernet header, or sent from a group address
  MalformedEthernet,
  // carries an 802.1Q or 802.1ad tag and no VLAN is configured
  VlanTag,
  // neither IPv4, IPv6 nor ARP, or its destination MAC does not fit its destination
  L2Protocol,
  // Ethernet source is not the pod's own (from the pod), or is the pod's (to the pod)
  SpoofedMac,
  // ARP whose sizes, types, opcode, length or hardware addresses are not those of Ethernet and IPv4
  MalformedArp,
  // ARP that claims an address or a MAC that is not the sender's
  SpoofedArp,
  // version, header length, total length or options are wrong, or the frame is cut
  MalformedIpv4,
  // version, payload length or header chain is wrong, or the frame is cut; jumbograms
  MalformedIpv6,
  // the IPv4 header checksum is wrong
  BadChecksum,
  // from the pod: an address that is not its own; to the pod: the pod's own
  SpoofedSource,
  // loopback, multicast, broadcast, unspecified or IPv4-mapped source
  MartianSource,
  // TTL or hop limit is 0
  TtlExpired,
  // IPv4 loose or strict source route
  ForbiddenIpOption,
  // IPv6 routing header, or a chain that is not allowed
  ForbiddenExtHeader,
  // more extension headers than are walked
  ExtHeaderLimit,
  // a fragment that is not the last one, with no data or a length that is no multiple of 8
  MalformedFragment,
  // a first fragment without the whole layer-4 header, or a TCP fragment at offset 8
  FragmentTiny,
  // an IPv6 first fragment without the whole header chain
  FragmentIncompleteChain,
  // overlaps an earlier fragment, its datagram had an overlap, or it could complete one that is denied now
  FragmentOverlap,
  // would make a datagram of more than 65,535 bytes
  FragmentOversize,
  // a later fragment whose first one was not seen, has expired or was refused
  FragmentOrphan,
  // shorter than its header, or a data offset outside the segment
  MalformedTcp,
  // shorter than 8 bytes, or a length field that does not fit
  MalformedUdp,
  // shorter than its type needs
  MalformedIcmp,
  // shorter than the common header, or a chunk that does not fit
  MalformedSctp,
  // breaks a rule of neighbour discovery: hop limit, code, options, lengths, target
  MalformedNdp,
  // neighbour discovery that claims what is not the sender's; redirects
  SpoofedNdp,
  // a router advertisement, or the role of a router, from the pod; one from the network where none is wanted
  RouterAdvertisement,
  // a combination of flags that no TCP sends
  InvalidTcpFlags,
  // an ICMP error whose quote is cut, broken or without ports
  RelatedTruncated,
  // an ICMP error sent to somebody who did not send the quoted packet
  RelatedMismatch,
  // an ICMP error that quotes no tracked connection
  RelatedUnknown,
  // a segment that the connection's state does not admit
  InvalidTcpState,
  // a segment, or a quoted one, outside the tracked window
  OutOfWindow,
  // needs a connection (TCP without SYN, an echo reply) and has none
  NoConnection,
  // no ingress rule of the receiver allows it
  PolicyIngress,
  // no egress rule of the sender allows it
  PolicyEgress,
  // the connection table is full and nothing may give way
  ConntrackFull,
  // the endpoint has as many connections as it may, and none of its own may give way
  ConnectionQuota,
  // it leaves more gaps in its datagram than are kept
  FragmentFull,
  // longer than the receive slot, so part of it is missing
  FrameTruncated,
  // its offload header (checksum start, segment size) does not fit the frame
  OffloadInvalid,
  // no link leads to the destination
  NoDestination,
  // the outgoing link could not take the frame
  TransmitFull,
  // no table is in force
  NoTable,
  // a superframe that would be cut into more segments than any stack makes
  OffloadSegments,
  // more ARP, neighbour or listener messages than a link may send unjudged
  ExemptLimit,
  // in place: an address of the node's pod ranges that no pod of the table has, or one that is for a link alone
  UnknownPod,
  // in place: no process has renewed the lease, and the pod is closed without one
  LeaseOver,
};
inline constexpr size_t DROP_REASON_COUNT = 50;
inline constexpr std::array<std::string_view, 50> dropReasonWords = {{
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
}};

// Where one array of the blob starts, and how many elements it has.
struct Section {
  uint32_t offset;  // bytes from the start of the blob, a multiple of 64
  uint32_t count;  // elements, not bytes
};
static_assert(sizeof(Section) == 8);
static_assert(offsetof(Section, offset) == 0);
static_assert(offsetof(Section, count) == 4);

// The first bytes of a table blob.
struct TableHeader {
  uint32_t magic;  // TABLE_MAGIC
  uint32_t version;  // TABLE_VERSION
  uint32_t layoutHash;  // BLOB_HASH of the schema that wrote the blob
  uint32_t checksum;  // of the whole blob, this field taken as zero
  uint32_t totalBytes;  // length of the blob, a multiple of 64
  uint32_t classCount;  // address classes: the width of a row
  uint32_t rowCount;  // policy rows
  uint32_t trieV4Inner;  // IPv4 nodes for byte 2; those for byte 3 follow
  uint32_t sections[38];  // a Section for each value of SectionId, then zeros
  uint32_t reserved[2];  // zero
};
static_assert(sizeof(TableHeader) == 192);
static_assert(offsetof(TableHeader, magic) == 0);
static_assert(offsetof(TableHeader, version) == 4);
static_assert(offsetof(TableHeader, layoutHash) == 8);
static_assert(offsetof(TableHeader, checksum) == 12);
static_assert(offsetof(TableHeader, totalBytes) == 16);
static_assert(offsetof(TableHeader, classCount) == 20);
static_assert(offsetof(TableHeader, rowCount) == 24);
static_assert(offsetof(TableHeader, trieV4Inner) == 28);
static_assert(offsetof(TableHeader, sections) == 32);
static_assert(offsetof(TableHeader, reserved) == 184);

// What the trie knows of an address.
struct Leaf {
  uint32_t classId;  // column of the cells
  uint32_t endpointId;  // local endpoint that owns the address, or NONE
  uint32_t originId;  // class before equal columns were merged: provenance
};
static_assert(sizeof(Leaf) == 12);
static_assert(offsetof(Leaf, classId) == 0);
static_assert(offsetof(Leaf, endpointId) == 4);
static_assert(offsetof(Leaf, originId) == 8);

// An IPv6 node. One that branches has 256 entries at the same index in trieV6Entries; one that stands for a single prefix has none.
struct TrieV6Node {
  uint8_t value[16];  // address bits that the path to here has, network order, then zeros
  uint32_t missLeaf;  // leaf of an address that differs from `value` in its first `bits`
  uint32_t hitLeaf;  // single prefix: leaf of one that does not; else missLeaf
  uint8_t bits;  // how many bits of `value` count: of a node that branches, 8 × byteIndex
  uint8_t byteIndex;  // which address byte picks the entry, 2 to 15; grows with depth. TRIE_V6_PREFIX_NODE: single prefix
  uint8_t skipFrom;  // first byte that no node above has looked at: of two addresses that agree before it, both come here or neither
  uint8_t reserved[5];  // zero
};
static_assert(sizeof(TrieV6Node) == 32);
static_assert(offsetof(TrieV6Node, value) == 0);
static_assert(offsetof(TrieV6Node, missLeaf) == 16);
static_assert(offsetof(TrieV6Node, hitLeaf) == 20);
static_assert(offsetof(TrieV6Node, bits) == 24);
static_assert(offsetof(TrieV6Node, byteIndex) == 25);
static_assert(offsetof(TrieV6Node, skipFrom) == 26);
static_assert(offsetof(TrieV6Node, reserved) == 27);

// The policy rows of a local endpoint.
struct EndpointRow {
  uint32_t ingressRow;  // row for packets to the endpoint
  uint32_t egressRow;  // row for packets from the endpoint
};
static_assert(sizeof(EndpointRow) == 8);
static_assert(offsetof(EndpointRow, ingressRow) == 0);
static_assert(offsetof(EndpointRow, egressRow) == 4);

// A page index for each ProtocolSlot: which (protocol, port) pairs are allowed.
struct PortSet {
  uint32_t pageIndex[4];  // number of the page index, by ProtocolSlot
};
static_assert(sizeof(PortSet) == 16);
static_assert(offsetof(PortSet, pageIndex) == 0);

// Text in the strings section, UTF-8, not terminated.
struct StringRef {
  uint32_t offset;  // bytes from the start of the strings section
  uint32_t length;  // bytes
};
static_assert(sizeof(StringRef) == 8);
static_assert(offsetof(StringRef, offset) == 0);
static_assert(offsetof(StringRef, length) == 4);

// Provenance: who a local endpoint is.
struct EndpointInfo {
  uint32_t namespaceName[2];  // StringRef
  uint32_t podName[2];  // StringRef
};
static_assert(sizeof(EndpointInfo) == 16);
static_assert(offsetof(EndpointInfo, namespaceName) == 0);
static_assert(offsetof(EndpointInfo, podName) == 8);

// Provenance: a policy and where it was written.
struct PolicyInfo {
  uint32_t kind[2];  // StringRef
  uint32_t namespaceName[2];  // StringRef, empty for cluster policies
  uint32_t name[2];  // StringRef
  uint32_t file[2];  // StringRef
  uint32_t line;  // 1-based
  uint32_t column;  // 1-based
};
static_assert(sizeof(PolicyInfo) == 40);
static_assert(offsetof(PolicyInfo, kind) == 0);
static_assert(offsetof(PolicyInfo, namespaceName) == 8);
static_assert(offsetof(PolicyInfo, name) == 16);
static_assert(offsetof(PolicyInfo, file) == 24);
static_assert(offsetof(PolicyInfo, line) == 32);
static_assert(offsetof(PolicyInfo, column) == 36);

// Provenance: a rule as one row applies it.
struct RuleInfo {
  uint32_t policy;  // index into policyInfos
  uint32_t ruleIndex;  // 0-based, in the direction's list of the policy
  uint8_t tier;  // Tier
  uint8_t action;  // Action
  uint8_t direction;  // Direction
  uint8_t reserved;  // zero
  uint32_t line;  // 1-based
  uint32_t column;  // 1-based
  uint32_t originSet;  // set of origin classes that the peers cover, in originSets
  uint32_t portSet;  // index into portSets
  uint32_t priority;  // lower first within a tier; 0 for NetworkPolicy
};
static_assert(sizeof(RuleInfo) == 32);
static_assert(offsetof(RuleInfo, policy) == 0);
static_assert(offsetof(RuleInfo, ruleIndex) == 4);
static_assert(offsetof(RuleInfo, tier) == 8);
static_assert(offsetof(RuleInfo, action) == 9);
static_assert(offsetof(RuleInfo, direction) == 10);
static_assert(offsetof(RuleInfo, reserved) == 11);
static_assert(offsetof(RuleInfo, line) == 12);
static_assert(offsetof(RuleInfo, column) == 16);
static_assert(offsetof(RuleInfo, originSet) == 20);
static_assert(offsetof(RuleInfo, portSet) == 24);
static_assert(offsetof(RuleInfo, priority) == 28);

// Provenance: which policies isolate, and the rules in the order of evaluation.
struct RowInfo {
  uint32_t isolatedByStart;  // first index into rowLists, of policies
  uint32_t isolatedByCount;  // policies
  uint32_t rulesStart;  // first index into rowLists, of rules
  uint32_t rulesCount;  // rules
};
static_assert(sizeof(RowInfo) == 16);
static_assert(offsetof(RowInfo, isolatedByStart) == 0);
static_assert(offsetof(RowInfo, isolatedByCount) == 4);
static_assert(offsetof(RowInfo, rulesStart) == 8);
static_assert(offsetof(RowInfo, rulesCount) == 12);

// The first packet of a flow, as `Table.classify` takes it.
struct FlowTuple {
  uint8_t source[16];  // address, network order; IPv4 in the first four
  uint8_t destination[16];  // address, network order
  uint16_t port;  // destination port; 0 when the protocol has none
  uint8_t protocol;  // IP protocol number
  uint8_t family;  // 4 or 6
  uint32_t reserved;  // zero
};
static_assert(sizeof(FlowTuple) == 40);
static_assert(offsetof(FlowTuple, source) == 0);
static_assert(offsetof(FlowTuple, destination) == 16);
static_assert(offsetof(FlowTuple, port) == 32);
static_assert(offsetof(FlowTuple, protocol) == 34);
static_assert(offsetof(FlowTuple, family) == 35);
static_assert(offsetof(FlowTuple, reserved) == 36);

// One record of the event ring.
struct FlowEvent {
  uint64_t timeUs;  // microseconds since the epoch
  uint8_t source[16];  // address, network order; IPv4 in the first four
  uint8_t destination[16];  // address, network order
  uint16_t sourcePort;  // 0 when the protocol has none
  uint16_t destinationPort;  // 0 when the protocol has none; ICMP: type << 8 | code
  uint8_t protocol;  // IP protocol number; 0 when there is no IP header
  uint8_t kind;  // FlowEventKind
  uint8_t reason;  // DropReason; Exempt: ExemptKind
  uint8_t family;  // 4, 6, or 0 when there is no IP header
  uint32_t generation;  // of the table that judged
  uint32_t lostBefore;  // events that found the ring full since the last record
  uint16_t linkId;  // link that the frame came in by
  uint8_t deniedBy;  // DENIED_BY_… bits; Audited and Closed: who would have denied
  uint8_t tcpFlags;  // of the frame; 0 when it is no TCP
  uint32_t frameBytes;  // length of the frame; 0 for Closed
  uint64_t totalPackets;  // Closed: frames of the connection, both ways; a superframe is one
  uint64_t totalBytes;  // Closed: their bytes
};
static_assert(sizeof(FlowEvent) == 80);
static_assert(offsetof(FlowEvent, timeUs) == 0);
static_assert(offsetof(FlowEvent, source) == 8);
static_assert(offsetof(FlowEvent, destination) == 24);
static_assert(offsetof(FlowEvent, sourcePort) == 40);
static_assert(offsetof(FlowEvent, destinationPort) == 42);
static_assert(offsetof(FlowEvent, protocol) == 44);
static_assert(offsetof(FlowEvent, kind) == 45);
static_assert(offsetof(FlowEvent, reason) == 46);
static_assert(offsetof(FlowEvent, family) == 47);
static_assert(offsetof(FlowEvent, generation) == 48);
static_assert(offsetof(FlowEvent, lostBefore) == 52);
static_assert(offsetof(FlowEvent, linkId) == 56);
static_assert(offsetof(FlowEvent, deniedBy) == 58);
static_assert(offsetof(FlowEvent, tcpFlags) == 59);
static_assert(offsetof(FlowEvent, frameBytes) == 60);
static_assert(offsetof(FlowEvent, totalPackets) == 64);
static_assert(offsetof(FlowEvent, totalBytes) == 72);

// A dropped frame with its event, for who wants to see it. At the forward hook no frame has a first header: it is zero but for the protocol, and counts as bytes of the frame.
struct DroppedFrame {
  uint8_t event[80];  // its FlowEvent; lostBefore counts frames that found this ring full
  uint32_t capturedBytes;  // how many of the bytes are the frame's
  uint32_t reserved;  // zero
  uint8_t frame[256];  // its first bytes
};
static_assert(sizeof(DroppedFrame) == 344);
static_assert(offsetof(DroppedFrame, event) == 0);
static_assert(offsetof(DroppedFrame, capturedBytes) == 80);
static_assert(offsetof(DroppedFrame, reserved) == 84);
static_assert(offsetof(DroppedFrame, frame) == 88);

// One tracked connection, as it is listed.
struct ConnectionRecord {
  uint8_t source[16];  // of the first packet, network order; IPv4 in the first four
  uint8_t destination[16];  // address, network order
  uint8_t key[40];  // what names the connection in the table
  uint64_t totalPackets;  // frames so far, both ways; a superframe is one
  uint64_t totalBytes;  // their bytes
  uint32_t expiresInMs;  // how long it lives without another packet
  uint32_t generation;  // of the table that allowed it last
  uint16_t sourcePort;  // 0 when the protocol has none
  uint16_t destinationPort;  // the same
  uint8_t protocol;  // IP protocol number
  uint8_t family;  // 4 or 6
  uint8_t state;  // ConnState
  uint8_t zone;  // which of the networks that may use the same addresses: a wire's; 0 in a switch
  uint8_t assured;  // 1 when both ends are known to be there
  uint8_t auditedBy;  // DENIED_BY_… bits: audited policies would deny its egress, its ingress
  uint8_t inKernel;  // 1 when the kernel passes its packets, by a program that reads the connection table
  uint8_t reserved[5];  // zero
};
static_assert(sizeof(ConnectionRecord) == 112);
static_assert(offsetof(ConnectionRecord, source) == 0);
static_assert(offsetof(ConnectionRecord, destination) == 16);
static_assert(offsetof(ConnectionRecord, key) == 32);
static_assert(offsetof(ConnectionRecord, totalPackets) == 72);
static_assert(offsetof(ConnectionRecord, totalBytes) == 80);
static_assert(offsetof(ConnectionRecord, expiresInMs) == 88);
static_assert(offsetof(ConnectionRecord, generation) == 92);
static_assert(offsetof(ConnectionRecord, sourcePort) == 96);
static_assert(offsetof(ConnectionRecord, destinationPort) == 98);
static_assert(offsetof(ConnectionRecord, protocol) == 100);
static_assert(offsetof(ConnectionRecord, family) == 101);
static_assert(offsetof(ConnectionRecord, state) == 102);
static_assert(offsetof(ConnectionRecord, zone) == 103);
static_assert(offsetof(ConnectionRecord, assured) == 104);
static_assert(offsetof(ConnectionRecord, auditedBy) == 105);
static_assert(offsetof(ConnectionRecord, inKernel) == 106);
static_assert(offsetof(ConnectionRecord, reserved) == 107);

// What passed or was denied by the same rules since it was last read.
struct HitRecord {
  uint64_t totalPackets;  // frames, both ways; a superframe is one
  uint64_t totalBytes;  // their bytes
  uint32_t connections;  // that began
  uint32_t agoMs;  // how long ago the last of it was
  uint32_t generation;  // of the table that judged; 0: it is not known what did
  uint32_t sourceLeaf;  // of that table: the end that opened or sent
  uint32_t destinationLeaf;  // the other end
  uint32_t number;  // of the count in its worker
  uint16_t port;  // destination; 0 where it does not matter
  uint8_t worker;  // whose count it is
  uint8_t protocolSlot;  // ProtocolSlot
  uint8_t deniedBy;  // DENIED_BY_… bits; 0: it passed
  uint8_t auditedBy;  // DENIED_BY_… bits: audited policies would deny it
  uint8_t isOver;  // 1: the number is free for another count
  uint8_t reserved;  // zero
};
static_assert(sizeof(HitRecord) == 48);
static_assert(offsetof(HitRecord, totalPackets) == 0);
static_assert(offsetof(HitRecord, totalBytes) == 8);
static_assert(offsetof(HitRecord, connections) == 16);
static_assert(offsetof(HitRecord, agoMs) == 20);
static_assert(offsetof(HitRecord, generation) == 24);
static_assert(offsetof(HitRecord, sourceLeaf) == 28);
static_assert(offsetof(HitRecord, destinationLeaf) == 32);
static_assert(offsetof(HitRecord, number) == 36);
static_assert(offsetof(HitRecord, port) == 40);
static_assert(offsetof(HitRecord, worker) == 42);
static_assert(offsetof(HitRecord, protocolSlot) == 43);
static_assert(offsetof(HitRecord, deniedBy) == 44);
static_assert(offsetof(HitRecord, auditedBy) == 45);
static_assert(offsetof(HitRecord, isOver) == 46);
static_assert(offsetof(HitRecord, reserved) == 47);

// One tracked connection, as it goes from a process to its successor, which may be of another version: a change here, or to ConnState, needs another SAVED_CONNECTIONS_VERSION. The end that opened it comes first.
struct SavedConnection {
  uint8_t source[16];  // who opened it, network order; IPv4 in the first four, then zeros
  uint8_t destination[16];  // the other end, likewise
  uint64_t remainingUs;  // how long it lives without another packet
  uint64_t totalBytes;  // of its frames so far, both ways
  uint32_t totalPackets;  // how many
  uint32_t generation;  // of the table that allowed it last; 0: to be judged on its next packet, whatever becomes of others
  uint32_t zone;  // which of the networks that may use the same addresses
  uint32_t sentEnd[2];  // TCP: past the highest sequence number sent
  uint32_t limit[2];  // past the highest one that may be sent
  uint32_t windowMax[2];  // largest window offered, scaled
  uint32_t ackMax[2];  // highest acknowledgement sent
  uint32_t ignoredSynEnd;  // of a SYN that was let through
  uint16_t ignoredSynWindow;  // likewise
  uint16_t sourcePort;  // ICMP: the identifier
  uint16_t destinationPort;  // the same
  uint8_t protocol;  // IP protocol number
  uint8_t family;  // 4 or 6
  uint8_t state;  // ConnState
  uint8_t flags;  // SAVED_… bits
  uint8_t windowScale[2];  // 255: not offered
  uint8_t ignoredSynScale;  // likewise
  uint8_t icmpKind;  // ICMP: the type of the query
  uint16_t reserved;  // 0
};
static_assert(sizeof(SavedConnection) == 112);
static_assert(offsetof(SavedConnection, source) == 0);
static_assert(offsetof(SavedConnection, destination) == 16);
static_assert(offsetof(SavedConnection, remainingUs) == 32);
static_assert(offsetof(SavedConnection, totalBytes) == 40);
static_assert(offsetof(SavedConnection, totalPackets) == 48);
static_assert(offsetof(SavedConnection, generation) == 52);
static_assert(offsetof(SavedConnection, zone) == 56);
static_assert(offsetof(SavedConnection, sentEnd) == 60);
static_assert(offsetof(SavedConnection, limit) == 68);
static_assert(offsetof(SavedConnection, windowMax) == 76);
static_assert(offsetof(SavedConnection, ackMax) == 84);
static_assert(offsetof(SavedConnection, ignoredSynEnd) == 92);
static_assert(offsetof(SavedConnection, ignoredSynWindow) == 96);
static_assert(offsetof(SavedConnection, sourcePort) == 98);
static_assert(offsetof(SavedConnection, destinationPort) == 100);
static_assert(offsetof(SavedConnection, protocol) == 102);
static_assert(offsetof(SavedConnection, family) == 103);
static_assert(offsetof(SavedConnection, state) == 104);
static_assert(offsetof(SavedConnection, flags) == 105);
static_assert(offsetof(SavedConnection, windowScale) == 106);
static_assert(offsetof(SavedConnection, ignoredSynScale) == 108);
static_assert(offsetof(SavedConnection, icmpKind) == 109);
static_assert(offsetof(SavedConnection, reserved) == 110);

// What is fixed when a data plane is made.
struct DataplaneSettings {
  uint32_t connectionsMax;  // connections tracked at once, of all workers
  uint32_t connectionsPerEndpoint;  // those of one endpoint, of all workers; 0: an equal share
  uint32_t fragmentsMax;  // fragmented datagrams followed at once, likewise
  uint32_t eventsMax;  // events that wait in each worker; a power of two
  uint32_t workers;  // threads that judge
  uint32_t cpu;  // of the first worker, the next ones behind it; NONE: any
  uint8_t established;  // Established
  uint8_t poll;  // PollMode
  uint8_t loose;  // 1: an ACK may open a connection
  uint8_t deny;  // Deny
};
static_assert(sizeof(DataplaneSettings) == 28);
static_assert(offsetof(DataplaneSettings, connectionsMax) == 0);
static_assert(offsetof(DataplaneSettings, connectionsPerEndpoint) == 4);
static_assert(offsetof(DataplaneSettings, fragmentsMax) == 8);
static_assert(offsetof(DataplaneSettings, eventsMax) == 12);
static_assert(offsetof(DataplaneSettings, workers) == 16);
static_assert(offsetof(DataplaneSettings, cpu) == 20);
static_assert(offsetof(DataplaneSettings, established) == 24);
static_assert(offsetof(DataplaneSettings, poll) == 25);
static_assert(offsetof(DataplaneSettings, loose) == 26);
static_assert(offsetof(DataplaneSettings, deny) == 27);

// What a data plane has counted since it was made, all workers together.
struct DataplaneCounters {
  uint64_t connections;  // tracked now
  uint64_t eventsLost;  // events that found their ring full
  uint64_t generation;  // of the table in force; 0 before the first
  uint64_t opened;  // connections allowed
  uint64_t closed;  // connections ended or timed out
  uint64_t cut;  // connections that a newer table denies
  uint64_t audited;  // connections, and packets of none, that audit alone let through
  uint64_t rejected;  // resets and ICMP errors sent for what policy denied
  uint64_t reset;  // TCP segments of no known connection, ends told
  uint64_t fragmentsEvicted;  // unfinished fragmented datagrams that gave way to new ones
  uint64_t drops[50];  // frames dropped, by DropReason
  uint64_t exempt[5];  // passed unjudged, by ExemptKind
  uint64_t evictions[4];  // connections that gave way to new ones, by ConnClass
};
static_assert(sizeof(DataplaneCounters) == 552);
static_assert(offsetof(DataplaneCounters, connections) == 0);
static_assert(offsetof(DataplaneCounters, eventsLost) == 8);
static_assert(offsetof(DataplaneCounters, generation) == 16);
static_assert(offsetof(DataplaneCounters, opened) == 24);
static_assert(offsetof(DataplaneCounters, closed) == 32);
static_assert(offsetof(DataplaneCounters, cut) == 40);
static_assert(offsetof(DataplaneCounters, audited) == 48);
static_assert(offsetof(DataplaneCounters, rejected) == 56);
static_assert(offsetof(DataplaneCounters, reset) == 64);
static_assert(offsetof(DataplaneCounters, fragmentsEvicted) == 72);
static_assert(offsetof(DataplaneCounters, drops) == 80);
static_assert(offsetof(DataplaneCounters, exempt) == 480);
static_assert(offsetof(DataplaneCounters, evictions) == 520);

// What the process tells the programs at the kernel's forward hook.
struct ForwardControl {
  uint32_t inForce;  // which of the two tables is in force
  uint32_t generation;  // of that table; 0 before the first
  uint32_t podRangesV4[8];  // four times address and mask, in the order of memory: where an unknown address passes nothing
  uint32_t podRangesV6[32];  // four times the words of both
  uint32_t closesLink;  // 1: link-local, multicast and broadcast addresses pass nothing, as some pod is isolated
  uint32_t answers;  // 1: the process answers the senders of what policy denies, and gets it as RefusedPackets
  uint64_t leaseEndNs;  // from when on, on the monotonic clock, pods pass nothing unless a process renews it; 0: never
};
static_assert(sizeof(ForwardControl) == 184);
static_assert(offsetof(ForwardControl, inForce) == 0);
static_assert(offsetof(ForwardControl, generation) == 4);
static_assert(offsetof(ForwardControl, podRangesV4) == 8);
static_assert(offsetof(ForwardControl, podRangesV6) == 40);
static_assert(offsetof(ForwardControl, closesLink) == 168);
static_assert(offsetof(ForwardControl, answers) == 172);
static_assert(offsetof(ForwardControl, leaseEndNs) == 176);

// What the programs at the kernel's forward hook have counted, on one processor or on all.
struct ForwardCounters {
  uint64_t totalPackets;  // packets that were judged; a superframe is one
  uint64_t totalBytes;  // their bytes, from the IP header on
  uint64_t opened;  // first packets of connections that were allowed
  uint64_t audited;  // first packets that audit alone let through
  uint64_t eventsLost;  // events that found the ring full
  uint64_t framesLostSince;  // DroppedFrames that found their ring full since the last one that did not
  uint64_t drops[50];  // packets dropped, by DropReason
  uint64_t exempt[5];  // passed unjudged, by ExemptKind
};
static_assert(sizeof(ForwardCounters) == 488);
static_assert(offsetof(ForwardCounters, totalPackets) == 0);
static_assert(offsetof(ForwardCounters, totalBytes) == 8);
static_assert(offsetof(ForwardCounters, opened) == 16);
static_assert(offsetof(ForwardCounters, audited) == 24);
static_assert(offsetof(ForwardCounters, eventsLost) == 32);
static_assert(offsetof(ForwardCounters, framesLostSince) == 40);
static_assert(offsetof(ForwardCounters, drops) == 48);
static_assert(offsetof(ForwardCounters, exempt) == 448);

// A packet that policy denies at the kernel's forward hook, for the answer to its sender.
struct RefusedPacket {
  uint64_t timeNs;  // when, on the monotonic clock
  uint8_t destination[16];  // whom its sender has sent it to, such as a Service's address; network order, IPv4 in the first four
  uint16_t destinationPortBe;  // likewise; where the protocol has ports
  uint16_t packetBytes;  // how many follow
  uint32_t reserved;  // not written
  uint8_t packet[1232];  // from its IP header on, as it came by; what fits is all that an ICMPv6 error may quote
};
static_assert(sizeof(RefusedPacket) == 1264);
static_assert(offsetof(RefusedPacket, timeNs) == 0);
static_assert(offsetof(RefusedPacket, destination) == 8);
static_assert(offsetof(RefusedPacket, destinationPortBe) == 24);
static_assert(offsetof(RefusedPacket, packetBytes) == 26);
static_assert(offsetof(RefusedPacket, reserved) == 28);
static_assert(offsetof(RefusedPacket, packet) == 32);

// Whose frames a pod's interface on the node may bring: the addresses of the pod behind it.
struct GuardedInterface {
  uint32_t v4[4];  // addresses in the order of memory; 0: none
  uint32_t v6[16];  // four times the words of an address, in the order of memory; 0: none
  uint8_t mac[6];  // the only source MAC, if it is checked
  uint16_t linkId;  // what FlowEvent calls the interface
  uint32_t checksMac;  // 1: frames of other MACs are dropped
  uint32_t reserved;  // zero
};
static_assert(sizeof(GuardedInterface) == 96);
static_assert(offsetof(GuardedInterface, v4) == 0);
static_assert(offsetof(GuardedInterface, v6) == 16);
static_assert(offsetof(GuardedInterface, mac) == 80);
static_assert(offsetof(GuardedInterface, linkId) == 86);
static_assert(offsetof(GuardedInterface, checksMac) == 88);
static_assert(offsetof(GuardedInterface, reserved) == 92);

// What the guard of a pod's interface has dropped.
struct GuardCounts {
  uint64_t drops;  // frames
  uint64_t toldNs;  // when the last of them was told as an event
};
static_assert(sizeof(GuardCounts) == 16);
static_assert(offsetof(GuardCounts, drops) == 0);
static_assert(offsetof(GuardCounts, toldNs) == 8);

// A guarded interface as it is.
struct GuardState {
  uint32_t interfaceIndex;  // its index
  uint32_t attached;  // 1: the guard is attached to it
  uint64_t drops;  // frames dropped since it was guarded
  uint32_t v4[4];  // as GuardedInterface
  uint32_t v6[16];  // as GuardedInterface
  uint16_t linkId;  // as GuardedInterface
  uint8_t reserved[14];  // zero
};
static_assert(sizeof(GuardState) == 112);
static_assert(offsetof(GuardState, interfaceIndex) == 0);
static_assert(offsetof(GuardState, attached) == 4);
static_assert(offsetof(GuardState, drops) == 8);
static_assert(offsetof(GuardState, v4) == 16);
static_assert(offsetof(GuardState, v6) == 32);
static_assert(offsetof(GuardState, linkId) == 96);
static_assert(offsetof(GuardState, reserved) == 98);

// What has passed a link since it was added, and what the endpoint behind it has of the tables of connections and of fragmented datagrams.
struct LinkCounters {
  uint64_t receivedFrames;  // frames taken from the link; a superframe is one
  uint64_t receivedBytes;  // their bytes
  uint64_t sentFrames;  // frames that the link took
  uint64_t sentBytes;  // their bytes
  uint64_t droppedFrames;  // frames received here and dropped, for any reason
  uint64_t refusedFrames;  // frames that the link could not take
  uint64_t answeredFrames;  // ARP and neighbour requests answered for the gateway
  uint64_t lostFrames;  // frames that the kernel could not keep for us
  uint64_t connections;  // tracked now that count for the endpoint behind the link; 0 where none is, and so below
  uint64_t connectionQuota;  // as many as it may have
  uint64_t evictedConnections;  // of it that gave way to new ones
  uint64_t refusedConnections;  // new ones of it that were refused at its quota
  uint64_t fragments;  // fragmented datagrams of it that have begun and are not whole
  uint64_t fragmentShare;  // its share of the table of these
  uint64_t evictedFragments;  // of these that gave way to new ones
  uint64_t kernelFrames;  // frames received here that the kernel passed itself: they are among receivedFrames
  uint64_t kernelBytes;  // their bytes
};
static_assert(sizeof(LinkCounters) == 136);
static_assert(offsetof(LinkCounters, receivedFrames) == 0);
static_assert(offsetof(LinkCounters, receivedBytes) == 8);
static_assert(offsetof(LinkCounters, sentFrames) == 16);
static_assert(offsetof(LinkCounters, sentBytes) == 24);
static_assert(offsetof(LinkCounters, droppedFrames) == 32);
static_assert(offsetof(LinkCounters, refusedFrames) == 40);
static_assert(offsetof(LinkCounters, answeredFrames) == 48);
static_assert(offsetof(LinkCounters, lostFrames) == 56);
static_assert(offsetof(LinkCounters, connections) == 64);
static_assert(offsetof(LinkCounters, connectionQuota) == 72);
static_assert(offsetof(LinkCounters, evictedConnections) == 80);
static_assert(offsetof(LinkCounters, refusedConnections) == 88);
static_assert(offsetof(LinkCounters, fragments) == 96);
static_assert(offsetof(LinkCounters, fragmentShare) == 104);
static_assert(offsetof(LinkCounters, evictedFragments) == 112);
static_assert(offsetof(LinkCounters, kernelFrames) == 120);
static_assert(offsetof(LinkCounters, kernelBytes) == 128);

// A captured frame, as `replay` and `capture` have it judged.
struct CapturedFrame {
  uint32_t offset;  // where it starts in the buffer of all frames
  uint32_t frameBytes;  // captured length
  uint64_t timeUs;  // microseconds of the capture's clock
  uint8_t fromOutside;  // 1 when it did not come from the pod
  uint8_t truncated;  // 1 when the frame was longer than what was captured
  uint8_t bareIp;  // 1 when it starts at its IP header
  uint8_t reserved[5];  // zero
};
static_assert(sizeof(CapturedFrame) == 24);
static_assert(offsetof(CapturedFrame, offset) == 0);
static_assert(offsetof(CapturedFrame, frameBytes) == 4);
static_assert(offsetof(CapturedFrame, timeUs) == 8);
static_assert(offsetof(CapturedFrame, fromOutside) == 16);
static_assert(offsetof(CapturedFrame, truncated) == 17);
static_assert(offsetof(CapturedFrame, bareIp) == 18);
static_assert(offsetof(CapturedFrame, reserved) == 19);

// What a captured frame is, and what the filter says of it.
struct JudgedFrame {
  uint8_t source[16];  // address, network order; IPv4 in the first four; ARP: the sender's
  uint8_t destination[16];  // likewise; ARP: the target's
  uint8_t sourceMac[6];  // zero where there is no Ethernet header
  uint8_t destinationMac[6];  // likewise
  uint16_t etherType;  // likewise
  uint16_t sourcePort;  // 0 when the protocol has none
  uint16_t destinationPort;  // likewise
  uint16_t typeCode;  // ICMP: type << 8 | code; ARP: the operation
  uint16_t firstPort;  // destination port of its connection's first packet
  uint8_t protocol;  // IP protocol number; 0 for ARP
  uint8_t firstProtocol;  // of its connection
  uint32_t payloadBytes;  // behind the header of TCP or UDP; others: with it
  uint32_t leaves[2];  // of its connection's first packet: leaf numbers of source and destination
  uint8_t family;  // 4, 6, or 0 when there is no header that could be read
  uint8_t reason;  // DropReason
  uint8_t deniedBy;  // DENIED_BY_… bits
  uint8_t exempt;  // ExemptKind: it passes, and no policy was asked
  uint8_t tcpFlags;  // of the frame; 0 when it is no TCP
  uint8_t transport;  // 1 when what follows the IP header was read
  uint8_t laterFragment;  // 1 when it is no first fragment: it has no ports
  uint8_t reply;  // 1 when it goes against its connection's first packet
  uint8_t quoted;  // 1 for an ICMP error: its connection is that of the packet that it quotes
  uint8_t joined;  // 1 when its connection was not seen to start
  uint8_t reserved[2];  // zero
};
static_assert(sizeof(JudgedFrame) == 80);
static_assert(offsetof(JudgedFrame, source) == 0);
static_assert(offsetof(JudgedFrame, destination) == 16);
static_assert(offsetof(JudgedFrame, sourceMac) == 32);
static_assert(offsetof(JudgedFrame, destinationMac) == 38);
static_assert(offsetof(JudgedFrame, etherType) == 44);
static_assert(offsetof(JudgedFrame, sourcePort) == 46);
static_assert(offsetof(JudgedFrame, destinationPort) == 48);
static_assert(offsetof(JudgedFrame, typeCode) == 50);
static_assert(offsetof(JudgedFrame, firstPort) == 52);
static_assert(offsetof(JudgedFrame, protocol) == 54);
static_assert(offsetof(JudgedFrame, firstProtocol) == 55);
static_assert(offsetof(JudgedFrame, payloadBytes) == 56);
static_assert(offsetof(JudgedFrame, leaves) == 60);
static_assert(offsetof(JudgedFrame, family) == 68);
static_assert(offsetof(JudgedFrame, reason) == 69);
static_assert(offsetof(JudgedFrame, deniedBy) == 70);
static_assert(offsetof(JudgedFrame, exempt) == 71);
static_assert(offsetof(JudgedFrame, tcpFlags) == 72);
static_assert(offsetof(JudgedFrame, transport) == 73);
static_assert(offsetof(JudgedFrame, laterFragment) == 74);
static_assert(offsetof(JudgedFrame, reply) == 75);
static_assert(offsetof(JudgedFrame, quoted) == 76);
static_assert(offsetof(JudgedFrame, joined) == 77);
static_assert(offsetof(JudgedFrame, reserved) == 78);

// One connection for the prober to try.
struct ProbeRequest {
  uint8_t source[16];  // address, network order; IPv4 in the first four
  uint8_t destination[16];  // address, network order
  uint32_t sourceNamespace;  // descriptor of the namespace that sends
  uint32_t destinationNamespace;  // descriptor of the namespace that listens, or NONE
  uint16_t port;  // destination port; 0 for ICMP
  uint8_t protocol;  // IP protocol number: TCP, UDP, SCTP, ICMP, ICMPv6
  uint8_t family;  // 4 or 6
  uint32_t timeoutMs;  // how long to wait for an answer
  uint32_t reserved[2];  // zero
};
static_assert(sizeof(ProbeRequest) == 56);
static_assert(offsetof(ProbeRequest, source) == 0);
static_assert(offsetof(ProbeRequest, destination) == 16);
static_assert(offsetof(ProbeRequest, sourceNamespace) == 32);
static_assert(offsetof(ProbeRequest, destinationNamespace) == 36);
static_assert(offsetof(ProbeRequest, port) == 40);
static_assert(offsetof(ProbeRequest, protocol) == 42);
static_assert(offsetof(ProbeRequest, family) == 43);
static_assert(offsetof(ProbeRequest, timeoutMs) == 44);
static_assert(offsetof(ProbeRequest, reserved) == 48);

// How a probe ended.
struct ProbeResult {
  uint32_t roundTripUs;  // from the first packet to the answer; 0 without one
  uint32_t errorNumber;  // errno, when the outcome is Failed
  uint8_t outcome;  // ProbeOutcome
  uint8_t reserved[7];  // zero
};
static_assert(sizeof(ProbeResult) == 16);
static_assert(offsetof(ProbeResult, roundTripUs) == 0);
static_assert(offsetof(ProbeResult, errorNumber) == 4);
static_assert(offsetof(ProbeResult, outcome) == 8);
static_assert(offsetof(ProbeResult, reserved) == 9);

// Traffic between two sockets of real namespaces, to measure with.
struct TrafficRequest {
  uint8_t client[16];  // address, network order
  uint8_t server[16];  // address, network order
  uint32_t clientNamespace;  // descriptor of the namespace that sends
  uint32_t serverNamespace;  // descriptor of the other one
  uint32_t clientCpu;  // where its threads run; NONE: anywhere
  uint32_t serverCpu;  // the same of the other end
  uint32_t streams;  // of Stream; each has a thread at both ends
  uint32_t payloadBytes;  // of a datagram
  uint32_t flows;  // of Packets: connections that they take turns to belong to; of BesideFlows: new ones a second
  uint32_t warmupMs;  // sent before anything is counted
  uint32_t durationMs;  // how long it is counted
  uint16_t port;  // where the server listens
  uint8_t kind;  // TrafficKind
  uint8_t family;  // 4 or 6
};
static_assert(sizeof(TrafficRequest) == 72);
static_assert(offsetof(TrafficRequest, client) == 0);
static_assert(offsetof(TrafficRequest, server) == 16);
static_assert(offsetof(TrafficRequest, clientNamespace) == 32);
static_assert(offsetof(TrafficRequest, serverNamespace) == 36);
static_assert(offsetof(TrafficRequest, clientCpu) == 40);
static_assert(offsetof(TrafficRequest, serverCpu) == 44);
static_assert(offsetof(TrafficRequest, streams) == 48);
static_assert(offsetof(TrafficRequest, payloadBytes) == 52);
static_assert(offsetof(TrafficRequest, flows) == 56);
static_assert(offsetof(TrafficRequest, warmupMs) == 60);
static_assert(offsetof(TrafficRequest, durationMs) == 64);
static_assert(offsetof(TrafficRequest, port) == 68);
static_assert(offsetof(TrafficRequest, kind) == 70);
static_assert(offsetof(TrafficRequest, family) == 71);

// Array sections of a table blob.
enum class SectionId : uint8_t {
  trieV4Root,  // u32: by the first 16 bits of an IPv4 address: a leaf, or TRIE_CHILD_BIT and a node
  trieV4Nodes,  // u32: 256 entries a node, by the next 8 bits
  trieV6Root,  // u32: by the first 16 bits of an IPv6 address
  trieV6Nodes,  // TrieV6Node: path-compressed nodes, by byteIndex and then by value
  trieV6Entries,  // u32: 256 entries a node that branches: a leaf, or TRIE_CHILD_BIT and a node
  leaves,  // Leaf: leaf number to class and endpoint
  endpoints,  // EndpointRow: rows of each local endpoint
  cells,  // u16: rowCount × classCount port-set numbers, row by row
  portSets,  // PortSet: deduplicated port sets
  portPageIndexes,  // u16: 256 page numbers an index, by the port's high byte
  portPages,  // u32: 256 bits a page, by the port's low byte
  strings,  // u8: UTF-8 text, referred to by StringRef
  endpointInfos,  // EndpointInfo: one for each endpoint
  policyInfos,  // PolicyInfo: policies that select a local endpoint
  ruleInfos,  // RuleInfo: rules of those policies, ports resolved
  rowInfos,  // RowInfo: one for each row
  rowLists,  // u32: policy and rule indexes that rowInfos refer to
  originSets,  // u32: sets of origin classes: count, then that many ids, ascending
  auditRows,  // EndpointRow: rows of each local endpoint with the audited policies; empty when nothing is audited
};
inline constexpr size_t SECTION_COUNT = 19;
// Bytes of one element, and how many elements belong together, by SectionId.
inline constexpr std::array<uint32_t, 19> sectionElementBytes = {{
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
}};
inline constexpr std::array<uint32_t, 19> sectionGroup = {{
    65536,
    256,
    65536,
    1,
    256,
    1,
    1,
    1,
    1,
    256,
    8,
    1,
    1,
    1,
    1,
    1,
    1,
    1,
    1,
}};

}  // namespace sluice
