import type { NodeConfig } from "../node/node-config.js";
import { restoreInterface } from "../node/sidecar/attachment.js";
import { readPodRef } from "./arguments.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { asCommand } from "./refusals.js";
import { commandLine, dataplaneOf, flagPlace, sourceOf, stand } from "./run.js";
import type { SidecarOptions } from "./sidecar-spec.js";

/**
 * Filters one workload's interface until SIGTERM or SIGINT, or restores an interface that a sidecar left.
 */
export async function runSidecar(options: SidecarOptions, io: Io): Promise<number> {
  if (!options.restore) return stand("sidecar", configOf(options), options, io);
  const tell = (line: string) => void io.stderr.write(`sluice: ${line}\n`);
  const done = await asCommand(() => restoreInterface(options.interface, options.stateDir, tell));
  io.stdout.write(`${options.interface} ${done ? "is as it was" : "needs nothing"}\n`);
  return exitCodes.ok;
}

/** Makes a config of one sidecar from the flags. Errors: CommandError (usage). */
function configOf(options: SidecarOptions): NodeConfig {
  const { pod } = options;
  if (pod === undefined) {
    throw new CommandError(exitCodes.usage, "missing --pod", "sluice sidecar --help");
  }
  if (options.source === "kubernetes" && options.takeOver === true) {
    const message = "got --take-over and --source kubernetes, want one";
    throw new CommandError(exitCodes.usage, message, "a restart takes up connections too");
  }
  return {
    source: sourceOf(options),
    wires: [],
    sidecars: [
      {
        pod: readPodRef(pod, "--pod"),
        interface: options.interface,
        link: options.link,
        adopt: options.adopt,
        stateFolder: options.stateDir,
        ...(options.routerAdvertisements === undefined
          ? {}
          : { routerAdvertisements: options.routerAdvertisements }),
        span: commandLine,
        place: flagPlace("--interface"),
        ...(options.onStop === undefined ? {} : { onStop: options.onStop }),
      },
    ],
    missingPods: options.source === "kubernetes" ? "wait" : "refuse",
    nodeAddresses: [],
    dataplane: dataplaneOf(options),
    mode: options.mode,
    control: {},
    flows: [],
  };
}
