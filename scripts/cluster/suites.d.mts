import type { Cluster } from "./tool.mjs";

export interface Result {
  readonly what: string;
  readonly ok: boolean;
  readonly found: string;
}
export function endToEnd(cluster: Cluster, focus: string, log: string): Promise<Result>;
export function conformance(cluster: Cluster, log: string): Promise<Result>;
