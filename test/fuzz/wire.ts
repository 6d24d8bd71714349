import type { Socket } from "node:net";
import type { Random } from "../property/random.js";
import { mutate } from "./mutate.js";

/** What a hostile peer does next on its connection. */
export type WireStep =
  | { readonly send: Uint8Array }
  | { readonly waitMs: number }
  /** No more is sent from here; what comes back is still read. */
  | { readonly do: "end" }
  /** The connection is reset. */
  | { readonly do: "reset" };

/** Cuts bytes into pieces, with waits between some of them; `waitMsMax` bounds each. */
export function scattered(random: Random, bytes: Uint8Array, waitMsMax: number): WireStep[] {
  if (random.oneIn(2)) return [{ send: bytes }];
  const steps: WireStep[] = [];
  // One byte at a time is as hostile as it is slow: not for the whole of a long text.
  const pieceMax = random.pick([1, 7, 100, 5_000, 60_000]);
  for (let at = 0; at < bytes.length; ) {
    const length = Math.max(1 + random.below(pieceMax), Math.ceil(bytes.length / 200));
    steps.push({ send: bytes.subarray(at, at + length) });
    if (random.oneIn(4)) steps.push({ waitMs: random.below(waitMsMax + 1) });
    at += length;
  }
  return steps;
}

/** How a hostile peer leaves: at once, in the middle, by halves, or never by itself. */
export function leaving(random: Random, steps: readonly WireStep[]): WireStep[] {
  const kept = random.oneIn(4) ? steps.slice(0, random.below(steps.length + 1)) : [...steps];
  switch (random.below(4)) {
    case 0:
      return [...kept, { do: "end" }];
    case 1:
      return [...kept, { do: "reset" }];
    default:
      return kept;
  }
}

/** Makes text from one of the seeds, with hostile parts put in and bytes changed. */
export function hostileText(random: Random, seeds: readonly string[]): Uint8Array {
  let text = random.pick(seeds);
  for (let change = random.below(3); change > 0; change--) {
    const at = random.below(text.length + 1);
    text = text.slice(0, at) + hostilePart(random) + text.slice(at + random.below(4));
  }
  const bytes = Buffer.from(text, "latin1");
  return random.oneIn(3) ? mutate(random, [bytes]) : bytes;
}

/** Text on which readers of HTTP and of JSON go wrong. */
function hostilePart(random: Random): string {
  const long = random.pick([100, 9_000, 70_000]);
  return random.pick([
    "\r\n",
    "\r\n\r\n",
    "\n\n",
    "\r",
    "\0",
    " ",
    "\t",
    ":",
    "//",
    "/../",
    "http://[::1",
    "?",
    "#",
    "%",
    "%zz",
    "\xff\xfe",
    "[",
    "{",
    '"',
    "\\u0000",
    "1e999",
    '{"__proto__":1}',
    "Content-Length: 99999999999999999999\r\n",
    "Content-Length: -1\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked, gzip\r\n",
    "Expect: 100-continue\r\n",
    "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    " folded: line\r\n",
    "FFFFFFFFFFFFFFFF\r\n",
    "5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    `X-Long: ${"a".repeat(long)}\r\n`,
    "X: y\r\n".repeat(random.pick([3, 300, 3_000])),
    "[".repeat(long),
    "a".repeat(long),
  ]);
}

/**
 * Takes the steps on a connection, one after the other, and waits for what the peer does not take.
 *
 * It returns when the steps are done or the connection is closed, whichever comes first. The connection's
 * errors are the caller's.
 */
export async function play(socket: Socket, steps: readonly WireStep[]): Promise<void> {
  for (const step of steps) {
    if (socket.destroyed) return;
    if ("waitMs" in step) await orClosed(socket, (done) => setTimeout(done, step.waitMs));
    else if ("send" in step) {
      if (socket.writableEnded) continue;
      if (!socket.write(step.send)) await orClosed(socket, (done) => socket.once("drain", done));
    } else if (step.do === "end") socket.end();
    // Only TCP has resets.
    else if (socket.remoteFamily === undefined) socket.destroy();
    else socket.resetAndDestroy();
  }
}

function orClosed(socket: Socket, wait: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off("close", done);
      socket.off("drain", done);
      resolve();
    };
    socket.once("close", done);
    wait(done);
  });
}
