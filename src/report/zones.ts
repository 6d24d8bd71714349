import { parsePorts, wantedPorts } from "../analysis/protocols.js";
import { type Diagnostic, diagnostic, type Span } from "../diagnostics/diagnostic.js";
import { Findings, type Sink } from "../diagnostics/findings.js";
import { didYouMean } from "../diagnostics/suggest.js";
import { Cursor, quoted } from "../manifest/cursor.js";
import { readLabels } from "../manifest/metadata.js";
import { SourceText } from "../manifest/source-text.js";
import { parseYaml } from "../manifest/yaml.js";
import type { YamlMap } from "../manifest/yaml-node.js";
import { noPorts, type PortSet, unionPorts } from "../net/port-set.js";
import { formatPrefix, type Prefix, readPrefix } from "../net/prefix.js";

/** Pods of a zone: all conditions hold. */
export interface ZonePods {
  readonly namespace: string | undefined;
  readonly namespaceLabels: ReadonlyMap<string, string>;
  readonly labels: ReadonlyMap<string, string>;
}

/** A part of the network that is to be kept apart from others. */
export interface Zone {
  readonly name: string;
  /** Empty where the file has none. */
  readonly description: string;
  readonly pods: readonly ZonePods[];
  /** Addresses outside. Where two zones hold one, the narrower block counts. */
  readonly cidrs: readonly Prefix[];
  /** It has all addresses outside that no other zone holds. */
  readonly isElsewhere: boolean;
  readonly span: Span;
}

/** What may pass from one zone to another, with the reason that people gave. */
export interface Permission {
  readonly from: string;
  readonly to: string;
  readonly ports: PortSet;
  readonly why: string;
  readonly span: Span;
}

/** Bounds of a file: every pair of zones, and every end of a zone with every end of another, is work. */
const most = {
  zones: 250,
  blocks: 2_000,
  selectors: 2_000,
  allowed: 2_000,
  portsOfOne: 100,
} as const;

export interface ZonesFile {
  readonly file: string;
  readonly zones: readonly Zone[];
  readonly allowed: readonly Permission[];
}

/**
 * Reads a file of zones, and finds all that is wrong with it.
 *
 * Shape:  one document.
 * Errors: none thrown; SL32xx, and the codes that manifests have for text, shape and values.
 */
export function readZonesFile(
  given: string,
  file: string,
): { readonly zones: ZonesFile; readonly diagnostics: readonly Diagnostic[] } {
  const text = given.startsWith("\ufeff") ? given.slice(1) : given;
  const source = new SourceText(file, text);
  const findings = new Findings();
  const diagnostics = findings.within(source);
  const read: { zones: Zone[]; allowed: Permission[] } = { zones: [], allowed: [] };
  for (const { root, faults } of parseYaml(text)) {
    for (const { code, start, end, message, field } of faults) {
      diagnostics.push(diagnostic(code, source.span(start, end), message, { field }));
    }
    if (root === undefined) continue;
    if (root.type !== "map") {
      const message = "got no map, want one with apiVersion, kind and zones";
      diagnostics.push(diagnostic("SL1009", source.span(root.start, root.end), message));
      continue;
    }
    const document = readDocument(root, source, findings);
    read.zones.push(...document.zones);
    read.allowed.push(...document.allowed);
  }
  if (findings.errors === 0) checkNames({ file, ...read }, source, diagnostics);
  return { zones: { file, ...read }, diagnostics: findings.all() };
}

function readDocument(
  root: YamlMap,
  source: SourceText,
  findings: Findings,
): Omit<ZonesFile, "file"> {
  const diagnostics = findings.within(source);
  const object = { kind: "Zones", namespace: "", name: "" };
  const document = new Cursor({ source, object, diagnostics, indexed: true }, root, root);
  const kind = document.field("kind");
  const version = document.field("apiVersion");
  if (kind.string() !== "Zones" || version.string() !== "sluice/v1") {
    const textOf = (cursor: Cursor) => (cursor.absent ? "nothing" : quoted(cursor.string() ?? ""));
    const got = `kind ${textOf(kind)} of ${textOf(version)}`;
    kind.report("SL3201", `got ${got}, want kind Zones of sluice/v1`);
    return { zones: [], allowed: [] };
  }
  document.onlyFields(["apiVersion", "kind", "metadata", "zones", "allowed"]);
  const zones = itemsOf(document.field("zones"), most.zones, "zones").flatMap(
    (item) => readZone(item) ?? [],
  );
  const allowed = itemsOf(document.field("allowed"), most.allowed, "entries").flatMap(
    (item) => readPermission(item) ?? [],
  );
  for (const [list, count] of [
    ["blocks", zones.reduce((sum, { cidrs }) => sum + cidrs.length, 0)],
    ["selectors", zones.reduce((sum, { pods }) => sum + pods.length, 0)],
  ] as const) {
    if (count > most[list])
      document.field("zones").report("SL1012", tooMany(count, list, most[list]));
  }
  return { zones, allowed };
}

/** The items of a list; none of one that is too long. */
function itemsOf(list: Cursor, limit: number, what: string): readonly Cursor[] {
  const items = list.items() ?? [];
  if (items.length <= limit) return items;
  list.report("SL1012", tooMany(items.length, what, limit));
  return [];
}

function tooMany(count: number, what: string, limit: number): string {
  return `got ${count} ${what}, want at most ${limit}`;
}

function readZone(zone: Cursor): Zone | undefined {
  if (!zone.isMap()) {
    if (zone.absent) zone.missing("a zone with a name");
    return undefined;
  }
  zone.onlyFields(["name", "description", "pods", "cidrs", "elsewhere"]);
  const name = zone.field("name").requiredString("a name for the zone");
  const pods = (zone.field("pods").items() ?? []).flatMap((item) => readPods(item) ?? []);
  const cidrs = (zone.field("cidrs").items() ?? []).flatMap((item) => readCidr(item) ?? []);
  const isElsewhere = zone.field("elsewhere").boolean() ?? false;
  if (["pods", "cidrs", "elsewhere"].every((way) => zone.field(way).absent)) {
    zone.field("pods").missing("pods, cidrs or elsewhere: true");
  }
  if (name === undefined) return undefined;
  const description = zone.field("description").string() ?? "";
  return { name, description, pods, cidrs, isElsewhere, span: firstLine(zone.span) };
}

function readPods(pods: Cursor): ZonePods | undefined {
  if (!pods.isMap()) {
    if (pods.absent) pods.missing("namespace, namespaceLabels or labels");
    return undefined;
  }
  const fields = ["namespace", "namespaceLabels", "labels"] as const;
  pods.onlyFields(fields);
  if (fields.every((field) => pods.field(field).absent)) {
    pods.field("namespace").missing("namespace, namespaceLabels or labels");
    return undefined;
  }
  return {
    namespace: pods.field("namespace").string(),
    namespaceLabels: readLabels(pods.field("namespaceLabels")),
    labels: readLabels(pods.field("labels")),
  };
}

function readCidr(cursor: Cursor): Prefix | undefined {
  const text = cursor.string();
  if (text === undefined) return undefined;
  const read = readPrefix(text);
  if ("prefix" in read) return read.prefix;
  cursor.report("SL1211", `got ${read.fault.got}, want ${read.fault.want}`);
  return undefined;
}

function readPermission(allowed: Cursor): Permission | undefined {
  if (!allowed.isMap()) {
    if (allowed.absent) allowed.missing("from, to, ports and why");
    return undefined;
  }
  allowed.onlyFields(["from", "to", "ports", "why"]);
  const from = allowed.field("from").requiredString("the name of a zone");
  const to = allowed.field("to").requiredString("the name of a zone");
  const why = allowed.field("why").requiredString("why it is needed");
  const list = allowed.field("ports");
  if (list.absent) list.missing("a list such as [443/tcp]");
  const ports = itemsOf(list, most.portsOfOne, "ports").reduce(
    (all, item) => unionPorts(all, readPorts(item)),
    noPorts,
  );
  if (from === undefined || to === undefined || why === undefined) return undefined;
  return { from, to, ports, why, span: firstLine(allowed.span) };
}

function readPorts(cursor: Cursor): PortSet {
  const text = cursor.string();
  if (text === undefined) return noPorts;
  const ports = parsePorts(text);
  if (ports === undefined) cursor.report("SL1219", `got ${quoted(text)}, want ${wantedPorts}`);
  return ports ?? noPorts;
}

function checkNames(
  { zones, allowed, file }: ZonesFile,
  source: SourceText,
  diagnostics: Sink,
): void {
  if (zones.length < 2) {
    const span = source.span(0, 0);
    diagnostics.push(
      diagnostic(
        "SL3201",
        span,
        `${file} has ${zones.length === 0 ? "no zone" : "one zone"}, want two at least`,
      ),
    );
  }
  const names = new Set<string>();
  const blocks = new Map<string, string>();
  let elsewhere: string | undefined;
  for (const { name, cidrs, isElsewhere, span } of zones) {
    if (names.has(name)) {
      diagnostics.push(
        diagnostic("SL3202", span, `got a second zone ${quoted(name)}, want names that differ`),
      );
    }
    names.add(name);
    for (const cidr of cidrs.map(formatPrefix)) {
      const other = blocks.get(cidr);
      if (other !== undefined) {
        diagnostics.push(
          diagnostic(
            "SL3204",
            span,
            `got ${cidr} in ${quoted(other)} and ${quoted(name)}, want it in one`,
          ),
        );
      }
      blocks.set(cidr, name);
    }
    if (isElsewhere && elsewhere !== undefined) {
      const message = `got elsewhere in ${quoted(elsewhere)} and ${quoted(name)}, want it in one`;
      diagnostics.push(diagnostic("SL3204", span, message));
    }
    if (isElsewhere) elsewhere = name;
  }
  for (const { from, to, span } of allowed) {
    for (const name of [from, to]) {
      if (names.has(name)) continue;
      const meant = didYouMean(name, [...names]);
      diagnostics.push(
        diagnostic("SL3203", span, `got ${quoted(name)}, want the name of a zone${meant}`),
      );
    }
  }
}

/** A place to point at, without all that is inside. */
function firstLine({ file, line, column }: Span): Span {
  return { file, line, column, endLine: line, endColumn: column };
}
