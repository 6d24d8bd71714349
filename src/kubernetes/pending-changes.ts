import type { SourceChanges } from "../control/source.js";
import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { ObjectChange } from "../policy/live-cluster.js";

/** What has changed since it was last taken. */
export class PendingChanges {
  #changes = new Map<string, ObjectChange>();
  #heardMs: number[] = [];
  #diagnostics: Diagnostic[] = [];

  get size(): number {
    return this.#changes.size;
  }

  /** Notes a change; one to the same object before it need not be carried out any more. */
  note(key: string, change: ObjectChange): void {
    this.#changes.delete(key);
    this.#changes.set(key, change);
    this.#heardMs.push(performance.now());
  }

  report(diagnostics: readonly Diagnostic[]): void {
    this.#diagnostics.push(...diagnostics);
  }

  forgetTimes(): void {
    this.#heardMs = [];
  }

  take(): SourceChanges {
    const changes = [...this.#changes.values()];
    const [heardMs, diagnostics] = [this.#heardMs, this.#diagnostics];
    this.#changes = new Map();
    this.#heardMs = [];
    this.#diagnostics = [];
    return { changes, heardMs, diagnostics };
  }
}
