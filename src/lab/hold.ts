import { randomBytes } from "node:crypto";
import { contained } from "../control/boundary.js";
import { CompilerThread } from "../control/compiler-thread.js";
import {
  type ControlSubject,
  controlRoutes,
  controlStatus,
  manifestsBytesMax,
} from "../control/control-routes.js";
import type { Reload } from "../control/controller.js";
import { ManifestWatch } from "../control/manifest-watch.js";
import { refusalOf } from "../control/refusal.js";
import { serveUnix } from "../control/server.js";
import { Signals } from "../control/signals.js";
import type { DataplaneOptions } from "../dataplane/dataplane.js";
import type { Mode } from "../manifest/annotations.js";
import { Lab } from "./lab.js";
import type { ApplyAnswer, ApplyRequest, LabStatus, ProbeQuery } from "./protocol.js";
import { claimName, endPrograms, removeRemains, socketPath } from "./state.js";

export interface HoldOptions {
  /** From `stateFolder`. */
  readonly folder: string;
  readonly name: string;
  readonly paths: readonly string[];
  /** Reads the manifests again when they change on disk. */
  readonly watch: boolean;
  readonly version: string;
  /** What `-` among the paths stands for. */
  readonly stdin: string | undefined;
  readonly dataplane?: DataplaneOptions;
  readonly mode?: Mode;
  /** How far the start is, a line a step. */
  readonly report: (step: string) => void;
  /** The lab enforces. */
  readonly ready: (status: LabStatus, reload: Reload) => void;
  /** SIGHUP or `lab apply` had this effect. */
  readonly reloaded: (reload: Reload) => void;
}

/** A lab has nobody to tell but its log. */
const tell = (line: string) => void process.stderr.write(`sluice: ${line}\n`);

/** A list of probes that a request may bring. Units: bytes. */
const probesBytesMax = 16 * 1024 * 1024;

/**
 * Holds a lab in this process until SIGTERM or SIGINT, then lets go of all of it.
 *
 * Shape:  answers with the reload that failed when the manifests have errors, and with undefined
 *         when the lab was up and has ended.
 * Errors: LabError and DataplaneError; nothing is left behind then either.
 */
export async function holdLab(options: HoldOptions): Promise<Reload | undefined> {
  const { folder, name } = options;
  const signals = new Signals();
  const socket = socketPath(folder, name);
  const state = await claimName(folder, name, randomBytes(12).toString("hex"));
  const compiler = new CompilerThread(options.mode === undefined ? {} : { mode: options.mode });
  try {
    const { lab, reload } = await Lab.start({
      name,
      paths: options.paths,
      version: options.version,
      read: () => compiler.read(options.paths, options.stdin),
      compiler,
      ...(options.dataplane === undefined ? {} : { dataplane: options.dataplane }),
      ...(options.mode === undefined ? {} : { mode: options.mode }),
      report: options.report,
      podRemoved: (ref) => contained(tell, ref, () => endPrograms(state.token, ref)),
    });
    if (!reload.ok) return reload;
    try {
      if (!signals.stopped) await enforce(lab, compiler, socket, reload, signals, options);
    } finally {
      lab.close();
    }
    return undefined;
  } finally {
    compiler.close();
    await removeRemains(folder, state);
    signals.release();
  }
}

async function enforce(
  lab: Lab,
  compiler: CompilerThread,
  socket: string,
  first: Reload,
  signals: Signals,
  options: HoldOptions,
): Promise<void> {
  let paths = options.paths;
  let stdin = options.stdin;
  const reload = async (request?: ApplyRequest): Promise<Reload> => {
    const wanted = request?.paths ?? paths;
    const text = request === undefined ? stdin : request.stdin;
    watch?.settled();
    const result = await lab.reload({ paths: wanted, read: () => compiler.read(wanted, text) });
    if (result.ok) {
      paths = wanted;
      stdin = text;
    }
    options.reloaded(result);
    return result;
  };
  const watch = options.watch
    ? new ManifestWatch({
        paths: () => paths,
        changed: () => contained(tell, "manifests", () => reload()),
        tell,
      })
    : undefined;
  const subject: ControlSubject = {
    ...lab.subject,
    reload: () => reload(),
    isBehind: () => watch?.isBehind ?? false,
  };
  const { handlers, streams, bodies } = controlRoutes(subject);
  const server = await serveUnix(socket, 0o600, {
    handlers: {
      ...handlers,
      "GET /status": (): LabStatus => ({ ...lab.status(), enforced: isEnforced(subject) }),
      "POST /apply": async ({ body }) => applyAnswer(await reload(body as ApplyRequest), lab),
      "POST /probe": ({ body }) => lab.probe((body as ProbeQuery | undefined)?.probes),
    },
    streams,
    bodies: {
      ...bodies,
      "POST /apply": manifestsBytesMax,
      "POST /probe": probesBytesMax,
    },
  });
  try {
    signals.onHangup = () => contained(tell, "SIGHUP", () => reload());
    options.ready(lab.status(), first);
    await signals.untilStopped;
  } finally {
    watch?.close();
    server.close();
  }
}

function isEnforced(subject: ControlSubject): boolean {
  return controlStatus(subject).enforced;
}

function applyAnswer(reload: Reload, lab: Lab): ApplyAnswer {
  const { generation } = lab.status();
  const { ok, diagnostics } = reload;
  return reload.ok || reload.refused === undefined
    ? { ok, generation, diagnostics }
    : { ok, generation, diagnostics, refused: refusalOf(reload.refused) };
}
