import { linkSync, lstatSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "../control/make-folder.js";
import { startTicks } from "../control/process-start.js";
import { readRegularFile } from "../manifest/regular-file.js";
import { LabError } from "./lab-error.js";

/** Limit of a state file, which is small. */
const stateBytesMax = 1024 * 1024;

/** A running lab's state on disk: how to reach its process, and how to identify its children. */
export interface LabState {
  readonly name: string;
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: the kernel may have given the pid to another process. */
  readonly startTicks: string;
  /** In the environment of every program that `lab exec` starts. */
  readonly token: string;
}

/** Variable that carries `LabState.token`. */
export const tokenVariable = "SLUICE_LAB_TOKEN";
/** Variable that carries `namespace/name` of the pod a program runs in. */
export const podVariable = "SLUICE_LAB_POD";
/**
 * Root's. That of services is not for labs: a service manager makes it, gives it to the user of a service, and removes
 * it with all that is in it when that ends.
 */
const labFolder = "/run/sluice-lab";

/** Variable that sets the state folder instead of the defaults. */
export const stateVariable = "SLUICE_STATE_DIR";

const socketPathBytesMax = 107;

/**
 * Finds the folder for state files, and makes it if needed.
 *
 * Errors: LabError when it belongs to another user or others may write to it: another user who replaces the
 *         socket could control the lab.
 */
export function stateFolder(env: Readonly<Record<string, string | undefined>>): string {
  const folder = chooseFolder(env);
  try {
    makeFolder(folder, 0o700);
    const found = lstatSync(folder);
    const isOurs = found.isDirectory() && found.uid === process.getuid?.();
    if (!isOurs || (found.mode & 0o022) !== 0) {
      throw new LabError(
        "environment",
        `${folder} is not a folder that only this user may write to`,
        `set ${stateVariable} to one that is`,
      );
    }
  } catch (error) {
    if (error instanceof LabError) throw error;
    const reason = (error as Error).message;
    throw new LabError(
      "environment",
      `cannot keep state in ${folder}: ${reason}`,
      `set ${stateVariable} to a folder of your own`,
    );
  }
  return folder;
}

function chooseFolder(env: Readonly<Record<string, string | undefined>>): string {
  const given = env[stateVariable];
  if (given) return given;
  const runtime = env["XDG_RUNTIME_DIR"];
  if (runtime) return join(runtime, "sluice");
  const uid = process.getuid?.() ?? 0;
  return uid === 0 ? labFolder : `/tmp/sluice-${uid}`;
}

/** Errors: LabError (usage) when the name cannot be part of a file name, or the path grows too long. */
export function socketPath(folder: string, name: string): string {
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) {
    throw new LabError(
      "usage",
      `got "${name}" as the name of a lab, want lower case letters, digits and dashes`,
    );
  }
  const path = join(folder, `lab-${name}.sock`);
  if (Buffer.byteLength(path) > socketPathBytesMax) {
    throw new LabError(
      "environment",
      `${path} is too long for a socket`,
      `set ${stateVariable} to a shorter folder`,
    );
  }
  return path;
}

/** The log file of a lab in the background. */
export function logPath(folder: string, name: string): string {
  return join(folder, `lab-${name}.log`);
}

function statePath(folder: string, name: string): string {
  return join(folder, `lab-${name}.json`);
}

/** Reads a lab's state; undefined when there is none or it is unreadable. */
export function readState(folder: string, name: string): LabState | undefined {
  try {
    return JSON.parse(
      readRegularFile(statePath(folder, name), stateBytesMax).toString("utf8"),
    ) as LabState;
  } catch {
    return undefined;
  }
}

/** Names of the labs that have a state file. */
export function labNames(folder: string): string[] {
  return readdirSync(folder).flatMap((file) => /^lab-(.+)\.json$/.exec(file)?.[1] ?? []);
}

/** Reports whether the process that wrote the state still runs. */
export function isRunning(state: LabState): boolean {
  return startTicks(state.pid) === state.startTicks;
}

/**
 * Claims a name for this process.
 *
 * If an earlier claim's process has ended, its socket and programs are removed first.
 *
 * Errors: LabError when a lab of that name runs.
 */
export async function claimName(folder: string, name: string, token: string): Promise<LabState> {
  const state = { name, pid: process.pid, startTicks: startTicks(process.pid) ?? "", token };
  const path = statePath(folder, name);
  const mine = `${path}.${process.pid}`;
  writeFileSync(mine, `${JSON.stringify(state)}\n`, { mode: 0o600 });
  try {
    for (;;) {
      try {
        // link() is atomic and never replaces a file.
        linkSync(mine, path);
        return state;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const other = readState(folder, name);
      if (other !== undefined && isRunning(other)) {
        throw new LabError(
          "environment",
          `lab ${name} is already up (pid ${other.pid})`,
          `sluice lab apply, or sluice lab down${name === "default" ? "" : ` --name ${name}`} first`,
        );
      }
      if (other === undefined) rmSync(path, { force: true });
      else await removeRemains(folder, other);
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/**
 * Removes what a lab's process leaves at its end: the programs that `lab exec` started, the socket, the
 * state.
 *
 * Namespaces and interfaces need no removal: the process held them by descriptors. The kernel removes them
 * with the process, or with the last program inside.
 */
export async function removeRemains(folder: string, state: LabState): Promise<void> {
  await endPrograms(state.token);
  rmSync(join(folder, `lab-${state.name}.sock`), { force: true });
  rmSync(logPath(folder, state.name), { force: true });
  rmSync(statePath(folder, state.name), { force: true });
}

/**
 * Ends the programs that `lab exec` started, all of a lab's or one pod's: SIGTERM first, then SIGKILL. They
 * are found by their environment, which their children inherit.
 */
export async function endPrograms(token: string, pod?: string): Promise<void> {
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    for (let wait = 0; wait < 20; wait++) {
      const pids = programsOf(token, pod);
      if (pids.length === 0) return;
      if (wait === 0) for (const pid of pids) sendSignal(pid, signal);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}

function programsOf(token: string, pod: string | undefined): number[] {
  const wanted = [`${tokenVariable}=${token}`, ...(pod ? [`${podVariable}=${pod}`] : [])];
  return readdirSync("/proc").flatMap((folder) => {
    const pid = Number(folder);
    if (!Number.isInteger(pid) || pid === process.pid) return [];
    try {
      const entries = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
      return wanted.every((each) => entries.includes(each)) ? [pid] : [];
    } catch {
      return [];
    }
  });
}

/** Sends a signal; a process that has already ended is no error. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
