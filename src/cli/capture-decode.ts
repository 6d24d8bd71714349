import { count } from "../diagnostics/count.js";
import { type Address, formatAddress } from "../net/address.js";
import { protocolNumbers } from "../net/protocol.js";

/**
 * The part of the decoders of the package cap that is used here. They do not look at the length of
 * what they read, so each call is made only where its header is wholly there. Their IPv6 decoder
 * is left alone: an ESP header keeps it in a loop for ever, and it writes addresses in no known form.
 */
export interface Decoders {
  Ethernet(bytes: Buffer): {
    info: { srcmac: string; dstmac: string; type?: number };
    offset: number;
  };
  IPV4(
    bytes: Buffer,
    offset: number,
  ): {
    info: { protocol: number; fragoffset: number; totallen: number };
    hdrlen: number;
    offset: number;
  };
  TCP(
    bytes: Buffer,
    offset: number,
  ): { info: { srcport: number; dstport: number; flags: number }; offset: number };
  UDP(bytes: Buffer, offset: number): { info: { srcport: number; dstport: number } };
  SCTP(
    bytes: Buffer,
    byteLength: number,
    offset: number,
  ): { info: { srcport: number; dstport: number } };
  ARP(
    bytes: Buffer,
    offset: number,
  ): { info: { opcode: number; senderip: string; targetip: string; sendermac: string } };
}

/** The connection that a packet belongs to, as that packet shows it. */
export interface FlowView {
  readonly protocol: number;
  readonly source: Address;
  readonly destination: Address;
  /** ICMP: the echo identifier on both sides. Other protocols without ports: 0. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Which side opened the connection, where this packet says so. */
  readonly opener: "source" | "destination" | undefined;
  /** The packet opens a connection, whatever was seen before it. */
  readonly opens: boolean;
  /** Seen only in the quotation of an ICMP error, which flows the other way. */
  readonly quoted: boolean;
}

/** A packet for reading, and the flow to be judged, where policy has a say. */
export interface DecodedPacket {
  readonly source: string;
  readonly destination: string;
  readonly summary: string;
  readonly flow?: FlowView;
}

export type LinkType = "ETHERNET" | "RAW";

const ethertypes = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd };

/** Says what a packet is. Errors: none; what is cut or unknown is named as such. */
export function decodePacket(decoders: Decoders, link: LinkType, bytes: Buffer): DecodedPacket {
  if (link === "RAW") {
    return decodeIp(decoders, bytes, 0) ?? cut("", "");
  }
  const tagged = bytes.length >= 14 && bytes.readUInt16BE(12) === 0x8100;
  if (bytes.length < (tagged ? 18 : 14)) {
    return cut("", "");
  }
  const { info, offset } = decoders.Ethernet(bytes);
  const { srcmac, dstmac, type } = info;
  switch (type) {
    case ethertypes.ipv4:
    case ethertypes.ipv6:
      return decodeIp(decoders, bytes, offset) ?? cut(srcmac, dstmac);
    case ethertypes.arp:
      return bytes.length < offset + 28
        ? cut(srcmac, dstmac)
        : { source: srcmac, destination: dstmac, summary: arpSummary(decoders, bytes, offset) };
    default: {
      const summary =
        type === undefined ? "LLC" : `ethertype 0x${type.toString(16).padStart(4, "0")}`;
      return { source: srcmac, destination: dstmac, summary };
    }
  }
}

function cut(source: string, destination: string): DecodedPacket {
  return { source, destination, summary: "cut short" };
}

function arpSummary(decoders: Decoders, bytes: Buffer, offset: number): string {
  const { opcode, senderip, targetip, sendermac } = decoders.ARP(bytes, offset).info;
  switch (opcode) {
    case 1:
      return `ARP who has ${targetip}, tell ${senderip}`;
    case 2:
      return `ARP ${senderip} is at ${sendermac}`;
    default:
      return `ARP opcode ${opcode}`;
  }
}

/** An IP header, read: what follows it starts at `offset`, and the IP packet ends at `end`. */
interface IpHeader {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly offset: number;
  readonly end: number;
  /** A fragment that is not the first holds no ports. */
  readonly laterFragment: boolean;
}

function decodeIp(decoders: Decoders, bytes: Buffer, offset: number): DecodedPacket | undefined {
  const header = readIpHeader(decoders, bytes, offset);
  if (header === undefined) {
    return undefined;
  }
  const plain = {
    source: formatAddress(header.source),
    destination: formatAddress(header.destination),
  };
  if (header.laterFragment) {
    return { ...plain, summary: `${protocolName(header.protocol)} later fragment` };
  }
  if (isIcmp(header.protocol)) {
    return { ...plain, ...decodeIcmp(decoders, bytes, header) };
  }
  const flow = readFlow(decoders, bytes, header);
  if (flow === undefined) {
    return { ...plain, summary: `${protocolName(header.protocol)}, cut short` };
  }
  const ported = flow.sourcePort > 0 || flow.destinationPort > 0;
  return {
    source: ported ? withPort(header.source, flow.sourcePort) : plain.source,
    destination: ported ? withPort(header.destination, flow.destinationPort) : plain.destination,
    summary: transportSummary(decoders, bytes, header),
    flow,
  };
}

function readIpHeader(decoders: Decoders, bytes: Buffer, offset: number): IpHeader | undefined {
  const version = (bytes[offset] ?? 0) >> 4;
  if (version === 4) {
    const ok = bytes.length >= offset + 20 && ((bytes[offset] ?? 0) & 0x0f) >= 5;
    const { info, hdrlen, offset: next } = ok ? decoders.IPV4(bytes, offset) : nothing;
    if (info === undefined || bytes.length < next) {
      return undefined;
    }
    return {
      source: addressAt(bytes, offset + 12, 4),
      destination: addressAt(bytes, offset + 16, 4),
      protocol: info.protocol,
      offset: next,
      end: Math.min(bytes.length, offset + Math.max(info.totallen, hdrlen)),
      laterFragment: info.fragoffset > 0,
    };
  }
  return version === 6 && bytes.length >= offset + 40 ? readIpv6Header(bytes, offset) : undefined;
}

const nothing = { info: undefined, hdrlen: 0, offset: 0 };

const extension = { hopByHop: 0, routing: 43, fragment: 44, authentication: 51, destination: 60 };
const extensionsMax = 8;

/** Walks the extension headers, a bounded number of them. Source: RFC 8200 section 4. */
function readIpv6Header(bytes: Buffer, offset: number): IpHeader | undefined {
  const payload = bytes.readUInt16BE(offset + 4);
  let protocol = bytes[offset + 6] ?? 0;
  let next = offset + 40;
  let laterFragment = false;
  for (let walked = 0; Object.values(extension).includes(protocol) && !laterFragment; walked++) {
    if (walked === extensionsMax || bytes.length < next + 8) {
      return undefined;
    }
    const units = bytes[next + 1] ?? 0;
    let length = 8 + units * 8;
    if (protocol === extension.fragment) {
      length = 8;
      laterFragment = bytes.readUInt16BE(next + 2) >> 3 > 0;
    } else if (protocol === extension.authentication) {
      length = (units + 2) * 4;
    }
    protocol = bytes[next] ?? 0;
    next += length;
  }
  return {
    source: addressAt(bytes, offset + 8, 16),
    destination: addressAt(bytes, offset + 24, 16),
    protocol,
    offset: next,
    // A length of 0 is a superframe or a jumbogram: then the capture's end is all there is to go by.
    end: payload === 0 ? bytes.length : Math.min(bytes.length, offset + 40 + payload),
    laterFragment,
  };
}

function addressAt(bytes: Buffer, offset: number, length: 4 | 16): Address {
  const copy = Uint8Array.from(bytes.subarray(offset, offset + length));
  return { family: length === 4 ? 4 : 6, bytes: copy };
}

const tcpFlags = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 };

/** Reads the ports behind a header; undefined when they are cut off. */
function readFlow(decoders: Decoders, bytes: Buffer, header: IpHeader): FlowView | undefined {
  const { protocol, source, destination, offset } = header;
  const base = { protocol, source, destination, opener: undefined, opens: false, quoted: false };
  switch (protocol) {
    case protocolNumbers["TCP"]: {
      if (bytes.length < offset + 20) {
        return undefined;
      }
      const { srcport, dstport, flags } = decoders.TCP(bytes, offset).info;
      const syn = (flags & tcpFlags.syn) !== 0;
      const ack = (flags & tcpFlags.ack) !== 0;
      return {
        ...base,
        sourcePort: srcport,
        destinationPort: dstport,
        opener: syn ? (ack ? "destination" : "source") : undefined,
        opens: syn && !ack,
      };
    }
    case protocolNumbers["UDP"]:
    case protocolNumbers["SCTP"]: {
      if (bytes.length < offset + 8) {
        return undefined;
      }
      const { srcport, dstport } =
        protocol === protocolNumbers["UDP"]
          ? decoders.UDP(bytes, offset).info
          : decoders.SCTP(bytes, 0, offset).info;
      return { ...base, sourcePort: srcport, destinationPort: dstport };
    }
    default:
      return { ...base, sourcePort: 0, destinationPort: 0 };
  }
}

function transportSummary(decoders: Decoders, bytes: Buffer, header: IpHeader): string {
  const name = protocolName(header.protocol);
  if (header.protocol !== protocolNumbers["TCP"]) {
    const skip = header.protocol === protocolNumbers["UDP"] ? 8 : 0;
    return `${name} ${count(Math.max(header.end - header.offset - skip, 0), "byte")}`;
  }
  const { info, offset } = decoders.TCP(bytes, header.offset);
  const flags = Object.entries(tcpFlags)
    .filter(([, bit]) => (info.flags & bit) !== 0)
    .map(([flag]) => flag.toUpperCase());
  const payload = Math.max(header.end - offset, 0);
  return [name, flags.join(","), ...(payload > 0 ? [count(payload, "byte")] : [])].join(" ");
}

interface IcmpWords {
  readonly echoRequest: number;
  readonly echoReply: number;
  readonly errors: Readonly<Record<number, string>>;
  /** Types that keep the link itself going; policy has no say in them. */
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

function isIcmp(protocol: number): boolean {
  return protocol === protocolNumbers["ICMP"] || protocol === protocolNumbers["ICMPv6"];
}

function decodeIcmp(
  decoders: Decoders,
  bytes: Buffer,
  header: IpHeader,
): Pick<DecodedPacket, "summary" | "flow"> {
  const { protocol, source, destination, offset } = header;
  const name = protocolName(protocol);
  if (bytes.length < offset + 8) {
    return { summary: `${name}, cut short` };
  }
  const words = protocol === protocolNumbers["ICMP"] ? icmpWords : icmpv6Words;
  const type = bytes[offset] ?? 0;
  const code = bytes[offset + 1] ?? 0;
  if (words.neighbour.includes(type)) {
    return { summary: `${name} type ${type}, neighbour discovery` };
  }
  const error = words.errors[type];
  if (error !== undefined) {
    const quoted = readQuoted(decoders, bytes, offset + 8);
    const summary = `${name} ${error}, code ${code}`;
    return quoted === undefined ? { summary } : { summary, flow: quoted };
  }
  const request = type === words.echoRequest;
  const echo = request || type === words.echoReply;
  const id = echo ? bytes.readUInt16BE(offset + 4) : 0;
  return {
    summary: echo ? `${name} echo ${request ? "request" : "reply"}` : `${name} type ${type}`,
    flow: {
      protocol,
      source,
      destination,
      sourcePort: id,
      destinationPort: id,
      opener: echo ? (request ? "source" : "destination") : undefined,
      opens: false,
      quoted: false,
    },
  };
}

/** Reads the packet that an ICMP error quotes: at least its header and eight bytes behind it. */
function readQuoted(decoders: Decoders, bytes: Buffer, offset: number): FlowView | undefined {
  const header = readIpHeader(decoders, bytes, offset);
  if (header === undefined || header.laterFragment || bytes.length < header.offset + 8) {
    return undefined;
  }
  const { protocol, source, destination } = header;
  const ported = ["TCP", "UDP", "SCTP"].some((name) => protocolNumbers[name] === protocol);
  const id = isIcmp(protocol) ? bytes.readUInt16BE(header.offset + 4) : 0;
  return {
    protocol,
    source,
    destination,
    sourcePort: ported ? bytes.readUInt16BE(header.offset) : id,
    destinationPort: ported ? bytes.readUInt16BE(header.offset + 2) : id,
    opener: undefined,
    opens: false,
    quoted: true,
  };
}

function protocolName(protocol: number): string {
  for (const [name, number] of Object.entries(protocolNumbers)) {
    if (number === protocol) {
      return name;
    }
  }
  return `protocol ${protocol}`;
}

function withPort(address: Address, port: number): string {
  const text = formatAddress(address);
  return address.family === 4 ? `${text}:${port}` : `[${text}]:${port}`;
}
