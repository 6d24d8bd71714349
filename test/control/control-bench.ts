import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCli } from "../../src/cli/frame.js";
import type { ControlSubject } from "../../src/control/control-routes.js";
import { Controller } from "../../src/control/controller.js";
import { type OpenControl, openControl } from "../../src/control/open-control.js";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { DroppedFrames } from "../../src/observe/dropped-frames.js";
import { FlowLog } from "../../src/observe/flow-log.js";
import { Hits } from "../../src/observe/hits.js";
import { fakeIo } from "../cli/fake-io.js";

/** The control socket of a process that is this one, whose table no packet meets. */
export class ControlBench {
  readonly folder = mkdtempSync(join(tmpdir(), "sluice-control-"));
  readonly socket = join(this.folder, "sluice.sock");
  readonly hits: Hits;
  readonly #dataplane = Dataplane.create();
  readonly #flows = new FlowLog(this.#dataplane, { interfaceName: () => undefined });
  #control: OpenControl | undefined;

  /** With these manifests in force; `interfaces` are those that it says it has. */
  static async open(
    manifests: string,
    interfaces: (dataplane: Dataplane) => ReturnType<ControlSubject["interfaces"]> = () => [],
  ): Promise<ControlBench> {
    const bench = new ControlBench();
    await bench.#open(manifests, interfaces(bench.#dataplane));
    return bench;
  }

  private constructor() {
    this.hits = new Hits({ dataplane: this.#dataplane, flows: this.#flows });
  }

  async #open(
    manifests: string,
    interfaces: ReturnType<ControlSubject["interfaces"]>,
  ): Promise<void> {
    const [dataplane, flows] = [this.#dataplane, this.#flows];
    const controller = new Controller({
      take: async () => ({ all: parseManifests(manifests, "all.yaml") }),
      local: () => "all",
      enforce: (table) => {
        flows.useTable(1, table);
        return 1;
      },
    });
    const { ok } = await controller.reload();
    if (!ok) throw new Error("the test's manifests do not compile");
    const subject: ControlSubject = {
      ...{ name: "test", version: "0.0.0", controller, dataplane, flows, hits: this.hits },
      ...{ established: "recheck", deny: "drop", mode: () => "enforce" },
      droppedFrames: new DroppedFrames([dataplane], flows),
      interfaces: () => interfaces,
      reload: async () => ({ ok: true, generation: 1, diagnostics: [] }),
      isBehind: () => false,
    };
    this.#control = await openControl(subject, { socket: this.socket }, () => {});
  }

  /** Runs a command that asks it. */
  async run(...words: string[]) {
    const io = fakeIo();
    const code = await runCli([...words, "--socket", this.socket], io);
    return { code, out: io.out(), err: io.err() };
  }

  async close(): Promise<void> {
    await this.#control?.close();
    this.hits.close();
    this.#flows.close();
    this.#dataplane.close();
    rmSync(this.folder, { recursive: true });
  }
}
