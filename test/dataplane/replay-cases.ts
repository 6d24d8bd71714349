import {
  address,
  arp,
  bytesOf,
  echo,
  error,
  ethernet,
  type Host,
  icmp,
  ip,
  neighbour,
  tcp,
  tcpFlags,
  u16,
  u32,
  udp,
} from "./frames.js";

/** The protected pod, whom it may reach, who may reach it, and nobody in particular. */
export const pod: Host = { mac: "02:00:00:00:07:05", v4: "10.77.1.5", v6: "fd77:1::5" };
export const client: Host = { mac: "02:00:00:00:07:06", v4: "10.77.1.6", v6: "fd77:1::6" };
export const database: Host = { mac: "02:00:00:00:07:07", v4: "10.77.1.7", v6: "fd77:1::7" };
export const stranger: Host = { mac: "02:00:00:00:07:08", v4: "10.77.1.8", v6: "fd77:1::8" };
const podLinkLocal = "fe80::ff:fe00:705";
/** The body of a multicast listener report: one record, of a group without sources. */
const oneGroup = bytesOf(u32(1), u32(0x0400_0000), address("ff02::1:ff00:5"));

export const replayPolicy = `
apiVersion: v1
kind: Namespace
metadata: {name: yard}
${[
  ["pod", pod],
  ["client", client],
  ["database", database],
  ["stranger", stranger],
]
  .map(([name, host]) => {
    const { v4, v6 } = host as Host;
    return `---
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: yard, labels: {app: ${name}}}
spec: {containers: [{name: main, image: "example.invalid/x:1"}]}
status: {phase: Running, podIP: ${v4}, podIPs: [{ip: ${v4}}, {ip: "${v6}"}]}
`;
  })
  .join("")}---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: pod, namespace: yard}
spec:
  podSelector: {matchLabels: {app: pod}}
  policyTypes: [Ingress, Egress]
  ingress:
    - from: [{podSelector: {matchLabels: {app: client}}}]
      ports: [{protocol: TCP, port: 9000}, {protocol: UDP, port: 9000}]
  egress:
    - to: [{podSelector: {matchLabels: {app: database}}}]
      ports: [{protocol: TCP, port: 6379}, {protocol: UDP, port: 123}, {protocol: SCTP, port: 36412}]
    - to: [{podSelector: {matchLabels: {app: client}}}]
`;

/** Side, frame, what is to become of it (`pass` or a drop reason), and when (microseconds). */
export type Step = readonly [side: "pod" | "net", frame: Uint8Array, want: string, timeUs?: number];

const { fin, syn, rst, ack, psh, urg } = tcpFlags;

const toDatabase = (flags: number, sequence = 0, acknowledgement = 0, payloadBytes = 0) =>
  tcp(4, pod, 3000, database, 6379, { flags, sequence, acknowledgement, payloadBytes });
const fromDatabase = (flags: number, sequence = 0, acknowledgement = 0, payloadBytes = 0) =>
  tcp(4, database, 6379, pod, 3000, { flags, sequence, acknowledgement, payloadBytes });
const opened: readonly Step[] = [
  ["pod", toDatabase(syn, 10), "pass"],
  ["net", fromDatabase(syn | ack, 70, 11), "pass"],
  ["pod", toDatabase(ack, 11, 71), "pass"],
];
const second = 1_000_000;
const broadcast = "ff:ff:ff:ff:ff:ff";
const fragmentOf = (place: number, bytes: number, identification = 9) =>
  ip(
    4,
    pod,
    database,
    17,
    bytesOf(u16(3000), u16(123), u16(64), u16(0), new Uint8Array(bytes - 8)),
    {
      place,
      identification,
    },
  );

export const replayCases: Readonly<Record<string, readonly Step[]>> = {
  "TCP to a server: handshake, data, orderly close": [
    ...opened,
    ["pod", toDatabase(ack | psh, 11, 71, 30), "pass"],
    ["net", fromDatabase(ack | psh, 71, 41, 500), "pass"],
    ["pod", toDatabase(fin | ack, 41, 571), "pass"],
    ["net", fromDatabase(fin | ack, 571, 42), "pass"],
    ["pod", toDatabase(ack, 42, 572), "pass"],
  ],
  "TCP from a client to the one open port": [
    ["net", tcp(4, client, 3000, pod, 9000, { flags: syn }), "pass"],
    ["net", tcp(4, client, 3001, pod, 9001, { flags: syn }), "policy-ingress"],
    ["net", tcp(4, stranger, 3000, pod, 9000, { flags: syn }), "policy-ingress"],
    ["pod", tcp(4, pod, 9000, client, 3000, { flags: syn | ack, acknowledgement: 1 }), "pass"],
  ],
  "IPv6 is judged by the same rules": [
    ["net", tcp(6, client, 3000, pod, 9000, { flags: syn }), "pass"],
    ["net", tcp(6, stranger, 3000, pod, 9000, { flags: syn }), "policy-ingress"],
    ["pod", udp(6, pod, 3000, database, 123), "pass"],
    ["pod", udp(6, pod, 3000, database, 124), "policy-egress"],
  ],
  "UDP answers pass, unasked packets do not": [
    ["net", udp(4, database, 123, pod, 3000), "policy-ingress"],
    ["pod", udp(4, pod, 3000, database, 123), "pass"],
    ["net", udp(4, database, 123, pod, 3000), "pass"],
    ["net", udp(4, database, 123, pod, 3001), "policy-ingress"],
  ],
  "UDP without an answer is forgotten after 30 s": [
    ["pod", udp(4, pod, 3000, database, 123), "pass"],
    ["net", udp(4, database, 123, pod, 3000), "policy-ingress", 30 * second],
  ],
  "UDP with an answer is kept for 30 s, and for 120 s once it goes on": [
    ["pod", udp(4, pod, 3000, database, 123), "pass"],
    ["net", udp(4, database, 123, pod, 3000), "pass", 20 * second],
    ["net", udp(4, database, 123, pod, 3000), "pass", 49 * second],
    ["net", udp(4, database, 123, pod, 3000), "pass", 168 * second],
    ["net", udp(4, database, 123, pod, 3000), "policy-ingress", 289 * second],
    ["pod", udp(4, pod, 3000, database, 123), "pass", 300 * second],
    ["net", udp(4, database, 123, pod, 3000), "pass", 301 * second],
    ["net", udp(4, database, 123, pod, 3000), "policy-ingress", 332 * second],
  ],
  "the clock of a capture that goes back stands still": [
    ["pod", udp(4, pod, 3000, database, 123), "pass", 50 * second],
    ["net", udp(4, database, 123, pod, 3000), "pass", 10 * second],
  ],
  "SCTP by port": [
    ["pod", ip(4, pod, database, 132, sctpInit(3000, 36412)), "pass"],
    ["net", ip(4, database, pod, 132, sctpInit(36412, 3000)), "pass"],
    ["pod", ip(4, pod, database, 132, sctpInit(3000, 36413)), "policy-egress"],
    ["pod", ip(4, pod, database, 132, new Uint8Array(11)), "malformed-sctp"],
  ],
  "a peer without ports is reached by any protocol": [
    ["pod", ip(4, pod, client, 47, new Uint8Array(20)), "pass"],
    ["net", ip(4, client, pod, 47, new Uint8Array(20)), "pass"],
    ["pod", ip(4, pod, database, 47, new Uint8Array(20)), "policy-egress"],
    ["net", ip(6, client, pod, 50, new Uint8Array(20)), "policy-ingress"],
  ],
  "echo: the answer needs the question": [
    ["net", echo(4, client, pod, true, 5), "no-connection"],
    ["pod", echo(4, pod, client, false, 5), "pass"],
    ["net", echo(4, client, pod, true, 6), "no-connection"],
    ["net", echo(4, client, pod, true, 5), "pass"],
    ["net", echo(4, client, pod, false, 5), "policy-ingress"],
    ["pod", echo(6, pod, client, false, 5), "pass"],
    ["net", echo(6, client, pod, true, 5), "pass"],
  ],
  "TCP without its beginning": [
    ["pod", toDatabase(ack, 11, 71), "no-connection"],
    ["net", fromDatabase(syn | ack, 70, 11), "no-connection"],
    ["pod", toDatabase(fin | ack, 11, 71), "no-connection"],
    ["pod", toDatabase(rst, 11), "no-connection"],
  ],
  "TCP flags that nobody sends": [
    ["pod", toDatabase(0), "invalid-tcp-flags"],
    ["pod", toDatabase(syn | fin), "invalid-tcp-flags"],
    ["pod", toDatabase(syn | rst), "invalid-tcp-flags"],
    ["pod", toDatabase(fin | psh | urg), "invalid-tcp-flags"],
    ["pod", toDatabase(syn | urg), "pass"],
  ],
  "data and acknowledgements outside the window": [
    ...opened,
    ["net", fromDatabase(ack, 900_000, 11, 10), "out-of-window"],
    ["net", fromDatabase(ack, 71, 900_000), "out-of-window"],
    ["net", fromDatabase(ack, 71, 11, 10), "pass"],
  ],
  "a blind reset neither passes nor ends the connection": [
    ...opened,
    ["net", fromDatabase(rst, 700_000), "out-of-window"],
    ["net", fromDatabase(ack, 71, 11, 10), "pass"],
    ["net", fromDatabase(rst, 81), "pass"],
  ],
  "a SYN from the other end of a connection": [
    ...opened,
    ["net", fromDatabase(syn, 5000), "invalid-tcp-state"],
    ["net", fromDatabase(ack, 71, 11, 10), "pass"],
  ],
  "a refused connection": [
    ["pod", toDatabase(syn, 10), "pass"],
    ["net", fromDatabase(rst | ack, 0, 99), "out-of-window"],
    ["net", fromDatabase(rst | ack, 0, 11), "pass"],
    ["pod", toDatabase(syn, 8000), "pass"],
  ],
  "TCP segments that do not hold their header": [
    ["pod", ip(4, pod, database, 6, new Uint8Array(19)), "malformed-tcp"],
    [
      "pod",
      ip(4, pod, database, 6, bytesOf(new Uint8Array(12), 0x40, 2, new Uint8Array(6))),
      "malformed-tcp",
    ],
    [
      "pod",
      ip(4, pod, database, 6, bytesOf(new Uint8Array(12), 0x60, 2, new Uint8Array(6))),
      "malformed-tcp",
    ],
  ],
  "UDP lengths that do not fit": [
    [
      "pod",
      ip(4, pod, database, 17, bytesOf(u16(3000), u16(123), u16(9), u16(0))),
      "malformed-udp",
    ],
    [
      "pod",
      ip(4, pod, database, 17, bytesOf(u16(3000), u16(123), u16(7), u16(0))),
      "malformed-udp",
    ],
    ["pod", ip(6, pod, database, 17, new Uint8Array(7)), "malformed-udp"],
  ],
  "ICMP that is too short": [
    ["pod", ip(4, pod, client, 1, bytesOf(8, 0, 0, 0, 0, 0, 0)), "malformed-icmp"],
    ["pod", ip(6, pod, client, 58, bytesOf()), "malformed-icmp"],
  ],
  "IPv4 headers": [
    ["pod", spoilt(udp(4, pod, 3000, database, 123), 14, 0x55), "malformed-ipv4"],
    ["pod", spoilt(udp(4, pod, 3000, database, 123), 16, 0xff), "malformed-ipv4"],
    ["pod", spoilt(udp(4, pod, 3000, database, 123), 22, 0x3f), "bad-checksum"],
    ["pod", udp(4, pod, 3000, database, 123, { hopLimit: 0 }), "ttl-expired"],
    ["pod", udp(4, pod, 3000, database, 123, { hopLimit: 1 }), "pass"],
  ],
  "IPv4 options": [
    ["pod", udp(4, pod, 3000, database, 123, { options: bytesOf(1, 1, 1, 0) }), "pass"],
    [
      "pod",
      udp(4, pod, 3000, database, 123, { options: bytesOf(131, 3, 4, 0) }),
      "forbidden-ip-option",
    ],
    [
      "pod",
      udp(4, pod, 3000, database, 123, { options: bytesOf(137, 3, 4, 0) }),
      "forbidden-ip-option",
    ],
    ["pod", udp(4, pod, 3000, database, 123, { options: bytesOf(68, 9, 0, 0) }), "malformed-ipv4"],
  ],
  "IPv6 extension headers": [
    ["pod", behind(60, bytesOf(17, 0, 1, 4, 0, 0, 0, 0)), "pass"],
    ["pod", behind(0, bytesOf(17, 0, 1, 4, 0, 0, 0, 0)), "pass"],
    ["pod", behind(43, bytesOf(17, 0, 0, 0, 0, 0, 0, 0)), "forbidden-ext-header"],
    ["pod", behind(60, bytesOf(0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0)), "malformed-ipv6"],
    ["pod", behind(60, bytesOf(17, 99, 1, 4, 0, 0, 0, 0)), "malformed-ipv6"],
    [
      "pod",
      behind(
        60,
        bytesOf(...Array.from({ length: 9 }, (_, at) => [at < 8 ? 60 : 17, 0, 1, 4, 0, 0, 0, 0])),
      ),
      "ext-header-limit",
    ],
  ],
  "fragments follow the first one": [
    ["pod", fragmentOf(0x2000, 32), "pass"],
    ["pod", fragmentOf(0x2004, 16), "pass"],
    ["pod", fragmentOf(6, 16), "pass"],
    ["pod", fragmentOf(6, 16), "fragment-orphan"],
  ],
  "fragments without a first one": [["pod", fragmentOf(4, 16), "fragment-orphan"]],
  "overlapping fragments spoil their datagram": [
    ["pod", fragmentOf(0x2000, 32), "pass"],
    ["pod", fragmentOf(0x2003, 16), "fragment-overlap"],
    ["pod", fragmentOf(4, 16), "fragment-overlap"],
    ["pod", fragmentOf(0x2000, 32, 10), "pass"],
  ],
  "fragments that are too small, too large or odd": [
    ["pod", ip(4, pod, database, 6, new Uint8Array(16), { place: 0x2000 }), "fragment-tiny"],
    ["pod", ip(4, pod, database, 6, new Uint8Array(16), { place: 1 }), "fragment-tiny"],
    ["pod", fragmentOf(0x2000, 33), "malformed-fragment"],
    ["pod", fragmentOf(0x1fff, 64), "fragment-oversize"],
  ],
  "fragments are forgotten after 34 s": [
    ["pod", fragmentOf(0x2000, 32), "pass"],
    ["pod", fragmentOf(4, 16), "fragment-orphan", 35 * second],
  ],
  "an IPv6 first fragment without the whole chain": [
    [
      "pod",
      behind(44, bytesOf(60, 0, u16(1), u32(3)), bytesOf(17, 4, 1, 4, 0, 0, 0, 0)),
      "fragment-incomplete-chain",
    ],
  ],
  "an error about a packet of the pod": [
    ["pod", udp(4, pod, 3000, database, 123), "pass"],
    ["net", error(4, stranger, pod, 3, udp(4, pod, 3000, database, 123)), "pass"],
    ["net", error(4, database, pod, 11, udp(4, pod, 3000, database, 123), 28), "pass"],
    ["net", error(4, database, pod, 3, udp(4, pod, 3000, database, 123), 27), "related-truncated"],
    ["net", error(4, database, pod, 3, udp(4, pod, 3001, database, 123)), "related-unknown"],
    ["net", error(4, database, pod, 3, udp(4, database, 123, pod, 3000)), "related-mismatch"],
    ["net", error(4, database, pod, 5, udp(4, pod, 3000, database, 123)), "related-unknown"],
  ],
  "packet too big, for IPv6": [
    ["pod", udp(6, pod, 3000, database, 123), "pass"],
    ["net", error(6, stranger, pod, 2, udp(6, pod, 3000, database, 123)), "pass"],
    ["net", error(6, stranger, pod, 2, udp(6, pod, 3000, database, 124)), "related-unknown"],
  ],
  "an error that quotes TCP out of its window": [
    ...opened,
    ["net", error(4, stranger, pod, 3, toDatabase(ack, 10_000_000, 71)), "out-of-window"],
    ["net", error(4, stranger, pod, 3, toDatabase(ack, 11, 71)), "pass"],
  ],
  "sources that are not the pod's": [
    ["pod", udp(4, pod, 3000, database, 123, { source: client.v4 }), "spoofed-source"],
    ["pod", udp(4, pod, 3000, database, 123, { source: "0.0.0.0" }), "spoofed-source"],
    ["pod", udp(6, pod, 3000, database, 123, { source: podLinkLocal }), "spoofed-source"],
    ["pod", udp(4, pod, 3000, database, 123, { sourceMac: client.mac }), "spoofed-mac"],
    ["net", udp(4, client, 3000, pod, 9000, { source: pod.v4 }), "spoofed-source"],
    ["net", udp(4, client, 3000, pod, 9000, { sourceMac: pod.mac }), "spoofed-mac"],
  ],
  "sources that are nobody's": [
    ["net", udp(4, client, 3000, pod, 9000, { source: "127.0.0.1" }), "martian-source"],
    ["net", udp(4, client, 3000, pod, 9000, { source: "224.0.0.1" }), "martian-source"],
    ["net", udp(4, client, 3000, pod, 9000, { source: "255.255.255.255" }), "martian-source"],
    ["net", udp(6, client, 3000, pod, 9000, { source: "::1" }), "martian-source"],
    ["net", udp(6, client, 3000, pod, 9000, { source: "::ffff:10.77.1.6" }), "martian-source"],
  ],
  "packets for somebody else": [
    ["net", udp(4, client, 3000, stranger, 9000, { destinationMac: pod.mac }), "policy-ingress"],
    ["net", udp(4, client, 3000, pod, 9000, { destinationMac: stranger.mac }), "l2-protocol"],
    ["net", udp(4, client, 3000, pod, 9000, { destinationMac: broadcast }), "l2-protocol"],
  ],
  "Ethernet that is not judged": [
    ["pod", ethernet(pod.mac, client.mac, 0x8100, bytesOf(u32(0x000a0800))), "vlan-tag"],
    ["net", ethernet(client.mac, pod.mac, 0x88cc, bytesOf(u32(0))), "l2-protocol"],
    ["net", ethernet(client.mac, pod.mac, 100, new Uint8Array(100)), "l2-protocol"],
    ["pod", new Uint8Array(13), "malformed-ethernet"],
    [
      "net",
      ethernet("03:00:00:00:00:01", pod.mac, 0x0800, new Uint8Array(20)),
      "malformed-ethernet",
    ],
  ],
  "ARP by the pod": [
    ["pod", arp(pod.mac, broadcast, 1, pod, client.v4), "pass"],
    ["pod", arp(pod.mac, client.mac, 2, pod, client.v4), "pass"],
    [
      "pod",
      arp(pod.mac, broadcast, 2, { mac: pod.mac, v4: client.v4 }, stranger.v4),
      "spoofed-arp",
    ],
    [
      "pod",
      arp(pod.mac, broadcast, 1, { mac: client.mac, v4: pod.v4 }, stranger.v4),
      "spoofed-arp",
    ],
    ["pod", arp(pod.mac, broadcast, 3, pod, client.v4), "malformed-arp"],
    ["pod", arp(pod.mac, broadcast, 1, pod, client.v4).subarray(0, 41), "malformed-arp"],
  ],
  "ARP to the pod": [
    ["net", arp(client.mac, broadcast, 1, client, pod.v4), "pass"],
    ["net", arp(client.mac, broadcast, 1, { mac: client.mac, v4: "0.0.0.0" }, pod.v4), "pass"],
    ["net", arp(client.mac, pod.mac, 2, { mac: client.mac, v4: pod.v4 }, pod.v4), "spoofed-arp"],
  ],
  "neighbour discovery by the pod": [
    ["pod", solicitation(pod, stranger), "pass"],
    ["net", solicitation(stranger, pod), "pass"],
    ["pod", neighbour(pod, stranger, 136, pod.v6, pod.mac), "pass"],
    ["pod", neighbour(pod, stranger, 135, stranger.v6, pod.mac), "pass"],
    ["pod", neighbour(pod, database, 135, database.v6, pod.mac), "policy-egress"],
    ["pod", neighbour(pod, database, 136, pod.v6, pod.mac), "policy-egress"],
    [
      "pod",
      neighbour(pod, stranger, 136, podLinkLocal, pod.mac, { source: podLinkLocal }),
      "policy-egress",
    ],
    // To a peer that the policy allows, neither needs a cause.
    ["pod", neighbour(pod, client, 135, client.v6, pod.mac), "pass"],
    ["pod", neighbour(pod, client, 136, pod.v6, pod.mac), "pass"],
    ["pod", neighbour(pod, client, 136, stranger.v6, pod.mac), "spoofed-ndp"],
    ["pod", neighbour(pod, client, 136, pod.v6, client.mac), "spoofed-ndp"],
    ["pod", neighbour(pod, client, 135, client.v6, pod.mac, { hopLimit: 64 }), "malformed-ndp"],
    ["pod", neighbour(pod, client, 135, "ff02::1", pod.mac), "malformed-ndp"],
  ],
  "neighbour discovery to the pod": [
    ["net", neighbour(client, pod, 135, pod.v6, client.mac), "pass"],
    ["net", neighbour(client, pod, 136, client.v6, client.mac), "policy-ingress"],
    ["pod", solicitation(pod, client), "pass"],
    ["net", neighbour(client, pod, 136, client.v6, client.mac), "pass"],
    ["net", neighbour(client, pod, 136, client.v6, client.mac), "policy-ingress", 6 * second],
    ["net", neighbour(client, pod, 136, pod.v6, client.mac), "spoofed-ndp"],
    ["net", neighbour(client, pod, 136, client.v6, pod.mac), "spoofed-ndp"],
  ],
  "the pod is no router": [
    [
      "pod",
      icmp(6, pod, client, 134, new Uint8Array(12), { hopLimit: 255 }),
      "router-advertisement",
    ],
    [
      "pod",
      icmp(6, pod, client, 137, bytesOf(u32(0), address(client.v6), address(client.v6)), {
        hopLimit: 255,
        source: podLinkLocal,
      }),
      "spoofed-ndp",
    ],
    ["pod", icmp(6, pod, client, 133, u32(0), { hopLimit: 255 }), "pass"],
    [
      "net",
      icmp(6, client, pod, 134, new Uint8Array(12), { hopLimit: 255, source: "fe80::1" }),
      "pass",
    ],
    ["net", icmp(6, client, pod, 134, new Uint8Array(12), { hopLimit: 255 }), "malformed-ndp"],
    [
      "net",
      icmp(6, client, pod, 134, new Uint8Array(212), { hopLimit: 255, source: "fe80::1" }),
      "malformed-ndp",
    ],
    [
      "net",
      icmp(6, client, pod, 137, bytesOf(u32(0), address("fe80::9"), address(client.v6)), {
        hopLimit: 255,
        source: "fe80::1",
      }),
      "spoofed-ndp",
    ],
  ],
  "multicast listeners": [
    [
      "pod",
      icmp(6, pod, client, 143, oneGroup, {
        hopLimit: 1,
        source: podLinkLocal,
        destination: "ff02::16",
        destinationMac: "33:33:00:00:00:16",
      }),
      "pass",
    ],
    [
      "pod",
      icmp(6, pod, client, 143, oneGroup, {
        hopLimit: 9,
        source: podLinkLocal,
        destination: "ff02::16",
      }),
      "malformed-ndp",
    ],
    [
      "pod",
      icmp(6, pod, client, 130, new Uint8Array(20), {
        hopLimit: 1,
        source: podLinkLocal,
        destination: "ff02::1",
      }),
      "policy-egress",
    ],
    [
      "net",
      icmp(6, client, pod, 130, new Uint8Array(20), {
        hopLimit: 1,
        source: "fe80::1",
        destination: "ff02::1",
      }),
      "pass",
    ],
  ],
};

/** Who has an address, asked of all whose address ends like it. */
function solicitation(from: Host, to: Host): Uint8Array {
  const tail = address(to.v6).subarray(13);
  const [a, b, c] = [...tail].map((byte) => byte.toString(16).padStart(2, "0"));
  const group = `ff02::1:ff${a}:${b}${c}`;
  return neighbour(from, to, 135, to.v6, from.mac, {
    destination: group,
    destinationMac: `33:33:ff:${a}:${b}:${c}`,
  });
}

/** A UDP packet of the pod to port 123 of the database, behind extension headers. */
function behind(first: number, chain: Uint8Array, payload?: Uint8Array): Uint8Array {
  const datagram = udp(6, pod, 3000, database, 123).subarray(54);
  return ip(6, pod, database, first, payload ?? datagram, { options: chain });
}

function sctpInit(fromPort: number, toPort: number): Uint8Array {
  return bytesOf(u16(fromPort), u16(toPort), u32(0), u32(0), 1, 0, u16(20), new Uint8Array(16));
}

function spoilt(frame: Uint8Array, at: number, value: number): Uint8Array {
  frame[at] = value;
  return frame;
}
