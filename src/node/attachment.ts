import type { FilteredInterface } from "../control/control-routes.js";
import type { CompiledTable } from "../control/controller.js";
import { RefusalError, refusalOf } from "../control/refusal.js";
import type { Dataplane } from "../dataplane/dataplane.js";
import { placeText, type Span } from "../diagnostics/diagnostic.js";
import type { Tell } from "../diagnostics/tell.js";
import type { Mode } from "../manifest/annotations.js";
import type { Guarded } from "./guard.js";
import type { PodName, RouterAdvertisements } from "./node-config.js";

/** Takes an interface; a refusal says where that was asked for. Errors: RefusalError. */
export function takenAt<Taken>(span: Span, take: () => Taken): Taken {
  try {
    return take();
  } catch (error) {
    const { kind, message, remedy } = refusalOf(error);
    if (kind === "bug") throw error;
    throw new RefusalError(kind, `${placeText(span)}: ${message}`, remedy);
  }
}

/** What an attachment opens with. */
export interface Opening {
  readonly dataplane: Dataplane;
  readonly tell: Tell;
  /** What each of its interfaces may have of PacketLinkOptions' slots. */
  readonly slots: number;
  /** Whether an interface of this name may be absent: it was there before, and may come again. */
  readonly mayWait: (name: string) => boolean;
}

/**
 * A place between one pod and the network where frames can be taken: a wire, or a workload's own
 * interface.
 *
 * It is made from a config alone, and does nothing until it is opened.
 */
export interface Attachment {
  /** What users call it: the interface towards the pod. */
  readonly name: string;
  readonly pod: PodName;
  /** Where it was asked for. */
  readonly span: Span;
  /** Of policies that neither they nor the pod say more about; absent: the process's. */
  readonly mode?: Mode | undefined;
  /** Interfaces that nobody else may hold at the same time. */
  readonly interfaces: readonly string[];
  /** Where it keeps how its interfaces were, when that is not how they are. */
  readonly stateFolder?: string;
  /**
   * Tells whether another attachment would stand in the same place in the same way: one that does goes on
   * in its stead, also for another pod.
   */
  readonly identity: string;
  /** Whether it can go on in the place of another that has yielded. */
  follows?(other: Attachment): boolean;
  /**
   * Takes the interfaces. Nothing passes from then on, until the first table is in force and the ends
   * are joined.
   *
   * Errors: RefusalError; everything is then as it was.
   */
  open(opening: Opening): OpenAttachment;
}

export interface OpenAttachment {
  /** Link ids. */
  readonly inside: number;
  readonly outside: number;
  /** Whether those of the network pass, from the joining of the ends on. */
  readonly routerAdvertisements: RouterAdvertisements;
  /** As the control socket tells of them at this moment; who holds it knows the rest. */
  readonly interfaces: readonly Omit<FilteredInterface, "pod" | "zone">[];
  /** What is to be guarded by name at this moment. */
  readonly guarded: Guarded;
  /** After its end: whether nothing may pass there, and what is guarded stays guarded. Absent: no. */
  readonly staysClosed?: boolean;
  /** Indexes of the interfaces that it has at this moment: changes of these are for `follow`. */
  readonly indexes: readonly number[];
  /**
   * Looks whether its interfaces are as they were, after something has changed there: what has gone is let
   * go, what is there again is taken again, for the same zone and the same links. Returns how many were.
   */
  follow(table: CompiledTable): number;
  /** After how long it wants to be looked at again, also where nothing happens. Units: milliseconds. */
  readonly retryMs?: number | undefined;
  /**
   * Called once, when its first table is in force, before its ends are joined. Returns the connections that
   * are there already, as SavedConnection records, to be taken up before a frame passes.
   */
  joining?(zone: number, table: CompiledTable): Uint8Array | undefined;
  /** Called once, when its ends have been joined, with how many of these were taken up. */
  joined?(taken: number): void;
  /** Prepares for the process's death, once frames are judged. Errors: DataplaneError. */
  started?(): void;
  /** Lets go for one that follows it: all stays in place, closed. */
  yield?(): void;
  /** Puts everything back as it was: it is not wanted any more. */
  close(): void;
  /** The process ends, and another may come after it. Absent: as `close`. */
  end?(): void;
}
