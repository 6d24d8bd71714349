import { Worker } from "node:worker_threads";
import { usableMemoryBytes } from "../dataplane/capacity.js";
import { TableBlob } from "../dataplane/table-blob.js";
import { type Diagnostic, diagnostic } from "../diagnostics/diagnostic.js";
import type { Mode } from "../manifest/annotations.js";
import type { ObjectHead, ServiceObject } from "../manifest/objects.js";
import type { ReadRequest } from "../manifest/read.js";
import type { LocalPods } from "../policy/cluster.js";
import type { ObjectChange } from "../policy/live-cluster.js";
import type { RulesetSummary } from "../policy/ruleset.js";
import { keyOf, ObjectList, type ObjectView } from "./object-list.js";
import type { ReadManifests } from "./source.js";
import type { FindObject, Outcome, TableCompiler, WholePolicy } from "./table-compiler.js";
import {
  type MakingOptions,
  type ObjectRef,
  partsOf,
  RulesetReader,
  type ThreadAnswer,
  type ThreadData,
  type ThreadPart,
  type ThreadRequest,
  type ThreadResult,
} from "./thread-messages.js";

export interface CompilerThreadOptions {
  readonly mode?: Mode;
  /** Makes pods of workloads when present. When absent, what was read is all there is. */
  readonly making?: MakingOptions;
  /** The program of the thread; the built one when absent. */
  readonly program?: URL;
  /** Time limit of one request. */
  readonly limitMs?: number;
  readonly heapMebibytes?: number;
}

/** The parts that arrived before a result. */
interface Gathered {
  readonly heads: ObjectHead[];
  readonly services: ServiceObject[];
  readonly policies: WholePolicy[];
  /** The position of each object in the thread's list. */
  readonly places: WeakMap<ObjectHead, number>;
  readonly ruleset: RulesetReader;
}

interface Pending {
  readonly gathered: Gathered;
  readonly resolve: (result: ThreadResult) => void;
  readonly reject: (error: Error) => void;
}

const usualLimitMs = 120_000;
const heapMebibytesMax = 2_048;

/**
 * Reads and compiles manifests in a separate thread, so that no manifest can delay the process's events,
 * clients and watchdog.
 *
 * A thread that takes too long or too much memory is terminated; a new one starts from the same state.
 *
 * Threads: one request at a time, as the Controller sends them.
 * Errors: SL2007 when a limit of time or memory is exceeded; Error when the thread ends otherwise.
 */
export class CompilerThread implements TableCompiler {
  readonly #options: CompilerThreadOptions;
  #worker: Worker | undefined;
  #isClosed = false;
  #pending: Pending | undefined;
  /** Why the last thread was terminated. */
  #whyEnded = new Error("the thread that compiles has ended");
  /** Whether the thread has `#objects`. */
  #isInformed = false;
  /** The objects after all changes, or the last list. */
  #objects = new ObjectList<ObjectHead>();
  #listed: readonly ObjectHead[] | undefined;
  /** Positions of the heads of the last read. */
  #places = new WeakMap<ObjectHead, number>();
  #local: LocalPods | undefined;
  #ruleset: RulesetSummary = { endpoints: [] };
  /** The thread's last table. */
  #blob: TableBlob | undefined;

  constructor(options: CompilerThreadOptions = {}) {
    this.#options = options;
  }

  view(): ObjectView<ObjectHead> {
    const listed = this.#listed;
    return listed === undefined ? this.#objects.view() : { all: listed, pieces: [listed] };
  }

  readonly find: FindObject = (kind, name) => {
    if (this.#listed === undefined) return this.#objects.find(kind, name);
    const wanted = keyOf(kind, name);
    return this.#listed.findLast((each) => keyOf(each.kind, each.meta) === wanted);
  };

  /** As `readManifests`. */
  async read(request: ReadRequest): Promise<ReadManifests> {
    const place = request.paths[0] ?? "";
    const done = await this.#ask(this.#started(), { do: "read", request }, place);
    if (Array.isArray(done)) return { objects: [], diagnostics: done };
    const { result, gathered } = done;
    this.#places = gathered.places;
    const { diagnostics } = result;
    const passedOver = result.kind === "read" ? result.passedOver : [];
    const { heads: objects, services } = gathered;
    return { objects, services, diagnostics, passedOver };
  }

  async compile(objects: readonly ObjectHead[], local: LocalPods): Promise<Outcome> {
    const worker = this.#started();
    this.#listed = objects;
    const refOf = (object: ObjectHead): ObjectRef => this.#places.get(object) ?? object;
    await this.#take(worker, objects, (part) => ({ do: "take", objects: part.map(refOf) }));
    // The thread may have ended meanwhile.
    this.#isInformed = this.#worker === worker;
    return this.#compiled(worker, "compile", local);
  }

  async change(changes: readonly ObjectChange[], local: LocalPods): Promise<Outcome> {
    if (this.#listed !== undefined) {
      this.#objects = new ObjectList(this.#listed);
      this.#listed = undefined;
    }
    for (const part of partsOf(changes, () => 5)) {
      for (const change of part) {
        if ("put" in change) this.#objects.put(change.put);
        else this.#objects.remove(change.remove.kind, change.remove);
      }
      if (part.length < changes.length) await new Promise((resolve) => setImmediate(resolve));
    }
    const worker = this.#started();
    const sent = this.#isInformed ? changes : this.#allPut();
    this.#isInformed = true;
    await this.#take(worker, sent, (part) => ({ do: "take", changes: part }));
    return this.#compiled(worker, "change", local);
  }

  /** Errors: Error when the thread has none, since it was started anew after a limit was exceeded. */
  async policies(): Promise<readonly WholePolicy[]> {
    if (!this.#isInformed) throw new Error("the manifests are read again");
    const done = await this.#ask(this.#started(), { do: "policies" }, "the policies");
    if (Array.isArray(done)) throw new Error(done[0]?.message);
    return done.gathered.policies;
  }

  /** Every request from here on is an error; so is the one under way. */
  close(): void {
    this.#isClosed = true;
    this.#end(new Error("the thread that compiles was closed"));
  }

  /**
   * What a new thread gets: whole objects, where changes come from an API server. Of files only the heads are kept.
   * Errors: the thread's, of a policy without its rules.
   */
  #allPut(): readonly ObjectChange[] {
    return this.view().all.map((put) => ({ put }) as ObjectChange);
  }

  async #compiled(worker: Worker, what: "compile" | "change", local: LocalPods): Promise<Outcome> {
    const isKnown = local === this.#local;
    this.#local = local;
    const request: ThreadRequest = isKnown ? { do: what } : { do: what, local };
    const done = await this.#ask(worker, request, "the manifests");
    if (Array.isArray(done)) return { ok: false, diagnostics: done };
    const { result, gathered } = done;
    const { diagnostics } = result;
    if (result.kind !== "compiled") return { ok: false, diagnostics };
    const { blob, stats, effort, hasRuleset } = result;
    if (hasRuleset) this.#ruleset = gathered.ruleset.summary;
    this.#blob = TableBlob.next(this.#blob, blob);
    return { ok: true, blob: this.#blob, stats, diagnostics, effort, ruleset: this.#ruleset };
  }

  /** Sends a list in parts; other work runs between two of them. */
  async #take<Item>(
    worker: Worker,
    items: readonly Item[],
    request: (part: readonly Item[]) => ThreadRequest,
  ): Promise<void> {
    let isFirst = true;
    for (const part of partsOf(items, () => 50)) {
      if (!isFirst) await new Promise((resolve) => setImmediate(resolve));
      isFirst = false;
      worker.postMessage(request(part));
    }
  }

  /**
   * Sends a request. When a limit is exceeded, returns the diagnostics for it.
   *
   * Errors: Error when `worker` is not the thread that got the earlier parts: a table is made of all parts or
   *         none.
   */
  async #ask(
    worker: Worker,
    request: ThreadRequest,
    place: string,
  ): Promise<{ readonly result: ThreadResult; readonly gathered: Gathered } | Diagnostic[]> {
    const { limitMs = usualLimitMs } = this.#options;
    const gathered: Gathered = {
      heads: [],
      services: [],
      policies: [],
      places: new WeakMap(),
      ruleset: new RulesetReader(),
    };
    let timer: NodeJS.Timeout | undefined;
    try {
      const result = await new Promise<ThreadResult>((resolve, reject) => {
        if (this.#worker !== worker) {
          reject(this.#whyEnded);
          return;
        }
        this.#pending = { gathered, resolve, reject };
        timer = setTimeout(() => {
          this.#end(new Exceeded(`got no end of it in ${limitMs / 1_000} s`));
        }, limitMs);
        worker.postMessage(request);
      });
      return { result, gathered };
    } catch (error) {
      if (!(error instanceof Exceeded)) throw error;
      const span = { file: place, line: 1, column: 1, endLine: 1, endColumn: 1 };
      const want = "want fewer or simpler policies";
      return [diagnostic("SL2007", span, `${error.message} while reading and compiling, ${want}`)];
    } finally {
      clearTimeout(timer);
      this.#pending = undefined;
    }
  }

  /** The thread; starts one when there is none. Errors: Error after `close`. */
  #started(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    if (this.#isClosed) throw this.#whyEnded;
    const { program = new URL("./compiler-program.js", import.meta.url) } = this.#options;
    const { mode = "enforce", making, heapMebibytes = usualHeapMebibytes() } = this.#options;
    const worker = new Worker(program, {
      workerData: { mode, ...(making === undefined ? {} : { making }) } satisfies ThreadData,
      resourceLimits: { maxOldGenerationSizeMb: heapMebibytes },
    });
    // A pending request keeps the process alive by the timer of its time limit.
    worker.unref();
    worker.on("message", (answer: ThreadAnswer) => {
      if (this.#worker === worker) this.#hear(worker, answer);
    });
    worker.on("error", (error: NodeJS.ErrnoException) => {
      if (this.#worker !== worker) return;
      const isMemory = error.code === "ERR_WORKER_OUT_OF_MEMORY";
      const message = `got no end of it in ${heapMebibytes} MiB of memory`;
      this.#end(isMemory ? new Exceeded(message) : error);
    });
    worker.on("exit", () => {
      if (this.#worker === worker) this.#end(new Error("the thread that compiles has ended"));
    });
    this.#worker = worker;
    return worker;
  }

  #hear(worker: Worker, answer: ThreadAnswer): void {
    if ("failed" in answer) {
      // Its state after a failure is unknown.
      this.#end(new Error(answer.failed));
    } else if ("done" in answer) {
      this.#pending?.resolve(answer.done);
    } else {
      const { part } = answer;
      if (this.#pending !== undefined) gather(part, this.#pending.gathered);
      // Deferred: Node delivers all queued messages in one turn, and other work would wait.
      setImmediate(() => worker.postMessage({ do: "next" } satisfies ThreadRequest));
    }
  }

  /** Terminates the thread, which may be in an endless step. */
  #end(error: Error): void {
    const worker = this.#worker;
    this.#worker = undefined;
    this.#whyEnded = error;
    this.#isInformed = false;
    this.#local = undefined;
    void worker?.terminate();
    this.#pending?.reject(error);
  }
}

function gather(part: ThreadPart, { heads, services, policies, places, ruleset }: Gathered): void {
  if ("services" in part) services.push(...part.services);
  else if ("whole" in part) policies.push(...part.whole);
  else if (!("heads" in part)) ruleset.take(part);
  else for (const head of part.heads) places.set(head, heads.push(head) - 1);
}

/** A limit of the thread was exceeded. */
class Exceeded extends Error {}

/** At most a quarter of the memory. */
function usualHeapMebibytes(): number {
  const share = Math.floor(usableMemoryBytes() / 4 / 2 ** 20);
  return Math.max(64, Math.min(heapMebibytesMax, share));
}
