import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { Reload } from "../control/controller.js";
import { type Refusal, refusalOf } from "../control/refusal.js";
import { count } from "../diagnostics/count.js";
import { type Diagnostic, placeText } from "../diagnostics/diagnostic.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { holdLab } from "../lab/hold.js";
import { mayMakeNamespaces } from "../lab/privilege.js";
import type { ApplyRequest, LabStatus, PodStatus } from "../lab/protocol.js";
import { logPath, readState, stateFolder, stateVariable } from "../lab/state.js";
import { workersOf } from "./arguments.js";
import { exitOf, runEntered, selfEnvironment, selfWords } from "./enter.js";
import { flagWords } from "./flag-words.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { type LabUpOptions, upFlags } from "./lab-spec.js";
import { readStdin, showDiagnostics } from "./manifests.js";
import { renderTable, styles } from "./output.js";
import { createProgress } from "./progress.js";
import { asCommand } from "./refusals.js";
import type { ReadingOptions } from "./shared-options.js";
import { packageVersion } from "./version.js";

/**
 * Variable with the descriptor on which a lab in the background reports its progress to its starter.
 */
const reportVariable = "SLUICE_LAB_REPORT_FD";
const interrupted = 130;

/** The report: one JSON document per line. */
type Report =
  | { readonly step: string }
  | { readonly note: string }
  | { readonly ready: LabStatus; readonly diagnostics: readonly Diagnostic[] }
  | { readonly diagnostics: readonly Diagnostic[]; readonly refused?: Refusal };

/**
 * Brings a lab up: in the background, or here until Ctrl-C.
 *
 * Shape: in the background it answers once the lab enforces; a Ctrl-C until then takes it down again.
 */
export async function runLabUp(options: LabUpOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const folder = stateFolder(io.env);
    const stdin = options.filename.includes("-") ? await readStdin(io) : undefined;
    if (!options.foreground) return startInBackground(options, folder, stdin, io);
    if (!mayMakeNamespaces()) {
      // Within a user namespace this user is called 0: the folder must not be chosen again there.
      return runEntered(holdWords(options), io, { [stateVariable]: folder }, stdin);
    }
    return hold(options, folder, stdin, io);
  });
}

async function hold(
  options: LabUpOptions,
  folder: string,
  stdin: string | undefined,
  io: Io,
): Promise<number> {
  const { established, deny, mode, namespace, replicas, podCidr, hubbleListen } = options;
  const dataplane = { ...workersOf(options), established, deny };
  const fd = io.env[reportVariable];
  const teller = fd === undefined ? tellUser(options, io) : tellStarter(Number(fd), io);
  let wasReady = false;
  try {
    const failed = await holdLab({
      folder,
      name: options.name,
      request: labRequest(options, stdin),
      watch: options.watch === "auto",
      version: packageVersion(),
      env: io.env,
      dataplane,
      mode,
      ...(namespace === undefined ? {} : { namespace }),
      ...(replicas === undefined ? {} : { replicas }),
      isServing: options.serve,
      ...(podCidr === undefined ? {} : { ranges: podCidr }),
      ...(hubbleListen === undefined ? {} : { hubbleListen }),
      report: (step) => teller.step(step),
      note: (line) => teller.note(line),
      ready: (status, reload) => {
        wasReady = true;
        teller.ready(status, reload);
      },
      reloaded: (reload) => teller.reloaded(reload),
    });
    if (failed === undefined) return wasReady ? exitCodes.ok : interrupted;
    teller.failed(failed.diagnostics, failed.ok ? undefined : failed.refused);
    if (failed.ok || failed.refused === undefined) return exitCodes.input;
    return exitCodes[refusalOf(failed.refused).kind];
  } catch (error) {
    if (fd === undefined) throw error;
    teller.failed([], error);
    return exitCodes[refusalOf(error).kind];
  }
}

/** What a lab is to read, of the flags that say so. */
export function labRequest(
  { filename, ignore, strict, render, values, verbose }: ReadingOptions,
  stdin: string | undefined,
): ApplyRequest {
  return {
    paths: filename,
    strict,
    render,
    verbose,
    ...(ignore === undefined ? {} : { ignore }),
    ...(values === undefined ? {} : { values }),
    ...(stdin === undefined ? {} : { stdin }),
  };
}

interface Teller {
  step(step: string): void;
  note(line: string): void;
  ready(status: LabStatus, reload: Reload): void;
  reloaded(reload: Reload): void;
  failed(diagnostics: readonly Diagnostic[], refused: unknown): void;
}

function tellUser(options: LabUpOptions, io: Io): Teller {
  const progress = createProgress(io);
  return {
    step: (step) => progress.update(step),
    note(line) {
      progress.finish();
      io.stderr.write(`sluice: ${sanitize(line)}\n`);
    },
    ready(status, reload) {
      progress.finish();
      showDiagnostics(reload.diagnostics, io);
      tellReady(status, io);
      io.stdout.write("Ctrl-C takes it down\n");
    },
    reloaded(reload) {
      showDiagnostics(reload.diagnostics, io);
      io.stderr.write(`${reloadedText(options.name, reload)}\n`);
    },
    failed(diagnostics, refused) {
      progress.finish();
      showDiagnostics(diagnostics, io);
      if (refused !== undefined) throw refused;
    },
  };
}

/** Tells of a lab that has come up: what enforces, its pods, and what to do next; and what it lacks. */
function tellReady(status: LabStatus, io: Io): void {
  const { names } = status;
  if (names !== null && !names.translation.isOn) {
    io.stderr.write(`sluice: ${sanitize(names.translation.reason)}\n`);
  }
  io.stdout.write(readyText(status, io));
}

function readyText(status: LabStatus, io: Io): string {
  const { bold, green, dim } = styles(io);
  const flag = status.name === "default" ? "" : ` --name ${status.name}`;
  const given = status.pods.filter(({ isOwn }) => !isOwn);
  const first = given[0]?.ref ?? "POD";
  const pods = renderTable(
    status.pods.map((pod) => [pod.ref, pod.addresses.join(" ") + noteOf(pod)]),
    { header: ["POD", "ADDRESSES"] },
  );
  const head = `${bold(`lab ${status.name}`)} is ${green("up")}: ${count(given.length, "pod")}, generation ${status.generation} is enforced by pid ${status.pid}`;
  const next = `sluice lab probe${flag} · sluice lab exec${flag} ${first} -- CMD · sluice lab down${flag}`;
  return `${head}\n${pods}${dim(`next: ${next}`)}\n`;
}

function noteOf({ isOwn, assigned }: PodStatus): string {
  if (isOwn) return " (the lab's own, for DNS)";
  return assigned ? " (assigned)" : "";
}

function tellStarter(fd: number, io: Io): Teller {
  let isHeard = true;
  const tell = (report: Report) => {
    // Once closed, the number may be another file's.
    if (!isHeard) return;
    try {
      writeSync(fd, `${JSON.stringify(report)}\n`);
    } catch {
      // The starter has ended; the lab stays, and its log has the report.
    }
  };
  return {
    step: (step) => tell({ step }),
    note: (note) => tell({ note }),
    ready(status, { diagnostics }) {
      tell({ ready: status, diagnostics });
      isHeard = false;
      closeSync(fd);
    },
    reloaded(reload) {
      io.stderr.write(`${new Date().toISOString()} ${reloadedText("", reload)}\n`);
    },
    failed(diagnostics, refused) {
      tell(refused === undefined ? { diagnostics } : { diagnostics, refused: refusalOf(refused) });
    },
  };
}

function reloadedText(name: string, reload: Reload): string {
  if (reload.ok)
    return `lab ${name}: generation ${reload.generation} is in force`.replace("  ", " ");
  const first = reload.diagnostics.find((each) => each.severity === "error");
  const why =
    reload.refused?.message ??
    (first === undefined
      ? "the manifests have errors"
      : `${placeText(first.span)}: ${first.message}`);
  return `lab ${name}: nothing changed: ${sanitize(why)}`.replace("  ", " ");
}

function holdWords(options: LabUpOptions): readonly string[] {
  return ["lab", "up", ...flagWords(upFlags, { ...options, foreground: true })];
}

async function startInBackground(
  options: LabUpOptions,
  folder: string,
  stdin: string | undefined,
  io: Io,
): Promise<number> {
  const [program, ...words] = selfWords(holdWords(options), io);
  const env = selfEnvironment(io, { [stateVariable]: folder, [reportVariable]: "3" });
  const log = openSync(logPath(folder, options.name), "a", 0o600);
  const child = spawn(program, words, {
    env,
    detached: true,
    stdio: [stdin === undefined ? "ignore" : "pipe", log, log, "pipe"],
  });
  closeSync(log);
  child.stdin?.on("error", () => {});
  child.stdin?.end(stdin ?? "");
  const exited = exitOf(child);
  let wasInterrupted = false;
  const interrupt = () => {
    wasInterrupted = true;
    child.kill("SIGTERM");
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);

  const progress = createProgress(io);
  try {
    for await (const line of createInterface({ input: child.stdio[3] as Readable })) {
      const report = JSON.parse(line) as Report;
      if ("note" in report) {
        progress.finish();
        io.stderr.write(`sluice: ${sanitize(report.note)}\n`);
        continue;
      }
      if ("step" in report) {
        progress.update(report.step);
        continue;
      }
      progress.finish();
      showDiagnostics(report.diagnostics, io);
      if ("ready" in report) {
        child.unref();
        tellReady(report.ready, io);
        return exitCodes.ok;
      }
      await exited;
      if (report.refused === undefined) return exitCodes.input;
      const { kind, message, remedy } = report.refused;
      throw new CommandError(exitCodes[kind], message, remedy);
    }
    const code = await exited;
    if (wasInterrupted) return interrupted;
    throw new CommandError(
      code === exitCodes.bug ? exitCodes.bug : exitCodes.environment,
      `the lab's process ended before the lab was up: ${lastWords(folder, options.name, code)}`,
      mayMakeNamespaces()
        ? undefined
        : "root with CAP_NET_ADMIN and CAP_SYS_ADMIN, or an ordinary user where the kernel gives those their own namespaces",
    );
  } finally {
    progress.finish();
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
    // A running lab removes its log when it ends; one that never ran has nobody else to do it.
    if (readState(folder, options.name) === undefined) {
      rmSync(logPath(folder, options.name), { force: true });
    }
  }
}

function lastWords(folder: string, name: string, code: number): string {
  const log = readFileSync(logPath(folder, name), { encoding: "utf8", flag: "a+" }).trim();
  return log === "" ? `exit code ${code}` : (log.split("\n").at(-1) ?? "");
}
