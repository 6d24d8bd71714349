import { Readable } from "node:stream";
import type { Io } from "../../src/cli/io.js";

/** An Io whose output can be read back. */
export interface FakeIo extends Io {
  readonly out: () => string;
  readonly err: () => string;
}

/** How manifests are read where a test says nothing of it. */
export const reading = { cluster: false, render: "never", strict: false, verbose: false } as const;

export interface FakeIoOptions {
  readonly env?: Record<string, string>;
  readonly stdin?: string;
  /** Both streams are terminals. */
  readonly terminal?: boolean;
}

export function fakeIo({ env = {}, stdin = "", terminal = false }: FakeIoOptions = {}): FakeIo {
  const out: string[] = [];
  const err: string[] = [];
  const collect = (chunks: string[]) => ({
    write(chunk: string | Uint8Array): boolean {
      chunks.push(typeof chunk === "string" ? chunk : Buffer.from(chunk).toString());
      return true;
    },
  });
  return {
    stdout: collect(out),
    stderr: collect(err),
    stdin: Readable.from([stdin]),
    env,
    isTerminal: { stdin: terminal, stdout: terminal, stderr: terminal },
    out: () => out.join(""),
    err: () => err.join(""),
  };
}
