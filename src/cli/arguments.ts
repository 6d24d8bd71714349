import { CommandError, exitCodes } from "./io.js";

/** Reads `NAMESPACE/NAME`. Errors: CommandError (usage). */
export function readPodRef(
  text: string,
  flag: string,
): { readonly namespace: string; readonly name: string } {
  const [namespace, name, ...rest] = text.split("/");
  if (!namespace || !name || rest.length > 0) {
    throw new CommandError(exitCodes.usage, `${flag}: got "${text}", want NAMESPACE/NAME`);
  }
  return { namespace, name };
}

/** Reads a MAC address into its canonical text. Errors: CommandError (usage). */
export function readMac(text: string, flag: string): string {
  if (!/^[0-9a-f]{1,2}([:-][0-9a-f]{1,2}){5}$/i.test(text)) {
    throw new CommandError(
      exitCodes.usage,
      `${flag}: got "${text}", want six bytes such as 02:00:00:00:00:0a`,
    );
  }
  return text
    .toLowerCase()
    .split(/[:-]/)
    .map((byte) => byte.padStart(2, "0"))
    .join(":");
}

/** The six bytes of a MAC address in canonical text. */
export function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16));
}
