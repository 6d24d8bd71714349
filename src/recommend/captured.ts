import type { Capture } from "../capture/capture.js";
import { judgedPackets } from "../capture/judged-packets.js";
import { CaptureJudge, type JudgedFrameRecord } from "../dataplane/capture-judge.js";
import { type Address, formatAddress } from "../net/address.js";
import { protocolNumbers, type TransportProtocol, transportProtocols } from "../net/protocol.js";
import { flowText, type Seen, type SeenEnd, type SeenFlow } from "./seen.js";

/** Bits of TCP's flags. Source: RFC 9293, section 3.1. */
const tcp = { syn: 0x02, ack: 0x10 } as const;

/** Connections that wait for their answer at most; of more, the one that waits longest has had none. */
const usualAskedMax = 1_000_000;

interface Asked {
  readonly flow: SeenFlow;
  isAnswered: boolean;
}

/**
 * Takes the connections of a capture: the native packet path reads the frames and tells replies apart. A TCP
 * connection counts once its other end has answered, since a capture does not say what became of a packet; a UDP or
 * SCTP one with its first packet.
 *
 * Shape:  `blob` is a table that judges nobody. `withUnanswered` takes TCP connections that nobody answered too.
 * Errors: TooManyFlows.
 */
export function takeCapture(
  capture: Capture,
  blob: Uint8Array,
  withUnanswered: boolean,
  seen: Seen,
  askedMax = usualAskedMax,
): void {
  const asked = new Map<string, Asked>();
  for (const { frame } of judgedPackets(capture, CaptureJudge.watching(blob))) {
    takeFrame(frame, asked, seen);
    if (asked.size <= askedMax) continue;
    const [key, first] = asked.entries().next().value!;
    asked.delete(key);
    settle(first, withUnanswered, seen);
  }
  for (const each of asked.values()) settle(each, withUnanswered, seen);
}

function settle({ flow, isAnswered }: Asked, withUnanswered: boolean, seen: Seen): void {
  if (isAnswered || withUnanswered) seen.add(flow);
  else seen.leaveOut("unanswered", flowText(flow));
}

function takeFrame(frame: JudgedFrameRecord, asked: Map<string, Asked>, seen: Seen): void {
  const { kind, source, destination, sourcePort, destinationPort } = frame;
  if (kind !== "ip" || source === undefined || destination === undefined) return;
  if (frame.exempt !== undefined || frame.isLaterFragment) return;
  seen.records++;
  const protocol = transportProtocols.find((each) => protocolNumbers[each] === frame.protocol);
  if (protocol === undefined || sourcePort === undefined || destinationPort === undefined) {
    // An error that quotes a packet belongs to that packet's connection.
    const why = frame.isQuoted || frame.isReply ? "reply" : "protocol";
    seen.leaveOut(why, `${formatAddress(source)} -> ${formatAddress(destination)}`);
    return;
  }
  const packet: Packet = { source, sourcePort, destination, destinationPort, protocol };
  if (protocol === "TCP") takeTcp(packet, frame, asked, seen);
  else if (frame.isReply) seen.leaveOut("reply", endsText(packet));
  else seen.add(flowOf(packet));
}

interface Packet {
  readonly source: Address;
  readonly sourcePort: number;
  readonly destination: Address;
  readonly destinationPort: number;
  readonly protocol: TransportProtocol;
}

function takeTcp(
  packet: Packet,
  { tcpFlags, isJoined, isReply }: JudgedFrameRecord,
  asked: Map<string, Asked>,
  seen: Seen,
): void {
  const isStart = (tcpFlags & tcp.syn) !== 0;
  if (isStart && (tcpFlags & tcp.ack) === 0) {
    const key = connectionKey(packet);
    if (!asked.has(key)) asked.set(key, { flow: flowOf(packet), isAnswered: false });
  } else if (isStart) {
    const forth = turned(packet);
    const known = asked.get(connectionKey(forth));
    // The answer says as well as the question who asked whom.
    if (known === undefined) seen.add(flowOf(forth));
    else known.isAnswered = true;
    seen.leaveOut("reply", endsText(packet));
  } else if (isReply) {
    seen.leaveOut("reply", endsText(packet));
  } else if (isJoined) {
    seen.leaveOut("no-start", endsText(packet));
  }
}

function turned({ source, sourcePort, destination, destinationPort, protocol }: Packet): Packet {
  return {
    source: destination,
    sourcePort: destinationPort,
    destination: source,
    destinationPort: sourcePort,
    protocol,
  };
}

function connectionKey({ source, sourcePort, destination, destinationPort }: Packet): string {
  return `${formatAddress(source)} ${sourcePort} ${formatAddress(destination)} ${destinationPort}`;
}

function endsText({ source, destination }: Packet): string {
  return `${formatAddress(source)} -> ${formatAddress(destination)}`;
}

function flowOf({ source, destination, protocol, destinationPort }: Packet): SeenFlow {
  const end = (address: Address): SeenEnd => ({ by: "address", address, isNoPod: false });
  const { family } = source;
  return {
    source: end(source),
    destination: end(destination),
    family,
    protocol,
    port: destinationPort,
  };
}
