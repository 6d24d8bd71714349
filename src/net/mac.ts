/**
 * Reads a MAC address into its canonical text: six bytes of two lower case digits, with colons.
 *
 * Errors: undefined when it is none.
 */
export function canonicalMac(text: string): string | undefined {
  if (!/^[0-9a-f]{1,2}([:-][0-9a-f]{1,2}){5}$/i.test(text)) return undefined;
  return text
    .toLowerCase()
    .split(/[:-]/)
    .map((byte) => byte.padStart(2, "0"))
    .join(":");
}
