import { lineBytesMax, type PassedListener } from "./hubble-process.js";

/** What answers Hubble's clients, as one process leaves it to the next: its process, and the socket that listens. */
export interface HubbleHandoff {
  readonly at: string;
  readonly passed: PassedListener;
  readonly listener: number;
}

/** A handoff as a message: a text, and the descriptors beside it. Shape: `hubble {…}`. */
export interface HubbleMessage {
  readonly text: string;
  readonly descriptors: readonly number[];
}

const head = "hubble ";

export function writeHubbleHandoff({ at, passed, listener }: HubbleHandoff): HubbleMessage {
  const { channel, ...about } = passed;
  return { text: head + JSON.stringify({ at, ...about }), descriptors: [listener, channel] };
}

/** Reads such a message; undefined when it is another one. */
export function readHubbleHandoff({ text, descriptors }: HubbleMessage): HubbleHandoff | undefined {
  const [listener, channel, ...more] = descriptors;
  if (
    !text.startsWith(head) ||
    listener === undefined ||
    channel === undefined ||
    more.length > 0
  ) {
    return undefined;
  }
  let about: Partial<Record<string, unknown>>;
  try {
    about = JSON.parse(text.slice(head.length)) ?? {};
  } catch {
    return undefined;
  }
  const { at, pid, began, isFollowing, rest, seen } = about;
  if (typeof at !== "string" || !isCount(pid) || typeof began !== "string") return undefined;
  if (typeof isFollowing !== "boolean" || !isCount(seen)) return undefined;
  if (typeof rest !== "string" || rest.length > lineBytesMax) return undefined;
  return { at, passed: { pid, began, channel, isFollowing, rest, seen }, listener };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
