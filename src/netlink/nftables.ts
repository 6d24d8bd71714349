import { getSystemErrorMap, getSystemErrorName } from "node:util";
import { netlinkExchangeEach } from "../dataplane/host.js";
import * as c from "./constants.js";
import {
  attribute,
  concatenate,
  decodeMessages,
  encodeMessage,
  nestedAttribute,
  textAttribute,
  view,
} from "./messages.js";

/**
 * What nftables needs of a table, as the kernel takes it: one transaction, encoded once, put into as many network
 * namespaces as there are. So no program is started for each of them, and none has to be installed.
 *
 * A register holds four bytes, numbered from 0; longer values lie in several, one after the other. In a key of
 * several parts each part begins in a register of its own.
 *
 * Source: linux/netfilter/nf_tables.h; values in attributes are big-endian.
 */

/** A step of a rule: it loads, looks up, or ends the rule for this packet. */
type Expression = Uint8Array;

export interface Chain {
  readonly name: string;
  readonly type: "nat" | "filter";
  /** On packets that this namespace's programs send; lower first. */
  readonly priority: number;
  readonly rules: readonly (readonly Expression[])[];
}

/** The parts of a key or of data, as nft calls their types, by which it shows them; the kernel wants their lengths. */
export type Part = "ipv4_addr" | "ipv6_addr" | "inet_proto" | "inet_service" | "mark";

/** A set, or a map where the elements have data. Each part lies in whole registers. */
export interface NamedSet {
  readonly name: string;
  readonly key: readonly Part[];
  /** Absent: a set. */
  readonly data?: readonly Part[];
  readonly elements: readonly { readonly key: Uint8Array; readonly data?: Uint8Array }[];
}

export interface NatTable {
  readonly name: string;
  readonly family: 4 | 6;
  readonly sets: readonly NamedSet[];
  readonly chains: readonly Chain[];
}

/** Elements of one message: its length is a number of 16 bits. */
const elementsMax = 400;

/** Numbers that nft has for types; the kernel only keeps them. In a type of several parts each has six bits. */
const partTypes: Readonly<Record<Part, number>> = {
  ipv4_addr: 7,
  ipv6_addr: 8,
  inet_proto: 12,
  inet_service: 13,
  mark: 19,
};

/**
 * Encodes the transaction that makes tables, or that puts them in the place of `before`.
 *
 * Chains of one name stay the same in both: the kernel waits long where one goes.
 *
 * Shape: for `loadTables`.
 */
export function encodeTables(
  tables: readonly NatTable[],
  before: readonly NatTable[] = [],
): Uint8Array {
  const messages = [...before.flatMap(removals), ...tables.flatMap(tableMessages)];
  const last = messages.length - 1;
  return concatenate([
    encodeMessage({ type: c.NFNL_MSG_BATCH_BEGIN, body: batchHead }, c.NLM_F_REQUEST, endSequence),
    ...messages.map(({ type, flags, body }, at) =>
      encodeMessage(
        { type: (c.NFNL_SUBSYS_NFTABLES << 8) | type, body },
        c.NLM_F_REQUEST | flags | (at === last ? c.NLM_F_ACK : 0),
        at === last ? endSequence : endSequence + 1 + at,
      ),
    ),
    encodeMessage({ type: c.NFNL_MSG_BATCH_END, body: batchHead }, c.NLM_F_REQUEST, endSequence),
  ]);
}

/**
 * Puts encoded tables in force in network namespaces: in each all of them or none.
 *
 * Errors: NftablesError when a kernel refuses; DataplaneError when it cannot be asked at all.
 */
export async function loadTables(
  namespaceFds: readonly number[],
  encoded: Uint8Array,
): Promise<void> {
  const answers = await netlinkExchangeEach(namespaceFds, c.NETLINK_NETFILTER, encoded);
  for (const { body, type } of answers.flatMap(decodeMessages)) {
    const errno = type === c.NLMSG_ERROR ? -view(body).getInt32(0, true) : 0;
    if (errno !== 0) throw new NftablesError(errno);
  }
}

/** The kernel has refused tables: it lacks nftables or a part of it, or they are too large. */
class NftablesError extends Error {
  override readonly name = "NftablesError";
  readonly code: string;

  constructor(errno: number) {
    const code = getSystemErrorName(-errno);
    super(`nftables: ${getSystemErrorMap().get(-errno)?.[1] ?? code}`);
    this.code = code;
  }
}

/**
 * The number of the first message, of the last that is answered, and of the end: a kernel that refuses the whole
 * batch answers the first, one that has tried it answers the last, and whichever comes ends the exchange.
 */
const endSequence = 1;

interface TableMessage {
  readonly type: number;
  readonly flags: number;
  readonly body: Uint8Array;
}

function messageOf(
  family: 4 | 6,
  type: number,
  flags: number,
  ...parts: readonly Uint8Array[]
): TableMessage {
  return { type, flags, body: concatenate([messageHead(family), ...parts]) };
}

/** Empties chains and removes sets. */
function removals({ name, family, sets, chains }: NatTable): readonly TableMessage[] {
  const remove = (type: number, ...parts: readonly Uint8Array[]) =>
    messageOf(family, type, 0, ...parts);
  return [
    ...chains.map((chain) =>
      remove(
        c.NFT_MSG_DELRULE,
        textAttribute(c.NFTA_RULE_TABLE, name),
        textAttribute(c.NFTA_RULE_CHAIN, chain.name),
      ),
    ),
    ...sets.map((set) =>
      remove(
        c.NFT_MSG_DELSET,
        textAttribute(c.NFTA_SET_TABLE, name),
        textAttribute(c.NFTA_SET_NAME, set.name),
      ),
    ),
  ];
}

function tableMessages({ name, family, sets, chains }: NatTable): readonly TableMessage[] {
  const message = (type: number, flags: number, ...parts: readonly Uint8Array[]) =>
    messageOf(family, type, flags, ...parts);
  return [
    message(c.NFT_MSG_NEWTABLE, c.NLM_F_CREATE, textAttribute(c.NFTA_TABLE_NAME, name)),
    ...sets.flatMap((set, at) => [
      message(c.NFT_MSG_NEWSET, c.NLM_F_CREATE, ...setAttributes(name, set, at + 1)),
      ...partsOf(set.elements).map((elements) =>
        message(
          c.NFT_MSG_NEWSETELEM,
          c.NLM_F_CREATE,
          textAttribute(c.NFTA_SET_ELEM_LIST_TABLE, name),
          textAttribute(c.NFTA_SET_ELEM_LIST_SET, set.name),
          nestedAttribute(c.NFTA_SET_ELEM_LIST_ELEMENTS, elements.map(elementAttribute)),
        ),
      ),
    ]),
    ...chains.flatMap((chain) => [
      message(c.NFT_MSG_NEWCHAIN, c.NLM_F_CREATE, ...chainAttributes(name, chain)),
      ...chain.rules.map((expressions) =>
        message(
          c.NFT_MSG_NEWRULE,
          c.NLM_F_CREATE | c.NLM_F_APPEND,
          textAttribute(c.NFTA_RULE_TABLE, name),
          textAttribute(c.NFTA_RULE_CHAIN, chain.name),
          nestedAttribute(c.NFTA_RULE_EXPRESSIONS, expressions),
        ),
      ),
    ]),
  ];
}

function setAttributes(table: string, set: NamedSet, id: number): readonly Uint8Array[] {
  const { name, key, data, elements } = set;
  const typeOf = (parts: readonly Part[]) =>
    parts.reduce((type, part) => (type << 6) | partTypes[part], 0);
  const bytesOf = (parts: readonly Part[]) =>
    parts.reduce((sum, part) => sum + (part === "ipv6_addr" ? 16 : 4), 0);
  return [
    textAttribute(c.NFTA_SET_TABLE, table),
    textAttribute(c.NFTA_SET_NAME, name),
    big(c.NFTA_SET_FLAGS, data === undefined ? 0 : c.NFT_SET_MAP),
    big(c.NFTA_SET_KEY_TYPE, typeOf(key)),
    big(c.NFTA_SET_KEY_LEN, bytesOf(key)),
    ...(data === undefined
      ? []
      : [big(c.NFTA_SET_DATA_TYPE, typeOf(data)), big(c.NFTA_SET_DATA_LEN, bytesOf(data))]),
    big(c.NFTA_SET_ID, id),
    // Of a fixed size: one that grows does so little by little, and each time the kernel waits.
    ...(elements.length === 0
      ? []
      : [nestedAttribute(c.NFTA_SET_DESC, [big(c.NFTA_SET_DESC_SIZE, elements.length)])]),
  ];
}

function elementAttribute({ key, data }: NamedSet["elements"][number]): Uint8Array {
  const value = (type: number, bytes: Uint8Array) =>
    nestedAttribute(type, [attribute(c.NFTA_DATA_VALUE, bytes)]);
  return nestedAttribute(c.NFTA_LIST_ELEM, [
    value(c.NFTA_SET_ELEM_KEY, key),
    ...(data === undefined ? [] : [value(c.NFTA_SET_ELEM_DATA, data)]),
  ]);
}

function chainAttributes(table: string, { name, type, priority }: Chain): readonly Uint8Array[] {
  return [
    textAttribute(c.NFTA_CHAIN_TABLE, table),
    textAttribute(c.NFTA_CHAIN_NAME, name),
    nestedAttribute(c.NFTA_CHAIN_HOOK, [
      big(c.NFTA_HOOK_HOOKNUM, c.NF_INET_LOCAL_OUT),
      big(c.NFTA_HOOK_PRIORITY, priority),
    ]),
    textAttribute(c.NFTA_CHAIN_TYPE, type),
  ];
}

function partsOf<Item>(items: readonly Item[]): readonly (readonly Item[])[] {
  return Array.from({ length: Math.ceil(items.length / elementsMax) }, (_, at) =>
    items.slice(at * elementsMax, (at + 1) * elementsMax),
  );
}

/** Loads the destination address. Shape: one register, or four for IPv6. */
export function loadDestination(family: 4 | 6, register: number): Expression {
  return family === 4
    ? loadPayload(c.NFT_PAYLOAD_NETWORK_HEADER, 16, 4, register)
    : loadPayload(c.NFT_PAYLOAD_NETWORK_HEADER, 24, 16, register);
}

/** Loads the source address, shaped alike. */
export function loadSource(family: 4 | 6, register: number): Expression {
  return family === 4
    ? loadPayload(c.NFT_PAYLOAD_NETWORK_HEADER, 12, 4, register)
    : loadPayload(c.NFT_PAYLOAD_NETWORK_HEADER, 8, 16, register);
}

/** Loads the destination port of TCP, UDP and SCTP. */
export function loadDestinationPort(register: number): Expression {
  return loadPayload(c.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, register);
}

function loadPayload(base: number, offset: number, bytes: number, register: number): Expression {
  return expression("payload", [
    big(c.NFTA_PAYLOAD_DREG, c.NFT_REG32_00 + register),
    big(c.NFTA_PAYLOAD_BASE, base),
    big(c.NFTA_PAYLOAD_OFFSET, offset),
    big(c.NFTA_PAYLOAD_LEN, bytes),
  ]);
}

/** Loads the number of the protocol above IP. */
export function loadProtocol(register: number): Expression {
  return expression("meta", [
    big(c.NFTA_META_DREG, c.NFT_REG32_00 + register),
    big(c.NFTA_META_KEY, c.NFT_META_L4PROTO),
  ]);
}

/** Looks a key up; the rule ends where a set does not have it. `into` gets what a map has for it. */
export function lookUp(set: string, from: number, into?: number): Expression {
  return expression("lookup", [
    textAttribute(c.NFTA_LOOKUP_SET, set),
    big(c.NFTA_LOOKUP_SREG, c.NFT_REG32_00 + from),
    ...(into === undefined ? [] : [big(c.NFTA_LOOKUP_DREG, c.NFT_REG32_00 + into)]),
  ]);
}

/** Draws a number from 0 to `below` - 1, in the machine's order. */
export function drawNumber(below: number, register: number): Expression {
  return expression("numgen", [
    big(c.NFTA_NG_DREG, c.NFT_REG32_00 + register),
    big(c.NFTA_NG_MODULUS, below),
    big(c.NFTA_NG_TYPE, c.NFT_NG_RANDOM),
  ]);
}

/** The same, but always the same number for the same bytes in registers from `from` on. */
export function hashNumber(
  from: number,
  bytes: number,
  below: number,
  register: number,
): Expression {
  return expression("hash", [
    big(c.NFTA_HASH_SREG, c.NFT_REG32_00 + from),
    big(c.NFTA_HASH_DREG, c.NFT_REG32_00 + register),
    big(c.NFTA_HASH_LEN, bytes),
    big(c.NFTA_HASH_MODULUS, below),
    big(c.NFTA_HASH_SEED, 1),
  ]);
}

/** Sends the connection to another address and port, from registers. Ends the rule. */
export function translateTo(family: 4 | 6, address: number, port: number): Expression {
  return expression("nat", [
    big(c.NFTA_NAT_TYPE, c.NFT_NAT_DNAT),
    big(c.NFTA_NAT_FAMILY, kernelFamily(family)),
    big(c.NFTA_NAT_REG_ADDR_MIN, c.NFT_REG32_00 + address),
    big(c.NFTA_NAT_REG_PROTO_MIN, c.NFT_REG32_00 + port),
  ]);
}

/** Ends the rule unless the first byte of a register is this one. */
export function mustBe(register: number, byte: number): Expression {
  return expression("cmp", [
    big(c.NFTA_CMP_SREG, c.NFT_REG32_00 + register),
    big(c.NFTA_CMP_OP, c.NFT_CMP_EQ),
    nestedAttribute(c.NFTA_CMP_DATA, [attribute(c.NFTA_DATA_VALUE, Uint8Array.of(byte))]),
  ]);
}

/** Answers a packet of TCP with a reset. Ends the rule. */
export function reset(): Expression {
  return expression("reject", [big(c.NFTA_REJECT_TYPE, c.NFT_REJECT_TCP_RST)]);
}

/** Answers that the port cannot be reached. Ends the rule. */
export function refuse(family: 4 | 6): Expression {
  const portUnreachable = family === 4 ? 3 : 4;
  return expression("reject", [
    big(c.NFTA_REJECT_TYPE, c.NFT_REJECT_ICMP_UNREACH),
    attribute(c.NFTA_REJECT_ICMP_CODE, Uint8Array.of(portUnreachable)),
  ]);
}

function expression(name: string, data: readonly Uint8Array[]): Expression {
  return nestedAttribute(c.NFTA_LIST_ELEM, [
    textAttribute(c.NFTA_EXPR_NAME, name),
    nestedAttribute(c.NFTA_EXPR_DATA, data),
  ]);
}

const batchHead = Uint8Array.of(0, 0, 0, c.NFNL_SUBSYS_NFTABLES);

function messageHead(family: 4 | 6): Uint8Array {
  return Uint8Array.of(kernelFamily(family), 0, 0, 0);
}

function kernelFamily(family: 4 | 6): number {
  return family === 4 ? c.AF_INET : c.AF_INET6;
}

function big(type: number, value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  view(bytes).setInt32(0, value, false);
  return attribute(type, bytes);
}
