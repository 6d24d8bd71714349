import { spawn } from "node:child_process";
import { isAbsolute, resolve } from "node:path";
import { count } from "../diagnostics/count.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { LabClient, takeDown } from "../lab/client.js";
import { findPod } from "../lab/plan.js";
import { isInOtherUserNamespace } from "../lab/privilege.js";
import type { LabStatus, PodStatus, ProbeSpec } from "../lab/protocol.js";
import { podVariable, stateFolder, tokenVariable } from "../lab/state.js";
import { isUrl } from "../manifest/manifest-files.js";
import { sinceText } from "./duration.js";
import { waitThrough } from "./enter.js";
import { exitCodes, type Io } from "./io.js";
import { reportProbes } from "./lab-matrix.js";
import type {
  LabApplyOptions,
  LabExecOptions,
  LabOptions,
  LabProbeOptions,
  LabStatusOptions,
} from "./lab-spec.js";
import { labRequest } from "./lab-up.js";
import { readProbeFile, readStdin, showDiagnostics } from "./manifests.js";
import { renderTable, styles, writeJson } from "./output.js";
import { withPodView } from "./pod-view.js";
import { createProgress } from "./progress.js";
import { asCommand } from "./refusals.js";

export { runLabUp } from "./lab-up.js";

function client(options: LabOptions, io: Io): LabClient {
  return LabClient.find(stateFolder(io.env), options.name);
}

/** Puts another set of manifests in force in a running lab, or the same one again. */
export async function runLabApply(options: LabApplyOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const lab = client(options, io);
    const status = await lab.status();
    const stdin = options.filename.includes("-") ? await readStdin(io) : undefined;
    // The lab reads the files itself; relative paths stay as written where it stands in the same place.
    const isSame = status.cwd === process.cwd();
    const here = (path: string) =>
      isSame || path === "-" || isUrl(path) || isAbsolute(path) ? path : resolve(path);
    const { values, ...reading } = options;
    const moved = values === undefined ? {} : { values: values.map(here) };
    const request = labRequest(
      { ...reading, ...moved, filename: options.filename.map(here) },
      stdin,
    );
    const answer = await lab.apply(request);
    for (const line of answer.notes) io.stderr.write(`sluice: ${sanitize(line)}\n`);
    showDiagnostics(answer.diagnostics, io);
    if (answer.ok) {
      io.stdout.write(`lab ${options.name}: generation ${answer.generation} is in force\n`);
      return exitCodes.ok;
    }
    if (answer.refused !== undefined) io.stderr.write(`sluice: ${answer.refused.message}\n`);
    io.stderr.write(
      `sluice: lab ${options.name}: nothing changed, generation ${answer.generation} stays in force\n`,
    );
    return answer.refused === undefined ? exitCodes.input : exitCodes[answer.refused.kind];
  });
}

/** Ends a lab, or repairs what one left that was killed. Nothing to do is no failure. */
export async function runLabDown(options: LabOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const found = await takeDown(stateFolder(io.env), options.name);
    const said = {
      ended: "is down; nothing is left behind",
      repaired: "had been killed; what it left is removed",
      none: "is not up; there is nothing to do",
    }[found];
    io.stdout.write(`lab ${options.name} ${said}\n`);
    return exitCodes.ok;
  });
}

/** Shows a running lab: its pods, what was dropped and why. */
export async function runLabStatus(options: LabStatusOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const status = await client(options, io).status();
    if (options.output === "json") writeJson(io.stdout, status);
    else io.stdout.write(statusText(status, io));
    return exitCodes.ok;
  });
}

/** Runs a program in a pod's network namespace; the exit code is the program's. */
export async function runLabExec(options: LabExecOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const lab = client(options, io);
    const status = await lab.status();
    const pod = findPod(status.pods, options.pod);
    return runInPod(status, pod, lab.state.token, options.command, io);
  });
}

/** Tries real connections, and compares each with the table. Exit 1 when one differs. */
export async function runLabProbe(options: LabProbeOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const lab = client(options, io);
    const probes: readonly ProbeSpec[] | undefined =
      options.probes === undefined ? undefined : await readProbeFile(options.probes, io);
    const progress = createProgress(io);
    progress.update("trying connections");
    const report = await lab
      .probe(probes === undefined ? {} : { probes })
      .finally(() => progress.finish());
    if (options.output === "json") writeJson(io.stdout, report);
    else io.stdout.write(reportProbes(report, probes === undefined, io));
    return report.ok ? exitCodes.ok : exitCodes.negative;
  });
}

function statusText(status: LabStatus, io: Io): string {
  const { bold, red, dim } = styles(io);
  const lines = [
    `${bold(`lab ${status.name}`)}: generation ${status.generation} in force ${sinceText(status.since)}, ` +
      `${count(status.connections, "connection")}, pid ${status.pid}\n`,
    dim(`from ${status.paths.join(" ")}\n`),
  ];
  if (status.lastError !== null) {
    lines.push(red(`the last reload changed nothing: ${sanitize(status.lastError)}\n`));
  }
  const pods = renderTable(
    status.pods.map((pod) => [
      pod.ref,
      pod.addresses.join(" "),
      String(pod.packetsOut),
      String(pod.packetsIn),
      String(pod.dropped),
    ]),
    { header: ["POD", "ADDRESSES", "SENT", "RECEIVED", "DROPPED"], right: [2, 3, 4] },
  );
  const reasons = Object.entries(status.drops).sort(([, a], [, b]) => b - a);
  const drops =
    reasons.length === 0
      ? "nothing was dropped\n"
      : renderTable(
          reasons.map(([reason, count]) => [reason, String(count)]),
          { header: ["DROPPED BECAUSE", "FRAMES"], right: [1] },
        );
  return [...lines, "\n", pods, "\n", ...namesText(status), drops].join("");
}

/** Says how programs in the pods find each other. */
function namesText({ names }: LabStatus): readonly string[] {
  if (names === null) return [];
  const { services, nameservers, dnsPods, translation, isServing } = names;
  const table = renderTable(
    services.map(({ ref, addresses, ports, pods }) => [
      ref,
      addresses.join(" "),
      ports.join(" "),
      String(pods),
    ]),
    { header: ["SERVICE", "ADDRESSES", "PORTS", "PODS"], right: [3] },
  );
  return [
    `names are answered by ${dnsPods.join(", ")}, asked at ${nameservers.join(" and ")}\n`,
    translation.isOn ? "addresses of Services lead to pods\n" : `${sanitize(translation.reason)}\n`,
    ...(isServing ? ["at every declared port the lab itself answers\n"] : []),
    "\n",
    table,
    "\n",
  ];
}

/**
 * Enters the pod's namespace, and the lab's user namespace where it has one of its own.
 *
 * Shape: answers with the program's exit code, or 128 and the number of the signal that ended it.
 */
async function runInPod(
  status: LabStatus,
  pod: PodStatus,
  token: string,
  command: readonly string[],
  io: Io,
): Promise<number> {
  const words = [
    `--net=${pod.namespacePath}`,
    ...(isInOtherUserNamespace(status.pid)
      ? [`--user=/proc/${status.pid}/ns/user`, "--preserve-credentials"]
      : []),
    "--",
    ...withPodView(pod, status, command),
  ];
  const child = spawn("nsenter", words, {
    stdio: "inherit",
    env: { ...io.env, [tokenVariable]: token, [podVariable]: pod.ref },
  });
  return waitThrough(child);
}
