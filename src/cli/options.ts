import type { Choice } from "../control/settings.js";
import { wantDnsLabel } from "../manifest/names.js";
import { formatPrefix, readPrefix } from "../net/prefix.js";
import { type PodRanges, usualRanges, whyNoRange } from "../workloads/assign-addresses.js";
import { CommandError, exitCodes } from "./io.js";

/**
 * What the frame hands to each command body: flags by their long name in camelCase, defaults
 * filled in, arguments by their own name. Absent means the user did not say.
 */

export interface PolicyOptions {
  /** Each `-f`: a file, a folder, or `-`. */
  readonly filename: readonly string[];
}

/** What is made of the manifests, where no real traffic hangs on them. */
export interface PodOptions extends PolicyOptions {
  /** Of objects that name none. */
  readonly namespace?: string;
  /** Pods of a workload at most. */
  readonly replicas?: number;
  /** Where pods without addresses get theirs: one range of a family at most. */
  readonly podCidr?: PodRanges;
}

export interface ValidateOptions extends PodOptions {
  readonly output: "text" | "json";
}

export interface CompileOptions extends PolicyOptions {
  readonly node?: string;
  readonly out?: string;
  readonly stage?: "ruleset" | "table";
  readonly output: "text" | "json";
}

export interface QueryOptions extends PodOptions {
  readonly probes: string;
  readonly output: "table" | "json";
}

export interface ExplainOptions extends PodOptions {
  readonly from: string;
  readonly to: string;
  /** `NUMBER/PROTOCOL`, or a protocol alone, as the user wrote it. */
  readonly port?: string;
  /** Exit 1 when the answer is deny. */
  readonly exitCode: boolean;
  readonly output: "text" | "tree" | "json";
}

export interface MatrixOptions extends PodOptions {
  readonly by: "pod" | "workload" | "namespace";
  /** Only these ports, as the user wrote them. */
  readonly port?: string;
  readonly out?: string;
  readonly output: "table" | "json" | "csv" | "md" | "dot" | "mermaid" | "svg";
}

export interface DiffOptions extends PodOptions {
  /** Each `-F`: what `filename` is compared with. */
  readonly new: readonly string[];
  readonly output: "table" | "json";
}

export interface LintOptions extends PodOptions {
  readonly failOn: "error" | "warning" | "info" | "never";
  /** Rules by id or name. */
  readonly disable?: readonly string[];
  readonly baseline?: string;
  readonly widestV4?: number;
  readonly widestV6?: number;
  /** Absent: text, or github inside a GitHub workflow. */
  readonly output?: "text" | "json" | "sarif" | "github";
}

export interface TestOptions extends PodOptions {
  /** The test files. */
  readonly file: readonly string[];
  readonly live: boolean;
  readonly reporter: "pretty" | "tap" | "junit" | "json";
}

export interface ReplayOptions extends PolicyOptions {
  /** The capture. */
  readonly file: string;
  readonly pod: string;
  readonly podMac?: string;
  readonly podInterface?: string;
  readonly write?: string;
  readonly writePackets?: "all" | "passed" | "dropped";
  readonly output: "table" | "json";
}

/** Options of the threads that judge packets. */
export interface WorkerOptions {
  readonly poll?: Choice<"poll">;
  readonly workers?: number;
  readonly cpu?: number;
  /** How many are tracked at once. */
  readonly connections?: number;
  /** How many of them one endpoint may have. */
  readonly connectionsPerEndpoint?: number;
  /** Fragmented datagrams followed at once. */
  readonly fragments?: number;
}

export interface ConfigCheckOptions {
  readonly file: string;
  readonly output: "text" | "json";
}

/** Options of how policy is applied. */
export interface ModeOptions {
  readonly mode: Choice<"mode">;
  readonly deny: Choice<"deny">;
  readonly established: Choice<"established">;
}

/** Options of every command that takes interfaces. */
export interface EnforcingOptions extends ModeOptions, WorkerOptions {
  readonly link: Choice<"link">;
  readonly readyFd?: number;
  /** Takes over from the process that answers on the control socket. */
  readonly takeOver: boolean;
  readonly loose: boolean;
  /** Whether the manifests are read again when they change. */
  readonly watch: Choice<"watch">;
  readonly socket?: string;
  readonly metricsListen?: string;
}

/** A config file, or the flags of one wire. */
export interface RunOptions extends EnforcingOptions {
  readonly config?: string;
  readonly source: "files" | "kubernetes";
  readonly filename?: readonly string[];
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly node?: string;
  /** `INSIDE,OUTSIDE`. */
  readonly wire?: string;
  readonly pod?: string;
  /** Absent: the source MAC of the pod's frames is not checked. */
  readonly podMac?: string;
  readonly failMode: Choice<"failMode">;
  readonly routerAdvertisements: Choice<"routerAdvertisements">;
}

export interface SidecarOptions extends EnforcingOptions {
  readonly interface: string;
  /** Required, except with `--restore`. */
  readonly pod?: string;
  readonly filename?: readonly string[];
  readonly adopt: boolean;
  /** Absent: decided by whether there is a terminal. */
  readonly onStop?: "restore" | "block";
  /** Only puts the interface back. */
  readonly restore: boolean;
  readonly stateDir: string;
  /** Absent: they pass if the interface has a route from a router advertisement. */
  readonly routerAdvertisements?: Choice<"routerAdvertisements">;
}

/** Which process a command is for. */
export interface ControlOptions {
  readonly socket?: string;
  readonly lab?: string;
}

/** Each may be given several times: one matching value is enough. */
export interface FlowFilterOptions {
  readonly pod?: readonly string[];
  readonly fromPod?: readonly string[];
  readonly toPod?: readonly string[];
  readonly namespace?: readonly string[];
  readonly fromNamespace?: readonly string[];
  readonly toNamespace?: readonly string[];
  readonly ip?: readonly string[];
  readonly fromIp?: readonly string[];
  readonly toIp?: readonly string[];
  readonly port?: readonly string[];
  readonly fromPort?: readonly string[];
  readonly toPort?: readonly string[];
  readonly protocol?: readonly string[];
  readonly verdict?: readonly string[];
  readonly reason?: readonly string[];
}

export interface ObserveOptions extends ControlOptions, FlowFilterOptions {
  readonly follow: boolean;
  readonly last?: number;
  /** A time, or how long ago. */
  readonly since?: string;
  readonly until?: string;
  readonly output: "compact" | "json" | "jsonpb";
}

export interface StatusOptions extends ControlOptions {
  readonly output: "table" | "json";
}

export interface GetOptions extends ControlOptions, FlowFilterOptions {
  readonly what: "endpoints" | "policies" | "connections" | "interfaces" | "tables";
  readonly output: "table" | "json";
}

export interface ConntrackListOptions extends ControlOptions, FlowFilterOptions {
  readonly output: "table" | "json";
}

export interface ConntrackFlushOptions extends ControlOptions, FlowFilterOptions {
  readonly all: boolean;
  readonly output: "table" | "json";
}

export interface ApplyOptions extends ControlOptions, PolicyOptions {
  readonly dryRun: "live";
  readonly output: "table" | "json";
}

export interface WaitOptions extends ControlOptions {
  /** `enforced`, or `enforced=GENERATION`. */
  readonly for: string;
  readonly timeout: string;
}

export interface ReloadOptions extends ControlOptions {
  readonly output: "table" | "json";
}

export interface LabOptions {
  readonly name: string;
}

export interface LabUpOptions extends ModeOptions, LabOptions, PodOptions, WorkerOptions {
  readonly foreground: boolean;
  /** Whether the manifests are read again when they change. */
  readonly watch: Choice<"watch">;
}

export interface LabApplyOptions extends LabOptions, PolicyOptions {}

export interface LabStatusOptions extends LabOptions {
  readonly output: "table" | "json";
}

export interface LabExecOptions extends LabOptions {
  /** `NAMESPACE/POD`, or `POD` where that is unambiguous. */
  readonly pod: string;
  readonly command: readonly string[];
}

export interface LabProbeOptions extends LabOptions {
  readonly probes?: string;
  readonly output: "table" | "json";
}

export interface CaptureOptions extends PolicyOptions {
  readonly interface: string;
  readonly pod?: string;
  readonly count?: number;
  readonly filter?: string;
  readonly write?: string;
  readonly output: "table" | "json";
}

export interface BenchOptions {
  readonly quick: boolean;
  /** Names with commas between them; absent: all. */
  readonly peers?: string;
  readonly links?: string;
  /** Numbers of policies, with commas between them. */
  readonly policies?: string;
  readonly rounds?: number;
  readonly seconds?: number;
  readonly out?: string;
  readonly output: "table" | "json" | "html";
}

/** Of `bench lookup` and `bench conntrack`. */
export interface BenchNativeOptions {
  /** Numbers of entries, flows or SYNs, with commas between them. */
  readonly sizes?: string;
  readonly rounds?: number;
  readonly withoutPeers: boolean;
  readonly output: "table" | "json";
}

/** Of `bench flood`. */
export interface BenchFloodOptions extends BenchNativeOptions {
  /** Simulated ones, of the floods at once. */
  readonly seconds?: number;
  /** What the connection table has room for. */
  readonly connections?: number;
}

export interface CompletionOptions {
  readonly shell: "bash" | "zsh" | "fish";
}

export interface DoctorOptions {
  /** The intended use of the machine. */
  readonly for?: readonly string[];
  readonly output: "table" | "json";
}

export interface VersionOptions {
  readonly output: "text" | "json";
}

/** Reads a whole number of at least `least`. Errors: CommandError (usage). */
export function wholeNumber(least: number): (text: string, flag: string) => number {
  return (text, flag) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
      throw new CommandError(
        exitCodes.usage,
        `${flag}: got "${text}", want a whole number of at least ${least}`,
      );
    }
    return value;
  };
}

/** Reads the name of a namespace. Errors: CommandError (usage). */
export function readNamespaceName(text: string, flag: string): string {
  const want = wantDnsLabel(text);
  if (want === undefined) return text;
  throw new CommandError(exitCodes.usage, `${flag}: got "${text}", want ${want}`);
}

/** Reads a range, or one of each family with a comma between them. Errors: CommandError (usage). */
export function readPodRanges(text: string, flag: string): PodRanges {
  const refuse = (got: string, reason: string) =>
    new CommandError(exitCodes.usage, `${flag}: got "${got}", ${reason}`);
  const ranges = text.split(",").map((each) => {
    const read = readPrefix(each);
    if (!("prefix" in read))
      throw refuse(each, `want a range such as ${usualRanges.map(formatPrefix).join(" or ")}`);
    const why = whyNoRange(read.prefix);
    if (why !== undefined) throw refuse(each, `which ${why}`);
    return read.prefix;
  });
  if (new Set(ranges.map(({ address }) => address.family)).size < ranges.length) {
    throw refuse(text, "want one range of each family at most");
  }
  return ranges;
}

/** Reads a number of seconds, parts of one too. Errors: CommandError (usage). */
export function seconds(least: number, most: number): (text: string, flag: string) => number {
  return (text, flag) => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= least && value <= most)) {
      throw new CommandError(
        exitCodes.usage,
        `${flag}: got "${text}", want seconds from ${least} to ${most}`,
      );
    }
    return value;
  };
}
