import type { SourceChanges } from "../control/source.js";
import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { ObjectChange } from "../policy/live-cluster.js";

/** Limits of diagnostics, and of event times, between two takes; more are not kept. */
const DIAGNOSTICS_MAX = 100;
const TIMES_MAX = 1_000_000;

/** The changes since the last take. */
export class PendingChanges {
  #changes = new Map<string, ObjectChange>();
  #heardMs: number[] = [];
  #diagnostics: Diagnostic[] = [];
  #isFirst = true;

  get size(): number {
    return this.#changes.size;
  }

  /** Notes a change; it replaces an earlier change of the same object. */
  note(key: string, change: ObjectChange): void {
    this.#changes.delete(key);
    // An object that is removed before the first take need not be reported.
    if ("put" in change || !this.#isFirst) this.#changes.set(key, change);
    // Objects of the first list have no meaningful delay.
    if (!this.#isFirst && this.#heardMs.length < TIMES_MAX) this.#heardMs.push(performance.now());
  }

  /** Keeps diagnostics up to the limit: a person reads them, and `unreadable` counts all. */
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
