import { TABLE_ALIGNMENT_BYTES } from "../layout/layout.gen.js";

/** Lines of 64 bytes of a table that are other ones than before. */
export interface ChangedLines {
  /** Ascending, counted from the start of the blob. */
  readonly numbers: Uint32Array;
  /** The lines, one behind the other. */
  readonly bytes: Uint8Array;
}

/** What became of the bytes of a table: nothing, some lines, or all are other ones. */
export type BlobUpdate = "same" | { readonly lines: ChangedLines } | { readonly whole: Uint8Array };

/** More changed lines than this share of a table are not worth a list. */
const LINES_SHARE = 1 / 8;

/**
 * The bytes of a compiled table, which later tables may share as far as they are equal.
 *
 * Owner: owns its bytes. They pass to the table that `next` makes from it; this one then makes a copy if it is asked
 *        for its own.
 */
export class TableBlob {
  readonly byteLength: number;
  /** Undefined where a later table has them. */
  #bytes: Uint8Array | undefined;
  /** The table that was made from this one, and the lines that this one has in their place. */
  #later: { readonly blob: TableBlob; readonly own: ChangedLines } | undefined;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.byteLength = bytes.byteLength;
  }

  /** The table after an update; `before` is the one that the update is of. */
  static next(before: TableBlob | undefined, update: BlobUpdate): TableBlob {
    if (update !== "same" && "whole" in update) return new TableBlob(update.whole);
    if (before === undefined) throw new Error("got a change of no table");
    return update === "same" ? before : before.#with(update.lines);
  }

  /** Its bytes, which a later table may take over: copy what is to be kept. */
  get bytes(): Uint8Array {
    this.#bytes ??= this.#restored();
    return this.#bytes;
  }

  /** A copy of its bytes. */
  copy(): Uint8Array {
    return this.#bytes?.slice() ?? this.#restored();
  }

  /** The lines in which this table differs from an earlier one; undefined where all may. */
  linesSince(earlier: TableBlob): ChangedLines | undefined {
    const numbers = new Set<number>();
    for (let at = earlier; at !== this; ) {
      if (at.#later === undefined) return undefined;
      for (const number of at.#later.own.numbers) numbers.add(number);
      if (numbers.size * TABLE_ALIGNMENT_BYTES > this.byteLength * LINES_SHARE) return undefined;
      at = at.#later.blob;
    }
    return linesOf(this.bytes, Uint32Array.from(numbers).sort());
  }

  #with(lines: ChangedLines): TableBlob {
    const bytes = this.bytes;
    const own = linesOf(bytes, lines.numbers);
    writeLines(bytes, lines);
    const blob = new TableBlob(bytes);
    this.#later = { blob, own };
    this.#bytes = undefined;
    return blob;
  }

  #restored(): Uint8Array {
    const steps: ChangedLines[] = [];
    let at: TableBlob = this;
    while (at.#bytes === undefined) {
      steps.push(at.#later!.own);
      at = at.#later!.blob;
    }
    const bytes = at.#bytes.slice();
    for (const lines of steps.reverse()) writeLines(bytes, lines);
    return bytes;
  }
}

/** Copies lines out of a table. */
export function linesOf(blob: Uint8Array, numbers: Uint32Array): ChangedLines {
  const bytes = new Uint8Array(numbers.length * TABLE_ALIGNMENT_BYTES);
  numbers.forEach((number, index) => {
    const at = number * TABLE_ALIGNMENT_BYTES;
    bytes.set(blob.subarray(at, at + TABLE_ALIGNMENT_BYTES), index * TABLE_ALIGNMENT_BYTES);
  });
  return { numbers, bytes };
}

function writeLines(blob: Uint8Array, { numbers, bytes }: ChangedLines): void {
  numbers.forEach((number, index) => {
    const at = index * TABLE_ALIGNMENT_BYTES;
    blob.set(bytes.subarray(at, at + TABLE_ALIGNMENT_BYTES), number * TABLE_ALIGNMENT_BYTES);
  });
}
