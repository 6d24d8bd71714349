import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { pinThread } from "../dataplane/traffic.js";
import { type Contender, type OpenContext, onStage, type SluiceVariant } from "./contender.js";
import { cpuSecondsOfThreads, threadsOf } from "./cpu-time.js";
import { hookOf } from "./node-links.js";
import { LeftOut } from "./stage.js";
import { serverPod } from "./workload.js";

const bpfFolder = "/sys/fs/bpf";
/** Of its own time on a processor: how long that takes is for the machine's other work to say. */
const readyWithinCpuSeconds = 60;
const readyWithinMs = 600_000;
const lookMs = 1_000;
const endWithinMs = 3_000;

/**
 * Starts `sluice run` between two veths, or `sluice node` where the middle is a node with a Service, as a user would.
 *
 * While it rests the process is stopped by a signal: one that spins would take the CPU from the others.
 */
export async function startSluice(
  variant: SluiceVariant,
  { workload, sluice }: OpenContext,
): Promise<Contender> {
  const hook = hookOf(variant.link);
  const stage = onStage((made) => {
    if (hook === undefined) {
      made.joinToMiddle("bridged");
    } else {
      made.joinByService();
      made.addPods(workload.others);
    }
    return made;
  });
  const words = hook === undefined ? wireWords(variant, sluice) : nodeWords(hook, sluice);
  const child = stage.start(words, { stdio: ["pipe", "pipe", "pipe"] });
  const close = async () => {
    await endOf(child);
    stage.close();
  };
  try {
    await untilReady(child, workload.manifests);
  } catch (error) {
    await close();
    throw error;
  }
  const pid = child.pid as number;
  child.kill("SIGSTOP");
  return {
    ...stage.ends,
    resume(cpus) {
      child.kill("SIGCONT");
      for (const thread of threadsOf(pid)) pinThread(thread, cpus);
    },
    rest: () => void child.kill("SIGSTOP"),
    memoryBytes: () => residentBytes(pid),
    cpuSeconds: () => cpuSecondsOfThreads(pid, threadsOf(pid)),
    close,
  };
}

function wireWords({ link, poll }: SluiceVariant, sluice: readonly string[]): string[] {
  return [
    ...sluice,
    "run",
    ...["--socket", "none", "--wire", "inside,outside", "--link", link],
    ...(poll === undefined ? [] : ["--poll", poll]),
    ...["-f", "-", "--pod", `${serverPod.namespace}/${serverPod.name}`],
  ];
}

/** It pins its programs in a bpf file system that nobody else sees, and that goes with it. */
function nodeWords(hook: string, sluice: readonly string[]): string[] {
  const mounted = `mount -t bpf bpf ${bpfFolder} && exec "$@"`;
  return [
    ...["unshare", "--mount", "sh", "-c", mounted, "sh"],
    ...sluice,
    "node",
    ...["--socket", "none", "--pin-folder", `${bpfFolder}/sluice`, "--hook", hook, "-f", "-"],
  ];
}

/** Hands the manifests over and waits for `ready`. Errors: LeftOut with what it said instead. */
function untilReady(child: ChildProcess, manifests: string): Promise<void> {
  let stdout = "";
  let stderr = "";
  return new Promise((resolve, reject) => {
    const beganMs = performance.now();
    const refuse = (reason: string) => {
      clearInterval(timer);
      reject(new LeftOut(reason));
    };
    const timer = setInterval(() => {
      if (usedSeconds(child) > readyWithinCpuSeconds)
        refuse("it was not ready within a minute of CPU time");
      else if (performance.now() - beganMs > readyWithinMs)
        refuse("it was not ready within ten minutes");
    }, lookMs);
    child.once("error", (error) => refuse(error.message));
    child.once("close", () => {
      const [line = ""] = stderr.trim().split("\n");
      refuse(line.replace(/^sluice: /, "") || "it ended before it was ready");
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      if (stdout.includes("ready\n")) {
        clearInterval(timer);
        resolve();
      }
    });
    child.stdin?.on("error", () => {}); // it may refuse before it has read them
    child.stdin?.end(manifests);
  });
}

/** The CPU time of a child that may have ended. */
function usedSeconds({ pid }: ChildProcess): number {
  try {
    return pid === undefined ? 0 : cpuSecondsOfThreads(pid, threadsOf(pid));
  } catch {
    return 0;
  }
}

/** Ends a child with SIGTERM, then SIGKILL. */
function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), endWithinMs);
    child.once("exit", () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill("SIGCONT");
    child.kill("SIGTERM");
  });
}

function residentBytes(pid: number): number | undefined {
  const kib = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return kib === undefined ? undefined : Number(kib) * 1_024;
}
