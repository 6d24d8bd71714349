import { closeSync } from "node:fs";
import { awaitService, notifyService } from "../../dataplane/service.js";
import type { Tell } from "../../diagnostics/tell.js";
import type { NodeHost } from "../node-host.js";
import type { PackedHandoff } from "./handoff-state.js";

const storeName = "sluice-estate";
const linkName = /^sluice-link-(\d+)$/;
const firstDescriptor = 3;
/** What the manager may take to have read everything. */
const storeMs = 5_000;

/**
 * The service manager's store of descriptors, which outlives the process: what is put there at the end of
 * one is given to the next at its start. In between nobody reads the links: frames wait, then are lost.
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

  /** Whether there is one. */
  get isOffered(): boolean {
    return this.#socket !== "" && this.#roomMax > 0;
  }

  get #roomMax(): number {
    return Number(this.#env["FDSTORE"] ?? 0);
  }

  /**
   * Puts a handoff state there. The file comes last: without it the rest is worth nothing.
   *
   * Errors: DataplaneError when the manager does not take it, RangeError when it has too little room; it
   *         may then have some.
   */
  async put({ file, descriptors }: PackedHandoff): Promise<void> {
    if (descriptors.length + 1 > this.#roomMax) {
      throw new RangeError(
        `the service manager keeps ${this.#roomMax} descriptors, want ${descriptors.length + 1}: raise FileDescriptorStoreMax=`,
      );
    }
    const named: [string, number][] = descriptors.map((each, at) => [`sluice-link-${at}`, each]);
    for (const [name, descriptor] of [...named, [storeName, file] as const]) {
      // An interface that goes down is no reason for the manager to forget its socket.
      notifyService(this.#socket, ["FDSTORE=1", `FDNAME=${name}`, "FDPOLL=0"], [descriptor]);
    }
    await awaitService(this.#socket, storeMs);
  }

  /** Takes what the process before has put there, as far as it is whole; else `tell` is told. */
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
    tell("what the process before has left is not whole: connections start anew", "warning");
    for (const descriptor of inherited.values()) closeSync(descriptor);
    await this.#forget([...inherited.keys()]);
    return undefined;
  }

  /** Empties it: whoever starts next must not take up what has gone on here. */
  clear(handoff: PackedHandoff): Promise<void> {
    return this.#forget([...handoff.descriptors.map((_, at) => `sluice-link-${at}`), storeName]);
  }

  /** Waits for it: until then the manager holds the interfaces. */
  async #forget(names: readonly string[]): Promise<void> {
    if (this.#socket === "") return;
    for (const name of names) notifyService(this.#socket, ["FDSTOREREMOVE=1", `FDNAME=${name}`]);
    await awaitService(this.#socket, storeMs);
  }

  /** Ours among the descriptors that the manager has given, by name. */
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
