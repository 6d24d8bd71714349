import { type Diagnostic, placeText } from "../diagnostics/diagnostic.js";
import { reported } from "../diagnostics/findings.js";
import type { Mode } from "../manifest/annotations.js";
import type { ObjectHead, Pod } from "../manifest/objects.js";
import { Histogram } from "../metrics/histogram.js";
import type { LocalPods } from "../policy/resolve.js";
import type { DryRunTask } from "./dry-run-process.js";
import { ManifestCompiler } from "./manifest-compiler.js";
import { RefusalError } from "./refusal.js";
import type { ReadManifests, SourceChanges, SourceUpdate } from "./source.js";
import type {
  Checked,
  CompiledTable,
  Effort,
  FindObject,
  Outcome,
  TableCompiler,
  WholePolicy,
} from "./table-compiler.js";
import type { MakingOptions } from "./thread-messages.js";

export type { CompiledTable };

export interface ControllerOptions {
  /** Returns all objects, or the changes since the last call; called at each update. */
  readonly take: () => Promise<SourceUpdate>;
  /**
   * The pods whose traffic is judged; called at each reload. Returns the same object if nothing has changed.
   */
  readonly local: () => LocalPods;
  /** Mode of a policy when neither it nor its pod sets one: enforced when absent. */
  readonly mode?: Mode;
  /** The compiler; the caller closes it. The controller makes its own when absent. */
  readonly compiler?: TableCompiler;
  /**
   * Changes the objects between reading and compiling; not called for sources that report only changes.
   *
   * Errors: what it throws ends the reload.
   */
  readonly prepare?: (read: ReadManifests) => readonly ObjectHead[];
  /** Pods that `prepare` has added to those of the manifests in force. */
  readonly added?: () => readonly Pod[];
  /** What the source makes of manifests as it reads them, for whoever reads others in its place. */
  readonly making?: MakingOptions;
  /** Puts a table in force and returns its generation. Errors: what it throws ends the reload. */
  readonly enforce: (table: CompiledTable) => number | Promise<number>;
  /** Told of a table with the same bytes as the one in force, whose objects may have other labels. */
  readonly relabelled?: (generation: number, table: CompiledTable) => void;
  /**
   * The generation in force after an `enforce` that threw: it may have put the previous table in force again.
   */
  readonly generation?: () => number;
}

/** How a reload ended. `refused` is the thrown error, when it was not a diagnostic. */
export type Reload =
  | { readonly ok: true; readonly generation: number; readonly diagnostics: readonly Diagnostic[] }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[]; readonly refused?: Error };

/** The result of an update; `isOther`: its table may judge differently from the previous one. */
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

/** Durations of reloads, since the start. */
class ReloadMeasures {
  succeeded = 0;
  failed = 0;
  /** Units: seconds, of the compiler alone. */
  readonly compile = new Histogram();
  /** How many tables were compiled, by the effort that each took. */
  readonly compiles: Record<Effort, number> = { none: 0, patch: 0, rebuild: 0 };
  /** Units: seconds, from the request of a reload, or from an event, until it was in force. */
  readonly delay = new Histogram();
}

/** Events whose delay is still to be measured; more are not noted. */
const WAITING_MAX = 1_000_000;

/**
 * Keeps the table in force equal to the manifests: reads, compiles, swaps.
 *
 * A reload that fails at any step leaves the table in force; `status` says why. Reloads never overlap: one
 * that is requested while another runs starts after it, with the manifests of that moment.
 */
export class Controller {
  readonly measures = new ReloadMeasures();
  readonly #options: ControllerOptions;
  readonly #compiler: TableCompiler;
  #pending = 0;
  #last: Promise<unknown> = Promise.resolve();
  /** Settles when the table that is being put in force is in force, or was refused. */
  #enforcing: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  #table: CompiledTable | undefined;
  #generation = 0;
  #since: Date | undefined;
  #lastError: string | undefined;
  /** What the last changes came to, for these pods; undefined after an error. */
  #lastChange: { readonly step: Step & { ok: true }; readonly local: LocalPods } | undefined;
  /** Whether the last compiled table could not be put in force. */
  #isBehind = false;
  /** Arrival times of the events that are not in force yet. Units: milliseconds. */
  #waiting: readonly number[] = [];

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#compiler = options.compiler ?? new ManifestCompiler(options.mode);
  }

  /** The table in force. */
  get table(): CompiledTable | undefined {
    return this.#table;
  }

  /** Finds one of the objects of the table that is being put in force, or was last. */
  get find(): FindObject {
    return this.#compiler.find;
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

  /**
   * Calls `take`, by default the option of that name, compiles its objects, and puts the table in force.
   */
  reload(take: () => Promise<SourceUpdate> = this.#options.take): Promise<Reload> {
    return this.#next(take, true);
  }

  /** The same, but keeps the table in force if the new one would judge alike. */
  update(take: () => Promise<SourceUpdate> = this.#options.take): Promise<Reload> {
    return this.#next(take, false);
  }

  /** Compiles what is known for the pods that are judged now; see `local`. */
  recompile(): Promise<Reload> {
    return this.#next(async () => ({ changes: [], heardMs: [], diagnostics: [] }), false);
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

  /** What another process needs to compile manifests as this one would. */
  get dryRunTask(): DryRunTask {
    const { local, mode = "enforce", prepare, making, added } = this.#options;
    const { endpoints } = this.#table?.ruleset ?? { endpoints: [] };
    const assigned =
      prepare === undefined
        ? []
        : endpoints.map(({ namespace, name, addresses }) => ({ namespace, name, addresses }));
    const more = {
      ...(making === undefined ? {} : { making }),
      ...(added === undefined ? {} : { added: added() }),
    };
    return { local: local(), mode, assigned, ...more };
  }

  /**
   * The table in force, and the policies, with their rules, that the compiler has seen last: others, where the last
   * reload failed.
   */
  inForce(): Promise<{
    readonly table: CompiledTable | undefined;
    readonly generation: number;
    readonly policies: readonly WholePolicy[];
  }> {
    return this.alone(async () => ({
      table: this.#table,
      generation: this.#generation,
      policies: this.#table === undefined ? [] : await this.#compiler.policies(),
    }));
  }

  /** Runs a step between two reloads: none begins before the step has ended. */
  alone<Result>(step: () => Promise<Result>): Promise<Result> {
    const done = this.#last.then(step);
    this.#last = done.catch(() => {});
    return done;
  }

  /**
   * Puts no table in force from here on: a reload under way or waiting ends as refused. Resolves when one that
   * was being put in force has ended.
   */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#enforcing;
  }

  async #reload(
    take: () => Promise<SourceUpdate>,
    isAsked: boolean,
    startMs: number,
  ): Promise<Reload> {
    let diagnostics: readonly Diagnostic[] = [];
    try {
      this.#mustBeOpen();
      const update = await take();
      // The delay of an event ends when it is in force, after any number of attempts.
      if ("heardMs" in update && this.#waiting.length < WAITING_MAX) {
        this.#waiting = this.#waiting.concat(update.heardMs);
      }
      const step = "all" in update ? this.#compileAll(update.all) : this.#change(update);
      const candidate = await step;
      diagnostics = candidate.diagnostics;
      if (!candidate.ok) return this.#failed(candidate);

      if (candidate.isOther || isAsked || this.#isBehind) {
        this.#mustBeOpen();
        this.#isBehind = true;
        this.#generation = await this.#enforce(candidate.table);
        this.#isBehind = false;
        this.#since = new Date();
      } else if (candidate.table !== this.#table) {
        this.#options.relabelled?.(this.#generation, candidate.table);
      }
      this.#table = candidate.table;
      this.#lastError = undefined;
      const nowMs = performance.now();
      const heard = "all" in update ? [...this.#waiting, startMs] : this.#waiting;
      for (const heardMs of heard) this.measures.delay.observe((nowMs - heardMs) / 1_000);
      this.#waiting = [];
      return { ok: true, generation: this.#generation, diagnostics };
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      const refused = this.#isClosed ? endingError() : error;
      return this.#failed({ ok: false, diagnostics, refused });
    }
  }

  #mustBeOpen(): void {
    if (this.#isClosed) throw endingError();
  }

  async #enforce(table: CompiledTable): Promise<number> {
    const { enforce, generation } = this.#options;
    try {
      const enforced = (async () => enforce(table))();
      this.#enforcing = enforced.catch(() => {});
      return await enforced;
    } catch (error) {
      this.#generation = generation?.() ?? this.#generation;
      throw error;
    }
  }

  async #compileAll(manifests: ReadManifests): Promise<Step> {
    this.#lastChange = undefined;
    if (manifests.diagnostics.some(isError)) {
      return { ok: false, diagnostics: manifests.diagnostics };
    }
    const objects = this.#options.prepare?.(manifests) ?? manifests.objects;
    const compiled = await this.#measured(() =>
      this.#compiler.compile(objects, this.#options.local()),
    );
    const warned = reported(compiled.diagnostics, manifests.sources);
    const diagnostics = [...manifests.diagnostics, ...warned];
    if (!compiled.ok) return { ok: false, diagnostics };
    const { blob, ruleset, stats } = compiled;
    const { services = [] } = manifests;
    const table = { blob, ruleset, objects, services, stats };
    return { ok: true, table, diagnostics, isOther: true };
  }

  async #change({ changes, diagnostics: found }: SourceChanges): Promise<Step> {
    const local = this.#options.local();
    const last = this.#lastChange;
    // What has come was taken with an update before: the compiler would say the same again.
    if (changes.length + found.length === 0 && last?.local === local && !this.#isBehind) {
      return { ...last.step, isOther: false };
    }
    this.#lastChange = undefined;
    const compiled = await this.#measured(() => this.#compiler.change(changes, local));
    const diagnostics = reported([...found, ...compiled.diagnostics]);
    if (!compiled.ok) return { ok: false, diagnostics };
    const { blob, ruleset, stats, effort } = compiled;
    const view = this.#compiler.view();
    const table = {
      ...{ blob, ruleset, stats, pieces: view.pieces },
      get objects() {
        return view.all;
      },
    };
    const isOther = effort !== "none" || this.#table === undefined;
    const step = { ok: true, table, diagnostics, isOther } as const;
    if (found.length === 0) this.#lastChange = { step, local };
    return step;
  }

  async #measured(compile: () => Outcome | Promise<Outcome>): Promise<Outcome> {
    const start = performance.now();
    const outcome = await compile();
    this.measures.compile.observe((performance.now() - start) / 1_000);
    if (outcome.ok) this.measures.compiles[outcome.effort]++;
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

function endingError(): RefusalError {
  return new RefusalError("environment", "the process is ending");
}

function isError(diagnostic: Diagnostic): boolean {
  return diagnostic.severity === "error";
}
