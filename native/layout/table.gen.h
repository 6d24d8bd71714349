// Generated from src/layout/schema.ts by `npm run generate`; do not edit.
#pragma once

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

// Bytes of each struct, and of its fields from its start.
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
