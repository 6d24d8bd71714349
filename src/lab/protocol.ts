import type { ControlStatus } from "../control/control-routes.js";
import type { Refusal } from "../control/refusal.js";
import type { Diagnostic } from "../diagnostics/diagnostic.js";

/**
 * The protocol of a lab's socket: HTTP/1.1 with one JSON document each way, so that `curl` works too.
 *
 * In addition to the routes of every control socket (`controlRoutes`): `GET /status` → LabStatus · `POST
 * /apply` ApplyRequest → ApplyAnswer · `POST /probe` ProbeQuery → ProbeReport. A lab is ended by SIGTERM and
 * reads its manifests again at SIGHUP.
 */

export interface PodStatus {
  readonly ref: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly mac: string;
  /** Whether the lab assigned the addresses. */
  readonly assigned: boolean;
  /** The lab's own pod, for DNS: the manifests do not have it. */
  readonly isOwn: boolean;
  /** Its name within itself, and the Service below whose name it has one. */
  readonly hostname: string;
  readonly subdomain: string;
  /** Descriptor of the pod's network namespace in the lab's process. */
  readonly namespaceFd: number;
  /** The same for other tools, such as `nsenter --net=`. */
  readonly namespacePath: string;
  readonly packetsOut: number;
  readonly packetsIn: number;
  readonly dropped: number;
}

export interface LabStatus extends ControlStatus {
  readonly since: string;
  readonly paths: readonly string[];
  /** The folder of relative paths. */
  readonly cwd: string;
  readonly pods: readonly PodStatus[];
  /** Null in a lab without names. */
  readonly names: NamesStatus | null;
}

/** How programs in the pods find each other. */
export interface NamesStatus {
  /** One of each family at most. */
  readonly nameservers: readonly string[];
  /** Pods in which the lab answers for names. */
  readonly dnsPods: readonly string[];
  /** Whether addresses of Services lead to pods; one line that says why not, and what holds instead. */
  readonly translation: { readonly isOn: true } | { readonly isOn: false; readonly reason: string };
  readonly services: readonly ServiceStatus[];
  /** Whether the lab answers at every port that a container declares. */
  readonly isServing: boolean;
}

export interface ServiceStatus {
  readonly ref: string;
  readonly addresses: readonly string[];
  /** Such as `80/tcp`. */
  readonly ports: readonly string[];
  /** How many pods it selects. */
  readonly pods: number;
}

/** What a lab reads, and how: see `SourceOptions`. */
export interface ApplyRequest {
  readonly paths: readonly string[];
  /** What `-` stands for. */
  readonly stdin?: string;
  readonly ignore?: readonly string[];
  readonly strict?: boolean;
  /** `auto` when absent. */
  readonly render?: "auto" | "never";
  readonly values?: readonly string[];
  /** Whether each file that was passed over is told. */
  readonly verbose?: boolean;
}

export interface ApplyAnswer {
  readonly ok: boolean;
  readonly generation: number;
  readonly diagnostics: readonly Diagnostic[];
  /** What ran, and what was passed over. */
  readonly notes: readonly string[];
  readonly refused?: Refusal;
}

/** One connection to try; absent addresses are the pods' first of a common family. */
export interface ProbeSpec {
  readonly id?: string;
  readonly src: string;
  readonly dst: string;
  readonly srcIP?: string;
  readonly dstIP?: string;
  readonly protocol: string;
  readonly port?: number | null;
}

export interface ProbeQuery {
  /** Absent: every pair of pods, ICMP and each declared port, in both families. */
  readonly probes?: readonly ProbeSpec[];
}

export interface ProbeRow {
  readonly id: string;
  readonly src: string;
  readonly dst: string;
  readonly srcIP: string;
  readonly dstIP: string;
  readonly protocol: string;
  readonly port: number | null;
  /** The table's verdict. */
  readonly expected: "allow" | "deny";
  readonly deniedBy: readonly ("egress" | "ingress")[];
  /** The result with real packets; `error` when the probe could not be made. */
  readonly observed: "allow" | "deny" | "error";
  /** `answered`, `timed-out`, `refused`, or the error's name. */
  readonly outcome: string;
  readonly roundTripUs: number;
  readonly agrees: boolean;
}

export interface ProbeReport {
  readonly ok: boolean;
  readonly generation: number;
  readonly elapsedMs: number;
  readonly probes: readonly ProbeRow[];
}
