// Control characters, and those that reorder what is read after them.
const unsafe = /[\p{Cc}\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Writes control characters out as escapes, so that a name or a packet cannot drive the terminal.
 *
 * Shape: one line; `\n` becomes the two characters that a programmer would type.
 */
export function sanitize(text: string): string {
  return text.replace(unsafe, (character) => {
    const code = character.codePointAt(0) ?? 0;
    const short = { 9: "\\t", 10: "\\n", 13: "\\r" }[code];
    return short ?? (code < 256 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`);
  });
}

/** Writes JSON on one line, in which a terminal finds no such character either. It means the same. */
export function sanitizedJson(value: unknown): string {
  return JSON.stringify(value).replace(
    unsafe,
    (character) => `\\u${hex(character.codePointAt(0) ?? 0, 4)}`,
  );
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}
