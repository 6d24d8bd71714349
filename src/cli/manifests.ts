import type { Diagnostic } from "../diagnostics/diagnostic.js";
import { renderDiagnostic } from "../diagnostics/render.js";
import { systemReason } from "../diagnostics/system-reason.js";
import type { ProbeSpec } from "../lab/protocol.js";
import { decodeText } from "../manifest/decode.js";
import { limits } from "../manifest/limits.js";
import { readToEnd } from "../manifest/regular-file.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { errorOutput } from "./journal.js";
import { styles } from "./output.js";

/** Reads all of standard input, once; a later reload gets the same text again. */
export async function readStdin(io: Io): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of io.stdin) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > limits.fileBytes) {
      const message = `<stdin>: got more than ${limits.fileBytes} bytes, want fewer`;
      throw new CommandError(exitCodes.input, message);
    }
    chunks.push(bytes);
  }
  const text = decodeText(Buffer.concat(chunks));
  if (typeof text === "string") return text;
  const message = `<stdin>:${text.line}:${text.column}: got bytes that are neither UTF-8 nor marked as UTF-16, want text`;
  throw new CommandError(exitCodes.input, message);
}

/**
 * Prints findings on standard error, each with the line it points at.
 *
 * Shape: infos are not printed: a user who starts something did not ask for them.
 */
export function showDiagnostics(diagnostics: readonly Diagnostic[], io: Io): void {
  const { red, yellow, cyan, bold, dim } = styles(io, "stderr");
  const styleOf = { error: red, warning: yellow, info: cyan, place: bold, quiet: dim };
  for (const each of diagnostics) {
    if (each.severity === "info") continue;
    const text = renderDiagnostic(each, { paint: (part, as) => styleOf[as](part) });
    errorOutput(io, each.severity).write(`${text}\n`);
  }
}

/** Reads a probe file, as `sluice query` takes it. Errors: CommandError (input). */
export async function readProbeFile(path: string, io: Io): Promise<readonly ProbeSpec[]> {
  const refuse = (reason: string) => new CommandError(exitCodes.input, `${path}: ${reason}`);
  let probes: unknown;
  try {
    const text =
      path === "-" ? await readStdin(io) : readToEnd(path, limits.fileBytes).toString("utf8");
    probes = (JSON.parse(text) as { readonly probes?: unknown }).probes;
  } catch (error) {
    throw refuse(systemReason(error));
  }
  if (!Array.isArray(probes)) throw refuse('want {"probes":[…]}');
  probes.forEach((each: Record<string, unknown> | null, index) => {
    const wrong = ["src", "dst", "protocol"].find((key) => typeof each?.[key] !== "string");
    if (wrong !== undefined) {
      throw refuse(`probes[${index}].${wrong}: a probe of a lab is from a pod to a pod`);
    }
  });
  return probes as ProbeSpec[];
}
