import { closeSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import type { Span } from "../diagnostics/diagnostic.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { systemReason } from "../diagnostics/system-reason.js";
import { isUrl } from "../manifest/manifest-files.js";
import type { Listen } from "../node/listeners.js";
import type { KubernetesConfig, NodeConfig, SourceConfig } from "../node/node-config.js";
import { ConfigFile } from "../node/read-config.js";
import { runNode } from "../node/run-node.js";
import { fileDefaults, type SinkConfig } from "../sinks/sink-config.js";
import { shownUrl } from "../sources/fetch-url.js";
import { readMac, readPodRef, workersOf } from "./arguments.js";
import type { Given } from "./command-spec.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { errorOutput } from "./journal.js";
import { readStdin, showDiagnostics } from "./manifests.js";
import { asCommand } from "./refusals.js";
import type { RunOptions } from "./run-spec.js";
import type { EnforcingOptions } from "./shared-options.js";
import { unblocked } from "./unblocked.js";
import { packageVersion } from "./version.js";

/**
 * Builds the config from the file or the flags, then enforces it until SIGTERM or SIGINT.
 */
export async function runRun(options: RunOptions, io: Io, given: Given): Promise<number> {
  const file = options.config === undefined ? undefined : new ConfigFile(options.config);
  const config = file === undefined ? configOf(options) : readConfig(file, io, given);
  return config === undefined ? exitCodes.input : stand("run", config, options, io, file);
}

type ControlFlags = Pick<
  EnforcingOptions,
  "socket" | "metricsListen" | "metricsHits" | "hubbleListen" | "flowLog"
>;

/** Runs a config until a signal ends it; `name` is its name on the control socket. */
export async function stand(
  name: string,
  config: NodeConfig,
  options: Pick<EnforcingOptions, "readyFd" | keyof ControlFlags> & {
    readonly takeOver?: boolean;
    readonly stay?: boolean;
    readonly yes?: boolean;
  },
  process: Io,
  file?: ConfigFile,
): Promise<number> {
  const io = unblocked(process);
  const stdin = config.source.paths.includes("-") ? await readStdin(io) : undefined;
  const ran = await asCommand(() =>
    runNode({
      name,
      version: packageVersion(),
      config,
      control: { ...config.control, ...listenOf(options) },
      flows: (options.flowLog ?? []).map(readFlowLog),
      ...(file === undefined ? {} : { configFile: file }),
      stdin,
      takesOver: options.takeOver ?? false,
      stays: options.stay ?? false,
      takesNeeded: options.yes ?? false,
      host: {
        env: io.env,
        hasTerminal: io.isTerminal.stdin && io.isTerminal.stderr,
        tell: (line, severity = "info") =>
          void errorOutput(io, severity).write(`sluice: ${sanitize(line)}\n`),
        show: (diagnostics) => showDiagnostics(diagnostics, io),
        ready() {
          io.stdout.write("ready\n");
          if (options.readyFd !== undefined) tellReady(options.readyFd);
        },
      },
    }),
  );
  return ran ? exitCodes.ok : exitCodes.input;
}

/** Flags that are allowed with --config: they set how this process runs, not what it enforces. */
const besideConfig = new Set(
  "--config --socket --metrics-listen --metrics-hits --hubble-listen --flow-log --ready-fd --take-over --yes --color".split(
    " ",
  ),
);

/**
 * Reads a config file; undefined when it has errors, which have been shown.
 *
 * Errors: CommandError (usage) for flags that only the config may set, whatever their value.
 */
function readConfig(file: ConfigFile, io: Io, given: Given): NodeConfig | undefined {
  const refused = [...given].flatMap(([flag, word]) => (besideConfig.has(flag) ? [] : [word]));
  if (refused.length > 0) {
    throw new CommandError(
      exitCodes.usage,
      `got --config and ${refused.join(" and ")}, want that in the config`,
    );
  }
  const read = file.read();
  showDiagnostics(read.diagnostics, io);
  return read.ok ? read.config : undefined;
}

/** Makes a config of one wire from the flags. Errors: CommandError (usage). */
function configOf(options: RunOptions): NodeConfig {
  const { wire, pod } = options;
  if (wire === undefined || pod === undefined) {
    const missing = Object.entries({ "--wire": wire, "--pod": pod })
      .filter(([, value]) => value === undefined)
      .map(([flag]) => flag);
    throw new CommandError(
      exitCodes.usage,
      `missing ${missing.join(" and ")}, or --config`,
      "sluice run --help",
    );
  }
  const [inside, outside] = readWire(wire);
  return {
    source: sourceOf(options),
    wires: [
      {
        pod: readPodRef(pod, "--pod"),
        inside,
        outside,
        ...(options.podMac === undefined ? {} : { podMac: readMac(options.podMac, "--pod-mac") }),
        link: options.link,
        failMode: options.failMode,
        routerAdvertisements: options.routerAdvertisements,
        span: commandLine,
        places: { inside: flagPlace("--wire"), outside: flagPlace("--wire") },
      },
    ],
    sidecars: [],
    missingPods: "refuse",
    nodeAddresses: [],
    dataplane: dataplaneOf(options),
    mode: options.mode,
    control: {},
    flows: [],
  };
}

/** The config from the options that `run` and `sidecar` share. Errors: CommandError (usage). */
export function dataplaneOf(options: EnforcingOptions): NodeConfig["dataplane"] {
  return {
    established: options.established,
    deny: options.deny,
    loose: options.loose,
    ...workersOf(options),
  };
}

/** The cluster that the flags name. */
export function clusterOf({
  kubeconfig,
  context,
  node,
}: Partial<Pick<RunOptions, "kubeconfig" | "context" | "node">>): KubernetesConfig {
  return {
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
    ...(node === undefined ? {} : { node }),
  };
}

type SourceFlags = Pick<RunOptions, "source" | "watch" | "strict"> &
  Partial<Pick<RunOptions, "filename" | "ignore" | "kubeconfig" | "context" | "node">>;

/** The source of the manifests. Errors: CommandError (usage). */
export function sourceOf(options: SourceFlags): SourceConfig {
  const { source, filename, watch, ignore, strict, kubeconfig, context, node } = options;
  if (source === "files") {
    const odd = Object.entries({ kubeconfig, context, node }).find(([, value]) => value);
    if (odd !== undefined) {
      throw new CommandError(exitCodes.usage, `--${odd[0]} is for --source kubernetes`);
    }
    if (filename === undefined)
      throw new CommandError(exitCodes.usage, "missing --filename, or --config");
    return { paths: filesOf(filename), watch, strict, ...(ignore === undefined ? {} : { ignore }) };
  }
  if (filename !== undefined) {
    throw new CommandError(exitCodes.usage, "got --filename and --source kubernetes, want one");
  }
  return {
    paths: [],
    watch,
    kubernetes: clusterOf(options),
  };
}

/**
 * Returns paths that are no addresses. A process that enforces fetches nothing: its policies would be whatever an
 * address gives at the next reload. Errors: CommandError (usage).
 */
function filesOf(paths: readonly string[]): readonly string[] {
  const address = paths.find(isUrl);
  if (address === undefined) return paths;
  throw new CommandError(
    exitCodes.usage,
    `-f: got the address ${shownUrl(address)}, want a file or a folder where traffic is judged`,
    "fetch it to a file first",
  );
}

/**
 * Where to listen, from the flags: they override a config, since they may come from the environment.
 */
function listenOf({ socket, metricsListen, metricsHits, hubbleListen }: ControlFlags): Listen {
  return {
    ...(socket === undefined ? {} : { socket }),
    ...(metricsListen === undefined ? {} : { metricsListen }),
    ...(metricsHits ? { metricsHits } : {}),
    ...(hubbleListen === undefined ? {} : { hubbleListen }),
  };
}

/** A sink from a flag: an address is a collector's. Errors: CommandError (usage). */
function readFlowLog(text: string): SinkConfig {
  if (isUrl(text)) {
    if (URL.canParse(text) && !text.includes("@")) return { kind: "otlp", url: text, headers: [] };
    const want = "want a file, or a collector's address such as http://127.0.0.1:4318/v1/logs";
    throw new CommandError(exitCodes.usage, `--flow-log: got "${shownUrl(text)}", ${want}`);
  }
  const bytesMax = fileDefaults.megabytes * 1_000_000;
  return { kind: "file", path: resolve(text), bytesMax, keep: fileDefaults.keep };
}

/** The place of a value from a flag, which has no line in a file. */
export function flagPlace(flag: string): Span {
  return { ...commandLine, file: flag, line: 0 };
}

export const commandLine: Span = {
  file: "<command line>",
  line: 1,
  column: 1,
  endLine: 1,
  endColumn: 1,
};

function tellReady(fd: number): void {
  try {
    writeSync(fd, "ready\n");
    if (fd > 2) closeSync(fd);
  } catch (error) {
    throw new CommandError(
      exitCodes.environment,
      `--ready-fd ${fd} cannot be written to: ${systemReason(error)}`,
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
