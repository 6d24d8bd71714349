import { ConnectionRecord, connStateWords, readConnectionRecord } from "../layout/layout.gen.js";
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
  /** Whether both ends are confirmed to exist: it is then never evicted for a new connection. */
  readonly isAssured: boolean;
  /** The sides that would deny it if audited policies were enforced; it is allowed. */
  readonly auditedBy: readonly ("egress" | "ingress")[];
  /** Generation of the table that allowed it last. */
  readonly generation: number;
  /** Time until it expires without another packet. */
  readonly expiresInMs: number;
  /** Frames so far, both ways; a superframe is one. Later fragments are not counted. */
  readonly packets: number;
  readonly bytes: number;
  /** Whether the kernel passes its packets, as long as they are as they should be. */
  readonly isInKernel: boolean;
  /** Zone of its wire; 0 in a switch. */
  readonly zone: number;
  /** Its key in the connection table. */
  readonly key: Uint8Array;
}

/** Reads the records that the data plane lists. */
export function decodeConnections(bytes: Uint8Array): Connection[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const connections: Connection[] = [];
  for (let at = 0; at + ConnectionRecord.bytes <= bytes.length; at += ConnectionRecord.bytes) {
    const {
      source,
      destination,
      family,
      state,
      assured,
      auditedBy,
      inKernel,
      totalPackets,
      totalBytes,
      ...same
    } = readConnectionRecord(view, at);
    connections.push({
      ...same,
      source: addressOf(family, source),
      destination: addressOf(family, destination),
      state: connStateWords[state] ?? connStateWords[0],
      isAssured: assured !== 0,
      isInKernel: inKernel !== 0,
      auditedBy: sidesOf(auditedBy),
      packets: totalPackets,
      bytes: totalBytes,
    });
  }
  return connections;
}

function addressOf(family: number, bytes: Uint8Array): Address {
  return family === 4 ? { family: 4, bytes: bytes.subarray(0, 4) } : { family: 6, bytes };
}

/** Length of `Connection.key`. */
export const connectionKeyBytes = ConnectionRecord.totalPackets - ConnectionRecord.key;
