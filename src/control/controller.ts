import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { KubernetesObject } from "../manifest/objects.js";
import type { Manifests } from "../manifest/parse.js";
import type { LocalPods } from "../policy/resolve.js";
import type { Ruleset } from "../policy/ruleset.js";
import { ManifestCompiler } from "./manifest-compiler.js";

/** A table that is ready to be put in force. */
export interface CompiledTable {
  readonly blob: Uint8Array;
  /** What it was made from; an endpoint's place there is its number in the table. */
  readonly ruleset: Ruleset;
  readonly objects: readonly KubernetesObject[];
}

export interface ControllerOptions {
  /** Reads the manifests; asked again at each reload. */
  readonly read: () => Promise<Manifests>;
  /** Whose traffic is judged. */
  readonly local: LocalPods;
  /** Changes the objects between reading and compiling. Errors: what it throws ends the reload. */
  readonly prepare?: (objects: readonly KubernetesObject[]) => readonly KubernetesObject[];
  /** Puts a table in force and answers with its generation. Errors: what it throws ends the reload. */
  readonly enforce: (table: CompiledTable) => number;
}

/** How a reload ended. `refused` is what was thrown on the way, when it was no diagnostic. */
export type Reload =
  | { readonly ok: true; readonly generation: number; readonly diagnostics: readonly Diagnostic[] }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[]; readonly refused?: Error };

export interface ControllerStatus {
  /** Of the table in force; 0 before the first. */
  readonly generation: number;
  /** When that table was put in force. */
  readonly since: Date | undefined;
  readonly endpoints: number;
  /** Why the last reload changed nothing; undefined when it did. */
  readonly lastError: string | undefined;
}

/**
 * Keeps the table in force equal to the manifests: reads, compiles, swaps.
 *
 * A reload that fails anywhere leaves the table in force as it was; `status` says why. Reloads never
 * overlap: one that is asked for while another runs starts after it, with what is then on disk.
 */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #compiler: ManifestCompiler;
  #last: Promise<unknown> = Promise.resolve();
  #table: CompiledTable | undefined;
  #generation = 0;
  #since: Date | undefined;
  #lastError: string | undefined;

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#compiler = new ManifestCompiler(options.local);
  }

  /** The table in force. */
  get table(): CompiledTable | undefined {
    return this.#table;
  }

  get status(): ControllerStatus {
    return {
      generation: this.#generation,
      since: this.#since,
      endpoints: this.#table?.ruleset.endpoints.length ?? 0,
      lastError: this.#lastError,
    };
  }

  /** Reads the manifests, here or from `read`, and puts their table in force. */
  reload(read: () => Promise<Manifests> = this.#options.read): Promise<Reload> {
    const reloading = this.#last.then(() => this.#reload(read));
    this.#last = reloading;
    return reloading;
  }

  async #reload(read: () => Promise<Manifests>): Promise<Reload> {
    let diagnostics: readonly Diagnostic[] = [];
    try {
      const manifests = await read();
      diagnostics = manifests.diagnostics;
      if (diagnostics.some(isError)) return this.#failed({ ok: false, diagnostics });

      const objects = this.#options.prepare?.(manifests.objects) ?? manifests.objects;
      const compiled = this.#compiler.compile(objects);
      diagnostics = [...diagnostics, ...compiled.diagnostics];
      if (!compiled.ok) return this.#failed({ ok: false, diagnostics });

      const table = { blob: compiled.blob, ruleset: compiled.ruleset, objects };
      this.#generation = this.#options.enforce(table);
      this.#table = table;
      this.#since = new Date();
      this.#lastError = undefined;
      return { ok: true, generation: this.#generation, diagnostics };
    } catch (thrown) {
      const refused = thrown instanceof Error ? thrown : new Error(String(thrown));
      return this.#failed({ ok: false, diagnostics, refused });
    }
  }

  #failed(reload: Reload & { ok: false }): Reload {
    const first = reload.diagnostics.find(isError);
    this.#lastError =
      reload.refused?.message ??
      (first === undefined
        ? "the manifests have errors"
        : `${first.span.file}:${first.span.line}:${first.span.column}: ${first.message}`);
    return reload;
  }
}

function isError(diagnostic: Diagnostic): boolean {
  return diagnostic.severity === "error";
}
