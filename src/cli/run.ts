import { closeSync, writeSync } from "node:fs";
import type { NodeConfig, SourceConfig } from "../node/node-config.js";
import { runNode } from "../node/run-node.js";
import { readMac, readPodRef, workersOf } from "./arguments.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { asCommand } from "./lab-common.js";
import { readStdin, showDiagnostics } from "./manifests.js";
import type { RunOptions } from "./options.js";
import { unblocked } from "./unblocked.js";
import { packageVersion } from "./version.js";

/** Stands between interfaces and enforces, until SIGTERM or SIGINT: flags to a config, and off it goes. */
export async function runRun(options: RunOptions, process: Io): Promise<number> {
  const io = unblocked(process);
  const config = configOf(options);
  const stdin = config.source.paths.includes("-") ? await readStdin(io) : undefined;
  const ran = await asCommand(() =>
    runNode({
      name: "run",
      version: packageVersion(),
      config,
      stdin,
      host: {
        env: io.env,
        tell: (line) => void io.stderr.write(`sluice: ${line}\n`),
        show: (diagnostics) => showDiagnostics(diagnostics, io, stdin),
        ready() {
          io.stdout.write("ready\n");
          if (options.readyFd !== undefined) tellReady(options.readyFd);
        },
      },
    }),
  );
  return ran ? exitCodes.ok : exitCodes.input;
}

/** Makes a config of one wire from the flags. Errors: CommandError (usage). */
function configOf(options: RunOptions): NodeConfig {
  const [inside, outside] = readWire(options.wire);
  const { socket, metricsListen } = options;
  return {
    source: sourceOf(options),
    wires: [
      {
        pod: readPodRef(options.pod, "--pod"),
        inside,
        outside,
        ...(options.podMac === undefined ? {} : { podMac: readMac(options.podMac, "--pod-mac") }),
        link: options.link,
      },
    ],
    dataplane: {
      staleFlows: options.staleFlows,
      loose: options.loose,
      ...workersOf(options),
    },
    control: {
      ...(socket === undefined ? {} : { socket }),
      ...(metricsListen === undefined ? {} : { metricsListen }),
    },
  };
}

/** Says where the manifests come from. Errors: CommandError (usage). */
function sourceOf(options: RunOptions): SourceConfig {
  const { source, filename, watch, kubeconfig, context, node } = options;
  if (source === "files") {
    const odd = Object.entries({ kubeconfig, context, node }).find(([, value]) => value);
    if (odd !== undefined) {
      throw new CommandError(exitCodes.usage, `--${odd[0]} is for --source kubernetes`);
    }
    if (filename === undefined) throw new CommandError(exitCodes.usage, "missing --filename");
    return { paths: filename, watch };
  }
  if (filename !== undefined) {
    throw new CommandError(exitCodes.usage, "got --filename and --source kubernetes, want one");
  }
  return {
    paths: [],
    watch,
    kubernetes: {
      ...(kubeconfig === undefined ? {} : { kubeconfig }),
      ...(context === undefined ? {} : { context }),
      ...(node === undefined ? {} : { node }),
    },
  };
}

function tellReady(fd: number): void {
  try {
    writeSync(fd, "ready\n");
    if (fd > 2) closeSync(fd);
  } catch (error) {
    throw new CommandError(
      exitCodes.environment,
      `--ready-fd ${fd} cannot be written to: ${(error as Error).message}`,
    );
  }
}

function readWire(text: string): [inside: string, outside: string] {
  const [inside, outside, ...rest] = text.split(",");
  if (!inside || !outside || rest.length > 0 || inside === outside) {
    throw new CommandError(
      exitCodes.usage,
      `--wire: got "${text}", want two different interfaces as INSIDE,OUTSIDE`,
    );
  }
  return [inside, outside];
}
