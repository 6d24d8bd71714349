import { hubbleReasonNumbers } from "../observe/hubble.js";

/**
 * The part of Hubble's protocol that Sluice speaks: names and numbers, by which its clients know the fields.
 *
 * Source: the protocol's packages flow, observer, peer and relay, and gRPC's health check. What is left out here is
 * never sent, and passed over when it comes, but in a filter (wire.ts).
 */

/** A field's number and type: a scalar, or the name of a message or an enumeration. */
export type FieldDefinition = readonly [number: number, type: string, rule?: "repeated"];

export type MessageDefinition = Readonly<Record<string, FieldDefinition>>;

const ports: MessageDefinition = { source_port: [1, "uint32"], destination_port: [2, "uint32"] };
const icmp: MessageDefinition = { type: [1, "uint32"], code: [2, "uint32"] };
const texts = (number: number): FieldDefinition => [number, "string", "repeated"];

export const messages = {
  "google.protobuf.Timestamp": { seconds: [1, "uint64"], nanos: [2, "uint32"] },
  "google.protobuf.BoolValue": { value: [1, "bool"] },
  "google.protobuf.FieldMask": { paths: texts(1) },

  "flow.Flow": {
    time: [1, "google.protobuf.Timestamp"],
    verdict: [2, "flow.Verdict"],
    drop_reason: [3, "uint32"],
    IP: [5, "flow.IP"],
    l4: [6, "flow.Layer4"],
    source: [8, "flow.Endpoint"],
    destination: [9, "flow.Endpoint"],
    Type: [10, "flow.FlowType"],
    node_name: [11, "string"],
    event_type: [19, "flow.CiliumEventType"],
    destination_service: [21, "flow.Service"],
    traffic_direction: [22, "flow.TrafficDirection"],
    drop_reason_desc: [25, "flow.DropReason"],
    is_reply: [26, "google.protobuf.BoolValue"],
    interface: [28, "flow.NetworkInterface"],
    uuid: [34, "string"],
    egress_allowed_by: [21_001, "flow.Policy", "repeated"],
    ingress_allowed_by: [21_002, "flow.Policy", "repeated"],
    egress_denied_by: [21_004, "flow.Policy", "repeated"],
    ingress_denied_by: [21_005, "flow.Policy", "repeated"],
    Summary: [100_000, "string"],
  },
  "flow.IP": {
    source: [1, "string"],
    destination: [2, "string"],
    ipVersion: [3, "flow.IPVersion"],
  },
  "flow.Layer4": {
    TCP: [1, "flow.TCP"],
    UDP: [2, "flow.UDP"],
    ICMPv4: [3, "flow.ICMPv4"],
    ICMPv6: [4, "flow.ICMPv6"],
    SCTP: [5, "flow.SCTP"],
  },
  "flow.TCP": { ...ports, flags: [3, "flow.TCPFlags"] },
  "flow.TCPFlags": {
    FIN: [1, "bool"],
    SYN: [2, "bool"],
    RST: [3, "bool"],
    PSH: [4, "bool"],
    ACK: [5, "bool"],
    URG: [6, "bool"],
    ECE: [7, "bool"],
    CWR: [8, "bool"],
    NS: [9, "bool"],
  },
  "flow.UDP": ports,
  "flow.SCTP": ports,
  "flow.ICMPv4": icmp,
  "flow.ICMPv6": icmp,
  "flow.Endpoint": {
    identity: [2, "uint32"],
    namespace: [3, "string"],
    labels: texts(4),
    pod_name: [5, "string"],
    workloads: [6, "flow.Workload", "repeated"],
  },
  "flow.Workload": { name: [1, "string"], kind: [2, "string"] },
  "flow.Service": { name: [1, "string"], namespace: [2, "string"] },
  "flow.CiliumEventType": { type: [1, "int32"], sub_type: [2, "int32"] },
  "flow.NetworkInterface": { index: [1, "uint32"], name: [2, "string"] },
  "flow.Policy": { name: [1, "string"], namespace: [2, "string"], kind: [5, "string"] },
  "flow.LostEvent": { source: [1, "flow.LostEventSource"], num_events_lost: [2, "uint64"] },
  "flow.EventTypeFilter": {
    type: [1, "int32"],
    match_sub_type: [2, "bool"],
    sub_type: [3, "int32"],
  },
  "flow.HTTPHeader": { key: [1, "string"], value: [2, "string"] },
  "flow.FlowFilter": {
    source_ip: texts(1),
    source_pod: texts(2),
    destination_ip: texts(3),
    destination_pod: texts(4),
    verdict: [5, "flow.Verdict", "repeated"],
    event_type: [6, "flow.EventTypeFilter", "repeated"],
    source_fqdn: texts(7),
    destination_fqdn: texts(8),
    http_status_code: texts(9),
    source_label: texts(10),
    destination_label: texts(11),
    protocol: texts(12),
    source_port: texts(13),
    destination_port: texts(14),
    reply: [15, "bool", "repeated"],
    source_service: texts(16),
    destination_service: texts(17),
    dns_query: texts(18),
    source_identity: [19, "uint32", "repeated"],
    destination_identity: [20, "uint32", "repeated"],
    http_method: texts(21),
    http_path: texts(22),
    tcp_flags: [23, "flow.TCPFlags", "repeated"],
    node_name: texts(24),
    ip_version: [25, "flow.IPVersion", "repeated"],
    source_workload: [26, "flow.Workload", "repeated"],
    destination_workload: [27, "flow.Workload", "repeated"],
    trace_id: texts(28),
    uuid: texts(29),
    traffic_direction: [30, "flow.TrafficDirection", "repeated"],
    http_url: texts(31),
    http_header: [32, "flow.HTTPHeader", "repeated"],
    drop_reason_desc: [33, "flow.DropReason", "repeated"],
    source_ip_xlated: texts(34),
    interface: [35, "flow.NetworkInterface", "repeated"],
    node_labels: texts(36),
    source_cluster_name: texts(37),
    destination_cluster_name: texts(38),
    ip_trace_id: [39, "uint64", "repeated"],
    encrypted: [40, "bool", "repeated"],
  },

  "observer.GetFlowsRequest": {
    number: [1, "uint64"],
    follow: [3, "bool"],
    blacklist: [5, "flow.FlowFilter", "repeated"],
    whitelist: [6, "flow.FlowFilter", "repeated"],
    since: [7, "google.protobuf.Timestamp"],
    until: [8, "google.protobuf.Timestamp"],
    first: [9, "bool"],
    field_mask: [10, "google.protobuf.FieldMask"],
  },
  "observer.GetFlowsResponse": {
    flow: [1, "flow.Flow"],
    lost_events: [3, "flow.LostEvent"],
    node_name: [1_000, "string"],
    time: [1_001, "google.protobuf.Timestamp"],
  },
  "observer.GetAgentEventsRequest": {},
  "observer.GetAgentEventsResponse": {},
  "observer.GetDebugEventsRequest": {},
  "observer.GetDebugEventsResponse": {},
  "observer.GetNodesRequest": {},
  "observer.GetNodesResponse": { nodes: [1, "observer.Node", "repeated"] },
  "observer.Node": {
    name: [1, "string"],
    version: [2, "string"],
    address: [3, "string"],
    state: [4, "relay.NodeState"],
    tls: [5, "observer.TLS"],
    uptime_ns: [6, "uint64"],
    num_flows: [7, "uint64"],
    max_flows: [8, "uint64"],
    seen_flows: [9, "uint64"],
  },
  "observer.TLS": { enabled: [1, "bool"], server_name: [2, "string"] },
  "observer.GetNamespacesRequest": {},
  "observer.GetNamespacesResponse": { namespaces: [1, "observer.Namespace", "repeated"] },
  "observer.Namespace": { cluster: [1, "string"], namespace: [2, "string"] },
  "observer.ServerStatusRequest": {},
  "observer.ServerStatusResponse": {
    num_flows: [1, "uint64"],
    max_flows: [2, "uint64"],
    seen_flows: [3, "uint64"],
    uptime_ns: [4, "uint64"],
    version: [8, "string"],
    flows_rate: [9, "double"],
  },

  "peer.NotifyRequest": {},
  "peer.ChangeNotification": {
    name: [1, "string"],
    address: [2, "string"],
    type: [3, "peer.ChangeNotificationType"],
  },

  "grpc.health.v1.HealthCheckRequest": { service: [1, "string"] },
  "grpc.health.v1.HealthCheckResponse": {
    status: [1, "grpc.health.v1.HealthCheckResponse.ServingStatus"],
  },
} as const satisfies Readonly<Record<string, MessageDefinition>>;

export type MessageName = keyof typeof messages;

export const enums: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "flow.Verdict": { VERDICT_UNKNOWN: 0, FORWARDED: 1, DROPPED: 2, ERROR: 3, AUDIT: 4 },
  "flow.FlowType": { UNKNOWN_TYPE: 0, L3_L4: 1 },
  "flow.IPVersion": { IP_NOT_USED: 0, IPv4: 1, IPv6: 2 },
  "flow.TrafficDirection": { TRAFFIC_DIRECTION_UNKNOWN: 0, INGRESS: 1, EGRESS: 2 },
  "flow.DropReason": hubbleReasonNumbers,
  "flow.LostEventSource": { UNKNOWN_LOST_EVENT_SOURCE: 0, HUBBLE_RING_BUFFER: 3 },
  "relay.NodeState": { UNKNOWN_NODE_STATE: 0, NODE_CONNECTED: 1 },
  "peer.ChangeNotificationType": { UNKNOWN: 0, PEER_ADDED: 1 },
  "grpc.health.v1.HealthCheckResponse.ServingStatus": { UNKNOWN: 0, SERVING: 1 },
};

interface MethodDefinition {
  readonly request: MessageName;
  readonly response: MessageName;
  /** Whether there are many answers. */
  readonly streams?: true;
}

/** Methods by `/package.Service/Method`. A request is one message. */
export const methods = {
  "/observer.Observer/GetFlows": {
    request: "observer.GetFlowsRequest",
    response: "observer.GetFlowsResponse",
    streams: true,
  },
  "/observer.Observer/GetAgentEvents": {
    request: "observer.GetAgentEventsRequest",
    response: "observer.GetAgentEventsResponse",
    streams: true,
  },
  "/observer.Observer/GetDebugEvents": {
    request: "observer.GetDebugEventsRequest",
    response: "observer.GetDebugEventsResponse",
    streams: true,
  },
  "/observer.Observer/GetNodes": {
    request: "observer.GetNodesRequest",
    response: "observer.GetNodesResponse",
  },
  "/observer.Observer/GetNamespaces": {
    request: "observer.GetNamespacesRequest",
    response: "observer.GetNamespacesResponse",
  },
  "/observer.Observer/ServerStatus": {
    request: "observer.ServerStatusRequest",
    response: "observer.ServerStatusResponse",
  },
  "/peer.Peer/Notify": {
    request: "peer.NotifyRequest",
    response: "peer.ChangeNotification",
    streams: true,
  },
  "/grpc.health.v1.Health/Check": {
    request: "grpc.health.v1.HealthCheckRequest",
    response: "grpc.health.v1.HealthCheckResponse",
  },
  "/grpc.health.v1.Health/Watch": {
    request: "grpc.health.v1.HealthCheckRequest",
    response: "grpc.health.v1.HealthCheckResponse",
    streams: true,
  },
} as const satisfies Readonly<Record<string, MethodDefinition>>;

export type MethodName = keyof typeof methods;
