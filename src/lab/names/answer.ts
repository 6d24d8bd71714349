import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  type DecodedPacket,
  decode,
  encode,
  type OptAnswer,
  type Packet,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from "dns-packet";
import { soaRecord, type Zone } from "./zone.js";

const headerBytes = 12;
/** Longer ones are no queries: a question and EDNS with all its options fit in less. */
const queryBytesMax = 1024;
/** The least that every client takes by UDP, and the most that is sent to one that takes more. */
const udpBytes = 512;
const udpBytesMax = 1232;
/** All that TCP's length can say. */
const tcpBytesMax = 0xffff;

/** Answers that say why not, by their numbers in a header; 16 is of EDNS. */
const formatError = 1;
const noSuchName = 3;
const refused = 5;
const badVersion = 16;

/**
 * Answers a DNS query out of a zone.
 *
 * Whatever bytes come in: no more than the question is looked at, and none throws.
 *
 * Shape: undefined where no answer is due: to answers, to what is too short for a query, and to other operations
 *        than a query.
 */
export function answerQuery(query: Uint8Array, zone: Zone, way: "udp" | "tcp"): Buffer | undefined {
  const bytes = Buffer.from(query.buffer, query.byteOffset, query.byteLength);
  // The bit of an answer and the operation: two who answer each other's answers would never end.
  if (bytes.length < headerBytes || (bytes[2]! & 0xf8) !== 0) return undefined;
  const asked = read(bytes);
  if (asked === undefined) return headOnly(bytes, formatError);
  const { packet, edns } = asked;
  const question = packet.questions![0]!;
  const { reason, isOurs, answers, authorities, additionals } = respond(zone, question, edns);
  const flags =
    (reason & 0xf) |
    (isOurs ? AUTHORITATIVE_ANSWER : 0) |
    (packet.flag_rd ? RECURSION_DESIRED : 0) |
    RECURSION_AVAILABLE;
  const opt = edns === undefined ? [] : [optOf(reason)];
  const response: Packet = {
    type: "response",
    id: packet.id,
    flags,
    questions: [question],
    answers: [...answers],
    authorities: [...authorities],
    additionals: [...additionals, ...opt],
  };
  const most =
    way === "tcp"
      ? tcpBytesMax
      : Math.min(udpBytesMax, Math.max(udpBytes, edns?.udpPayloadSize ?? 0));
  const whole = encode(response);
  if (whole.length <= most) return whole;
  const essential = encode({ ...response, additionals: opt });
  if (essential.length <= most) return essential;
  const none = { answers: [], authorities: [], additionals: opt };
  return encode({ ...response, ...none, flags: flags | TRUNCATED_RESPONSE });
}

interface Asked {
  readonly packet: DecodedPacket;
  readonly edns: OptAnswer | undefined;
}

/** Reads a query with one question; undefined when it is none. */
function read(bytes: Buffer): Asked | undefined {
  const isPlain =
    bytes.readUInt16BE(4) === 1 &&
    bytes.readUInt16BE(6) === 0 &&
    bytes.readUInt16BE(8) === 0 &&
    bytes.readUInt16BE(10) <= 2;
  if (!isPlain || bytes.length > queryBytesMax) return undefined;
  try {
    const packet = decode(bytes);
    const [question] = packet.questions ?? [];
    // What would not be written as it was read, such as a dot within a label, is no name of ours.
    if (question === undefined || !isWrittenAlike(question, bytes)) return undefined;
    const edns = packet.additionals?.find((each): each is OptAnswer => each.type === "OPT");
    return { packet, edns };
  } catch {
    return undefined;
  }
}

function isWrittenAlike(question: NonNullable<Packet["questions"]>[number], bytes: Buffer) {
  const again = encode({ questions: [question] }).subarray(headerBytes);
  return bytes.subarray(headerBytes, headerBytes + again.length).equals(again);
}

interface Response {
  /** Why not; 0 when there is no such reason. */
  readonly reason: number;
  readonly isOurs: boolean;
  readonly answers: readonly Answer[];
  readonly authorities: readonly Answer[];
  readonly additionals: readonly Answer[];
}

function respond(
  zone: Zone,
  { name, type, class: kind }: NonNullable<Packet["questions"]>[number],
  edns: OptAnswer | undefined,
): Response {
  const none = { isOurs: false, answers: [], authorities: [], additionals: [] };
  if ((edns?.ednsVersion ?? 0) !== 0) return { ...none, reason: badVersion };
  if (kind !== "IN") return { ...none, reason: refused };
  const { exists, isOurs, answers, additionals } = zone.find(name, type);
  const authorities = isOurs && answers.length === 0 ? [soaRecord] : [];
  return { reason: exists ? 0 : noSuchName, isOurs, answers, authorities, additionals };
}

function optOf(reason: number): OptAnswer {
  return {
    type: "OPT",
    name: ".",
    udpPayloadSize: udpBytesMax,
    extendedRcode: reason >> 4,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
}

/** An answer without even the question, since that could not be read. */
function headOnly(query: Buffer, reason: number): Buffer {
  const head = Buffer.alloc(headerBytes);
  query.copy(head, 0, 0, 2);
  head[2] = 0x80;
  head[3] = reason;
  return head;
}
