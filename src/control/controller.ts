import { type CompileStats, compile } from "../compiler/compile.js";
import { type Diagnostic, placeText } from "../diagnostics/diagnostic.js";
import { told } from "../diagnostics/findings.js";
import type { Mode } from "../manifest/annotations.js";
import type { KubernetesObject } from "../manifest/objects.js";
import type { Manifests } from "../manifest/parse.js";
import { Histogram } from "../metrics/histogram.js";
import type { LocalPods } from "../policy/resolve.js";
import type { Ruleset } from "../policy/ruleset.js";
import { ManifestCompiler } from "./manifest-compiler.js";
import type { SourceChanges, SourceUpdate } from "./source.js";

/** A table that is ready to be put in force. */
export interface CompiledTable {
  readonly blob: Uint8Array;
  /** What it was made from; an endpoint's place there is its number in the table. */
  readonly ruleset: Ruleset;
  readonly objects: readonly KubernetesObject[];
  readonly stats: CompileStats;
}

export interface ControllerOptions {
  /** Takes what there is or what is new; asked again at each update. */
  readonly take: () => Promise<SourceUpdate>;
  /** Whose traffic is judged; asked at each reload. What has not changed is the same object. */
  readonly local: () => LocalPods;
  /** Of policies that neither they nor their pod say more about: enforced when absent. */
  readonly mode?: Mode;
  /**
   * Changes the objects between reading and compiling; not for sources that tell of changes alone.
   *
   * Errors: what it throws ends the reload.
   */
  readonly prepare?: (objects: readonly KubernetesObject[]) => readonly KubernetesObject[];
  /** Puts a table in force and answers with its generation. Errors: what it throws ends the reload. */
  readonly enforce: (table: CompiledTable) => number | Promise<number>;
  /** The generation in force after an `enforce` that threw: it may have put the table before in force anew. */
  readonly generation?: () => number;
}

/** How a reload ended. `refused` is what was thrown on the way, when it was no diagnostic. */
export type Reload =
  | { readonly ok: true; readonly generation: number; readonly diagnostics: readonly Diagnostic[] }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[]; readonly refused?: Error };

/** What a set of manifests would come to. */
export type Candidate =
  | {
      readonly ok: true;
      readonly table: CompiledTable;
      readonly diagnostics: readonly Diagnostic[];
    }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/** What an update came to; `isOther`: its table may judge otherwise than the one before. */
type Step =
  | (Extract<Candidate, { ok: true }> & { readonly isOther: boolean })
  | Extract<Candidate, { ok: false }>;

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
  /** Follows what is reloaded; what is only checked does not pass through it. */
  readonly #compiler: ManifestCompiler;
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
    this.#compiler = new ManifestCompiler(options.mode);
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

  /**
   * Compiles other manifests and changes nothing.
   *
   * Errors: what `prepare` throws.
   */
  check(manifests: Manifests): Promise<Candidate> {
    const { mode = "enforce" } = this.#options;
    const local = this.#options.local();
    return this.alone(async () =>
      this.#compile(manifests, (objects) => compile({ objects, local, mode })),
    );
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
      const candidate = "all" in update ? this.#compileAll(update.all) : this.#change(update);
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

  #compileAll(manifests: Manifests): Step {
    const compiled = this.#compile(manifests, (objects) =>
      this.#compiler.compile(objects, this.#options.local()),
    );
    return compiled.ok ? { ...compiled, isOther: true } : compiled;
  }

  #change({ changes, diagnostics: found }: SourceChanges): Step {
    const start = performance.now();
    const compiled = this.#compiler.change(changes, this.#options.local());
    this.measures.compile.observe((performance.now() - start) / 1_000);
    const diagnostics = told([...found, ...compiled.diagnostics]);
    if (!compiled.ok) return { ok: false, diagnostics };
    const { blob, ruleset, stats, effort } = compiled;
    const { objects } = this.#compiler;
    const isOther = effort !== "none" || this.#table === undefined;
    return { ok: true, table: { blob, ruleset, objects, stats }, diagnostics, isOther };
  }

  #compile(
    manifests: Manifests,
    compileObjects: (
      objects: readonly KubernetesObject[],
    ) => ReturnType<typeof compile> | ReturnType<ManifestCompiler["compile"]>,
  ): Candidate {
    if (manifests.diagnostics.some(isError)) {
      return { ok: false, diagnostics: manifests.diagnostics };
    }
    const objects = this.#options.prepare?.(manifests.objects) ?? manifests.objects;
    const start = performance.now();
    const compiled = compileObjects(objects);
    this.measures.compile.observe((performance.now() - start) / 1_000);
    const warned = told(compiled.diagnostics, manifests.sources);
    const diagnostics = [...manifests.diagnostics, ...warned];
    if (!compiled.ok) return { ok: false, diagnostics };
    const { blob, ruleset, stats } = compiled;
    return { ok: true, table: { blob, ruleset, objects, stats }, diagnostics };
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
