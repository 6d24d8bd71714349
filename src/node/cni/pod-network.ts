import { dirname } from "node:path";
import type { Reload } from "../../control/controller.js";
import { makeFolder } from "../../control/make-folder.js";
import type { Tell } from "../../diagnostics/tell.js";
import { Histogram } from "../../metrics/histogram.js";
import type { PluginMeasures } from "../../metrics/sluice-metrics.js";
import type { CniConfig, NodeConfig } from "../node-config.js";
import { AttachedPods, addressesBeside } from "./attached-pods.js";
import { CniDaemon, type CniDaemonOptions } from "./cni-daemon.js";
import { Installation } from "./installation.js";
import { listenForPlugins } from "./listener.js";

/** What a node's process has to do with the CNI plugin: the addresses that it tells, and the socket for it. */
export class PodNetwork implements PluginMeasures {
  readonly pods: AttachedPods;
  readonly added = new Histogram();
  failed = 0;
  readonly #config: CniConfig;
  readonly #tell: Tell;
  #daemon: CniDaemon | undefined;
  #listening: { close(): void } | undefined;
  #installation: Installation | undefined;

  /** Undefined where no plugin is configured. Errors: those of making the socket's folder. */
  static of(config: NodeConfig, tell: Tell): PodNetwork | undefined {
    const { inPlace } = config;
    const node = config.source.kubernetes?.node;
    return inPlace?.cni === undefined || node === undefined
      ? undefined
      : new PodNetwork(node, inPlace.cni, tell);
  }

  private constructor(node: string, config: CniConfig, tell: Tell) {
    const { socket } = config;
    makeFolder(dirname(socket), 0o750);
    this.pods = new AttachedPods(node, addressesBeside(socket), tell);
    this.#config = config;
    this.#tell = tell;
  }

  /** Answers the plugin from now on, and installs it if that is wanted. Errors: RefusalError. */
  async open(options: Omit<CniDaemonOptions, "pods" | "measures">): Promise<void> {
    const { socket, install } = this.#config;
    // What a predecessor has answered since this process began.
    this.pods.reload();
    options.refresh();
    await options.updateNow();
    const daemon = new CniDaemon({ ...options, pods: this.pods, measures: this });
    this.#daemon = daemon;
    const answer = daemon.answer.bind(daemon);
    this.#listening = await listenForPlugins(socket, answer, this.#tell);
    if (install !== undefined) this.#installation = new Installation(install, socket, this.#tell);
  }

  /** A table may be in force. */
  updated(reload: Reload): void {
    this.#daemon?.updated(reload);
  }

  close(): void {
    this.#installation?.close();
    this.#listening?.close();
  }
}
