import type { FilteredInterface } from "../control/control-routes.js";
import type { CompiledTable } from "../control/controller.js";
import { RefusalError, refusalOf } from "../control/refusal.js";
import type { Dataplane } from "../dataplane/dataplane.js";
import { placeText, type Span } from "../diagnostics/diagnostic.js";
import type { Tell } from "../diagnostics/tell.js";
import type { Mode } from "../manifest/annotations.js";
import type { Guarded } from "./guard.js";
import type { ZoneHandoff } from "./handoff/handoff-state.js";
import type { PodName, RouterAdvertisements } from "./node-config.js";

/**
 * Runs `take`; a refusal gets the place in the config (`span`) that asked for the interface. Errors:
 * RefusalError.
 */
export function takenAt<Taken>(span: Span, take: () => Taken): Taken {
  try {
    return take();
  } catch (error) {
    const { kind, message, remedy } = refusalOf(error);
    if (kind === "bug") throw error;
    throw new RefusalError(kind, `${placeText(span)}: ${message}`, remedy);
  }
}

/** What an attachment needs to open. */
export interface Opening {
  readonly dataplane: Dataplane;
  readonly tell: Tell;
  /** The `slots` of PacketLinkOptions for each of its interfaces. */
  readonly slots: number;
  /**
   * Whether an interface of this name may be absent, because it existed before and may be created again.
   */
  readonly mayWait: (name: string) => boolean;
  /** Indexes of interfaces that had this name in a predecessor's time: they must stay closed. */
  readonly former: (name: string) => readonly number[];
}

/**
 * A place between one pod and the network where Sluice takes frames: a wire, or a workload's own interface.
 *
 * The constructor only reads the config; nothing happens before `open`.
 */
export interface Attachment {
  /** What users call it: the interface towards the pod. */
  readonly name: string;
  readonly pod: PodName;
  /** Where it was asked for. */
  readonly span: Span;
  /** Mode of a policy when neither the policy nor its pod sets one; absent: the process's mode. */
  readonly mode?: Mode | undefined;
  /** Interfaces that no other attachment may hold at the same time. */
  readonly interfaces: readonly string[];
  /**
   * The folder of the record with the interfaces' original state; only when `open` changes that state.
   */
  readonly stateFolder?: string;
  /**
   * Two attachments with the same text use the same interfaces in the same way. The running one is then kept,
   * also for another pod.
   */
  readonly identity: string;
  /**
   * Indexes of interfaces that have its name and lead nowhere as they are, such as the front that a killed process has
   * left. The name guard leaves them out: it tells a sender that its packet was refused, and a kernel gives up a
   * connection that is half open when its answer to the SYN is.
   */
  closedAlready?(): readonly number[];
  /** Whether it can continue in the place of `other` after `other.yield`. */
  follows?(other: Attachment): boolean;
  /**
   * Takes the interfaces. From then on nothing passes until the first table is in force and the ends are
   * joined.
   *
   * Errors: RefusalError; everything is then as it was.
   */
  open(opening: Opening): OpenAttachment;
}

export interface OpenAttachment {
  /** Link ids. */
  readonly inside: number;
  readonly outside: number;
  /** Whether router advertisements from the network pass, once the ends are joined. */
  readonly routerAdvertisements: RouterAdvertisements;
  /**
   * The present state of the interfaces, for the control socket. The owner of the attachment adds the rest.
   */
  readonly interfaces: readonly Omit<FilteredInterface, "pod" | "zone">[];
  /** What the name guard must cover now. */
  readonly guarded: Guarded;
  /** After its end: whether the interface stays closed and its names stay guarded. Absent: no. */
  readonly staysClosed?: boolean;
  /** Indexes of the interfaces that it has now. When one of them changes, `follow` is called. */
  readonly indexes: readonly number[];
  /**
   * Checks its interfaces after a change. It releases an interface that was deleted, and takes one that was
   * created again, for the same zone and the same links. Returns how many interfaces it took.
   */
  follow(): number;
  /** When to call `follow` again even if no event comes. Units: milliseconds. */
  readonly retryMs?: number | undefined;
  /**
   * Called once, when its first table is in force, before its ends are joined. Returns the connections that
   * exist already, as SavedConnection records. They are loaded before a frame passes.
   */
  joining?(zone: number, table: CompiledTable): Uint8Array | undefined;
  /**
   * Called once, when its ends have been joined. `taken` is how many of these connections were loaded.
   */
  joined?(taken: number): void;
  /**
   * Sets what the kernel does if this process dies. Called once frames are judged. Errors: DataplaneError.
   */
  started?(): void;
  /** Releases the interfaces for the attachment that follows; they stay in place, closed. */
  yield?(): void;
  /** What a successor must keep closed, as ZoneHandoff has it. */
  former?(): ZoneHandoff["former"];
  /** Restores the interfaces: the config does not want this attachment any more. */
  close(): void;
  /** The process ends, and a successor may start. Absent: as `close`. */
  end?(): void;
}
