import { setTimeout as pause } from "node:timers/promises";
import { Dataplane, type DataplaneOptions } from "../dataplane/dataplane.js";
import type { Tell } from "../diagnostics/tell.js";
import { FlowLog } from "../observe/flow-log.js";
import { contained } from "./boundary.js";
import type { ControlSubject } from "./control-routes.js";
import { Controller, type ControllerOptions, type Reload } from "./controller.js";
import { settings } from "./settings.js";
import type { Signals } from "./signals.js";
import type { SourceUpdate } from "./source.js";
import type { TableCompiler } from "./table-compiler.js";

/** After a reload that was asked for there is as much time for other things as it took, up to this. */
const restMaxMs = 500;

/** What the enforcer makes by itself of what its control socket tells of. */
type Made = "controller" | "dataplane" | "flows" | "established" | "deny" | "reload";

export interface EnforcerOptions extends Omit<ControlSubject, Made> {
  readonly dataplane: DataplaneOptions;
  /** How a table comes to be, and how it is put in force. */
  readonly controller: Omit<ControllerOptions, "compiler">;
  /** Owner: closed with the enforcer. One of its own, in this thread, when absent. */
  readonly compiler?: TableCompiler;
  readonly reload: ReloadSteps;
  /** What the interface of a link is called; asked for each flow. */
  readonly interfaceName: (linkId: number) => string | undefined;
  /** Absent where nobody listens for what goes wrong in the background. */
  readonly tell?: Tell;
}

/** What surrounds a reload that somebody has asked for. */
export interface ReloadSteps {
  /** Takes what there is now. */
  readonly take: () => Promise<SourceUpdate>;
  readonly before?: () => void;
  readonly after?: (reload: Reload) => void;
}

/** What is to be done at the end, between the enforcer's own steps. */
export interface EnforcerEnd {
  /** No frame moves any more, and the connections can still be read. */
  readonly stopped?: () => void;
  /** Gives the interfaces back, or leaves them to another process. */
  readonly letGo?: () => void;
  /** Whether the interfaces are another process's by now, and stay as they are. */
  readonly leaves?: boolean;
}

/**
 * What every process that enforces has, whatever its interfaces are: a data plane, the controller of its
 * table, the flows it tells of, the control socket and the reloads that are asked for there or by SIGHUP.
 * A node adds attachments and the handoff to this, a lab namespaces.
 */
export class Enforcer {
  readonly dataplane: Dataplane;
  readonly flows: FlowLog;
  readonly controller: Controller;
  /** What the control socket tells of and acts on. */
  readonly subject: ControlSubject;
  readonly #compiler: TableCompiler | undefined;
  readonly #steps: ReloadSteps;
  readonly #tell: Tell;
  #listening: { close(): void | Promise<void> } | undefined;
  #nextReload: Promise<Reload> | undefined;
  #restUntilMs = 0;

  /** Errors: DataplaneError. */
  constructor(options: EnforcerOptions) {
    const { dataplane, controller, compiler, reload, interfaceName, tell, ...about } = options;
    this.#compiler = compiler;
    this.#steps = reload;
    this.#tell = tell ?? (() => {});
    this.dataplane = Dataplane.create(dataplane);
    this.flows = new FlowLog(this.dataplane, {
      interfaceName,
      ...(tell === undefined ? {} : { tell }),
    });
    this.controller = new Controller({
      ...controller,
      ...(compiler === undefined ? {} : { compiler }),
    });
    this.subject = {
      ...about,
      controller: this.controller,
      dataplane: this.dataplane,
      flows: this.flows,
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

  /** Reads the manifests again. Those who ask before it begins share one, however many they are. */
  reload(): Promise<Reload> {
    this.#nextReload ??= this.#reloadAfterRest();
    return this.#nextReload;
  }

  async #reloadAfterRest(): Promise<Reload> {
    await pause(Math.max(0, this.#restUntilMs - performance.now()));
    const startMs = performance.now();
    const { take, before, after } = this.#steps;
    try {
      before?.();
      const done = await this.controller.reload(() => {
        // Whoever asks from now on may want what is not read here.
        this.#nextReload = undefined;
        return take();
      });
      after?.(done);
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
   * Ends, in this order: no table is compiled, no frame moves, nobody is answered, no flow is told of, the
   * interfaces are let go of, the data plane ends. Resolves when the socket and its port are free.
   */
  async close({ stopped, letGo, leaves = false }: EnforcerEnd = {}): Promise<void> {
    this.#compiler?.close();
    this.dataplane.stop();
    stopped?.();
    const closed = this.#listening?.close();
    this.flows.close();
    letGo?.();
    if (leaves) this.dataplane.leave();
    else this.dataplane.close();
    await closed;
  }
}
