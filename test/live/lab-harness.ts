import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { LabClient } from "../../src/lab/client.js";
import type { LabStatus } from "../../src/lab/protocol.js";
import { patientMs } from "../patience.js";

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const main = join(root, "dist/cli/main.js");
export const threeTier = join(root, "examples/three-tier");
export const incident = [
  "-f",
  join(root, "examples/three-tier/cluster.yaml"),
  "-f",
  join(root, "examples/three-tier-incident"),
];

/** Why no lab can run here; undefined when one can. */
export const labObstacle: string | undefined = !existsSync(main)
  ? "dist/ is not built"
  : spawnSync("unshare", ["--net", "true"]).status === 0 ||
      spawnSync("unshare", ["--user", "--map-root-user", "--net", "true"]).status === 0
    ? undefined
    : "no network namespaces for this user";

export const rawSocketObstacle: string | undefined = (() => {
  try {
    createRequire(import.meta.url)("raw-socket");
    return undefined;
  } catch {
    return "the optional package raw-socket is not there";
  }
})();

export const ipObstacle: string | undefined =
  spawnSync("ip", ["-V"]).status === 0 ? undefined : "iproute2 is not installed";

/** A test's name, with the reason when it cannot run. */
export function named(name: string, obstacle: string | undefined): string {
  return obstacle === undefined ? name : `${name} (cannot run: ${obstacle})`;
}

export interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs commands with a state folder of its own. */
export class Bench {
  readonly folder: string;
  readonly #prefix: readonly string[];
  readonly #home: string;
  readonly #children: ChildProcess[] = [];

  /**
   * `prefix` are words before the program, for example to run it as another user; `home` is where
   * the program is installed.
   */
  constructor(prefix: readonly string[] = [], folder?: string, home = root) {
    this.#prefix = prefix;
    this.#home = home;
    this.folder = folder ?? mkdtempSync(join(tmpdir(), "sluice-live-"));
  }

  get env(): NodeJS.ProcessEnv {
    return { ...process.env, SLUICE_STATE_DIR: this.folder, NO_COLOR: "1" };
  }

  start(...words: string[]): ChildProcess {
    const command = join(this.#home, "dist/cli/main.js");
    const [program, ...rest] = [...this.#prefix, process.execPath, command, ...words];
    const child = spawn(program!, rest, { cwd: this.#home, env: this.env });
    this.#children.push(child);
    return child;
  }

  run(...words: string[]): Promise<Answer> {
    return finish(this.start(...words));
  }

  /** Runs a program in a pod. */
  exec(pod: string, ...command: string[]): Promise<Answer> {
    return this.run("lab", "exec", pod, "--", ...command);
  }

  /** Asks the lab by its socket, without a process in between. */
  status(): Promise<LabStatus> {
    return LabClient.find(this.folder, "default").status();
  }

  /** Starts one end of a stream in a pod; `lines` has what it has printed so far. */
  peer(pod: string, ...words: string[]): { child: ChildProcess; lines: PeerLine[] } {
    const program = join(root, "dist/cli/demo-peer.js");
    const child = this.start("lab", "exec", pod, "--", process.execPath, program, ...words);
    const lines: PeerLine[] = [];
    createInterface({ input: child.stdout! }).on("line", (line) => lines.push(JSON.parse(line)));
    return { child, lines };
  }

  /** Files that labs have left in the state folder. */
  left(): string[] {
    return readdirSync(this.folder);
  }

  async close(): Promise<void> {
    await this.run("lab", "down");
    for (const child of this.#children) if (child.exitCode === null) child.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface PeerLine {
  readonly listening?: boolean;
  readonly bytes?: number;
  readonly done?: boolean;
  readonly intact?: boolean;
}

/** Collects what a process prints, until it ends. */
export function finish(child: ChildProcess): Promise<Answer> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin?.end();
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code: code ?? -1, stdout, stderr }));
  });
}

/** Waits until `condition` holds. Errors: rejects, naming it, when it does not in time. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = patientMs,
): Promise<void> {
  for (const start = performance.now(); !(await condition()); ) {
    if (performance.now() - start > timeoutMs) throw new Error(`not in time: ${what}`);
    await pause(20);
  }
}

/**
 * Waits until what is asked is answered, with more time for an answer each time: enough on a busy machine, and soon
 * asked again where nobody could answer yet.
 */
export function untilAnswered(
  what: string,
  ask: (timeoutMs: number) => Promise<boolean>,
): Promise<void> {
  let waitMs = 75;
  return until(what, () => {
    waitMs = Math.min(2 * waitMs, patientMs);
    return ask(waitMs);
  });
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
