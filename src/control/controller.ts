import { type Diagnostic, placeText } from "../diagnostics/diagnostic.js";
import { told } from "../diagnostics/findings.js";
import type { Mode } from "../manifest/annotations.js";
import type { ObjectHead } from "../manifest/objects.js";
import { Histogram } from "../metrics/histogram.js";
import type { LocalPods } from "../policy/resolve.js";
import type { DryRunTask } from "./dry-run-process.js";
import { ManifestCompiler } from "./manifest-compiler.js";
import type { ReadManifests, SourceChanges, SourceUpdate } from "./source.js";
import type { Checked, CompiledTable, Outcome, TableCompiler } from "./table-compiler.js";

export type { CompiledTable };

export interface ControllerOptions {
  /** Takes what there is or what is new; asked again at each update. */
  readonly take: () => Promise<SourceUpdate>;
  /** Whose traffic is judged; asked at each reload. What has not changed is the same object. */
  readonly local: () => LocalPods;
  /** Of policies that neither they nor their pod say more about: enforced when absent. */
  readonly mode?: Mode;
  /** Compiles for it, and is the caller's to close; one of its own when absent. */
  readonly compiler?: TableCompiler;
  /**
   * Changes the objects between reading and compiling; not for sources that tell of changes alone.
   *
   * Errors: what it throws ends the reload.
   */
  readonly prepare?: (objects: readonly ObjectHead[]) => readonly ObjectHead[];
  /** Puts a table in force and answers with its generation. Errors: what it throws ends the reload. */
  readonly enforce: (table: CompiledTable) => number | Promise<number>;
  /** The generation in force after an `enforce` that threw: it may have put the table before in force anew. */
  readonly generation?: () => number;
}

/** How a reload ended. `refused` is what was thrown on the way, when it was no diagnostic. */
export type Reload =
  | { readonly ok: true; readonly generation: number; readonly diagnostics: readonly Diagnostic[] }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[]; readonly refused?: Error };

/** What an update came to; `isOther`: its table may judge otherwise than the one before. */
type Step =
  | (Extract<Checked, { ok: true }> & { readonly isOther: boolean })
  | Extract<Checked, { ok: false }>;

export interface ControllerStatus {
  /** Of the table in force; 0 before the first. */
  readonly generation: number;
  /** When that table was put in force. */
  readonly since: Date | undefined;
  readonly endpoints: number;
  /** Why the last reload changed nothing; undefined when it did. */
  readonly lastError: string | undefined;
  /** Reloads under way or waiting. */
  readonly pending: number;
}

/** What reloads have taken, since the start. */
export class ReloadMeasures {
  succeeded = 0;
  failed = 0;
  /** Units: seconds, of the compiler alone. */
  readonly compile = new Histogram();
  /** Units: seconds, from when a reload was asked for, or an event heard of, until it was in force. */
  readonly delay = new Histogram();
}

/** Events whose delay is still to be measured; more are not noted. */
const WAITING_MAX = 1_000_000;

/**
 * Keeps the table in force equal to the manifests: reads, compiles, swaps.
 *
 * A reload that fails anywhere leaves the table in force as it was; `status` says why. Reloads never
 * overlap: one that is asked for while another runs starts after it, with what there is then.
 */
export class Controller {
  readonly measures = new ReloadMeasures();
  readonly #options: ControllerOptions;
  readonly #compiler: TableCompiler;
  #pending = 0;
  #last: Promise<unknown> = Promise.resolve();
  #table: CompiledTable | undefined;
  #generation = 0;
  #since: Date | undefined;
  #lastError: string | undefined;
  /** Whether what was compiled last could not be put in force. */
  #isBehind = false;
  /** When the events were heard of that are not in force yet. Units: milliseconds. */
  #waiting: readonly number[] = [];

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#compiler = options.compiler ?? new ManifestCompiler(options.mode);
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
      pending: this.#pending,
    };
  }

  /** Takes what there is or what is new, here or by `take`, and puts its table in force. */
  reload(take: () => Promise<SourceUpdate> = this.#options.take): Promise<Reload> {
    return this.#next(take, true);
  }

  /** Does the same, but leaves the table in force where the new one would judge alike. */
  update(): Promise<Reload> {
    return this.#next(this.#options.take, false);
  }

  async #next(take: () => Promise<SourceUpdate>, isAsked: boolean): Promise<Reload> {
    const start = performance.now();
    this.#pending++;
    try {
      const reload = await this.alone(() => this.#reload(take, isAsked, start));
      if (reload.ok) this.measures.succeeded++;
      else this.measures.failed++;
      return reload;
    } finally {
      this.#pending--;
    }
  }

  /** What another process needs to compile manifests as they would be here. */
  get dryRunTask(): DryRunTask {
    const { local, mode = "enforce", prepare } = this.#options;
    const { endpoints } = this.#table?.ruleset ?? { endpoints: [] };
    const assigned =
      prepare === undefined
        ? []
        : endpoints.map(({ namespace, name, addresses }) => ({ namespace, name, addresses }));
    return { local: local(), mode, assigned };
  }

  /** Runs a step between two reloads: none begins before it has ended. */
  alone<Result>(step: () => Promise<Result>): Promise<Result> {
    const done = this.#last.then(step);
    this.#last = done.catch(() => {});
    return done;
  }

  async #reload(
    take: () => Promise<SourceUpdate>,
    isAsked: boolean,
    startMs: number,
  ): Promise<Reload> {
    let diagnostics: readonly Diagnostic[] = [];
    try {
      const update = await take();
      // Whoever waits for events waits until they are in force, however many attempts that takes.
      if ("heardMs" in update && this.#waiting.length < WAITING_MAX) {
        this.#waiting = this.#waiting.concat(update.heardMs);
      }
      const step = "all" in update ? this.#compileAll(update.all) : this.#change(update);
      const candidate = await step;
      diagnostics = candidate.diagnostics;
      if (!candidate.ok) return this.#failed(candidate);

      if (candidate.isOther || isAsked || this.#isBehind) {
        this.#isBehind = true;
        this.#generation = await this.#enforce(candidate.table);
        this.#isBehind = false;
        this.#since = new Date();
      }
      this.#table = candidate.table;
      this.#lastError = undefined;
      const nowMs = performance.now();
      const heard = "all" in update ? [...this.#waiting, startMs] : this.#waiting;
      for (const heardMs of heard) this.measures.delay.observe((nowMs - heardMs) / 1_000);
      this.#waiting = [];
      return { ok: true, generation: this.#generation, diagnostics };
    } catch (thrown) {
      const refused = thrown instanceof Error ? thrown : new Error(String(thrown));
      return this.#failed({ ok: false, diagnostics, refused });
    }
  }

  async #enforce(table: CompiledTable): Promise<number> {
    const { enforce, generation } = this.#options;
    try {
      return await enforce(table);
    } catch (error) {
      this.#generation = generation?.() ?? this.#generation;
      throw error;
    }
  }

  async #compileAll(manifests: ReadManifests): Promise<Step> {
    if (manifests.diagnostics.some(isError)) {
      return { ok: false, diagnostics: manifests.diagnostics };
    }
    const objects = this.#options.prepare?.(manifests.objects) ?? manifests.objects;
    const compiled = await this.#measured(() =>
      this.#compiler.compile(objects, this.#options.local()),
    );
    const warned = told(compiled.diagnostics, manifests.sources);
    const diagnostics = [...manifests.diagnostics, ...warned];
    if (!compiled.ok) return { ok: false, diagnostics };
    const { blob, ruleset, stats } = compiled;
    return { ok: true, table: { blob, ruleset, objects, stats }, diagnostics, isOther: true };
  }

  async #change({ changes, diagnostics: found }: SourceChanges): Promise<Step> {
    const compiled = await this.#measured(() =>
      this.#compiler.change(changes, this.#options.local()),
    );
    const diagnostics = told([...found, ...compiled.diagnostics]);
    if (!compiled.ok) return { ok: false, diagnostics };
    const { blob, ruleset, stats, effort } = compiled;
    const { objects } = this.#compiler;
    const isOther = effort !== "none" || this.#table === undefined;
    return { ok: true, table: { blob, ruleset, objects, stats }, diagnostics, isOther };
  }

  async #measured(compile: () => Outcome | Promise<Outcome>): Promise<Outcome> {
    const start = performance.now();
    const outcome = await compile();
    this.measures.compile.observe((performance.now() - start) / 1_000);
    return outcome;
  }

  #failed(reload: Reload & { ok: false }): Reload {
    const first = reload.diagnostics.find(isError);
    this.#lastError =
      reload.refused?.message ??
      (first === undefined
        ? "the manifests have errors"
        : `${placeText(first.span)}: ${first.message}`);
    return reload;
  }
}

function isError(diagnostic: Diagnostic): boolean {
  return diagnostic.severity === "error";
}
