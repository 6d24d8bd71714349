import { formatAddress } from "../net/address.js";
import { address, server, trafficPort } from "./workload.js";

/** The address of a Service with the server as its only pod, on the same port. */
export const serviceAddress = address("10.96.0.10");

const protocols = ["tcp", "udp"] as const;

/**
 * What a node with kube-proxy in nftables mode has: a verdict map of Services, a chain for each of their ports and for
 * each pod behind it, marks for masquerade where a pod calls itself, and checks of new connections at the forward hook.
 */
export function serviceRules(): string {
  const [service, pod] = [formatAddress(serviceAddress), formatAddress(server)];
  const serviceOf = (protocol: string) => `service-2QRHZV4L-bench/server/${protocol}/`;
  const endpointOf = (protocol: string) => `endpoint-5OJB2KTY-bench/server/${protocol}/__${pod}`;
  const ports = protocols.map((each) => `${service} . ${each} . ${trafficPort}`);
  const chains = protocols.flatMap((each) => [
    `chain ${endpointOf(each)} {`,
    `ip saddr ${pod} jump mark-for-masquerade`,
    `meta l4proto ${each} dnat to ${pod}:${trafficPort}`,
    "}",
    `chain ${serviceOf(each)} {`,
    `ip daddr ${service} ${each} dport ${trafficPort} ip saddr != 10.0.0.0/8 jump mark-for-masquerade`,
    `numgen random mod 1 vmap { 0 : goto ${endpointOf(each)} }`,
    "}",
  ]);
  return [
    "table ip kube-proxy {",
    "chain mark-for-masquerade { meta mark set meta mark or 0x4000; }",
    "chain masquerading {",
    "meta mark & 0x4000 == 0 return",
    "meta mark set meta mark xor 0x4000",
    "masquerade fully-random",
    "}",
    "chain reject-chain { reject; }",
    ...chains,
    "map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }",
    "map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }",
    "map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }",
    "map service-nodeports { type inet_proto . inet_service : verdict; }",
    `map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; elements = { ${protocols
      .map((each, at) => `${ports[at]} : goto ${serviceOf(each)}`)
      .join(", ")} }; }`,
    `set cluster-ips { type ipv4_addr; elements = { ${service} }; }`,
    "set nodeport-ips { type ipv4_addr; elements = { 10.0.1.1 }; }",
    "chain nodeport-endpoints-check { ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }",
    "chain service-endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }",
    "chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }",
    "chain cluster-ips-check { ip daddr @cluster-ips reject; }",
    "chain services {",
    "ip daddr . meta l4proto . th dport vmap @service-ips",
    "ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports",
    "}",
    "chain filter-prerouting {",
    "type filter hook prerouting priority -110; policy accept;",
    "ct state new jump firewall-check",
    "}",
    "chain filter-input {",
    "type filter hook input priority -110; policy accept;",
    "ct state new jump nodeport-endpoints-check",
    "ct state new jump service-endpoints-check",
    "}",
    "chain filter-forward {",
    "type filter hook forward priority -110; policy accept;",
    "ct state new jump service-endpoints-check",
    "ct state new jump cluster-ips-check",
    "}",
    "chain nat-prerouting { type nat hook prerouting priority -100; policy accept; jump services; }",
    "chain nat-output { type nat hook output priority -100; policy accept; jump services; }",
    "chain nat-postrouting { type nat hook postrouting priority 100; policy accept; jump masquerading; }",
    "}",
  ].join("\n");
}
