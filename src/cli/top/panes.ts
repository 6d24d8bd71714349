import type { ConnectionItem, EndpointItem } from "../../control/control-routes.js";
import type { PolicyItem, RuleItem } from "../../control/policy-routes.js";
import { objectName } from "../../diagnostics/object-name.js";
import type { Flow } from "../../observe/flow.js";
import { agoText } from "./texts.js";
import type { TrafficRow } from "./traffic.js";

export const paneNames = [
  "flows",
  "drops",
  "policies",
  "rules",
  "endpoints",
  "connections",
] as const;
export type PaneName = (typeof paneNames)[number];

/** A row of a pane. */
export interface PaneRow {
  /** What it is known by when others come and go. */
  readonly key: string;
  readonly cells: readonly string[];
  /** What columns are sorted by where that is not their text. */
  readonly values: readonly (string | number)[];
  readonly tone?: "denied" | "audited";
  /** What is shown when it is entered: a pane with a filter. */
  readonly enters?: { readonly pane: PaneName; readonly filter: string };
  /** A flow to say why of. */
  readonly flow?: Flow;
}

export interface Pane {
  readonly header: readonly string[];
  readonly right: readonly number[];
  /** The column that it is sorted by at first, and whether the greatest comes first; absent: as it is given. */
  readonly sort?: { readonly column: number; readonly falls: boolean };
  /** Columns that lose width first, the first of them before the others. */
  readonly yields: readonly number[];
  /** Columns whose texts begin alike, so that they are cut at the start. */
  readonly endMatters: readonly number[];
}

export const panes: Readonly<Record<PaneName, Pane>> = {
  flows: {
    header: ["FROM", "TO", "PORT", "VERDICT", "FLOWS", "/S", "LAST", "BY"],
    right: [4, 5, 6],
    sort: { column: 5, falls: true },
    yields: [7, 0, 1],
    endMatters: [0, 1],
  },
  drops: {
    header: ["FROM", "TO", "PORT", "VERDICT", "FLOWS", "/S", "LAST", "BY"],
    right: [4, 5, 6],
    sort: { column: 5, falls: true },
    yields: [7, 0, 1],
    endMatters: [0, 1],
  },
  policies: {
    header: ["TIER", "POLICY", "PODS", "CONNS", "PACKETS", "DENIED", "LAST"],
    right: [2, 3, 4, 5, 6],
    yields: [1],
    endMatters: [1],
  },
  rules: {
    header: ["POLICY", "RULE", "ACTION", "CONNS", "PACKETS", "BYTES", "LAST", "WRITTEN"],
    right: [3, 4, 5, 6],
    yields: [7, 0],
    endMatters: [0, 7],
  },
  endpoints: {
    header: ["POD", "ADDRESSES", "INGRESS ISOLATED BY", "EGRESS ISOLATED BY"],
    right: [],
    yields: [1, 3, 2, 0],
    endMatters: [0],
  },
  connections: {
    header: ["PROTO", "FROM", "TO", "STATE", "PACKETS", "BYTES"],
    right: [4, 5],
    sort: { column: 5, falls: true },
    yields: [1, 2],
    endMatters: [1, 2],
  },
};

export function trafficRow(row: TrafficRow, nowMs: number): PaneRow {
  const { from, to, service, verdict, count, rate, lastMs, why, flow } = row;
  const ago = nowMs - lastMs;
  return {
    key: [from, to, service, verdict, why].join("\n"),
    cells: [
      ...[from, to, service, verdict, String(count)],
      ...[rate < 0.05 ? "-" : rate.toFixed(1), agoText(ago), why],
    ],
    // By the rate as it is shown: rows that are told apart by less would change places all the time.
    values: [
      ...[from, to, Number.parseInt(service, 10) || 0, verdict, count],
      ...[Number(rate.toFixed(1)), -ago, why],
    ],
    ...(verdict === "FORWARDED" ? {} : { tone: verdict === "AUDIT" ? "audited" : "denied" }),
    flow,
  };
}

export function policyRow({ hits, ...policy }: PolicyItem, nowMs: number): PaneRow {
  const name = objectName(policy);
  const denied = hits === null ? 0 : hits.denied.ingress.packets + hits.denied.egress.packets;
  const last = lastOf([
    hits?.rules.lastHit,
    hits?.denied.ingress.lastHit,
    hits?.denied.egress.lastHit,
  ]);
  const { connections = 0, packets = 0 } = hits?.rules ?? {};
  const counts = [connections, packets, denied];
  return {
    key: `${policy.kind} ${name}`,
    cells: [
      ...[policy.tier, name, String(policy.endpoints)],
      ...counts.map((count) => (hits === null ? "-" : String(count))),
      last === 0 ? "-" : agoText(nowMs - last),
    ],
    values: [policy.tier, name, policy.endpoints, ...counts, last],
    enters: { pane: "rules", filter: `^${escaped(name)} ` },
  };
}

export function ruleRow(rule: RuleItem, nowMs: number): PaneRow {
  const name = objectName(rule);
  const { connections, packets, bytes } = rule.hits;
  const last = lastOf([rule.hits.lastHit]);
  const field = rule.field === "" ? rule.direction : rule.field.replace(/^spec\./, "");
  const place = rule.line === 0 ? rule.file : `${rule.file}:${rule.line}`;
  return {
    key: `${rule.kind} ${name} ${rule.tier} ${rule.direction} ${rule.index}`,
    cells: [
      ...[name, field, rule.action, String(connections), String(packets), String(bytes)],
      ...[last === 0 ? "-" : agoText(nowMs - last), place],
    ],
    values: [name, field, rule.action, connections, packets, bytes, last, place],
    ...(rule.action === "Deny" ? { tone: "denied" } : {}),
    enters: { pane: "flows", filter: escaped(`${name} ${field}`) },
  };
}

export function endpointRow({
  namespace,
  name,
  addresses,
  ingress,
  egress,
}: EndpointItem): PaneRow {
  const pod = `${namespace}/${name}`;
  const isolation = ({ isolated, isolatedBy }: EndpointItem["ingress"]) =>
    isolated ? isolatedBy.map(objectName).join(" ") : "-";
  const cells = [pod, addresses.join(" "), isolation(ingress), isolation(egress)];
  const enters = { pane: "flows", filter: `(^| )${escaped(pod)} ` } as const;
  return { key: pod, cells, values: cells, enters };
}

export function connectionRow(item: ConnectionItem): PaneRow {
  const end = ({ address, port, pod }: ConnectionItem["source"]) => {
    const host = pod ?? (address.includes(":") && port !== 0 ? `[${address}]` : address);
    return port === 0 ? host : `${host}:${port}`;
  };
  const { packets = 0, bytes = 0 } = item;
  const [from, to] = [end(item.source), end(item.destination)];
  return {
    key: [item.interface, item.protocol, from, to].join(" "),
    cells: [item.protocol, from, to, item.state, String(packets), String(bytes)],
    values: [item.protocol, from, to, item.state, packets, bytes],
    ...(item.auditedBy.length === 0 ? {} : { tone: "audited" }),
    enters: {
      pane: "flows",
      filter: `^${escaped(item.source.pod ?? item.source.address)} .*${escaped(item.destination.pod ?? item.destination.address)} `,
    },
  };
}

function lastOf(times: readonly (string | null | undefined)[]): number {
  return Math.max(0, ...times.map((time) => (time ? Date.parse(time) : 0)));
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
