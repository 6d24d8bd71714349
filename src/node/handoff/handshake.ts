import { closeSync, rmSync } from "node:fs";
import { ControlClient } from "../../control/client.js";
import type { TakeOverAnswer } from "../../control/control-routes.js";
import { RefusalError } from "../../control/refusal.js";
import {
  acceptProcess,
  callProcess,
  listenForProcess,
  passDescriptors,
  passedDescriptorsMax,
  receiveDescriptors,
} from "../../dataplane/descriptor-passing.js";
import type { Tell } from "../../diagnostics/tell.js";
import { type HubbleHandoff, type HubbleMessage, readHubbleHandoff } from "../../hubble/handoff.js";
import type { PackedHandoff } from "./handoff-state.js";

// How one running process takes the place of another. Only one of them moves packets at any time:
//
//   successor                    predecessor
//   POST /take-over ───────────▶ listens for one process of its own user, or root's
//   connects ──────────────────▶ stops its workers: frames wait in their links
//            ◀────── "estate" and descriptors
//   adopts, loads, swaps
//            ───────── "taken" ▶
//            ◀───────── "yours"  never moves another packet
//   moves packets
//            ◀────── "hubble …"  what answers Hubble's clients, if "taken hubble" was said
//            ◀───────── closes   has let everything go
//
// If the successor closes the connection or is silent before "taken", the predecessor continues, and sends
// "mine" in case the successor still listens. If the predecessor is dead, the successor continues.

/** How long a predecessor waits for a successor to connect, and then to be ready. */
const comeMs = 5_000;
const adoptMs = 10_000;
/**
 * How long a successor waits for each answer: longer than the predecessor needs for any of them.
 */
const answerMs = adoptMs + 5_000;

const takenText = "taken";
/** Only said to a process that has offered it: earlier versions do not know it. */
const takenWithHubble = "taken hubble";

/** The steps of a running process that a successor can replace. */
export interface Place {
  /** Runs a step while no other change runs. */
  alone<Result>(step: () => Promise<Result>): Promise<Result>;
  /** Stops the packets and packs the handoff state. */
  stop(): PackedHandoff;
  /** Restarts the packets: no successor took the place. */
  resume(): void;
  /**
   * The successor has the place: this process moves no packet any more. `gone` tells the successor that what only
   * one process can have is free, as this process's end does.
   */
  taken(gone: Gone): void;
}

export interface Gone {
  /** Whether the successor goes on with what answers Hubble's clients. */
  readonly wantsHubble: boolean;
  /** Sends that. Errors: DataplaneError when the successor has ended. */
  pass(message: HubbleMessage): void;
  /** Tells that this process has let everything go. */
  end(): void;
}

/**
 * Offers a running process's place to the first trusted process that connects to `path`. The socket exists
 * when this returns; the promise says whether a process has taken the place.
 *
 * Errors: DataplaneError; the promise rejects with ETIMEDOUT when no process connects.
 */
export function offerPlace(path: string, { alone, ...place }: Place): Promise<boolean> {
  rmSync(path, { force: true });
  const listener = listenForProcess(path);
  return (async () => {
    let connection: number;
    try {
      connection = await acceptProcess(listener, comeMs);
    } finally {
      closeSync(listener);
      rmSync(path, { force: true });
    }
    return alone(() => handOver(connection, place));
  })();
}

async function handOver(
  connection: number,
  { stop, resume, taken }: Omit<Place, "alone">,
): Promise<boolean> {
  try {
    const { file, descriptors } = stop();
    try {
      passDescriptors(connection, `estate ${descriptors.length}`, [file]);
    } finally {
      closeSync(file);
    }
    for (let at = 0; at < descriptors.length; at += passedDescriptorsMax) {
      passDescriptors(connection, "links", descriptors.slice(at, at + passedDescriptorsMax));
    }
    const { text } = await receiveDescriptors(connection, adoptMs);
    if (text !== takenText && text !== takenWithHubble) throw new Error("the successor has gone");
    passDescriptors(connection, "yours");
    taken({
      wantsHubble: text === takenWithHubble,
      pass: (message) => passDescriptors(connection, message.text, message.descriptors),
      end: () => closeSync(connection),
    });
    return true;
  } catch {
    // Sent before packets move again: a successor that receives "mine" must not start.
    try {
      passDescriptors(connection, "mine");
    } catch {
      // Nobody hears it.
    }
    closeSync(connection);
    resume();
    return false;
  }
}

/** A predecessor that has stopped its packets and waits for "taken". */
export interface Predecessor {
  readonly handoff: PackedHandoff;
  /**
   * Sends "taken". When this returns, the place is ours and packets may move. `wantsHubble`: what answers Hubble's
   * clients too.
   *
   * Errors: RefusalError when the predecessor has continued instead.
   */
  taken(wantsHubble?: boolean): Promise<void>;
  /**
   * Waits until the predecessor has released what only one process can have. Returns what answers Hubble's clients, if
   * it has passed that on. Owner: the caller closes its descriptors.
   */
  gone(): Promise<HubbleHandoff | undefined>;
  /** Closes the connection; before `taken` the predecessor then continues. */
  close(): void;
}

/**
 * Asks the process behind a control socket for its place; undefined when no process answers.
 *
 * Errors: RefusalError, DataplaneError.
 */
export async function askForPlace(
  socketPath: string,
  tell: Tell,
): Promise<Predecessor | undefined> {
  let path: string;
  try {
    ({ path } = await new ControlClient(socketPath).ask<TakeOverAnswer>("POST", "/take-over"));
  } catch (error) {
    if (!(error instanceof RefusalError) || error.kind !== "environment") throw error;
    tell(`nobody to take over from: ${error.message}`, "warning");
    return undefined;
  }
  const connection = callProcess(path);
  const descriptors: number[] = [];
  let file: number | undefined;
  const close = () => {
    closeSync(connection);
    if (file !== undefined) closeSync(file);
  };
  try {
    const first = await receiveDescriptors(connection, answerMs);
    const wanted = Number(/^estate (\d+)$/.exec(first.text)?.[1] ?? Number.NaN);
    file = first.descriptors[0];
    if (Number.isNaN(wanted) || file === undefined)
      throw refusal("it could not pack its handoff state");
    while (descriptors.length < wanted) {
      const { text, descriptors: more } = await receiveDescriptors(connection, answerMs);
      if (text !== "links" || more.length === 0) throw refusal("it has gone in the middle of it");
      descriptors.push(...more);
    }
    return {
      handoff: { file, descriptors },
      close,
      async taken(wantsHubble = false) {
        let text = "";
        try {
          passDescriptors(connection, wantsHubble ? takenWithHubble : takenText);
          ({ text } = await receiveDescriptors(connection, answerMs));
        } catch {
          // It has closed the connection. A message that it sent before is still in the socket.
          ({ text } = await receiveDescriptors(connection, answerMs));
        }
        if (text === "mine") throw refusal("it has gone on: this took too long");
      },
      async gone() {
        let hubble: HubbleHandoff | undefined;
        try {
          for (;;) {
            const message = await receiveDescriptors(connection, answerMs);
            if (message.text === "") return hubble;
            const made = hubble === undefined ? readHubbleHandoff(message) : undefined;
            if (made === undefined) for (const fd of message.descriptors) closeSync(fd);
            hubble ??= made;
          }
        } catch {
          // It has ended without a word, or says nothing.
          return hubble;
        }
      },
    };
  } catch (error) {
    for (const descriptor of descriptors) closeSync(descriptor);
    close();
    throw error;
  }
}

function refusal(message: string): RefusalError {
  return new RefusalError("environment", `cannot take over from the running process: ${message}`);
}
