import { DENIED_BY_EGRESS, DENIED_BY_INGRESS, FlowTuple } from "../layout/layout.gen.js";
import type { Address } from "../net/address.js";
import { addon, type NativeTable } from "./addon.js";

/** Bits of a verdict; 0 is allowed. */
export const deniedByEgress = DENIED_BY_EGRESS;
export const deniedByIngress = DENIED_BY_INGRESS;

const answersBytes = 16_384;

/**
 * A compiled table, checked and opened by the addon, which judges the first packets of flows.
 *
 * Owner: the bytes are copied; the caller may reuse the blob.
 */
export class Table {
  readonly #native: NativeTable;
  #answers = new ArrayBuffer(0);
  #answersUsed = 0;

  private constructor(native: NativeTable) {
    this.#native = native;
  }

  /** Opens a blob. Errors: throws with `code` table-too-short, table-magic, table-bounds, … */
  static open(blob: Uint8Array): Table {
    const native = addon();
    return new Table(new native.NativeTable(blob));
  }

  /**
   * Judges every tuple in one native call.
   *
   * Shape: one byte per tuple, in order: `deniedByEgress` | `deniedByIngress`, 0 when allowed.
   * Owner: the caller. It is not written again, but other answers may share its `buffer`.
   */
  classify(batch: TupleBatch): Uint8Array {
    const verdicts = this.#answer(batch.count);
    this.#native.classify(batch.bytes, verdicts);
    return verdicts;
  }

  /** Judges every tuple as `classify` does, as if audited policies were enforced too. */
  audit(batch: TupleBatch): Uint8Array {
    const verdicts = this.#answer(batch.count);
    this.#native.audit(batch.bytes, verdicts);
    return verdicts;
  }

  /**
   * Reserves bytes for an answer. Small answers share one buffer, since a buffer each would cost more.
   */
  #answer(bytes: number): Uint8Array {
    if (bytes > answersBytes / 4) return new Uint8Array(bytes);
    if (this.#answersUsed + bytes > this.#answers.byteLength) {
      this.#answers = new ArrayBuffer(answersBytes);
      this.#answersUsed = 0;
    }
    const answer = new Uint8Array(this.#answers, this.#answersUsed, bytes);
    this.#answersUsed += bytes;
    return answer;
  }

  /** Finds the leaf numbers of each tuple's addresses: two per tuple, source first. */
  locate(batch: TupleBatch): Uint32Array {
    const leaves = new Uint32Array(batch.count * 2);
    this.#native.locate(batch.bytes, leaves);
    return leaves;
  }
}

/** FlowTuple records for `Table.classify`, in a growing, reusable buffer. */
export class TupleBatch {
  #bytes: Uint8Array;
  #count = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(Math.max(capacity, 1) * FlowTuple.bytes);
  }

  get count(): number {
    return this.#count;
  }

  /** The records pushed so far. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#count * FlowTuple.bytes);
  }

  clear(): void {
    this.#count = 0;
  }

  /**
   * Adds the first packet of a flow.
   *
   * Shape:  both addresses are of one family; `protocol` is the IP protocol number; `port` is the
   *         destination port, 0 where the protocol has none.
   * Errors: throws a RangeError when the families differ or a number is out of range.
   */
  push(source: Address, destination: Address, protocol: number, port: number): void {
    if (source.family !== destination.family) {
      throw new RangeError("source and destination are of different families");
    }
    if (!(protocol >= 0 && protocol <= 255) || !(port >= 0 && port <= 65_535)) {
      throw new RangeError(`protocol ${protocol} or port ${port} is out of range`);
    }
    const at = this.#count * FlowTuple.bytes;
    if (at + FlowTuple.bytes > this.#bytes.length) {
      const larger = new Uint8Array(this.#bytes.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    const bytes = this.#bytes;
    bytes.fill(0, at, at + FlowTuple.bytes);
    bytes.set(source.bytes, at + FlowTuple.source);
    bytes.set(destination.bytes, at + FlowTuple.destination);
    bytes[at + FlowTuple.port] = port & 0xff;
    bytes[at + FlowTuple.port + 1] = port >>> 8;
    bytes[at + FlowTuple.protocol] = protocol;
    bytes[at + FlowTuple.family] = source.family;
    this.#count++;
  }
}
