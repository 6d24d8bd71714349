import type { DropReasonWord } from "../dataplane/events.js";

/** A Hubble drop reason: number and name. */
export interface HubbleReason {
  readonly number: number;
  readonly name: string;
}

const unknown: HubbleReason = { number: 0, name: "DROP_REASON_UNKNOWN" };
const invalidMac: HubbleReason = { number: 130, name: "INVALID_SOURCE_MAC" };
const invalidSource: HubbleReason = { number: 132, name: "INVALID_SOURCE_IP" };
const policyDenied: HubbleReason = { number: 133, name: "POLICY_DENIED" };
const invalidPacket: HubbleReason = { number: 134, name: "INVALID_PACKET_DROPPED" };
const invalidHeader: HubbleReason = { number: 135, name: "CT_TRUNCATED_OR_INVALID_HEADER" };
const invalidState: HubbleReason = { number: 163, name: "UNKNOWN_CONNECTION_TRACKING_STATE" };
const policyDeny: HubbleReason = { number: 181, name: "POLICY_DENY" };

/**
 * The nearest Hubble reason for each of ours, so that queries written for Hubble work.
 *
 * Source: enum DropReason of Hubble's flow.proto.
 */
const reasons: Readonly<Record<DropReasonWord, HubbleReason>> = {
  "malformed-ethernet": invalidPacket,
  "vlan-tag": { number: 182, name: "VLAN_FILTERED" },
  "l2-protocol": { number: 166, name: "UNSUPPORTED_L2_PROTOCOL" },
  "spoofed-mac": invalidMac,
  "malformed-arp": invalidPacket,
  "spoofed-arp": invalidSource,
  "malformed-ipv4": invalidPacket,
  "malformed-ipv6": invalidPacket,
  "bad-checksum": invalidPacket,
  "spoofed-source": invalidSource,
  "martian-source": invalidSource,
  "ttl-expired": { number: 196, name: "TTL_EXCEEDED" },
  "forbidden-ip-option": invalidPacket,
  "forbidden-ext-header": { number: 156, name: "INVALID_IPV6_EXTENSION_HEADER" },
  "ext-header-limit": { number: 156, name: "INVALID_IPV6_EXTENSION_HEADER" },
  "malformed-fragment": invalidPacket,
  "fragment-tiny": invalidPacket,
  "fragment-incomplete-chain": invalidPacket,
  "fragment-overlap": invalidPacket,
  "fragment-oversize": invalidPacket,
  "fragment-orphan": { number: 175, name: "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND" },
  "malformed-tcp": invalidHeader,
  "malformed-udp": invalidHeader,
  "malformed-icmp": invalidHeader,
  "malformed-sctp": invalidHeader,
  "malformed-ndp": invalidHeader,
  "spoofed-ndp": invalidSource,
  "router-advertisement": { number: 176, name: "FORBIDDEN_ICMPV6_MESSAGE" },
  "invalid-tcp-flags": invalidHeader,
  "related-truncated": invalidHeader,
  "related-mismatch": invalidState,
  "related-unknown": invalidState,
  "invalid-tcp-state": invalidState,
  "out-of-window": invalidState,
  "no-connection": invalidState,
  "policy-ingress": policyDenied,
  "policy-egress": policyDenied,
  "conntrack-full": { number: 155, name: "CT_MAP_INSERTION_FAILED" },
  "connection-quota": { number: 155, name: "CT_MAP_INSERTION_FAILED" },
  "fragment-full": { number: 155, name: "CT_MAP_INSERTION_FAILED" },
  "exempt-limit": { number: 198, name: "DROP_RATE_LIMITED" },
  "frame-truncated": invalidPacket,
  "offload-invalid": invalidPacket,
  "offload-segments": invalidPacket,
  "no-destination": { number: 152, name: "NO_MATCHING_LOCAL_CONTAINER_FOUND" },
  "unknown-pod": { number: 152, name: "NO_MATCHING_LOCAL_CONTAINER_FOUND" },
  "no-table": {
    number: 165,
    name: "NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION",
  },
  "lease-over": {
    number: 165,
    name: "NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION",
  },
  // Hubble has no reason for these.
  "transmit-full": unknown,
  none: unknown,
};

/** Every Hubble name that a drop can have, and its number. */
export const hubbleReasonNumbers: Readonly<Record<string, number>> = Object.fromEntries(
  [...Object.values(reasons), policyDeny].map(({ name, number }) => [name, number]),
);

/** The Hubble reason of a drop. `byRule`: a rule denies it; else no rule allows it. */
export function hubbleReason(reason: DropReasonWord, byRule: boolean): HubbleReason {
  const found = reasons[reason];
  return found === policyDenied && byRule ? policyDeny : found;
}

/** Hubble's numbers for what is outside, and for a node. */
export const worldIdentity = 2;
export const hostIdentity = 1;

/** Below, Hubble has numbers of its own; above, it numbers addresses outside. */
const identityLeast = 2 ** 16;
const identityMost = 2 ** 24;

/** Labels that tell pods of one workload apart, and not workloads: of a revision, of a pod. */
const ofRevisions =
  /^(pod-template-hash|pod-template-generation|controller-revision-hash)=|^(?!app\.)[^=/]*kubernetes\.io\//;

/**
 * A number for the pods of a namespace with these labels: the same in every process and after every start.
 *
 * Source: FNV-1a. Two of 1,000 sets share one in 3 of 100 clusters.
 */
export function podIdentity(namespace: string, labels: readonly string[]): number {
  const telling = labels.filter((label) => !ofRevisions.test(label));
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from([namespace, ...telling].join("\n"))) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return identityLeast + (hash % (identityMost - identityLeast));
}
