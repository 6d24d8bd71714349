/** Limits of a server's document. */
export interface CutBounds {
  /** Bytes of one value. */
  readonly bytesMax: number;
  /**
   * Commas and opening brackets of one value: the cost of parsing grows with them, not with its bytes.
   */
  readonly partsMax: number;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const [OPEN_LIST, CLOSE_LIST, OPEN_MAP, CLOSE_MAP] = [0x5b, 0x5d, 0x7b, 0x7d];
const itemsKey = Buffer.from("items");

/** The depth of a list's items: within a map and a list. */
const ITEMS_DEPTH = 2;

/**
 * Splits a stream of bytes into its JSON values, so that a long answer is never held in memory or parsed as a
 * whole.
 *
 * `documents`: consecutive maps, as a watch sends them. `items`: one map whose field `items` is a list. Each
 * of its items is a value; the rest is the envelope, with an empty list in place of the items.
 *
 * It only counts brackets and skips strings; parsing a value shows whether it is valid JSON.
 *
 * Cost: one pass over the bytes.
 * Errors: Error when a value exceeds the bounds, or the bytes cannot be JSON values.
 */
export class JsonCutter {
  readonly #mode: "documents" | "items";
  readonly #bounds: CutBounds;
  #depth = 0;
  #isString = false;
  #isEscaped = false;
  /** Whether the position is before, within or after the items. */
  #items: "before" | "within" | "after" = "before";
  /** How many bytes of a string at depth 1 match `items`; -1 when it differs. */
  #matched = -1;
  #isItemsKey = false;
  /** The parts so far of the incomplete value, and of the envelope. */
  #value: Buffer[] = [];
  #valueBytes = 0;
  #parts = 0;
  #isInValue = false;
  #envelope: Buffer[] = [];
  #envelopeBytes = 0;

  constructor(mode: "documents" | "items", bounds: CutBounds) {
    this.#mode = mode;
    this.#bounds = bounds;
  }

  /** Bytes held of incomplete values. */
  get heldBytes(): number {
    return this.#valueBytes + this.#envelopeBytes;
  }

  /** Takes the next bytes, and returns the values that they complete. */
  *push(piece: Buffer): Generator<Buffer> {
    const isItems = this.#mode === "items";
    /** Start of the bytes that have not been stored yet. */
    let from = 0;
    for (let at = 0; at < piece.length; at++) {
      const byte = piece[at]!;
      if (this.#isString) {
        at = this.#skipString(piece, at);
        continue;
      }
      if (byte <= 0x20) continue;
      if (this.#isBetweenItems) {
        if (byte === COMMA) {
          if (this.#isInValue) yield this.#takeValue(piece, from, at);
          from = at + 1;
          continue;
        }
        if (byte === CLOSE_LIST) {
          if (this.#isInValue) yield this.#takeValue(piece, from, at);
          from = at;
          this.#items = "after";
          this.#depth--;
          continue;
        }
        if (!this.#isInValue) {
          this.#isInValue = true;
          from = at;
        }
      } else if (!isItems && this.#depth === 0) {
        if (byte !== OPEN_MAP) throw new Error(`got ${shown(piece.subarray(at))}, want a JSON map`);
        this.#isInValue = true;
        from = at;
      }

      if (byte === QUOTE) {
        this.#isString = true;
        this.#matched = 0;
      } else if (byte === OPEN_MAP || byte === OPEN_LIST) {
        this.#count();
        this.#depth++;
        if (isItems && byte === OPEN_LIST && this.#depth === ITEMS_DEPTH && this.#isItemsKey) {
          if (this.#items !== "before") throw new Error("got items twice");
          this.#putAway(piece, from, at + 1);
          from = at + 1;
          this.#items = "within";
        }
      } else if (byte === CLOSE_MAP || byte === CLOSE_LIST) {
        if (--this.#depth < 0) throw new Error("got a bracket that closes nothing");
        if (!isItems && this.#depth === 0) {
          yield this.#takeValue(piece, from, at + 1);
          from = at + 1;
        }
      } else if (byte === COMMA) {
        this.#count();
        if (this.#depth === 1) this.#isItemsKey = false;
      } else if (byte === COLON && this.#depth === 1) {
        this.#isItemsKey = this.#matched === itemsKey.length;
      }
    }
    if (this.#isInValue || isItems) this.#putAway(piece, from, piece.length);
  }

  /** Returns the envelope. Errors: Error when a value is incomplete. */
  end(): Buffer {
    if (this.#isInValue || this.#items === "within")
      throw new Error("got a document without its end");
    return Buffer.concat(this.#envelope);
  }

  get #isBetweenItems(): boolean {
    return this.#items === "within" && this.#depth === ITEMS_DEPTH;
  }

  /** Skips a string; returns the position of its end, or of the last byte. */
  #skipString(piece: Buffer, start: number): number {
    let isEscaped = this.#isEscaped;
    let matched = this.#matched;
    let at = start;
    for (; at < piece.length; at++) {
      const byte = piece[at]!;
      if (isEscaped) isEscaped = false;
      else if (byte === BACKSLASH) isEscaped = true;
      else if (byte === QUOTE) {
        this.#isString = false;
        break;
      }
      if (matched >= 0) matched = byte === itemsKey[matched] ? matched + 1 : -1;
    }
    this.#isEscaped = isEscaped;
    this.#matched = matched;
    return at;
  }

  #count(): void {
    if (++this.#parts > this.#bounds.partsMax) {
      throw new Error(`got a value of more than ${this.#bounds.partsMax} parts`);
    }
  }

  #takeValue(piece: Buffer, from: number, to: number): Buffer {
    this.#putAway(piece, from, to);
    const [only] = this.#value;
    const value = this.#value.length === 1 ? only! : Buffer.concat(this.#value);
    this.#value = [];
    this.#valueBytes = 0;
    this.#parts = 0;
    this.#isInValue = false;
    return value;
  }

  #putAway(piece: Buffer, from: number, to: number): void {
    if (to <= from) return;
    const bytes = piece.subarray(from, to);
    if (this.#isInValue) {
      this.#value.push(bytes);
      this.#valueBytes += bytes.length;
    } else if (!this.#isBetweenItems) {
      this.#envelope.push(bytes);
      this.#envelopeBytes += bytes.length;
    }
    const { bytesMax } = this.#bounds;
    if (this.#valueBytes > bytesMax || this.#envelopeBytes > bytesMax) {
      throw new Error(`got a value of more than ${bytesMax} bytes`);
    }
  }
}

function shown(bytes: Buffer): string {
  return JSON.stringify(bytes.subarray(0, 20).toString("latin1"));
}
