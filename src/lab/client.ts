import { ControlClient } from "../control/client.js";
import { didYouMean } from "../diagnostics/suggest.js";
import { LabError } from "./lab-error.js";
import type { ApplyAnswer, ApplyRequest, LabStatus, ProbeQuery, ProbeReport } from "./protocol.js";
import {
  isRunning,
  type LabState,
  labNames,
  readState,
  removeRemains,
  sendSignal,
  socketPath,
} from "./state.js";

/** How long a lab may take to end by itself before it is killed. */
const downTimeoutMs = 10_000;

/**
 * A client of a lab that runs in another process.
 *
 * Errors: LabError when the lab does not run, or when it refuses.
 */
export class LabClient {
  readonly state: LabState;
  /** A client for the routes that every enforcing process has. */
  readonly control: ControlClient;

  private constructor(state: LabState, socket: string) {
    this.state = state;
    this.control = new ControlClient(socket, (reason) => {
      const isAbsent = reason.code === "ENOENT" || reason.code === "ECONNREFUSED";
      const why = isAbsent ? "it is starting or ending" : reason.message;
      return new LabError("environment", `lab ${state.name} does not answer: ${why}`);
    });
  }

  /** Finds a running lab. Errors: LabError (environment) when there is none of that name. */
  static find(folder: string, name: string): LabClient {
    const socket = socketPath(folder, name);
    const state = readState(folder, name);
    if (state !== undefined && isRunning(state)) return new LabClient(state, socket);
    const flag = name === "default" ? "" : ` --name ${name}`;
    const others = labNames(folder).filter((each) => {
      const other = readState(folder, each);
      return other !== undefined && isRunning(other);
    });
    throw new LabError(
      "environment",
      state === undefined
        ? `no lab ${name} is up${didYouMean(name, others)}`
        : `lab ${name} has ended without being taken down`,
      others.length > 0
        ? `these are up: ${others.join(", ")} (choose one with --name)`
        : `sluice lab up -f PATH${flag}`,
    );
  }

  status(): Promise<LabStatus> {
    return this.control.ask("GET", "/status");
  }

  apply(body: ApplyRequest): Promise<ApplyAnswer> {
    return this.control.ask("POST", "/apply", body);
  }

  probe(body: ProbeQuery): Promise<ProbeReport> {
    return this.control.ask("POST", "/probe", body);
  }
}

/**
 * Ends a lab and removes its remains, even if its process has already ended.
 *
 * Shape: `ended` when it ran, `repaired` when only remains were there, `none` when there was nothing.
 */
export async function takeDown(
  folder: string,
  name: string,
): Promise<"ended" | "repaired" | "none"> {
  socketPath(folder, name);
  const state = readState(folder, name);
  if (state === undefined) return "none";
  const ran = isRunning(state);
  if (ran) {
    sendSignal(state.pid, "SIGTERM");
    if (!(await ended(state, downTimeoutMs))) {
      sendSignal(state.pid, "SIGKILL");
      await ended(state, downTimeoutMs);
    }
  }
  await removeRemains(folder, state);
  return ran ? "ended" : "repaired";
}

async function ended(state: LabState, timeoutMs: number): Promise<boolean> {
  for (const start = performance.now(); performance.now() - start < timeoutMs; ) {
    if (!isRunning(state)) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}
