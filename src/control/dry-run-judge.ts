import { type Connection, decodeConnections } from "../dataplane/connections.js";
import { Table, TupleBatch } from "../dataplane/table.js";
import {
  type FlowRule,
  flowPolicy,
  flowRule,
  type Isolation,
  isolationOf,
  l4Of,
} from "../observe/flow.js";
import { TableSnapshot, type TableSource } from "../observe/table-snapshot.js";
import { RefusalError } from "./refusal.js";

/** The manifests of a dry run, as texts: another process may not see the paths. */
export interface DryRunRequest {
  readonly files: readonly { readonly name: string; readonly text: string }[];
}

/** A connection that a table would cut, and why. */
export interface Denial extends Isolation {
  /** Its index in the request. */
  readonly index: number;
  readonly deniedBy: readonly ("egress" | "ingress")[];
  readonly rule: FlowRule | null;
}

/** Judges live connections by a table that is not in force. */
export class DryRunJudge {
  readonly #table: Table;
  readonly #snapshot: TableSnapshot;

  constructor(source: TableSource) {
    this.#table = Table.open(source.blob.bytes);
    this.#snapshot = new TableSnapshot(0, source);
  }

  /** Finds the connections (ConnectionRecords) that the table denies. */
  denials(records: Uint8Array): Denial[] {
    const connections = decodeConnections(records);
    const batch = new TupleBatch(connections.length);
    for (const connection of connections) {
      const { source, destination, protocol } = connection;
      batch.push(source, destination, protocol, portOf(connection));
    }
    const verdicts = this.#table.classify(batch);
    const denied = [...connections.keys()].filter((index) => verdicts[index] !== 0);
    const reasons = this.#snapshot.reasons(
      denied.map((index) => ({ ...connections[index]!, port: portOf(connections[index]!) })),
    );
    return denied.map((index, place): Denial => {
      const sides = (reasons[place] ?? []).filter(({ verdict }) => verdict === "deny");
      const byRule = sides.find(({ rule }) => rule !== undefined);
      return {
        index,
        deniedBy: sides.map(({ direction }) => direction),
        ...isolationOf(sides.flatMap(({ isolatedBy }) => isolatedBy).map(flowPolicy)),
        rule: byRule?.rule === undefined ? null : flowRule(byRule.rule, byRule),
      };
    });
  }
}

/** Reads the body of a dry run's request. Errors: RefusalError (usage). */
export function readDryRun(body: unknown): DryRunRequest["files"] {
  const files = (body as { readonly files?: unknown } | undefined)?.files;
  const isFile = (each: unknown): boolean => {
    const { name, text } = (each ?? {}) as Record<string, unknown>;
    return typeof name === "string" && typeof text === "string";
  };
  if (!Array.isArray(files) || !files.every(isFile)) {
    throw new RefusalError("usage", 'the request is not {"files":[{"name","text"}]}');
  }
  return files as DryRunRequest["files"];
}

/** Whether a protocol has ports; an ICMP query has its identifier in that place. */
export function hasPorts(connection: Connection): boolean {
  const { l4 } = l4Of(connection);
  return l4 !== undefined && ("TCP" in l4 || "UDP" in l4 || "SCTP" in l4);
}

function portOf(connection: Connection): number {
  return hasPorts(connection) ? connection.destinationPort : 0;
}
