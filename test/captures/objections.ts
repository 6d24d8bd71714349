import type { KubernetesObject } from "../../src/manifest/objects.js";
import { type Address, addressKey } from "../../src/net/address.js";
import { judge, type Probe } from "../oracle/oracle.js";
import { type Packet, portsOf, readPacket, readQuoted } from "./packet.js";

/**
 * Says why a frame must not have passed, whatever came before it: its own policy forbids it, and it
 * answers nothing that is allowed. Of a fragment's datagram the first one must have passed.
 */
export class Objections {
  readonly #objects: readonly KubernetesObject[];
  readonly #pod: ReadonlySet<string>;
  readonly #datagrams = new Set<string>();
  readonly #verdicts = new Map<string, boolean>();

  constructor(objects: readonly KubernetesObject[], pod: readonly Address[]) {
    this.#objects = objects;
    this.#pod = new Set(pod.map(addressKey));
  }

  /** To be asked of every frame that passes, in order; undefined when nothing speaks against it. */
  against(frame: Uint8Array, fromPod: boolean): string | undefined {
    let packet: Packet;
    try {
      packet = readPacket(frame);
      return packet.kind === "arp" ? this.#arp(packet, fromPod) : this.#ip(packet, fromPod);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return `it cannot be read: ${error.message}`;
    }
  }

  #isPod(address: Address): boolean {
    return this.#pod.has(addressKey(address));
  }

  #arp(packet: Packet, fromPod: boolean): string | undefined {
    const probe = packet.source.bytes.every((byte) => byte === 0);
    if (fromPod) {
      const claimed = probe ? packet.destination : packet.source;
      return this.#isPod(claimed) ? undefined : "the pod claims an address that is not its own";
    }
    return this.#isPod(packet.source) ? "the network claims the pod's address" : undefined;
  }

  #ip(packet: Packet, fromPod: boolean): string | undefined {
    if (packet.hopLimit === 0) return "its way has ended";
    if (isLocalMessage(packet)) return undefined;
    if (this.#isPod(packet.source) !== fromPod) return "its source is on the other side";
    if (!fromPod && !this.#isPod(packet.destination)) return "it is not for the pod";
    const { fragment } = packet;
    const datagram = `${addressKey(packet.source)} ${addressKey(packet.destination)} ${
      packet.source.family === 4 ? packet.protocol : ""
    } ${fragment?.id}`;
    if (fragment !== undefined && fragment.offset > 0) {
      return this.#datagrams.has(datagram) ? undefined : "a fragment whose first one did not pass";
    }
    if (fragment !== undefined) this.#datagrams.add(datagram);
    return this.#isAllowed(packet) ? undefined : "no rule allows it, or what it would answer";
  }

  #isAllowed(packet: Packet): boolean {
    const { source, destination, protocol, body } = packet;
    const icmp = source.family === 4 ? 1 : 58;
    const type = body[0] ?? 0;
    const isError =
      protocol === icmp &&
      (source.family === 4 ? [3, 11, 12].includes(type) : type >= 1 && type <= 4);
    if (isError) {
      const quoted = readQuoted(body.subarray(8), source.family);
      const toItsSender = addressKey(quoted.source) === addressKey(destination);
      return toItsSender && (this.#allows(quoted, false) || this.#allows(quoted, true));
    }
    return this.#allows(packet, false) || this.#allows(packet, true);
  }

  /** Whether a packet, or the one that it answers, may be a connection's first. */
  #allows(packet: Packet, answers: boolean): boolean {
    const ports = portsOf(packet);
    const [source, destination] = answers
      ? [packet.destination, packet.source]
      : [packet.source, packet.destination];
    const port = ports === undefined ? null : answers ? ports.source : ports.destination;
    const key = `${addressKey(source)} ${addressKey(destination)} ${packet.protocol} ${port}`;
    const known = this.#verdicts.get(key);
    if (known !== undefined) return known;
    const probe: Probe = { source, destination, protocol: packet.protocol, port };
    const allowed = judge(this.#objects, probe).length === 0;
    this.#verdicts.set(key, allowed);
    return allowed;
  }
}

/** Bytes of a neighbour message with one option, a router advertisement, and a listener message. */
const neighbourBytesMax = 24 + 8;
const advertisementBytesMax = 512;
const listenerBytesMax = 8 + 32 * 20 + 16 * 16;

/** Neighbour discovery and listener messages, which stay on their link and are no policy matter. */
function isLocalMessage({ protocol, source, destination, body, hopLimit }: Packet): boolean {
  if (protocol !== 58 || source.family !== 6) return false;
  const type = body[0] ?? 0;
  if (type >= 133 && type <= 136) {
    const most = type === 134 ? advertisementBytesMax : neighbourBytesMax;
    return hopLimit === 255 && body.length <= most;
  }
  const listener = (type >= 130 && type <= 132) || type === 143;
  return listener && destination.bytes[0] === 0xff && body.length <= listenerBytesMax;
}
