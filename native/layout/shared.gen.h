// Generated from src/layout/schema.ts by `npm run generate`; do not edit.
#pragma once

typedef __UINT8_TYPE__ SluiceU8;
typedef __UINT16_TYPE__ SluiceU16;
typedef __UINT32_TYPE__ SluiceU32;
typedef __UINT64_TYPE__ SluiceU64;

#define SLUICE_SUPERFRAME_SEGMENTS_MAX 128u
#define SLUICE_SUPERFRAME_SEGMENT_BYTES_MIN 64u
#define SLUICE_TRIE_CHILD_BIT 2147483648u
#define SLUICE_TRIE_NODE_ENTRIES 256u
#define SLUICE_TRIE_V6_PREFIX_NODE 16u
#define SLUICE_PORT_PAGE_INDEX_ENTRIES 256u
#define SLUICE_PORT_PAGE_WORDS 8u
#define SLUICE_NONE 4294967295u
#define SLUICE_DENIED_BY_EGRESS 1u
#define SLUICE_DENIED_BY_INGRESS 2u

// Numbers of the sections.
#define SLUICE_SECTION_trieV4Root 0u
#define SLUICE_SECTION_trieV4Nodes 1u
#define SLUICE_SECTION_trieV6Root 2u
#define SLUICE_SECTION_trieV6Nodes 3u
#define SLUICE_SECTION_trieV6Entries 4u
#define SLUICE_SECTION_leaves 5u
#define SLUICE_SECTION_endpoints 6u
#define SLUICE_SECTION_cells 7u
#define SLUICE_SECTION_portSets 8u
#define SLUICE_SECTION_portPageIndexes 9u
#define SLUICE_SECTION_portPages 10u
#define SLUICE_SECTION_strings 11u
#define SLUICE_SECTION_endpointInfos 12u
#define SLUICE_SECTION_policyInfos 13u
#define SLUICE_SECTION_ruleInfos 14u
#define SLUICE_SECTION_rowInfos 15u
#define SLUICE_SECTION_rowLists 16u
#define SLUICE_SECTION_originSets 17u
#define SLUICE_SECTION_auditRows 18u

// Bytes of each struct of a blob, and of its fields from its start.
#define SLUICE_TableHeader_BYTES 192u
#define SLUICE_TableHeader_magic 0u
#define SLUICE_TableHeader_version 4u
#define SLUICE_TableHeader_layoutHash 8u
#define SLUICE_TableHeader_checksum 12u
#define SLUICE_TableHeader_totalBytes 16u
#define SLUICE_TableHeader_classCount 20u
#define SLUICE_TableHeader_rowCount 24u
#define SLUICE_TableHeader_trieV4Inner 28u
#define SLUICE_TableHeader_sections 32u
#define SLUICE_TableHeader_reserved 184u
#define SLUICE_Leaf_BYTES 12u
#define SLUICE_Leaf_classId 0u
#define SLUICE_Leaf_endpointId 4u
#define SLUICE_Leaf_originId 8u
#define SLUICE_TrieV6Node_BYTES 32u
#define SLUICE_TrieV6Node_value 0u
#define SLUICE_TrieV6Node_missLeaf 16u
#define SLUICE_TrieV6Node_hitLeaf 20u
#define SLUICE_TrieV6Node_bits 24u
#define SLUICE_TrieV6Node_byteIndex 25u
#define SLUICE_TrieV6Node_skipFrom 26u
#define SLUICE_TrieV6Node_reserved 27u
#define SLUICE_EndpointRow_BYTES 8u
#define SLUICE_EndpointRow_ingressRow 0u
#define SLUICE_EndpointRow_egressRow 4u
#define SLUICE_PortSet_BYTES 16u
#define SLUICE_PortSet_pageIndex 0u

// What a packet is to its connection, as a rule at the forward hook finds it.
#define SLUICE_MatchRole_First 0u
#define SLUICE_MatchRole_Onward 1u
#define SLUICE_MatchRole_Reply 2u
#define SLUICE_MatchRole_Untracked 3u

// What an event tells.
#define SLUICE_FlowEventKind_Opened 0u
#define SLUICE_FlowEventKind_Closed 1u
#define SLUICE_FlowEventKind_Dropped 2u
#define SLUICE_FlowEventKind_Cut 3u
#define SLUICE_FlowEventKind_Audited 4u
#define SLUICE_FlowEventKind_Exempt 5u

// A message that no policy judges: the link itself needs it.
#define SLUICE_ExemptKind_None 0u
#define SLUICE_ExemptKind_Arp 1u
#define SLUICE_ExemptKind_Neighbor 2u
#define SLUICE_ExemptKind_Listener 3u
#define SLUICE_ExemptKind_RouterAdvertisement 4u

// State of a tracked connection.
#define SLUICE_ConnState_None 0u
#define SLUICE_ConnState_SynSent 1u
#define SLUICE_ConnState_SynReceived 2u
#define SLUICE_ConnState_Established 3u
#define SLUICE_ConnState_FinWait 4u
#define SLUICE_ConnState_CloseWait 5u
#define SLUICE_ConnState_LastAck 6u
#define SLUICE_ConnState_TimeWait 7u
#define SLUICE_ConnState_Close 8u
#define SLUICE_ConnState_SynSent2 9u
#define SLUICE_ConnState_Unreplied 10u
#define SLUICE_ConnState_Replied 11u

// Why a frame was dropped. From the outside in: link, addresses, header, fragment, transport, state, policy, resources.
#define SLUICE_DropReason_None 0u
#define SLUICE_DropReason_MalformedEthernet 1u
#define SLUICE_DropReason_VlanTag 2u
#define SLUICE_DropReason_L2Protocol 3u
#define SLUICE_DropReason_SpoofedMac 4u
#define SLUICE_DropReason_MalformedArp 5u
#define SLUICE_DropReason_SpoofedArp 6u
#define SLUICE_DropReason_MalformedIpv4 7u
#define SLUICE_DropReason_MalformedIpv6 8u
#define SLUICE_DropReason_BadChecksum 9u
#define SLUICE_DropReason_SpoofedSource 10u
#define SLUICE_DropReason_MartianSource 11u
#define SLUICE_DropReason_TtlExpired 12u
#define SLUICE_DropReason_ForbiddenIpOption 13u
#define SLUICE_DropReason_ForbiddenExtHeader 14u
#define SLUICE_DropReason_ExtHeaderLimit 15u
#define SLUICE_DropReason_MalformedFragment 16u
#define SLUICE_DropReason_FragmentTiny 17u
#define SLUICE_DropReason_FragmentIncompleteChain 18u
#define SLUICE_DropReason_FragmentOverlap 19u
#define SLUICE_DropReason_FragmentOversize 20u
#define SLUICE_DropReason_FragmentOrphan 21u
#define SLUICE_DropReason_MalformedTcp 22u
#define SLUICE_DropReason_MalformedUdp 23u
#define SLUICE_DropReason_MalformedIcmp 24u
#define SLUICE_DropReason_MalformedSctp 25u
#define SLUICE_DropReason_MalformedNdp 26u
#define SLUICE_DropReason_SpoofedNdp 27u
#define SLUICE_DropReason_RouterAdvertisement 28u
#define SLUICE_DropReason_InvalidTcpFlags 29u
#define SLUICE_DropReason_RelatedTruncated 30u
#define SLUICE_DropReason_RelatedMismatch 31u
#define SLUICE_DropReason_RelatedUnknown 32u
#define SLUICE_DropReason_InvalidTcpState 33u
#define SLUICE_DropReason_OutOfWindow 34u
#define SLUICE_DropReason_NoConnection 35u
#define SLUICE_DropReason_PolicyIngress 36u
#define SLUICE_DropReason_PolicyEgress 37u
#define SLUICE_DropReason_ConntrackFull 38u
#define SLUICE_DropReason_ConnectionQuota 39u
#define SLUICE_DropReason_FragmentFull 40u
#define SLUICE_DropReason_FrameTruncated 41u
#define SLUICE_DropReason_OffloadInvalid 42u
#define SLUICE_DropReason_NoDestination 43u
#define SLUICE_DropReason_TransmitFull 44u
#define SLUICE_DropReason_NoTable 45u
#define SLUICE_DropReason_OffloadSegments 46u
#define SLUICE_DropReason_ExemptLimit 47u
#define SLUICE_DropReason_UnknownPod 48u
#define SLUICE_DropReason_LeaseOver 49u

// One record of the event ring.
typedef struct {
  SluiceU64 timeUs;
  SluiceU8 source[16];
  SluiceU8 destination[16];
  SluiceU16 sourcePort;
  SluiceU16 destinationPort;
  SluiceU8 protocol;
  SluiceU8 kind;
  SluiceU8 reason;
  SluiceU8 family;
  SluiceU32 generation;
  SluiceU32 lostBefore;
  SluiceU16 linkId;
  SluiceU8 deniedBy;
  SluiceU8 tcpFlags;
  SluiceU32 frameBytes;
  SluiceU64 totalPackets;
  SluiceU64 totalBytes;
} SluiceFlowEvent;

// A dropped frame with its event, for who wants to see it. At the forward hook no frame has a first header: it is zero but for the protocol, and counts as bytes of the frame.
typedef struct {
  SluiceU8 event[80];
  SluiceU32 capturedBytes;
  SluiceU32 reserved;
  SluiceU8 frame[256];
} SluiceDroppedFrame;

// What the process tells the programs at the kernel's forward hook.
typedef struct {
  SluiceU32 inForce;
  SluiceU32 generation;
  SluiceU32 podRangesV4[8];
  SluiceU32 podRangesV6[32];
  SluiceU32 closesLink;
  SluiceU32 answers;
  SluiceU64 leaseEndNs;
} SluiceForwardControl;

// What the programs at the kernel's forward hook have counted, on one processor or on all.
typedef struct {
  SluiceU64 totalPackets;
  SluiceU64 totalBytes;
  SluiceU64 opened;
  SluiceU64 audited;
  SluiceU64 eventsLost;
  SluiceU64 framesLostSince;
  SluiceU64 drops[50];
  SluiceU64 exempt[5];
} SluiceForwardCounters;

// A packet that policy denies at the kernel's forward hook, for the answer to its sender.
typedef struct {
  SluiceU64 timeNs;
  SluiceU8 destination[16];
  SluiceU16 destinationPortBe;
  SluiceU16 packetBytes;
  SluiceU32 reserved;
  SluiceU8 packet[1232];
} SluiceRefusedPacket;

// Whose frames a pod's interface on the node may bring: the addresses of the pod behind it.
typedef struct {
  SluiceU32 v4[4];
  SluiceU32 v6[16];
  SluiceU8 mac[6];
  SluiceU16 linkId;
  SluiceU32 checksMac;
  SluiceU32 reserved;
} SluiceGuardedInterface;

// What the guard of a pod's interface has dropped.
typedef struct {
  SluiceU64 drops;
  SluiceU64 toldNs;
} SluiceGuardCounts;
