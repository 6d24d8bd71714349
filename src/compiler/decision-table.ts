import type { PortSet } from "../net/port-set.js";
import type { Action, AddressSet, Direction, PolicySource, Tier } from "../policy/ruleset.js";
import type { PrefixList } from "./prefix-list.js";

/** A rule as provenance: what the blob tells of it. */
export interface TableRule {
  /** Place in `policies`. */
  readonly policy: number;
  readonly index: number;
  readonly tier: Tier;
  readonly action: Action;
  readonly direction: Direction;
  readonly priority: number;
  readonly line: number;
  readonly column: number;
  /** Place in `sets`, or `any`. */
  readonly peers: number | "any";
  /** Place in `portSets`. */
  readonly ports: number;
}

/** Provenance of a row: places in `policies` and in `rules`, these in the order of evaluation. */
export interface TableRow {
  readonly isolatedBy: readonly number[];
  readonly rules: readonly number[];
}

/** All that the blob holds, numbered, before it is laid out in bytes. Equal states give equal tables. */
export interface DecisionTable {
  readonly classCount: number;
  readonly leaves: readonly {
    readonly classId: number;
    readonly endpointId: number;
    readonly originId: number;
  }[];
  /** Prefixes whose payload is a leaf; leaf 0 is what lies outside all of them. */
  readonly v4: PrefixList;
  readonly v6: PrefixList;
  readonly endpoints: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly ingressRow: number;
    readonly egressRow: number;
  }[];
  /** Rows of each endpoint with the audited policies; empty when nothing is audited. */
  readonly auditRows: readonly { readonly ingressRow: number; readonly egressRow: number }[];
  readonly rows: readonly TableRow[];
  /** rows × classCount places in `portSets`, row by row. */
  readonly cells: Uint32Array;
  /** Sorted by their keys. */
  readonly portSets: readonly PortSet[];
  readonly policies: readonly PolicySource[];
  readonly rules: readonly TableRule[];
  readonly sets: readonly AddressSet[];
  /** Origin classes that each of `sets` covers, ascending. */
  readonly setOrigins: readonly (readonly number[])[];
  readonly originCount: number;
}
