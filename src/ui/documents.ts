/**
 * The documents that pass from `sluice ui` to its page, or stand in a page that is one file. Types alone: the page
 * imports them too.
 */

/** What the page is about, and what it can ask. */
export interface PageDocument {
  readonly schemaVersion: 1;
  /** What is shown: paths, a lab's name, a socket. */
  readonly title: string;
  readonly version: string;
  /** `live`: a process enforces it. `offline`: manifests. `file`: nobody answers, all there is stands in the page. */
  readonly mode: "live" | "offline" | "file";
  /** Where the flows come from; null where there are none. */
  readonly flows: string | null;
}

/** Who may reach whom by one table, and by which policies. */
export interface MapDocument {
  /** Counts the tables that the page has been told of: a process that begins anew has the same generations again. */
  readonly revision: number;
  /** Of the table, as its process counts. */
  readonly generation: number;
  /** Texts of port sets; 0 is nothing. */
  readonly ports: readonly string[];
  /** The port set that is everything. */
  readonly allPorts: number;
  readonly parties: readonly PartyDocument[];
  /** What passes between parties of two kinds, by the `kind` numbers of sender and receiver; -1: nothing to judge. */
  readonly cells: readonly (readonly number[])[];
  /** The same between the pods of one party, by party. */
  readonly within: readonly number[];
  /** What rules name beyond that which is open to anyone. */
  readonly edges: readonly EdgeDocument[];
  readonly policies: readonly PolicyDocument[];
  /** Policies of other products, and files, that no answer counts in. */
  readonly leftOut: readonly string[];
}

/** Pods of one workload, or addresses outside. */
export interface PartyDocument {
  readonly name: string;
  /** Empty for the outside. */
  readonly namespace: string;
  readonly outside: boolean;
  /** `namespace/name`, sorted; empty for the outside. */
  readonly pods: readonly string[];
  /** Parties of one kind are judged alike. */
  readonly kind: number;
  /** How many of its pods a policy isolates. */
  readonly isolated: { readonly ingress: number; readonly egress: number };
  /** Ports that it accepts from every address, and on which it may send to every address. */
  readonly fromAnyone: number;
  readonly toAnyone: number;
  /** Ports on which addresses that no rule names may reach it. */
  readonly internet: number;
  /** Places in `policies` of those that concern its pods. */
  readonly policies: readonly number[];
}

export interface EdgeDocument {
  /** Places in `parties`. */
  readonly from: number;
  readonly to: number;
  readonly ports: number;
  /** For some of the pods or address families only. */
  readonly partial: boolean;
}

export interface PolicyDocument {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly tier: "Admin" | "NetworkPolicy" | "Baseline";
  readonly file: string;
  readonly line: number;
  /** Pods whose traffic it concerns. */
  readonly pods: number;
  /** Places in `parties`. */
  readonly parties: readonly number[];
}

/** What each policy has decided; null where nobody counts it. */
export interface HitsDocument {
  /** By `Kind namespace/name`. */
  readonly policies: Readonly<Record<string, PolicyHitsDocument>> | null;
}

export interface PolicyHitsDocument {
  /** What its rules decided: connections that began, and packets. */
  readonly connections: number;
  readonly packets: number;
  /** Packets denied because no rule allows them and it isolates the pod. */
  readonly denied: number;
  /** Of both; null: never. */
  readonly lastMs: number | null;
}

export type FlowVerdict = "FORWARDED" | "DROPPED" | "AUDIT";

/** Flows of one pair of parties, protocol, port and verdict. */
export interface FlowRow {
  readonly id: number;
  readonly from: string;
  readonly to: string;
  /** As `TCP`. */
  readonly protocol: string;
  /** Null where the protocol has none, and for ports of a pair beyond those that are told apart. */
  readonly port: number | null;
  readonly otherPorts: boolean;
  readonly verdict: FlowVerdict;
  /** The drop reason of the last. */
  readonly reason: string | null;
  /** Connections opened or refused, and what those that ended have carried. */
  readonly connections: number;
  readonly packets: number;
  readonly bytes: number;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly last: FlowSample;
}

/** One flow of a row, the last. */
export interface FlowSample {
  /** `namespace/pod`, or the address. */
  readonly source: string;
  readonly sourceAddress: string;
  readonly destination: string;
  readonly destinationAddress: string;
  /** What decided, such as `NetworkPolicy shop/db spec.ingress[0]`; empty where nothing is known. */
  readonly rule: string;
}

export interface FlowsDocument {
  /** To be given with the next request: only rows that have changed since come then. */
  readonly version: number;
  /** Whether the rows are all there are, and not those that have changed. */
  readonly whole: boolean;
  readonly rows: readonly FlowRow[];
  /** Rows that have been given up for newer ones. */
  readonly gone: readonly number[];
  readonly seen: number;
  /** Flows that are counted, and in no row. */
  readonly beyond: number;
  /** Flows that were lost before they came here. */
  readonly lost: number;
  /** Of the map; it is asked again when it is another. */
  readonly revision: number;
  /** Why no flows come; null while they do. */
  readonly trouble: string | null;
}

/** Why something passes or does not. */
export interface WhyDocument {
  readonly from: WhyEnd;
  readonly to: WhyEnd;
  readonly protocol: string;
  readonly port: number | null;
  readonly verdict: "allow" | "deny";
  /** A pod's traffic to itself. */
  readonly self: boolean;
  /** All that passes from the one end to the other. */
  readonly passes: string;
  readonly generation: number;
  readonly sides: readonly WhySide[];
  readonly nearest: WhyRule | null;
  /** Other pairs of the ends' addresses that are judged otherwise. */
  readonly differs: readonly string[];
}

export interface WhyEnd {
  readonly ref: string;
  readonly address: string;
}

export interface WhySide {
  readonly direction: "egress" | "ingress";
  readonly endpoint: string;
  readonly verdict: "allow" | "deny";
  readonly judged: boolean;
  readonly isolatedBy: readonly WhyPlace[];
  readonly decidedBy: (WhyPlace & { readonly tier: string; readonly action: string }) | null;
  readonly rules: readonly WhyRule[];
}

export interface WhyPlace {
  readonly ref: string;
  readonly file: string;
  readonly line: number;
  /** Lines of the manifest from there; empty where the text is not at hand. */
  readonly excerpt: readonly string[];
}

export interface WhyRule extends WhyPlace {
  readonly direction: "egress" | "ingress";
  readonly action: string;
  readonly matches: boolean;
  readonly peer: { readonly ok: boolean; readonly detail: string };
  readonly ports: { readonly ok: boolean; readonly detail: string };
  readonly advice: string | null;
}

/** What other policies would change. */
export interface WhatIfDocument {
  readonly ok: boolean;
  readonly findings: readonly {
    readonly severity: string;
    readonly place: string;
    readonly message: string;
  }[];
  readonly equivalent: boolean;
  readonly podsAdded: readonly string[];
  readonly podsRemoved: readonly string[];
  readonly changes: readonly WhatIfChange[];
  /** Changes beyond those that are listed. */
  readonly moreChanges: number;
  /** Traffic seen or tracked that would be refused. */
  readonly cut: readonly CutDocument[];
  readonly moreCut: number;
  /** What `cut` was looked for in, such as `1,204 live connections`; empty: in nothing, since no traffic is known. */
  readonly judged: string;
}

export interface WhatIfChange {
  readonly what: "opened" | "closed";
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly ports: string;
  /** A packet that both tables have judged. */
  readonly witness: {
    readonly from: string;
    readonly to: string;
    readonly source: string;
    readonly destination: string;
    readonly service: string;
    readonly before: string;
    readonly after: string;
  } | null;
}

export interface CutDocument {
  readonly source: string;
  readonly destination: string;
  readonly service: string;
  readonly connections: number;
  readonly deniedBy: readonly string[];
}

/** A policy's text, to begin an edit with. */
export interface PolicyTextDocument {
  readonly text: string;
}

/** A refusal. */
export interface RefusedDocument {
  readonly message: string;
}
