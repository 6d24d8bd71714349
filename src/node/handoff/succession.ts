import { closeSync } from "node:fs";
import { RefusalError } from "../../control/refusal.js";
import { defaultSocket } from "../../control/settings.js";
import type { Dataplane } from "../../dataplane/dataplane.js";
import type { Attachments } from "../attachments.js";
import type { NodeHost } from "../node-host.js";
import { restoreInterface } from "../sidecar/attachment.js";
import { DescriptorStore } from "./descriptor-store.js";
import {
  HandoffError,
  type HandoffState,
  loadConnections,
  packHandoff,
  readHandoff,
  type ZoneHandoff,
} from "./handoff-state.js";
import { askForPlace, offerPlace, type Predecessor } from "./handshake.js";

export interface SuccessionOptions {
  readonly dataplane: Dataplane;
  readonly attachments: Attachments;
  readonly host: NodeHost;
  readonly version: string;
  /** The control socket's path; `none`: there is none, and nobody can take over. */
  readonly socket: string | undefined;
  /** Whether to take the place of the process that answers there. */
  readonly takesOver: boolean;
  /** Takes up what a process has kept that could not hand anything on. */
  readonly takeUp: () => void;
}

/**
 * How this process comes after another, and another after this one, without a connection lost or a packet
 * that nobody has judged: docs/restart.md.
 */
export class Succession {
  readonly #options: SuccessionOptions;
  readonly #store: DescriptorStore;
  #predecessor: Predecessor | undefined;
  #hasEntered = false;
  #isEnding = false;
  #isSucceeded = false;
  /** Ends when whoever is just taking this place has, or has not. */
  #handing: Promise<unknown> = Promise.resolve();
  #left: readonly ZoneHandoff[] = [];
  #settle: () => void = () => {};
  /** Another process has taken this one's place. */
  readonly untilSucceeded = new Promise<void>((resolve) => {
    this.#settle = resolve;
  });

  constructor(options: SuccessionOptions) {
    this.#options = options;
    this.#store = new DescriptorStore(options.host.env);
  }

  /**
   * Whether the interfaces are somebody else's too: they have to be left as they are when this process
   * fails now.
   */
  get isSuccessor(): boolean {
    return this.#options.dataplane.isSuccessor;
  }

  /**
   * Puts the first table in force by `enforce`, with what a process before has left, and lets packets
   * move; later ones as they come.
   *
   * Errors: what `enforce` throws, RefusalError; a process that was to be succeeded then goes on.
   */
  async enter(enforce: () => number): Promise<number> {
    if (this.#hasEntered) return enforce();
    const { dataplane, attachments, host } = this.#options;
    const left = await this.#inherit();
    if (left === undefined) {
      const generation = enforce();
      this.#options.takeUp();
      attachments.start();
      this.#hasEntered = true;
      return generation;
    }
    const { handoff, file } = left;
    dataplane.continueFrom(handoff.generation, handoff.totals);
    dataplane.inherit(handoff.links);
    attachments.inherit(handoff.zones);
    const generation = enforce();
    attachments.inherit([]);
    const zones = zonesOfBoth(handoff.zones, attachments.zones());
    try {
      const { saved, taken } = loadConnections(file, handoff, zones, dataplane);
      host.tell(`taken over from version ${handoff.version}: ${taken} of ${saved} connections`);
    } catch (error) {
      if (!(error instanceof HandoffError)) throw error;
      host.tell(
        `taken over from version ${handoff.version}, but connections: ${error.message}`,
        "warning",
      );
    }
    await left.settle();
    dataplane.own();
    this.#left = handoff.zones;
    attachments.start();
    this.#hasEntered = true;
    return generation;
  }

  #giveBack(zones: readonly ZoneHandoff[]): void {
    const { attachments, host } = this.#options;
    const held = new Set(attachments.zones().flatMap(({ interfaces }) => interfaces));
    for (const { interfaces, stateFolder } of zones) {
      const [name] = interfaces;
      if (stateFolder === undefined || name === undefined || held.has(name)) continue;
      try {
        restoreInterface(name, stateFolder, host.tell);
      } catch (error) {
        host.tell(
          `${name}: not put back: ${(error as Error).message}: nothing passes: try sluice sidecar --restore`,
          "error",
        );
      }
    }
  }

  /**
   * Waits until the process before has let go of what can only be had once, such as its socket, and puts
   * interfaces back before which it stood, and this one does not.
   */
  async predecessorGone(): Promise<void> {
    await this.#predecessor?.gone();
    this.#predecessor?.close();
    this.#predecessor = undefined;
    this.#giveBack(this.#left);
    const left = this.#left.flatMap(({ interfaces }) => interfaces);
    this.#options.attachments.takeOverGuards(left);
    this.#left = [];
  }

  /** Gives up succeeding: whoever is there goes on. */
  close(): void {
    this.#predecessor?.close();
    this.#predecessor = undefined;
  }

  /** Listens for a successor, and says where. Errors: DataplaneError. */
  offerPlace(alone: <Result>(step: () => Promise<Result>) => Promise<Result>): string {
    const { socket, host } = this.#options;
    const path = `${socket ?? defaultSocket}.next`;
    if (!this.#hasEntered) throw new RefusalError("environment", "nothing is in force yet");
    offerPlace(path, {
      alone: (step) =>
        alone(() => {
          const handing = step();
          this.#handing = handing.catch(() => {});
          return handing;
        }),
      stop: () => {
        if (this.#isEnding) throw new Error("it ends");
        return this.#pack();
      },
      resume: () => {
        if (this.#isEnding) return;
        this.#options.attachments.start();
        host.tell("nobody has taken over: going on");
      },
      taken: () => {
        this.#isSucceeded = true;
      },
    }).then(
      (isTaken) => {
        if (isTaken) this.#settle();
      },
      (error: Error) => host.tell(`nobody has come to take over: ${error.message}`),
    );
    return path;
  }

  /**
   * Nobody takes this place from now on. True when the interfaces are somebody else's by now, or whom the
   * service manager starts next: they have to be left as they are.
   */
  async end(signal: NodeJS.Signals | undefined): Promise<boolean> {
    this.#isEnding = true;
    await this.#handing;
    return this.#isSucceeded || (signal === "SIGTERM" && (await this.#storeAll()));
  }

  /**
   * Leaves everything to whom the service manager starts next, where it keeps descriptors. False when it
   * does not, or cannot: then the interfaces have to be given back.
   */
  async #storeAll(): Promise<boolean> {
    if (!this.#hasEntered || !this.#store.isOffered) return false;
    try {
      const packed = this.#pack();
      try {
        await this.#store.put(packed);
      } finally {
        closeSync(packed.file);
      }
      return true;
    } catch (error) {
      this.#options.host.tell(`connections end: ${(error as Error).message}`, "warning");
      return false;
    }
  }

  #pack() {
    const { dataplane, attachments, version } = this.#options;
    attachments.freeze();
    dataplane.stop();
    return packHandoff(dataplane, { version, zones: attachments.zones() });
  }

  /** What a process before has left, and how to say that it is ours. */
  async #inherit(): Promise<
    { readonly handoff: HandoffState; readonly file: number; settle(): Promise<void> } | undefined
  > {
    const { host, takesOver, socket } = this.#options;
    if (takesOver && socket !== "none") {
      this.#predecessor = await askForPlace(socket ?? defaultSocket, host.tell);
    }
    if (this.#predecessor !== undefined) {
      const predecessor = this.#predecessor;
      const { file } = predecessor.handoff;
      try {
        return {
          handoff: readHandoff(predecessor.handoff),
          file,
          settle: () => predecessor.taken(),
        };
      } catch (error) {
        if (!(error instanceof HandoffError)) throw error;
        throw new RefusalError("environment", `cannot take over: ${error.message}`);
      }
    }
    const stored = await this.#store.take(host.tell);
    if (stored === undefined) return undefined;
    try {
      const handoff = readHandoff(stored);
      return {
        handoff,
        file: stored.file,
        settle: async () => {
          await this.#store.clear(stored);
          closeSync(stored.file);
        },
      };
    } catch (error) {
      if (!(error instanceof HandoffError)) throw error;
      host.tell(`what the process before has left cannot be used: ${error.message}`, "warning");
      for (const descriptor of [stored.file, ...stored.descriptors]) closeSync(descriptor);
      await this.#store.clear(stored);
      return undefined;
    }
  }
}

/** Zones that the same interfaces have in both processes. */
function zonesOfBoth(
  before: readonly ZoneHandoff[],
  now: readonly ZoneHandoff[],
): ReadonlySet<number> {
  const textOf = ({ interfaces, zone }: ZoneHandoff) => JSON.stringify([interfaces, zone]);
  const known = new Set(before.map(textOf));
  return new Set(now.filter((each) => known.has(textOf(each))).map(({ zone }) => zone));
}
