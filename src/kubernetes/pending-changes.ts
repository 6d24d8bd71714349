import type { SourceChanges } from "../control/source.js";
import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { ObjectChange } from "../policy/live-cluster.js";

/** Diagnostics, and times of events, that are kept between two takes; what is more is not noted. */
const DIAGNOSTICS_MAX = 100;
const TIMES_MAX = 1_000_000;

/** What has changed since it was last taken. */
export class PendingChanges {
  #changes = new Map<string, ObjectChange>();
  #heardMs: number[] = [];
  #diagnostics: Diagnostic[] = [];
  #isFirst = true;

  get size(): number {
    return this.#changes.size;
  }

  /** Notes a change; one to the same object before it need not be carried out any more. */
  note(key: string, change: ObjectChange): void {
    this.#changes.delete(key);
    // What went before anybody took anything was never there.
    if ("put" in change || !this.#isFirst) this.#changes.set(key, change);
    // What was there before us has no delay that means anything.
    if (!this.#isFirst && this.#heardMs.length < TIMES_MAX) this.#heardMs.push(performance.now());
  }

  /** Keeps diagnostics as far as there is room: they are for a reader, and `unreadable` counts all. */
  report(diagnostics: readonly Diagnostic[]): void {
    const room = DIAGNOSTICS_MAX - this.#diagnostics.length;
    if (room > 0) this.#diagnostics.push(...diagnostics.slice(0, room));
  }

  take(): SourceChanges {
    const changes = [...this.#changes.values()];
    const [heardMs, diagnostics] = [this.#heardMs, this.#diagnostics];
    this.#changes = new Map();
    this.#heardMs = [];
    this.#diagnostics = [];
    this.#isFirst = false;
    return { changes, heardMs, diagnostics };
  }
}
