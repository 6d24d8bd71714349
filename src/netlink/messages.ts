import { getSystemErrorMap, getSystemErrorName } from "node:util";
import { netlinkExchange } from "../dataplane/host.js";
import {
  NETLINK_ROUTE,
  NLA_F_NESTED,
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSGERR_ATTR_MSG,
} from "./constants.js";

/**
 * Netlink messages: a fixed body, then attributes. Answers are kept as the kernel's own bytes, so that
 * attributes of a later kernel, which this code does not know, are replayed too.
 *
 * Source: man 7 netlink, man 7 rtnetlink. Numbers are in the
 * machine's order, which the layout has asserted to be little-endian.
 */

const headerBytes = 16;
const attributeBytes = 4;
const attributeTypeMask = 0x3fff;
/** How many times to repeat a dump that a change interrupted. */
const dumpTriesMax = 20;

export interface Attribute {
  readonly type: number;
  readonly data: Uint8Array;
}

export interface Message {
  readonly type: number;
  readonly body: Uint8Array;
}

/** A change to request, with its description for errors. */
export interface Request extends Message {
  readonly flags: number;
  readonly what: string;
  /** Refusals that are no error, such as "exists already". */
  readonly allows?: readonly string[] | "any";
}

/** Requests of one type that remove objects, the last first; an object that went with its link is no error. */
export function removals(type: number, what: string, bodies: readonly Uint8Array[]): Request[] {
  return bodies.map((body) => ({ type, body, flags: 0, what, allows: "any" as const })).reverse();
}

/** The kernel refused a request. */
export class NetlinkError extends Error {
  override readonly name = "NetlinkError";
  readonly code: string;
  readonly syscall = "netlink";

  constructor(what: string, errno: number, reason: string | undefined) {
    const code = getSystemErrorName(-errno);
    const words = getSystemErrorMap().get(-errno)?.[1] ?? code;
    super(`${what}: ${words}${reason === undefined ? "" : ` (${reason})`}`);
    this.code = code;
  }
}

/**
 * Requests a dump. Shape: the bodies of the kernel's messages of type `answer`.
 *
 * Errors: NetlinkError; DataplaneError.
 */
export function dump(
  type: number,
  body: Uint8Array,
  answer: number,
  protocol = NETLINK_ROUTE,
  checks: "loose" | "strict" = "loose",
): Uint8Array[] {
  for (let tries = 1; ; tries++) {
    const request = encodeMessage({ type, body }, NLM_F_REQUEST | NLM_F_DUMP, 1);
    const bodies: Uint8Array[] = [];
    let interrupted = false;
    for (const message of messagesOf(netlinkExchange(protocol, request, checks))) {
      interrupted ||= (message.flags & NLM_F_DUMP_INTR) !== 0;
      if (message.type === answer) bodies.push(message.body);
      if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
        const errno = message.body.length < 4 ? 0 : -view(message.body).getInt32(0, true);
        if (errno !== 0) throw new NetlinkError(`dump ${type}`, errno, undefined);
      }
    }
    if (!interrupted) return bodies;
    if (tries === dumpTriesMax) throw new Error(`dump ${type}: it changes all the time`);
  }
}

/** Requests one object. Shape: its body; undefined when it does not exist. */
export function ask(type: number, body: Uint8Array, answer: number): Uint8Array | undefined {
  const request = encodeMessage({ type, body }, NLM_F_REQUEST | NLM_F_ACK, 1);
  for (const message of messagesOf(netlinkExchange(NETLINK_ROUTE, request))) {
    if (message.type === answer) return message.body;
  }
  return undefined;
}

/**
 * Requests changes in one system call; the kernel makes them in order. All are tried, even after a refusal.
 * Returns the refusals.
 */
export function tryChanges(requests: readonly Request[]): NetlinkError[] {
  if (requests.length === 0) return [];
  const last = requests.length - 1;
  const bytes = requests.map((request, index) =>
    // Only the last asks for an acknowledgement: the kernel reports refusals in any case.
    encodeMessage(
      request,
      NLM_F_REQUEST | request.flags | (index === last ? NLM_F_ACK : 0),
      index + 1,
    ),
  );
  const refused: NetlinkError[] = [];
  for (const { type, flags, sequence, body } of messagesOf(
    netlinkExchange(NETLINK_ROUTE, concatenate(bytes)),
  )) {
    const errno = type === NLMSG_ERROR ? -view(body).getInt32(0, true) : 0;
    const request = requests[sequence - 1];
    if (errno === 0 || request === undefined) continue;
    const error = new NetlinkError(request.what, errno, reasonOf(body, flags));
    if (request.allows !== "any" && !request.allows?.includes(error.code)) refused.push(error);
  }
  return refused;
}

/** The same, for changes that must all succeed. Errors: NetlinkError, the first refusal. */
export function change(requests: readonly Request[]): void {
  const [first] = tryChanges(requests);
  if (first !== undefined) throw first;
}

/** Splits bytes from the kernel, which are whole messages. */
export function decodeMessages(bytes: Uint8Array): readonly Message[] {
  return messagesOf(bytes);
}

/** Splits the attributes in `bytes` from `at` on. */
export function attributesOf(bytes: Uint8Array, at: number): Attribute[] {
  const attributes: Attribute[] = [];
  const words = view(bytes);
  while (at + attributeBytes <= bytes.length) {
    const length = words.getUint16(at, true);
    if (length < attributeBytes || at + length > bytes.length) break;
    const type = words.getUint16(at + 2, true) & attributeTypeMask;
    attributes.push({ type, data: bytes.subarray(at + attributeBytes, at + length) });
    at += aligned(length);
  }
  return attributes;
}

export function attribute(type: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(aligned(attributeBytes + data.length));
  view(bytes).setUint16(0, attributeBytes + data.length, true);
  view(bytes).setUint16(2, type, true);
  bytes.set(data, attributeBytes);
  return bytes;
}

export function nestedAttribute(type: number, parts: readonly Uint8Array[]): Uint8Array {
  return attribute(type | NLA_F_NESTED, concatenate(parts));
}

export function textAttribute(type: number, text: string): Uint8Array {
  return attribute(type, new TextEncoder().encode(`${text}\0`));
}

export function wordAttribute(type: number, value: number): Uint8Array {
  return attribute(type, word(value));
}

export function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  view(bytes).setUint32(0, value, true);
  return bytes;
}

export function wordOf(bytes: Uint8Array, at = 0): number {
  return view(bytes).getUint32(at, true);
}

export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

export function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Encodes a message with its head. */
export function encodeMessage(
  { type, body }: Message,
  flags: number,
  sequence: number,
): Uint8Array {
  const bytes = new Uint8Array(aligned(headerBytes + body.length));
  const words = view(bytes);
  words.setUint32(0, headerBytes + body.length, true);
  words.setUint16(4, type, true);
  words.setUint16(6, flags, true);
  words.setUint32(8, sequence, true);
  bytes.set(body, headerBytes);
  return bytes;
}

interface Received extends Message {
  readonly flags: number;
  readonly sequence: number;
}

/** Splits an answer, which consists of whole messages. */
function messagesOf(bytes: Uint8Array): Received[] {
  const words = view(bytes);
  const messages: Received[] = [];
  for (let at = 0; at + headerBytes <= bytes.length; ) {
    const length = words.getUint32(at, true);
    messages.push({
      type: words.getUint16(at + 4, true),
      flags: words.getUint16(at + 6, true),
      sequence: words.getUint32(at + 8, true),
      body: bytes.subarray(at + headerBytes, at + length),
    });
    at += aligned(length);
  }
  return messages;
}

/** The kernel's text for a refusal; undefined when it gives none. */
function reasonOf(body: Uint8Array, flags: number): string | undefined {
  if ((flags & NLM_F_ACK_TLVS) === 0) return undefined;
  // The attributes follow the errno and the request's header; the request's body is not repeated.
  const found = attributesOf(body, 4 + headerBytes).find(({ type }) => type === NLMSGERR_ATTR_MSG);
  return found === undefined ? undefined : textOf(found.data);
}

function aligned(length: number): number {
  return (length + 3) & ~3;
}
