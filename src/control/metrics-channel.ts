import type { PlainAnswer } from "./server.js";

/** What the process that enforces sends to its metrics listener: an answer to a route that was asked for. */
export interface ChannelAnswer extends PlainAnswer {
  readonly route: string;
}

/** Shape: one line. */
export function writeAnswer(route: string, { status, text, type }: PlainAnswer): string {
  return `${JSON.stringify({ route, status, text, type } satisfies ChannelAnswer)}\n`;
}

/** Reads a line that `writeAnswer` made; nobody else writes there. */
export function readAnswer(line: string): ChannelAnswer {
  return JSON.parse(line) as ChannelAnswer;
}
