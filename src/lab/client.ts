import { request } from "node:http";
import { LabError } from "./lab-error.js";
import type {
  ApplyAnswer,
  ApplyRequest,
  LabStatus,
  ProbeQuery,
  ProbeReport,
  Refusal,
} from "./protocol.js";
import {
  isRunning,
  type LabState,
  labNames,
  readState,
  removeRemains,
  sendSignal,
  socketPath,
} from "./state.js";

/** How long a lab may take to end by itself before it is made to. */
const downTimeoutMs = 10_000;

/**
 * The way to a lab that runs in another process.
 *
 * Errors: LabError when it does not run, or when it refuses.
 */
export class LabClient {
  readonly state: LabState;
  readonly #socket: string;

  private constructor(state: LabState, socket: string) {
    this.state = state;
    this.#socket = socket;
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
        ? `no lab ${name} is up`
        : `lab ${name} has ended without being taken down`,
      others.length > 0
        ? `these are up: ${others.join(", ")} (choose one with --name)`
        : `sluice lab up -f PATH${flag}`,
    );
  }

  status(): Promise<LabStatus> {
    return this.#ask("GET", "/status");
  }

  apply(body: ApplyRequest): Promise<ApplyAnswer> {
    return this.#ask("POST", "/apply", body);
  }

  probe(body: ProbeQuery): Promise<ProbeReport> {
    return this.#ask("POST", "/probe", body);
  }

  #ask<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.#socket, method, path }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const answer: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
          if (response.statusCode === 200) return resolve(answer as Answer);
          const { kind, message, remedy } = answer as Refusal;
          reject(kind === "bug" ? new Error(message) : new LabError(kind, message, remedy));
        });
      });
      call.on("error", (error: NodeJS.ErrnoException) => {
        const starting = error.code === "ENOENT" || error.code === "ECONNREFUSED";
        reject(
          new LabError(
            "environment",
            starting
              ? `lab ${this.state.name} does not answer: it is starting or ending`
              : `lab ${this.state.name} does not answer: ${error.message}`,
          ),
        );
      });
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

/**
 * Ends a lab and removes what it left, also when its process is long gone.
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
