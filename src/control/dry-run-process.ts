import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { Mode } from "../manifest/annotations.js";
import type { Pod } from "../manifest/objects.js";
import type { Address } from "../net/address.js";
import type { LocalPods } from "../policy/resolve.js";
import type { Denial } from "./dry-run-judge.js";
import { type Refusal, RefusalError } from "./refusal.js";
import type { MakingOptions } from "./thread-messages.js";

/** The pods whose traffic is judged, and how. */
export interface DryRunTask {
  readonly local: LocalPods;
  readonly mode: Mode;
  /** Addresses that this process assigned to pods whose manifests have none. */
  readonly assigned: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly addresses: readonly Address[];
  }[];
  /** What this process makes of manifests as it reads them. */
  readonly making?: MakingOptions;
  /** Pods that it adds to those of the manifests, unless they have one of the name. */
  readonly added?: readonly Pod[];
}

/**
 * The process's answers: first the result of the manifests, then one for each piece of connections.
 */
export type DryRunReply =
  | { readonly refused: Refusal }
  | { readonly ok: boolean; readonly diagnostics: readonly Diagnostic[] }
  | { readonly denials: readonly Denial[] };

/** Time limit of the whole dry run. */
const lastMs = 300_000;
const heapMegabytes = 2_048;

/**
 * A separate process for a dry run, so that the manifests, whatever their size and content, cost the
 * enforcing process no time, memory or trust.
 *
 * Owner:  `close` ends it.
 * Errors: RefusalError while another dry run is under way: each may use all the memory that dry runs have.
 */
export class DryRunProcess {
  static #current: DryRunProcess | undefined;
  readonly #child: ChildProcess;
  readonly #late: NodeJS.Timeout;
  #settle: (reply: DryRunReply) => void = () => {};
  #fail: (error: Error) => void = () => {};
  #gone: RefusalError | undefined;

  /** `body` is the unparsed request. */
  constructor(task: DryRunTask, body: Uint8Array) {
    if (DryRunProcess.#current !== undefined) {
      throw new RefusalError("environment", "another dry run is under way", "try again");
    }
    const script = fileURLToPath(new URL("./dry-run-child.js", import.meta.url));
    this.#child = fork(script, {
      cwd: "/",
      env: {},
      execArgv: [`--max-old-space-size=${heapMegabytes}`],
      serialization: "advanced",
      stdio: ["pipe", "ignore", "ignore", "ipc"],
    });
    DryRunProcess.#current = this;
    const gone = (why: string) => {
      this.#gone ??= new RefusalError("environment", `the manifests could not be compiled: ${why}`);
      this.#fail(this.#gone);
    };
    this.#child.on("message", (reply: DryRunReply) => this.#settle(reply));
    this.#child.on("error", (error) => {
      gone(error.message);
      this.close();
    });
    this.#child.once("exit", (code, signal) => {
      gone(`their process has ended (${signal ?? `exit code ${code}`})`);
    });
    this.#late = setTimeout(() => {
      gone(`it took more than ${lastMs / 1_000} s`);
      this.close();
    }, lastMs);
    this.#late.unref();
    this.#child.stdin?.on("error", () => {});
    // As lists; the other end knows by their keys what they were.
    const text = JSON.stringify(task, (_, value) =>
      value instanceof Uint8Array || value instanceof Set || value instanceof Map
        ? [...value]
        : value,
    );
    this.#child.stdin?.write(`${text}\n`);
    this.#child.stdin?.end(body);
  }

  /** The result of the manifests; without a table the process has ended. Errors: RefusalError. */
  async compiled(): Promise<{ ok: boolean; diagnostics: readonly Diagnostic[] }> {
    let isUsed = false;
    try {
      const reply = await this.#next();
      if ("refused" in reply) {
        const { kind, message, remedy } = reply.refused;
        throw kind === "bug" ? new Error(message) : new RefusalError(kind, message, remedy);
      }
      if (!("ok" in reply)) throw new Error("got no table, want one");
      isUsed = reply.ok;
      return reply;
    } finally {
      if (!isUsed) this.close();
    }
  }

  /** Finds those of some ConnectionRecords that the table denies. Errors: RefusalError. */
  async denials(records: Uint8Array): Promise<readonly Denial[]> {
    const reply = this.#next();
    this.#child.send(records, () => {});
    const answer = await reply;
    if (!("denials" in answer)) throw new Error("got no verdicts, want some");
    return answer.denials;
  }

  close(): void {
    if (DryRunProcess.#current === this) DryRunProcess.#current = undefined;
    clearTimeout(this.#late);
    this.#child.kill("SIGKILL");
  }

  #next(): Promise<DryRunReply> {
    return new Promise((resolve, reject) => {
      if (this.#gone !== undefined) return reject(this.#gone);
      this.#settle = resolve;
      this.#fail = reject;
    });
  }
}
