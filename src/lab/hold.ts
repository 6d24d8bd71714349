import { randomBytes } from "node:crypto";
import { contained } from "../control/boundary.js";
import { CompilerThread } from "../control/compiler-thread.js";
import { controlRoutes, manifestsBytesMax } from "../control/control-routes.js";
import type { Reload } from "../control/controller.js";
import type { Enforcer } from "../control/enforcer.js";
import { ManifestWatch } from "../control/manifest-watch.js";
import { refusalOf } from "../control/refusal.js";
import { serveUnix } from "../control/server.js";
import { Signals } from "../control/signals.js";
import type { ReadManifests } from "../control/source.js";
import type { DataplaneOptions } from "../dataplane/dataplane.js";
import { openHubble } from "../hubble/open-hubble.js";
import type { Mode } from "../manifest/annotations.js";
import { passedOverLines } from "../manifest/passed-over.js";
import { gatherInput } from "../sources/read-input.js";
import type { PodRanges } from "../workloads/assign-addresses.js";
import { Lab } from "./lab.js";
import type { ApplyAnswer, ApplyRequest, LabStatus, ProbeQuery } from "./protocol.js";
import { claimName, endPrograms, removeRemains, socketPath } from "./state.js";

export interface HoldOptions {
  /** From `stateFolder`. */
  readonly folder: string;
  readonly name: string;
  /** The manifests. */
  readonly request: ApplyRequest;
  /** Reads the manifests again when they change on disk. */
  readonly watch: boolean;
  readonly version: string;
  /** Of this process, for what renders and fetches. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataplane?: DataplaneOptions;
  readonly mode?: Mode;
  /** Namespace of objects that name none. */
  readonly namespace?: string;
  /** The most pods of a workload. */
  readonly replicas?: number;
  /** Answers at every port that a container declares. */
  readonly isServing?: boolean;
  /** Ranges for pods without addresses. */
  readonly ranges?: PodRanges;
  /** Where Hubble's clients are answered; absent: nowhere. */
  readonly hubbleListen?: string;
  /** Reports the progress of the start, one line per step. */
  readonly report: (step: string) => void;
  /** Says what ran to render the manifests, and what of them was passed over. */
  readonly note: (line: string) => void;
  /** The lab enforces. */
  readonly ready: (status: LabStatus, reload: Reload) => void;
  /** SIGHUP or `lab apply` had this effect. */
  readonly reloaded: (reload: Reload) => void;
}

/** A lab reports to its log only. */
const tell = (line: string) => void process.stderr.write(`sluice: ${line}\n`);

/** The largest list of probes in a request. Units: bytes. */
const probesBytesMax = 16 * 1024 * 1024;

/**
 * Runs a lab in this process until SIGTERM or SIGINT, then removes all of it.
 *
 * Shape:  returns the failed reload when the manifests have errors, and undefined when the lab was up and has
 *         ended.
 * Errors: LabError and DataplaneError; nothing is left behind.
 */
export async function holdLab(options: HoldOptions): Promise<Reload | undefined> {
  const { folder, name, mode, dataplane } = options;
  const signals = new Signals();
  const socket = socketPath(folder, name);
  const state = await claimName(folder, name, randomBytes(12).toString("hex"));
  const { namespace, replicas, ranges } = options;
  const making = {
    ...(namespace === undefined ? {} : { namespace }),
    ...(replicas === undefined ? {} : { replicas }),
  };
  const compiler = new CompilerThread({ ...(mode === undefined ? {} : { mode }), making });
  const manifests = new LabManifests(options, compiler);
  try {
    const { lab, reload } = await Lab.start({
      name,
      version: options.version,
      paths: () => manifests.paths,
      read: () => manifests.read(undefined, manifests.isUp ? tell : options.note),
      isBehind: () => manifests.isBehind,
      compiler,
      making,
      tell,
      programs: { isServing: options.isServing ?? false },
      ...(dataplane === undefined ? {} : { dataplane }),
      ...(mode === undefined ? {} : { mode }),
      ...(ranges === undefined ? {} : { ranges }),
      report: options.report,
      reloaded: options.reloaded,
      podRemoved: (ref) => contained(tell, ref, () => endPrograms(state.token, ref)),
    });
    if (!reload.ok) return reload;
    try {
      if (!signals.stopped) await serveLab(lab, manifests, socket, reload, signals, options);
    } finally {
      manifests.close();
      await lab.close();
    }
    return undefined;
  } finally {
    await removeRemains(folder, state);
    signals.release();
  }
}

/** The manifests of a lab. `apply` replaces them; a set with errors changes nothing. */
class LabManifests {
  readonly #options: HoldOptions;
  readonly #compiler: CompilerThread;
  #request: ApplyRequest;
  #watch: ManifestWatch | undefined;
  /** Folders that the last read rendered. */
  #rendered: readonly string[] = [];
  /** Whether the lab has begun: its log is told then, and nobody who waits. */
  isUp = false;

  constructor(options: HoldOptions, compiler: CompilerThread) {
    this.#options = options;
    this.#compiler = compiler;
    this.#request = options.request;
  }

  get paths(): readonly string[] {
    return this.#request.paths;
  }

  get isBehind(): boolean {
    return this.#watch?.isBehind ?? false;
  }

  /**
   * Reads the present manifests, or those of a new request. Charts and kustomizations are rendered in this thread,
   * which can end their programs when it is told to end itself.
   */
  async read(
    request: ApplyRequest = this.#request,
    note: (line: string) => void = tell,
  ): Promise<ReadManifests> {
    this.#watch?.settled();
    const { paths, strict = false, render = "auto", verbose = false, ...rest } = request;
    const { env, version, namespace } = this.#options;
    const options = { ...rest, leniency: strict ? "strict" : "lenient" } as const;
    const gathering = { ...options, render, env, namespace, userAgent: `sluice/${version}` };
    const { survey, made } = await gatherInput(paths, { ...gathering, tell: note });
    this.#rendered = [...survey.rendered, ...(request.values ?? [])];
    const read = await this.#compiler.read({ ...options, paths, made });
    for (const line of passedOverLines(read.passedOver ?? [], verbose)) note(line);
    return read;
  }

  /** Switches to the manifests of a request, if they can be put in force. */
  async apply(
    request: ApplyRequest,
    { controller }: Enforcer,
    note: (line: string) => void,
  ): Promise<Reload> {
    const result = await controller.reload(async () => ({ all: await this.read(request, note) }));
    if (result.ok) this.#request = request;
    return result;
  }

  watch(changed: () => void): void {
    this.#watch = new ManifestWatch({
      paths: () => this.paths,
      ignore: () => this.#request.ignore ?? [],
      rendered: () => this.#rendered,
      changed,
      tell,
    });
  }

  close(): void {
    this.#watch?.close();
  }
}

async function serveLab(
  lab: Lab,
  manifests: LabManifests,
  socket: string,
  first: Reload,
  signals: Signals,
  options: HoldOptions,
): Promise<void> {
  const { enforcer } = lab;
  manifests.isUp = true;
  if (options.watch) {
    manifests.watch(() => contained(tell, "manifests", () => enforcer.reload()));
  }
  const apply = async (request: ApplyRequest): Promise<ApplyAnswer> => {
    const notes: string[] = [];
    const reload = await manifests.apply(request, enforcer, (line) => void notes.push(line));
    options.reloaded(reload);
    return { ...applyAnswer(reload, lab), notes };
  };
  await enforcer.listen(async (subject) => {
    const { handlers, streams, bodies } = controlRoutes(subject);
    const { hubbleListen } = options;
    const { flows, version } = subject;
    const hubble =
      hubbleListen === undefined
        ? undefined
        : await openHubble(hubbleListen, { flows, version, tell });
    if (hubble !== undefined) tell(`Hubble's protocol on ${hubble.at}`);
    const served = await serveUnix(socket, 0o600, {
      handlers: {
        ...handlers,
        "GET /status": () => lab.status(),
        "POST /apply": ({ body }) => apply(body as ApplyRequest),
        "POST /probe": ({ body }) => lab.probe((body as ProbeQuery | undefined)?.probes),
      },
      streams,
      bodies: {
        ...bodies,
        "POST /apply": manifestsBytesMax,
        "POST /probe": probesBytesMax,
      },
    });
    return {
      async close() {
        served.close();
        await hubble?.close();
      },
    };
  });
  enforcer.followSignals(signals);
  options.ready(lab.status(), first);
  await signals.untilStopped;
}

function applyAnswer(reload: Reload, lab: Lab): Omit<ApplyAnswer, "notes"> {
  const { generation } = lab.status();
  const { ok, diagnostics } = reload;
  return reload.ok || reload.refused === undefined
    ? { ok, generation, diagnostics }
    : { ok, generation, diagnostics, refused: refusalOf(reload.refused) };
}
