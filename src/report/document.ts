import type { PortsJson } from "../analysis/render/port-text.js";

/** A report as data: what `-o json` writes, what the other formats show, and what `--baseline` reads. */
export interface ReportDocument {
  readonly schema: typeof reportSchema;
  readonly title: string;
  /** RFC 3339. */
  readonly madeAt: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly zones: readonly ZoneEntry[];
  /** Every ordered pair of zones, in the order of the file. */
  readonly pairs: readonly PairEntry[];
  readonly openings: readonly OpeningEntry[];
  readonly exceptions: readonly ExceptionEntry[];
  readonly namespaces: readonly NamespaceEntry[];
  /** Null without `--live`. */
  readonly live: LiveEntry | null;
  readonly inputs: readonly InputEntry[];
  readonly requirements: readonly RequirementEntry[];
  /** Null without `--baseline`. */
  readonly changes: ChangesEntry | null;
}

export const reportSchema = "sluice-report/1";

export interface ZoneEntry {
  readonly name: string;
  readonly description: string;
  readonly workloads: readonly string[];
  readonly pods: number;
  /** Blocks of the file; `everything elsewhere` for addresses of no other zone. */
  readonly addresses: readonly string[];
  readonly place: string;
}

export interface PairEntry {
  readonly from: string;
  readonly to: string;
  /** In words; `-` where nothing may pass. */
  readonly ports: string;
  readonly openings: number;
  /** Whether the zones file allows all of it. */
  readonly isAllowed: boolean;
}

export interface OpeningEntry {
  readonly from: string;
  readonly to: string;
  readonly senders: readonly string[];
  readonly receivers: readonly string[];
  readonly ports: string;
  readonly portRanges: PortsJson;
  readonly causes: readonly CauseEntry[];
  /** Why it is needed, by the zones file; empty where that does not allow it. */
  readonly reasons: readonly { readonly why: string; readonly place: string }[];
  /** Ports that the zones file does not allow; `-` for none. */
  readonly beyond: string;
  /** A packet that the table lets pass, such as `10.0.0.1 -> 10.0.0.2 5432/tcp`. */
  readonly packet: string;
}

export interface CauseEntry {
  readonly side: "egress" | "ingress";
  /** The rule's policy; `no policy isolates it` where that is why. */
  readonly text: string;
  /** `file:line`; empty where no rule decides. */
  readonly place: string;
}

export const exceptionKinds = {
  "not-allowed": "passes between zones, and the zones file does not allow it",
  "not-isolated": "no NetworkPolicy isolates it",
  "no-zone": "in no zone: nothing here is about it",
  audited: "only audited: it refuses nothing",
  "fail-open": "open when the process that judges its traffic is away",
  "host-network": "on its node's network: no NetworkPolicy is about it",
  "not-enforced": "a policy of another product, which is not in the answer",
  "passed-over": "a file that was not read",
  unused: "allowed by the zones file, and nothing opens it",
} as const;

export interface ExceptionEntry {
  readonly kind: keyof typeof exceptionKinds;
  /** What it is about. */
  readonly subject: string;
  readonly place: string;
}

export interface NamespaceEntry {
  readonly name: string;
  readonly policies: number;
  readonly pods: number;
  readonly isolatedIngress: number;
  readonly isolatedEgress: number;
}

export interface LiveEntry {
  readonly tried: number;
  readonly passed: number;
  readonly refused: number;
  /** Connections with an end outside, or beyond the bound: a lab cannot try them, or was not asked to. */
  readonly left: number;
  readonly pairs: readonly {
    readonly from: string;
    readonly to: string;
    readonly passed: number;
    readonly refused: number;
  }[];
  /** Where real packets did otherwise than the table says. */
  readonly contradictions: readonly string[];
}

export interface InputEntry {
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
}

export interface RequirementEntry {
  readonly standard: string;
  readonly number: string;
  /** What it is about, in our words. */
  readonly about: string;
  /** Which parts of the report bear on it. */
  readonly sections: readonly string[];
}

export interface ChangesEntry {
  readonly since: string;
  readonly appeared: readonly string[];
  readonly disappeared: readonly string[];
  readonly inputs: readonly string[];
}
