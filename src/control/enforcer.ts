import { setTimeout as pause } from "node:timers/promises";
import { Dataplane, type DataplaneOptions } from "../dataplane/dataplane.js";
import type { Tell } from "../diagnostics/tell.js";
import type { ObjectHead } from "../manifest/objects.js";
import { DroppedFrames, type FrameSource } from "../observe/dropped-frames.js";
import { type EventSource, FlowLog } from "../observe/flow-log.js";
import { Hits } from "../observe/hits.js";
import { contained } from "./boundary.js";
import type { ControlSubject } from "./control-routes.js";
import { Controller, type ControllerOptions, type Reload } from "./controller.js";
import { settings } from "./settings.js";
import type { Signals } from "./signals.js";
import type { SourceUpdate } from "./source.js";
import type { TableCompiler } from "./table-compiler.js";

/** After a requested reload, other work gets as much time as the reload took, up to this. */
const restMaxMs = 500;

/** The members of ControlSubject that the enforcer makes itself. */
type Made =
  | "controller"
  | "dataplane"
  | "flows"
  | "droppedFrames"
  | "hits"
  | "established"
  | "deny"
  | "reload";

export interface EnforcerOptions extends Omit<ControlSubject, Made> {
  readonly dataplane: DataplaneOptions;
  /** How a table is made and put in force. */
  readonly controller: Omit<ControllerOptions, "compiler">;
  /** Owner: closed with the enforcer. When absent, it compiles in this thread. */
  readonly compiler?: TableCompiler;
  readonly reload: ReloadSteps;
  /** The name of a link's interface; called for each flow. */
  readonly interfaceName: (linkId: number) => string | undefined;
  /** Flows and dropped frames that others than the data plane's links tell. */
  readonly moreEvents?: EventSource & FrameSource;
  /** Reports errors in the background; absent: they are not reported. */
  readonly tell?: Tell;
}

/** The steps around a requested reload. */
export interface ReloadSteps {
  /** Returns the current objects. */
  readonly take: () => Promise<SourceUpdate>;
  readonly before?: () => void;
  readonly after?: (reload: Reload) => void;
}

/** Steps at the end, between the enforcer's own. */
export interface EnforcerEnd {
  /** Called when no frame moves any more and the connections can still be read. */
  readonly stopped?: () => void;
  /** Gives the interfaces back, or leaves them to a successor. */
  readonly letGo?: () => void;
  /** Whether the interfaces belong to a successor and stay unchanged. */
  readonly leaves?: boolean;
}

/**
 * The common part of every enforcing process: a data plane, the controller of its table, the flow log, the
 * control socket, and the reloads that are requested there or by SIGHUP. A node adds attachments and the
 * handoff, a lab adds namespaces.
 */
export class Enforcer {
  readonly dataplane: Dataplane;
  readonly flows: FlowLog;
  readonly hits: Hits;
  readonly #droppedFrames: DroppedFrames;
  readonly controller: Controller;
  /** What the control socket reports and controls. */
  readonly subject: ControlSubject;
  readonly #compiler: TableCompiler | undefined;
  readonly #steps: ReloadSteps;
  readonly #tell: Tell;
  #listening: { close(): void | Promise<void> } | undefined;
  #nextReload: Promise<Reload> | undefined;
  readonly #ending = new AbortController();
  #restUntilMs = 0;

  /** Errors: DataplaneError. */
  constructor(options: EnforcerOptions) {
    const { dataplane, controller, compiler, reload, interfaceName, moreEvents, tell, ...about } =
      options;
    this.#compiler = compiler;
    this.#steps = reload;
    this.#tell = tell ?? (() => {});
    this.dataplane = Dataplane.create(dataplane);
    this.flows = new FlowLog(this.dataplane, {
      interfaceName,
      tableUsed: () => this.hits.tableUsed(),
      moreDrained: (records, count) => this.hits.takeEvents(records, count),
      ...(moreEvents === undefined ? {} : { more: moreEvents }),
      ...(tell === undefined ? {} : { tell }),
    });
    const frameSources = moreEvents === undefined ? [] : [moreEvents];
    this.#droppedFrames = new DroppedFrames([this.dataplane, ...frameSources], this.flows);
    this.controller = new Controller({
      ...controller,
      ...(compiler === undefined ? {} : { compiler }),
    });
    this.hits = new Hits({
      dataplane: this.dataplane,
      flows: this.flows,
      exists: ({ kind, namespace, name }) =>
        this.controller.find(kind as ObjectHead["kind"], { namespace, name }) !== undefined,
      ...(about.inPlace === undefined ? {} : { living: () => about.inPlace!.connections() }),
      ...(tell === undefined ? {} : { tell }),
    });
    this.subject = {
      ...about,
      controller: this.controller,
      dataplane: this.dataplane,
      flows: this.flows,
      hits: this.hits,
      droppedFrames: this.#droppedFrames,
      established: dataplane.established ?? settings.established.fallback,
      deny: dataplane.deny ?? settings.deny.fallback,
      reload: () => this.reload(),
    };
  }

  /** Opens the control socket, which is closed with the enforcer. Errors: what `open` throws. */
  async listen<Listening extends { close(): void | Promise<void> }>(
    open: (subject: ControlSubject) => Promise<Listening>,
  ): Promise<Listening> {
    const listening = await open(this.subject);
    this.#listening = listening;
    return listening;
  }

  /** Reloads at each SIGHUP from now on. */
  followSignals(signals: Signals): void {
    signals.onHangup = () => contained(this.#tell, "SIGHUP", () => this.reload());
  }

  /** Reads the manifests again. All requests before a reload begins share that reload. */
  reload(): Promise<Reload> {
    this.#nextReload ??= this.#reloadAfterRest();
    return this.#nextReload;
  }

  async #reloadAfterRest(): Promise<Reload> {
    const { signal } = this.#ending;
    const restMs = Math.max(0, this.#restUntilMs - performance.now());
    await pause(restMs, undefined, { signal }).catch(() => {});
    const startMs = performance.now();
    const { take, before, after } = this.#steps;
    try {
      if (!signal.aborted) before?.();
      const done = await this.controller.reload(() => {
        // A later request may want manifests that this reload does not read.
        this.#nextReload = undefined;
        return take();
      });
      if (!signal.aborted) after?.(done);
      return done;
    } catch (error) {
      this.#nextReload = undefined;
      throw error;
    } finally {
      const endMs = performance.now();
      this.#restUntilMs = endMs + Math.min(endMs - startMs, restMaxMs);
    }
  }

  /**
   * Ends the compiler, and with it every reload: one that runs or waits, now or later, ends as refused. Resolves
   * when no table comes into force any more.
   */
  async endReloads(): Promise<void> {
    this.#ending.abort();
    this.#compiler?.close();
    await this.controller.close();
  }

  /**
   * Ends, in this order: the reloads, forwarding, the control socket, the flow log, the attachments' hold on
   * the interfaces, the data plane. Resolves when the socket and its port are free.
   */
  async close({ stopped, letGo, leaves = false }: EnforcerEnd = {}): Promise<void> {
    await this.endReloads();
    this.dataplane.stop();
    stopped?.();
    const closed = this.#listening?.close();
    this.#droppedFrames.close();
    this.flows.close();
    this.hits.close();
    letGo?.();
    if (leaves) this.dataplane.leave();
    else this.dataplane.close();
    await closed;
  }
}
