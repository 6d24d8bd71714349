/** Bytes that are no text, and where that shows. */
export interface NotText {
  /** 1-based. */
  readonly line: number;
  /** 1-based, in UTF-16 units. */
  readonly column: number;
}

/**
 * Decodes the bytes of a text: UTF-8, or UTF-16 where a byte order mark says so, as editors on Windows write it.
 *
 * Shape: without the byte order mark.
 */
export function decodeText(bytes: Uint8Array): string | NotText {
  const [first, second] = bytes;
  let encoding = "utf-8";
  if (first === 0xff && second === 0xfe) encoding = "utf-16le";
  if (first === 0xfe && second === 0xff) encoding = "utf-16be";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    const before = new TextDecoder(encoding).decode(bytes).split("\ufffd", 1)[0] ?? "";
    return { line: before.split("\n").length, column: before.length - before.lastIndexOf("\n") };
  }
}
