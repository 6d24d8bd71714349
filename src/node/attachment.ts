import type { FilteredInterface } from "../control/control-routes.js";
import type { CompiledTable } from "../control/controller.js";
import type { Dataplane } from "../dataplane/dataplane.js";
import type { Span } from "../diagnostics/diagnostic.js";
import type { PodName } from "./node-config.js";

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
   * are joined. `slots` is what each of its interfaces may have of PacketLinkOptions' slots.
   *
   * Errors: DataplaneError; everything is then as it was.
   */
  open(dataplane: Dataplane, tell: (line: string) => void, slots: number): OpenAttachment;
}

export interface OpenAttachment {
  /** Link ids. */
  readonly inside: number;
  readonly outside: number;
  /** As the control socket tells of them; who holds it knows the rest. */
  readonly interfaces: readonly Omit<FilteredInterface, "pod" | "zone">[];
  /** Called once, when its first table is in force, before a frame passes. */
  joined?(zone: number, table: CompiledTable): void;
  /** Prepares for the process's death, once frames are judged. Errors: DataplaneError. */
  started?(): void;
  /** Lets go for one that follows it: all stays in place, closed. */
  yield?(): void;
  /** Puts everything back as it was: it is not wanted any more. */
  close(): void;
  /** The process ends, and another may come after it. Absent: as `close`. */
  end?(): void;
}
