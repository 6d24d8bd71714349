import { closeSync } from "node:fs";
import { awaitService, notifyService } from "../../dataplane/service.js";
import type { Tell } from "../../diagnostics/tell.js";
import type { NodeHost } from "../node-host.js";
import type { PackedHandoff } from "./handoff-state.js";

const storeName = "sluice-estate";
const linkName = /^sluice-link-(\d+)$/;
const firstDescriptor = 3;
/** How long the service manager may take to read all messages. */
const storeMs = 5_000;

/**
 * The service manager's descriptor store, which outlives the process: what one process stores at its end, the
 * next receives at its start. In between no process reads the links: frames queue, and are lost when the
 * queue is full.
 *
 * Source: man 3 sd_notify (FDSTORE), man 3 sd_listen_fds, systemd's docs/FILE_DESCRIPTOR_STORE.
 */
export class DescriptorStore {
  readonly #env: NodeHost["env"];
  readonly #socket: string;

  constructor(env: NodeHost["env"]) {
    this.#env = env;
    this.#socket = env["NOTIFY_SOCKET"] ?? "";
  }

  /** Whether the service manager offers a store. */
  get isOffered(): boolean {
    return this.#socket !== "" && this.#roomMax > 0;
  }

  get #roomMax(): number {
    return Number(this.#env["FDSTORE"] ?? 0);
  }

  /**
   * Puts a handoff state there. The file comes last: without it the rest is worth nothing.
   *
   * Errors: DataplaneError when the manager refuses it, RangeError when the store is too small. Some
   *         descriptors may then be in the store.
   */
  async put({ file, descriptors }: PackedHandoff): Promise<void> {
    if (descriptors.length + 1 > this.#roomMax) {
      throw new RangeError(
        `the service manager keeps ${this.#roomMax} descriptors, want ${descriptors.length + 1}: raise FileDescriptorStoreMax=`,
      );
    }
    const named: [string, number][] = descriptors.map((each, at) => [`sluice-link-${at}`, each]);
    for (const [name, descriptor] of [...named, [storeName, file] as const]) {
      // FDPOLL=0: otherwise the manager would close the socket when its interface goes down.
      notifyService(this.#socket, ["FDSTORE=1", `FDNAME=${name}`, "FDPOLL=0"], [descriptor]);
    }
    await awaitService(this.#socket, storeMs);
  }

  /**
   * Takes what the previous process stored. When that is incomplete, it warns by `tell` and closes all of it.
   */
  async take(tell: Tell): Promise<PackedHandoff | undefined> {
    const inherited = this.#inherited();
    const links: number[] = [];
    let file: number | undefined;
    for (const [name, descriptor] of inherited) {
      const number = linkName.exec(name)?.[1];
      if (number !== undefined) links[Number(number)] = descriptor;
      if (name === storeName) file = descriptor;
    }
    if (inherited.size === 0) return undefined;
    if (file !== undefined && !links.includes(undefined as never)) {
      return { file, descriptors: links };
    }
    tell("what the previous process left is incomplete: connections start anew", "warning");
    for (const descriptor of inherited.values()) closeSync(descriptor);
    await this.#forget([...inherited.keys()]);
    return undefined;
  }

  /** Empties the store: this process went on, so the stored state is stale for the next one. */
  clear(handoff: PackedHandoff): Promise<void> {
    return this.#forget([...handoff.descriptors.map((_, at) => `sluice-link-${at}`), storeName]);
  }

  /**
   * Removes entries and waits until the manager has closed them: until then it holds the interfaces.
   */
  async #forget(names: readonly string[]): Promise<void> {
    if (this.#socket === "") return;
    for (const name of names) notifyService(this.#socket, ["FDSTOREREMOVE=1", `FDNAME=${name}`]);
    await awaitService(this.#socket, storeMs);
  }

  /** The descriptors from the manager that are Sluice's, by name. */
  #inherited(): ReadonlyMap<string, number> {
    const env = this.#env;
    const count = Number(env["LISTEN_FDS"] ?? 0);
    if (env["LISTEN_PID"] !== String(process.pid) || !Number.isInteger(count)) return new Map();
    const names = (env["LISTEN_FDNAMES"] ?? "").split(":");
    return new Map(
      names
        .slice(0, count)
        .map((name, at) => [name, firstDescriptor + at] as const)
        .filter(([name]) => name === storeName || linkName.test(name)),
    );
  }
}
