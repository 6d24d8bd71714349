import { hostname } from "node:os";
import { resolve } from "node:path";
import { settings } from "../control/settings.js";
import { type RuntimeFolders, removePlugin } from "../node/cni/installation.js";
import { removeInPlace } from "../node/in-place.js";
import type { CniConfig, NodeConfig } from "../node/node-config.js";
import { readDuration } from "./duration.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import type { NodeOptions } from "./node-spec.js";
import { asCommand } from "./refusals.js";
import { clusterOf, stand } from "./run.js";

/** Where the plugin asks when its chain says nothing else. */
const usualCniSocket = "/run/sluice/cni.sock";

/** Judges the packets of all pods of this node until a signal ends it, or takes away what an earlier one has left. */
export async function runNodeCommand(options: NodeOptions, io: Io): Promise<number> {
  if (!options.remove) return stand("node", configOf(options), options, io);
  const isUsed = await asCommand(async () => {
    removeInPlace(options.pinFolder);
    const socket = options.cniSocket ?? usualCniSocket;
    return removePlugin(runtimeFolders(options), resolve(socket));
  });
  io.stdout.write("nothing is judged in place\n");
  if (isUsed) {
    io.stderr.write("sluice: the CNI plugin's program stays: a chain that is not ours has it\n");
  }
  return exitCodes.ok;
}

/** A process that is busy for less than this is no process that is away. */
const leaseMinMs = 5_000;

/** Errors: CommandError (usage). */
function leaseOf({
  lease,
  failMode,
}: NodeOptions): Pick<NonNullable<NodeConfig["inPlace"]>, "lease"> {
  if (lease === undefined) {
    if (failMode === settings.lapsed.fallback) return {};
    throw new CommandError(exitCodes.usage, `--fail-mode ${failMode} is for --lease`);
  }
  const ms = readDuration(lease, "--lease");
  if (ms < leaseMinMs) {
    throw new CommandError(exitCodes.usage, `--lease: got "${lease}", want 5s or more`);
  }
  return { lease: { ms, failMode } };
}

function configOf(options: NodeOptions): NodeConfig {
  const { filename, watch, unknownPods, sourceGuard, pinFolder, hook, mode, deny } = options;
  const isFollowing = filename === undefined;
  const cni = cniOf(options);
  const node = options.node ?? (isFollowing ? hostname().toLowerCase() : undefined);
  return {
    source: isFollowing
      ? { paths: [], watch, kubernetes: clusterOf({ ...options, ...(node && { node }) }) }
      : { paths: filename, watch },
    wires: [],
    sidecars: [],
    inPlace: {
      pinFolder,
      hook,
      unknownPods,
      sourceGuard,
      ...(node === undefined ? {} : { node }),
      ...(cni === undefined ? {} : { cni }),
      ...leaseOf(options),
    },
    nodeAddresses: [],
    missingPods: "wait",
    // No connection is tracked in this process: the kernel does that.
    dataplane: {
      established: settings.established.fallback,
      deny,
      connectionsMax: 1,
      fragmentsMax: 1,
    },
    mode,
    control: {},
    flows: [],
  };
}

/** Errors: CommandError (usage). */
function cniOf(options: NodeOptions): CniConfig | undefined {
  const { filename, installCni, cniSocket = installCni ? usualCniSocket : undefined } = options;
  if (cniSocket === undefined) return undefined;
  if (filename !== undefined) {
    throw new CommandError(
      exitCodes.usage,
      `got ${installCni ? "--install-cni" : "--cni-socket"} and --filename, want an API server: it has the pods that the plugin names`,
    );
  }
  const socket = resolve(cniSocket);
  return installCni ? { socket, install: runtimeFolders(options) } : { socket };
}

function runtimeFolders({ cniBin, cniConf }: NodeOptions): RuntimeFolders {
  return { programs: resolve(cniBin), configurations: resolve(cniConf) };
}
