import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  createVeth,
  setSysctl,
} from "../../src/dataplane/host.js";
import { parseAddress } from "../../src/net/address.js";

/** What each end of a wire is called in the namespace of the filter, and which addresses it has. */
export interface WireEnds {
  readonly inside: readonly string[];
  readonly outside: readonly string[];
}

/**
 * Three namespaces in a row: a pod, a filter that has the interfaces `inside` and `outside`, and the network. The
 * filter hands nothing on by itself: a process of a test's own does, with a folder and a socket for it.
 */
export class FilterBench {
  readonly folder: string;
  readonly socket: string;
  readonly pod = createNamespace();
  readonly filter = createNamespace();
  readonly network = createNamespace();
  readonly #ends: WireEnds;
  readonly #children: ChildProcess[] = [];

  constructor(name: string, ends: WireEnds) {
    this.folder = mkdtempSync(join(tmpdir(), `sluice-${name}-`));
    this.socket = join(this.folder, "control.sock");
    this.#ends = ends;
    this.connect("inside");
    this.connect("outside");
  }

  /** Makes one end of the wire; also one that was deleted, with the same MAC: nobody need find it again. */
  connect(name: keyof WireEnds): void {
    const end = name === "inside" ? this.pod : this.network;
    setSysctl(end, "ipv6/conf/default/accept_dad", "0");
    createVeth({ namespaceFd: end, name: "eth0" }, { namespaceFd: this.filter, name });
    const addresses = this.#ends[name].map((text) => {
      const address = parseAddress(text)!;
      return { address, length: address.family === 4 ? 24 : 64 };
    });
    const mac = `02:00:00:00:00:${name === "inside" ? "01" : "02"}`;
    configureInterface(end, { name: "eth0", mac, addresses, up: true });
    configureInterface(this.filter, { name, up: true });
  }

  /** Starts a program in one of the namespaces; it ends with the bench. */
  enter(namespace: number, ...command: readonly string[]): ChildProcess {
    const words = [`--net=/proc/${process.pid}/fd/${namespace}`, "--", ...command];
    const child = spawn("nsenter", words);
    this.#children.push(child);
    return child;
  }

  async close(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await new Promise((resolve) => child.once("exit", resolve));
    }
    rmSync(this.folder, { recursive: true, force: true });
    for (const fd of [this.pod, this.filter, this.network]) closeDescriptor(fd);
  }
}
