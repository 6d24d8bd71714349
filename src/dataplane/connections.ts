import { ConnectionRecord, connStateWords } from "../layout/layout.gen.js";
import type { Address } from "../net/address.js";
import { sidesOf } from "./events.js";

/** A tracked connection, as its first packet had it. */
export interface Connection {
  readonly source: Address;
  readonly destination: Address;
  /** 0 when the protocol has none; for ICMP queries the identifier stands in one of the two. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** IP protocol number. */
  readonly protocol: number;
  readonly state: (typeof connStateWords)[number];
  /** Whether both ends are known to be there: it then never gives way to a new connection. */
  readonly isAssured: boolean;
  /** Who would deny it if audited policies were enforced; it runs all the same. */
  readonly auditedBy: readonly ("egress" | "ingress")[];
  /** Of the table that allowed it last. */
  readonly generation: number;
  /** How long it lives without another packet. */
  readonly expiresInMs: number;
  /** Frames so far, both ways; a superframe is one. Later fragments are not counted. */
  readonly packets: number;
  readonly bytes: number;
  /** Of the wire that it crosses; 0 in a switch. */
  readonly zone: number;
  /** What names it in the connection table. */
  readonly key: Uint8Array;
}

/** Reads the records that the data plane lists. */
export function decodeConnections(bytes: Uint8Array): Connection[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const connections: Connection[] = [];
  for (let at = 0; at + ConnectionRecord.bytes <= bytes.length; at += ConnectionRecord.bytes) {
    const family = view.getUint8(at + ConnectionRecord.family) === 4 ? 4 : 6;
    const address = (offset: number): Address => {
      const start = at + offset;
      return { family, bytes: bytes.slice(start, start + (family === 4 ? 4 : 16)) };
    };
    const key = at + ConnectionRecord.key;
    const flags = view.getUint8(at + ConnectionRecord.flags);
    connections.push({
      source: address(ConnectionRecord.source),
      destination: address(ConnectionRecord.destination),
      sourcePort: view.getUint16(at + ConnectionRecord.sourcePort, true),
      destinationPort: view.getUint16(at + ConnectionRecord.destinationPort, true),
      protocol: view.getUint8(at + ConnectionRecord.protocol),
      state: connStateWords[view.getUint8(at + ConnectionRecord.state)] ?? connStateWords[0],
      isAssured: (flags & 1) !== 0,
      auditedBy: sidesOf(flags >> 1),
      generation: view.getUint32(at + ConnectionRecord.generation, true),
      expiresInMs: view.getUint32(at + ConnectionRecord.expiresInMs, true),
      packets: Number(view.getBigUint64(at + ConnectionRecord.totalPackets, true)),
      bytes: Number(view.getBigUint64(at + ConnectionRecord.totalBytes, true)),
      zone: bytes[key + zoneByte] ?? 0,
      key: bytes.slice(key, key + connectionKeyBytes),
    });
  }
  return connections;
}

/** Length of `Connection.key`. */
export const connectionKeyBytes = 40;
/** Where the zone stands in it. Source: native/conntrack/conn-entry.h. */
const zoneByte = 39;
