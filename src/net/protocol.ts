/** Protocols whose ports a policy can name. */
export type TransportProtocol = "TCP" | "UDP" | "SCTP";

export const transportProtocols: readonly TransportProtocol[] = ["TCP", "UDP", "SCTP"];

/** IP protocol numbers. Source: IANA, "Protocol Numbers". */
export const protocolNumbers: Readonly<Record<string, number>> = {
  ICMP: 1,
  TCP: 6,
  UDP: 17,
  ICMPv6: 58,
  SCTP: 132,
};

export function isTransportProtocol(text: string): text is TransportProtocol {
  return text === "TCP" || text === "UDP" || text === "SCTP";
}
