import { getSystemErrorName } from "node:util";
import type { NameGuardStatus } from "../control/control-routes.js";
import { DataplaneError } from "../dataplane/errors.js";
import {
  createNameGuard,
  guardFamilies,
  listNameGuards,
  type NameGuard,
  releaseGuardedNames,
} from "../dataplane/interfaces.js";
import type { Tell } from "../diagnostics/tell.js";

/**
 * How many times `takeOver` checks for a process that is ending, and the pause between two checks.
 */
const looksMax = 50;
const lookAgainMs = 200;

/** What is to be guarded by name. */
export interface Guarded {
  readonly names: readonly string[];
  /** Indexes of interfaces that have such a name and are not guarded, such as a sidecar's front. */
  readonly exempt: readonly number[];
}

/**
 * This process's guard by interface names: docs/decisions/0022-interfaces-made-anew.md. If the kernel does
 * not support it, the process runs without a guard and warns.
 */
export class Guard {
  readonly #tell: Tell;
  #guard: NameGuard | undefined;
  #held: string | undefined;
  #missing: NameGuardStatus["missing"] = [];
  #later: NodeJS.Timeout | undefined;

  constructor(tell: Tell) {
    this.#tell = tell;
  }

  get status(): NameGuardStatus {
    return { table: this.#guard?.table ?? null, missing: this.#missing };
  }

  /** Guards these names and no others. */
  hold({ names, exempt }: Guarded): void {
    const wanted = JSON.stringify([[...names].sort(), [...exempt].sort()]);
    if (wanted === this.#held) return;
    if (names.length === 0) {
      this.remove();
      return;
    }
    const before = JSON.stringify(this.#missing);
    try {
      this.#guard ??= createNameGuard();
      const errors = this.#guard.hold([...new Set(names)], [...new Set(exempt)]);
      this.#missing = [...errors].map(([family, errno]) => ({
        family,
        error: getSystemErrorName(-errno),
      }));
    } catch (error) {
      if (!(error instanceof DataplaneError)) throw error;
      this.#missing = guardFamilies.map((family) => ({ family, error: error.code }));
    }
    this.#held = wanted;
    if (this.#missing.length === 0 || JSON.stringify(this.#missing) === before) return;
    const families = this.#missing.map(({ family, error }) => `${family}: ${error}`).join(", ");
    this.#tell(
      `no guard by interface names (nf_tables, ${families}): an interface that is made anew is the kernel's own until it is taken`,
      "warning",
    );
  }

  /**
   * Removes the names from guards of processes that have ended: our guard covers them. A process that is just
   * ending may still exist, so this is repeated for a while.
   */
  takeOver(names: readonly string[], looks = looksMax): void {
    clearTimeout(this.#later);
    try {
      releaseGuardedNames(names);
      const others = listNameGuards().filter(({ table }) => table !== this.#guard?.table);
      const isHeld = others.some((each) => each.names.some((name) => names.includes(name)));
      if (!isHeld || looks === 0) return;
      this.#later = setTimeout(() => this.takeOver(names, looks - 1), lookAgainMs).unref();
    } catch (error) {
      if (!(error instanceof DataplaneError)) throw error;
      this.#tell(`guards of earlier processes are not taken over: ${error.message}`, "warning");
    }
  }

  /** Removes the guard. */
  remove(): void {
    this.leave();
    this.#guard?.remove();
    this.#held = undefined;
  }

  /** Leaves the guard in the kernel. */
  leave(): void {
    clearTimeout(this.#later);
  }
}
