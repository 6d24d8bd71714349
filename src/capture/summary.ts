import type { JudgedFrameRecord } from "../dataplane/capture-judge.js";
import { count } from "../diagnostics/count.js";
import { type Address, formatAddress } from "../net/address.js";
import { protocolNumbers } from "../net/protocol.js";

/** A frame for reading. */
export interface FrameWords {
  /** An address with its port, or a MAC where there is no IP header; may be empty. */
  readonly source: string;
  readonly destination: string;
  readonly summary: string;
}

/** Says what a frame is. */
export function describeFrame(frame: JudgedFrameRecord): FrameWords {
  const { source, destination, sourceMac = "", destinationMac = "" } = frame;
  if (frame.kind === "ip" && source && destination) {
    return {
      source: withPort(source, frame.sourcePort),
      destination: withPort(destination, frame.destinationPort),
      summary: packetSummary(frame),
    };
  }
  const isArp = frame.kind === "arp" && source && destination;
  const summary = isArp
    ? arpSummary(frame.arpOperation, formatAddress(source), formatAddress(destination), sourceMac)
    : unreadSummary(frame.etherType);
  return { source: sourceMac, destination: destinationMac, summary };
}

/** Names an IP protocol by its number. */
export function protocolName(protocol: number): string {
  const known = Object.entries(protocolNumbers).find(([, number]) => number === protocol);
  return known?.[0] ?? `protocol ${protocol}`;
}

// A smaller number is the length of an LLC frame. Source: IEEE 802.3, 3.2.6.
const etherTypeMin = 0x600;

function unreadSummary(etherType: number | undefined): string {
  if (etherType === undefined) return "cut short";
  if (etherType < etherTypeMin) return "LLC";
  return `ethertype 0x${etherType.toString(16).padStart(4, "0")}`;
}

function arpSummary(
  operation: number | undefined,
  sender: string,
  target: string,
  mac: string,
): string {
  return operation === 1 ? `ARP who has ${target}, tell ${sender}` : `ARP ${sender} is at ${mac}`;
}

const tcpFlags = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];

function packetSummary(frame: JudgedFrameRecord): string {
  const { protocol = 0, icmp, payloadBytes, first } = frame;
  const name = protocolName(protocol);
  if (frame.isLaterFragment) return `${name} later fragment`;
  if (first === undefined) return `${name}, malformed`;
  if (icmp !== undefined) return `${name} ${icmpSummary(protocol, icmp.type, icmp.code)}`;
  if (protocol !== protocolNumbers["TCP"]) return `${name} ${count(payloadBytes, "byte")}`;
  const flags = tcpFlags.filter((_flag, bit) => (frame.tcpFlags & (1 << bit)) !== 0);
  const payload = payloadBytes > 0 ? [count(payloadBytes, "byte")] : [];
  return [name, flags.join(","), ...payload].join(" ");
}

interface IcmpWords {
  readonly echoRequest: number;
  readonly echoReply: number;
  readonly errors: Readonly<Record<number, string>>;
  /** Types that keep the link itself going. */
  readonly neighbour: readonly number[];
}

// Source: IANA, "ICMP Type Numbers" and "ICMPv6 type numbers".
const icmpWords: IcmpWords = {
  echoRequest: 8,
  echoReply: 0,
  errors: { 3: "unreachable", 11: "time exceeded", 12: "parameter problem" },
  neighbour: [],
};
const icmpv6Words: IcmpWords = {
  echoRequest: 128,
  echoReply: 129,
  errors: { 1: "unreachable", 2: "packet too big", 3: "time exceeded", 4: "parameter problem" },
  neighbour: [130, 131, 132, 133, 134, 135, 136, 137, 143],
};

function icmpSummary(protocol: number, type: number, code: number): string {
  const words = protocol === protocolNumbers["ICMP"] ? icmpWords : icmpv6Words;
  const error = words.errors[type];
  if (error !== undefined) return `${error}, code ${code}`;
  if (type === words.echoRequest) return "echo request";
  if (type === words.echoReply) return "echo reply";
  return `type ${type}${words.neighbour.includes(type) ? ", neighbour discovery" : ""}`;
}

function withPort(address: Address, port: number | undefined): string {
  const text = formatAddress(address);
  if (port === undefined) return text;
  return address.family === 4 ? `${text}:${port}` : `[${text}]:${port}`;
}
