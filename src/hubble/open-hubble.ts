import { chmodSync, statSync, unlinkSync } from "node:fs";
import { listenOn, readListen } from "../control/open-control.js";
import { RefusalError } from "../control/refusal.js";
import { removeDead } from "../control/server.js";
import { listenUnix } from "../dataplane/server-sockets.js";
import { systemReason } from "../diagnostics/system-reason.js";
import type { Tell } from "../diagnostics/tell.js";
import type { FlowLog } from "../observe/flow-log.js";
import type { HubbleCounts } from "./counts.js";
import type { HubbleHandoff } from "./handoff.js";
import { HubbleProcess } from "./hubble-process.js";

export interface OpenHubble {
  /** As Hubble's clients take it: `127.0.0.1:4245`, or `unix:///path`. */
  readonly at: string;
  /** A second old at most. */
  readonly counts: HubbleCounts;
  close(): Promise<void>;
  /**
   * Ends for this process, and leaves what listens, with all calls, to a successor: resolves with the step that passes
   * it on, once its process has all flows until now. Without that step, or when `pass` throws, it ends.
   *
   * Undefined when there is nothing to leave; it is closed then.
   */
  handOn(): Promise<PassOn | undefined>;
}

/** Has a handoff passed on: its descriptors are closed when `pass` returns. */
export type PassOn = (pass: (handoff: HubbleHandoff) => void) => void;

export interface HubbleSubject {
  readonly flows: FlowLog;
  readonly version: string;
  readonly tell: Tell;
  /** The program of the listener; tests replace it. */
  readonly program?: string;
  /** What a predecessor has left, which listened at the same place. Owner: this takes it. */
  readonly handoff?: HubbleHandoff;
}

const unixPrefix = /^unix:(?:\/\/)?(?=\/)/;

/**
 * Answers Hubble's clients at HOST:PORT, or at `unix:/path`.
 *
 * A dead process's socket is replaced; a socket that answers is not. Its group may connect too.
 *
 * Errors: RefusalError.
 */
export async function openHubble(
  listen: string,
  { handoff, ...subject }: HubbleSubject,
): Promise<OpenHubble> {
  const passed = handoff === undefined ? {} : { passed: handoff.passed };
  if (!unixPrefix.test(listen)) {
    const { host, port } = readListen(listen, "--hubble-listen");
    const { listener, at } = handoff ?? (await listenOn(host, port));
    return opened(at, new HubbleProcess({ listener, ...passed, ...subject }));
  }
  const path = listen.replace(unixPrefix, "");
  const address = `unix://${path}`;
  try {
    const listener = handoff?.listener ?? (await listenAtPath(path));
    const ino = inodeOf(path);
    const served = new HubbleProcess({ listener, address, ...passed, ...subject });
    return opened(address, served, () => {
      if (ino !== undefined && inodeOf(path) === ino) unlinkSync(path);
    });
  } catch (error) {
    throw new RefusalError("environment", `cannot listen on ${path}: ${systemReason(error)}`);
  }
}

function opened(at: string, served: HubbleProcess, closed: () => void = () => {}): OpenHubble {
  const close = async () => {
    await served.close();
    closed();
  };
  const handOn = async (): Promise<PassOn | undefined> => {
    const isReady = await served.finish();
    if (!isReady) {
      await close();
      return undefined;
    }
    return (pass) => {
      const isPassed = served.passOn((passed, listener) => pass({ at, passed, listener }));
      // It has died in between, and has no calls.
      if (!isPassed) void close();
    };
  };
  return {
    at,
    get counts() {
      return served.counts;
    },
    close,
    handOn,
  };
}

async function listenAtPath(path: string): Promise<number> {
  if (!(await removeDead(path))) {
    throw new RefusalError("environment", "another process answers there");
  }
  const listener = listenUnix(path);
  chmodSync(path, 0o660);
  return listener;
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}
