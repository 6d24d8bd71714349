import type { Tell } from "../diagnostics/tell.js";
import type { Controller, Reload } from "./controller.js";
import type { ManifestSource } from "./source.js";

export interface FollowerOptions {
  readonly source: ManifestSource;
  readonly controller: Controller;
  /** Called before and after each update that the source triggered. */
  readonly before?: () => void;
  readonly after: (reload: Reload) => void;
  /** Called after each one that `recompile` triggered. */
  readonly recompiled?: (reload: Reload) => void;
  /** Reports internal errors; the source is still followed. */
  readonly tell?: Tell;
  /**
   * How long to wait before a retry when the machine, not the manifests, caused the failure; 5 s when absent.
   */
  readonly retryMs?: number;
}

/** Bounds of the pause between two updates. Events that arrive meanwhile share a table. */
const REST_MIN_MS = 25;
const REST_MAX_MS = 500;

/**
 * Keeps a controller up to date with its source.
 *
 * Updates never overlap. Between two it pauses for as long as the last one took, and at least for
 * REST_MIN_MS, since every table makes every connection be judged again. Under a storm of events, at most
 * half of the time goes into tables. An event after the pause is handled at once, and so is an urgent one in it.
 */
export class SourceFollower {
  readonly #options: FollowerOptions;
  #isOpen = true;
  #isAsked = false;
  #isToRecompile = false;
  #isBusy = false;
  #isUrgent = false;
  /** Ends the pause after an update, unless that was refused. */
  #endRest: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** An update that was asked for and has not begun. */
  #next: Promise<Reload> | undefined;

  constructor(options: FollowerOptions) {
    this.#options = options;
    options.source.follow((isUrgent = false) => this.#ask(isUrgent));
  }

  close(): void {
    this.#isOpen = false;
    clearTimeout(this.#timer);
  }

  /** Has what is known compiled again, for the pods that are judged now. */
  recompile(): void {
    this.#isToRecompile = true;
    void this.#run();
  }

  /**
   * Takes what the source has, without the pause before. All who ask before an update begins share it. Errors: none.
   */
  now(): Promise<Reload> {
    this.#next ??= (async () => {
      const { controller, source, after } = this.#options;
      const reload = await controller.update(() => {
        this.#next = undefined;
        return source.take();
      });
      if (this.#isOpen) after(reload);
      return reload;
    })();
    return this.#next;
  }

  #ask(isUrgent: boolean): void {
    this.#isAsked = true;
    this.#isUrgent ||= isUrgent;
    if (isUrgent) this.#endRest?.();
    void this.#run();
  }

  async #run(): Promise<void> {
    const isAsked = this.#isAsked;
    if (this.#isBusy || !(isAsked || this.#isToRecompile) || !this.#isOpen) return;
    this.#isBusy = true;
    this.#isAsked = false;
    this.#isUrgent = false;
    this.#isToRecompile = false;
    const { controller, before, after, recompiled, retryMs = 5_000 } = this.#options;
    const start = performance.now();
    let hasRefused = false;
    try {
      if (isAsked) before?.();
      const reload = await (isAsked ? controller.update() : controller.recompile());
      if (!this.#isOpen) return;
      hasRefused = !reload.ok && reload.refused !== undefined;
      (isAsked ? after : recompiled)?.(reload);
    } catch (error) {
      this.#options.tell?.(`following the manifests: ${(error as Error).message}`);
      hasRefused = true;
    }
    const tookMs = performance.now() - start;
    if (!this.#isOpen) return;
    if (hasRefused) this.#isAsked = true;
    this.#rest(tookMs, hasRefused ? retryMs : undefined);
  }

  /** Until the next update may begin. */
  #rest(tookMs: number, retryMs: number | undefined): void {
    const end = () => {
      clearTimeout(this.#timer);
      this.#endRest = undefined;
      this.#isBusy = false;
      void this.#run();
    };
    const restMs = this.#isUrgent ? 0 : Math.min(Math.max(tookMs, REST_MIN_MS), REST_MAX_MS);
    this.#timer = setTimeout(end, retryMs ?? restMs);
    if (retryMs === undefined) this.#endRest = end;
  }
}
