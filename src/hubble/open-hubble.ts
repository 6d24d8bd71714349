import { chmodSync, statSync, unlinkSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { listenOn, readListen } from "../control/open-control.js";
import { RefusalError } from "../control/refusal.js";
import { isAnswered } from "../control/server.js";
import { listenUnix } from "../dataplane/server-sockets.js";
import { systemReason } from "../diagnostics/system-reason.js";
import type { Tell } from "../diagnostics/tell.js";
import type { FlowLog } from "../observe/flow-log.js";
import { startHubbleProcess } from "./hubble-process.js";

export interface OpenHubble {
  /** As Hubble's clients take it: `127.0.0.1:4245`, or `unix:///path`. */
  readonly at: string;
  close(): Promise<void>;
}

export interface HubbleSubject {
  readonly flows: FlowLog;
  readonly version: string;
  readonly tell: Tell;
  /** The program of the listener; tests replace it. */
  readonly program?: string;
}

/** How long a predecessor's listener may still be there. */
const answeredMs = 3_000;
const unixPrefix = /^unix:(?:\/\/)?(?=\/)/;

/**
 * Answers Hubble's clients at HOST:PORT, or at `unix:/path`.
 *
 * A dead process's socket is replaced; a socket that answers is not. Its group may connect too.
 *
 * Errors: RefusalError.
 */
export async function openHubble(listen: string, subject: HubbleSubject): Promise<OpenHubble> {
  if (!unixPrefix.test(listen)) {
    const { host, port } = readListen(listen, "--hubble-listen");
    const { fd, at } = await listenOn(host, port);
    const served = startHubbleProcess({ listener: fd, ...subject });
    return { at, close: () => served.close() };
  }
  const path = listen.replace(unixPrefix, "");
  const address = `unix://${path}`;
  try {
    await removeDead(path);
    const listener = listenUnix(path);
    chmodSync(path, 0o660);
    const { ino } = statSync(path);
    const served = startHubbleProcess({ listener, address, ...subject });
    return {
      at: address,
      async close() {
        await served.close();
        if (statSync(path, { throwIfNoEntry: false })?.ino === ino) unlinkSync(path);
      },
    };
  } catch (error) {
    throw new RefusalError("environment", `cannot listen on ${path}: ${systemReason(error)}`);
  }
}

/** Removes the socket of a process that is gone. Errors: RefusalError when one answers there for long. */
async function removeDead(path: string): Promise<void> {
  if (!statSync(path, { throwIfNoEntry: false })?.isSocket()) return;
  // The listener of a process that was killed ends a moment after it.
  const untilMs = performance.now() + answeredMs;
  while (await isAnswered(path)) {
    if (performance.now() > untilMs) {
      throw new RefusalError("environment", "another process answers there");
    }
    await pause(50);
  }
  unlinkSync(path);
}
