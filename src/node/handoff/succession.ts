import { closeSync } from "node:fs";
import { RefusalError } from "../../control/refusal.js";
import { defaultSocket } from "../../control/settings.js";
import type { Dataplane } from "../../dataplane/dataplane.js";
import { type HubbleHandoff, writeHubbleHandoff } from "../../hubble/handoff.js";
import type { PassOn } from "../../hubble/open-hubble.js";
import type { Hits } from "../../observe/hits.js";
import type { Attachments } from "../attachments.js";
import type { AttachedPods } from "../cni/attached-pods.js";
import type { InPlace } from "../in-place.js";
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
import { askForPlace, type Gone, offerPlace, type Predecessor } from "./handshake.js";

export interface SuccessionOptions {
  readonly dataplane: Dataplane;
  readonly hits: Pick<Hits, "drain" | "save" | "restore">;
  readonly attachments: Attachments;
  /** Of a process that judges in place: it hands on what is told of flows. */
  readonly inPlace?: Pick<InPlace, "hold" | "goOn" | "inherit"> | undefined;
  /** What the CNI plugin has told of: a successor reads it when nothing more comes to it. */
  readonly pods?: Pick<AttachedPods, "hold" | "goOn"> | undefined;
  readonly host: NodeHost;
  readonly version: string;
  /** The control socket's path; `none`: no socket, so no process can take over. */
  readonly socket: string | undefined;
  /** Where it answers Hubble's clients; undefined: nowhere. */
  readonly hubbleListen: string | undefined;
  /** Whether to take over from the process that answers there. */
  readonly takesOver: boolean;
  /** Loads the connections that a previous process saved to a file, when there is no handoff. */
  readonly takeUp: () => void;
  /** Ends every reload; resolves when `enter` has ended, and none comes any more. */
  readonly endReloads: () => Promise<void>;
}

/**
 * How this process succeeds another, and another succeeds this one, with no connection lost and no packet
 * unjudged: docs/restart.md.
 */
export class Succession {
  readonly #options: SuccessionOptions;
  readonly #store: DescriptorStore;
  #predecessor: Predecessor | undefined;
  #hasEntered = false;
  #isEnding = false;
  #end: () => void = () => {};
  readonly #untilEnding = new Promise<undefined>((resolve) => {
    this.#end = () => resolve(undefined);
  });
  #isSucceeded = false;
  #gone: Gone | undefined;
  #hubble: HubbleHandoff | undefined;
  /** Settles when a handoff to a successor has succeeded or failed. */
  #handing: Promise<unknown> = Promise.resolve();
  /** What the predecessor had, until `predecessorGone`. */
  #left: readonly ZoneHandoff[] | undefined;
  #settle: () => void = () => {};
  /** Resolves when a successor has taken this process's place. */
  readonly untilSucceeded = new Promise<void>((resolve) => {
    this.#settle = resolve;
  });

  constructor(options: SuccessionOptions) {
    this.#options = options;
    this.#store = new DescriptorStore(options.host.env);
  }

  /**
   * Whether the predecessor still holds the interfaces. If this process fails now, it must leave them as they
   * are.
   */
  get isSuccessor(): boolean {
    return this.#options.dataplane.isSuccessor;
  }

  /**
   * For the first table: takes over the predecessor's state, puts the table in force by `enforce`, and starts
   * forwarding. For later tables: only calls `enforce`.
   *
   * Errors: what `enforce` throws, RefusalError; the predecessor then continues. Also when `end` is called
   *         before the predecessor is asked to end; after that this process takes the place, and then ends.
   */
  async enter(enforce: () => number): Promise<number> {
    this.#mustStay();
    if (this.#hasEntered) return enforce();
    const { dataplane, hits, attachments, host } = this.#options;
    // A predecessor that does not answer does not hold up the end.
    const left = await Promise.race([this.#inherit(), this.#untilEnding]);
    this.#mustStay();
    if (left === undefined) {
      const generation = enforce();
      this.#options.takeUp();
      attachments.start();
      this.#hasEntered = true;
      return generation;
    }
    const { handoff, file } = left;
    dataplane.continueFrom(handoff.generation, handoff.totals);
    if (handoff.hits !== undefined) hits.restore(handoff.hits);
    if (handoff.connectionEnds !== undefined) this.#inheritEnds(handoff.connectionEnds);
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

  #inheritEnds(descriptor: number): void {
    const { inPlace } = this.#options;
    if (inPlace === undefined) closeSync(descriptor);
    else inPlace.inherit(descriptor);
  }

  #mustStay(): void {
    if (this.#isEnding) throw new RefusalError("environment", "the process is ending");
    if (this.#isSucceeded) throw new RefusalError("environment", "another process has taken over");
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
   * Waits until the predecessor has released what only one process can have, such as its socket. Then
   * restores the interfaces that the predecessor had as a sidecar and this process does not use.
   */
  async predecessorGone(): Promise<void> {
    const left = this.#left;
    if (left === undefined) return;
    this.#left = undefined;
    this.#hubble = await this.#predecessor?.gone();
    this.#predecessor?.close();
    this.#predecessor = undefined;
    this.#giveBack(left);
    this.#options.attachments.takeOverGuards(left.flatMap(({ interfaces }) => interfaces));
  }

  /** Whether another process has taken this one's place. */
  get isSucceeded(): boolean {
    return this.#isSucceeded;
  }

  /** Whether a successor has taken over that goes on with what answers Hubble's clients. */
  get handsOnHubble(): boolean {
    return this.#gone?.wantsHubble ?? false;
  }

  /** What answers Hubble's clients, if the predecessor has left it, once. Owner: the caller. */
  takeHubble(): HubbleHandoff | undefined {
    const hubble = this.#hubble;
    this.#hubble = undefined;
    return hubble;
  }

  /**
   * Gives up the takeover: the predecessor continues. Tells a successor that this process has let everything go, and
   * passes on what it goes on with.
   */
  close(passHubble?: PassOn): void {
    this.#predecessor?.close();
    this.#predecessor = undefined;
    const unused = this.takeHubble();
    if (unused !== undefined)
      for (const fd of [unused.listener, unused.passed.channel]) closeSync(fd);
    const gone = this.#gone;
    this.#gone = undefined;
    try {
      passHubble?.((handoff) => gone?.pass(writeHubbleHandoff(handoff)));
    } catch (error) {
      this.#options.host.tell(
        `Hubble's clients are cut off: ${(error as Error).message}`,
        "warning",
      );
    }
    gone?.end();
  }

  /** Listens for a successor; returns the socket's path. Errors: DataplaneError. */
  offerPlace(alone: <Result>(step: () => Promise<Result>) => Promise<Result>): string {
    const { socket, host } = this.#options;
    const path = `${socket ?? defaultSocket}.next`;
    this.#mustStay();
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
        this.#options.pods?.hold();
        return this.#pack();
      },
      resume: () => {
        if (this.#isEnding) return;
        this.#options.attachments.start();
        this.#options.inPlace?.goOn();
        this.#options.pods?.goOn();
        host.tell("nobody has taken over: going on");
      },
      taken: (gone) => {
        this.#isSucceeded = true;
        this.#gone = gone;
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
   * Ends the reloads and the offers: no table comes into force and no process can take over from now on. A
   * take-over under way, from a predecessor or by a successor, ends first, so that it is clear whose the
   * interfaces are. True when the interfaces belong to a successor, or
   * are in the service manager's store for the next process. They must then be left as they are.
   */
  async end(signal: NodeJS.Signals | undefined): Promise<boolean> {
    this.#isEnding = true;
    this.#end();
    await Promise.all([this.#handing, this.#options.endReloads()]);
    await this.predecessorGone();
    return this.#isSucceeded || (signal === "SIGTERM" && (await this.#storeAll()));
  }

  /**
   * Puts the handoff state into the service manager's store, for the next process. False when there is no
   * store, or it failed: the interfaces must then be given back.
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
    const { dataplane, hits, attachments, inPlace, version, hubbleListen } = this.#options;
    attachments.freeze();
    dataplane.stop();
    // What is counted is what has been told by now.
    hits.drain();
    const connectionEnds = inPlace?.hold();
    const zones = attachments.zonesToHandOn();
    const about = { version, zones, hits: hits.save() };
    return packHandoff(dataplane, {
      ...about,
      ...(connectionEnds === undefined ? {} : { connectionEnds }),
      ...(hubbleListen === undefined ? {} : { hubbleListen }),
    });
  }

  /**
   * The predecessor's state, and `settle`, which tells the predecessor or the store that we have it.
   */
  async #inherit(): Promise<
    { readonly handoff: HandoffState; readonly file: number; settle(): Promise<void> } | undefined
  > {
    const { host, takesOver, socket, version, hubbleListen } = this.#options;
    if (takesOver && socket !== "none") {
      this.#predecessor = await askForPlace(socket ?? defaultSocket, host.tell);
    }
    if (this.#predecessor !== undefined) {
      const predecessor = this.#predecessor;
      const { file } = predecessor.handoff;
      try {
        const handoff = readHandoff(predecessor.handoff);
        // Another version's process is not gone on with: an upgrade would not reach it.
        const isSame = handoff.version === version && handoff.hubbleListen === hubbleListen;
        const wantsHubble = hubbleListen !== undefined && isSame;
        return { handoff, file, settle: () => predecessor.taken(wantsHubble) };
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
      host.tell(`what the previous process left cannot be used: ${error.message}`, "warning");
      for (const descriptor of [stored.file, ...stored.descriptors]) closeSync(descriptor);
      await this.#store.clear(stored);
      return undefined;
    }
  }
}

/** Zones whose interfaces are the same in both processes. */
function zonesOfBoth(
  before: readonly ZoneHandoff[],
  now: readonly ZoneHandoff[],
): ReadonlySet<number> {
  const textOf = ({ interfaces, zone }: ZoneHandoff) => JSON.stringify([interfaces, zone]);
  const known = new Set(before.map(textOf));
  return new Set(now.filter((each) => known.has(textOf(each))).map(({ zone }) => zone));
}
