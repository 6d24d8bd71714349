import { type ChildProcess, type ForkOptions, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pause } from "../kubernetes/harness.js";

/** Where it listens. */
export interface ListenersPlace {
  readonly socket: string;
  readonly port: number;
  readonly hubblePort: number;
  /** The page's address, with its token. */
  readonly page: string;
}

const program = fileURLToPath(new URL("./listeners-child.mjs", import.meta.url));
const manifests = fileURLToPath(new URL("../../examples/three-tier", import.meta.url));

/** A process that answers on each kind of listener as `run` and `ui` do, with connections in its table. */
export class ListenersProcess {
  readonly child: ChildProcess;
  /** Rejects when it ends before it listens. */
  readonly place: Promise<ListenersPlace>;
  readonly #ended: Promise<void>;
  // Not the child's own: a planted fault ends it before it could remove one.
  readonly #folder = mkdtempSync(join(tmpdir(), "sluice-fuzz-"));

  /** @param settings - How many connections, and the fault that is planted. */
  constructor(
    settings: { readonly connections: number; readonly fault?: string | undefined },
    options: ForkOptions = {},
  ) {
    const told = JSON.stringify({ manifests, folder: this.#folder, ...settings });
    const child = fork(program, [told], options);
    this.child = child;
    this.#ended = new Promise((resolve) => child.once("exit", () => resolve()));
    this.place = new Promise((resolve, reject) => {
      child.once("message", resolve);
      child.once("exit", (code, signal) => reject(new Error(`it has ended: ${signal ?? code}`)));
    });
    this.place.catch(() => {});
  }

  /** Resolves when it has ended, by itself where it can. */
  async close(): Promise<void> {
    if (this.child.connected) this.child.disconnect();
    await Promise.race([this.#ended, pause(10_000)]);
    this.child.kill("SIGKILL");
    await this.#ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
