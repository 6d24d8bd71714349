import { dirname, isAbsolute, join } from "node:path";
import { runFolder, settings } from "../control/settings.js";
import { quotaMost } from "../dataplane/capacity.js";
import { type Diagnostic, diagnostic } from "../diagnostics/diagnostic.js";
import { Findings } from "../diagnostics/findings.js";
import { Cursor } from "../manifest/cursor.js";
import { type Limits, limits } from "../manifest/limits.js";
import { readManifestTexts } from "../manifest/read.js";
import { SourceText } from "../manifest/source-text.js";
import { surveyInput } from "../manifest/survey.js";
import { parseYaml } from "../manifest/yaml.js";
import { canonicalMac } from "../net/mac.js";
import { readFlowFilter } from "../observe/flow-filter.js";
import { type FlowFilterValues, fileDefaults, type SinkConfig } from "../sinks/sink-config.js";
import type { MapOf } from "./config-shape.js";
import type {
  KubernetesConfig,
  NodeConfig,
  PodName,
  SidecarConfig,
  WireConfig,
} from "./node-config.js";
import {
  type flowFilterShape,
  type flowSinkShape,
  type kubernetesShape,
  nodeShape,
  type sidecarShape,
  type wireShape,
  wiresMax,
} from "./node-schema.js";

export type ReadConfig =
  | { readonly ok: true; readonly config: NodeConfig; readonly diagnostics: readonly Diagnostic[] }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/** Smaller than for manifests: the main thread reads the config. */
const configLimits: Limits = { ...limits, fileBytes: 4 * 1024 * 1024 };

/** A config file that can be read repeatedly. */
export class ConfigFile {
  readonly path: string;
  #text: string | undefined;
  #last: ReadConfig | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Reads the file. Parts that have not changed are the same objects as before.
   *
   * Errors: throws none; every mistake is a diagnostic, and all are returned together.
   */
  read(): ReadConfig {
    const options = { bounds: configLimits };
    const { texts, diagnostics } = readManifestTexts(surveyInput([this.path], options), options);
    const [first] = texts;
    if (first === undefined) return { ok: false, diagnostics };
    if (this.#last === undefined || first.text !== this.#text) {
      this.#text = first.text;
      this.#last = parseNodeConfig(first.text, first.name);
    }
    return this.#last;
  }
}

/**
 * Reads the text of a config file. `file` is the name in diagnostics; relative paths start at its folder.
 */
export function parseNodeConfig(given: string, file: string): ReadConfig {
  const source = new SourceText(file, given.replace(/^\ufeff/, ""));
  const object = { kind: "NodeConfig", namespace: "", name: "" };
  const findings = new Findings();
  const diagnostics = findings.within(source);
  const documents = [...parseYaml(source.text)];
  for (const { faults } of documents) {
    for (const { code, start, end, message, field } of faults) {
      diagnostics.push(diagnostic(code, source.span(start, end), message, { object, field }));
    }
  }
  const [root, second] = documents.map((each) => each.root).filter((each) => each !== undefined);
  if (second !== undefined) {
    const message = "got a second document, want one";
    diagnostics.push(diagnostic("SL1009", source.span(second.start, second.end), message));
  }
  if (root === undefined || findings.errors > 0) {
    if (findings.errors === 0) {
      findings.push(diagnostic("SL1010", source.span(0, 0), "got nothing, want a NodeConfig"));
    }
    return { ok: false, diagnostics: findings.all() };
  }
  const cursor = new Cursor({ source, object, diagnostics, indexed: true }, root, root);
  const read = nodeShape.read(cursor);
  if (read !== undefined) {
    checkPlaces(read);
    checkQuota(read);
    checkSinks(read);
    // Only where all are texts: reading one that is none would report it again.
    if (findings.errors === 0)
      reportTwice(read.cursor.field("nodeAddresses").items() ?? [], "address");
  }
  if (read === undefined || findings.errors > 0) return { ok: false, diagnostics: findings.all() };
  return { ok: true, config: configOf(read, file), diagnostics: findings.all() };
}

type ReadNode = MapOf<typeof nodeShape.fields>;
type ReadWire = MapOf<typeof wireShape.fields>;
type ReadSidecar = MapOf<typeof sidecarShape.fields>;

/** Reports interfaces and pods that are named twice: each may have one attachment. */
function checkPlaces({ wires = [], sidecars = [], cursor }: ReadNode): void {
  const interfaces = [
    ...wires.flatMap((wire) => [wire.cursor.field("inside"), wire.cursor.field("outside")]),
    ...sidecars.map((sidecar) => sidecar.cursor.field("interface")),
  ];
  reportTwice(interfaces, "interface");
  reportTwice(
    [...wires, ...sidecars].map((each) => each.cursor.field("pod")),
    "pod",
  );
  const count = wires.length + sidecars.length;
  if (count > wiresMax && wires.length > 0 && sidecars.length > 0) {
    const message = `got ${count} wires and sidecars, want ${wiresMax} at most`;
    cursor.field("sidecars").report("SL1215", message);
  }
}

/** Reports a quota larger than the connection table. */
function checkQuota({ connections, connectionsPerEndpoint, cursor }: ReadNode): void {
  const most = quotaMost(connections);
  if (connectionsPerEndpoint === undefined || connectionsPerEndpoint <= most) return;
  const message = `got ${connectionsPerEndpoint}, want ${most} at most`;
  const more = connections === undefined ? ", or connections too" : " as connections says";
  cursor.field("connectionsPerEndpoint").report("SL1218", `${message}${more}`);
}

/** Reports settings of the other kind of sink, targets that are there twice, and values that no filter can have. */
function checkSinks({ flows = [] }: ReadNode): void {
  for (const { otlp, cursor, filter } of flows) {
    const [kind, others] =
      otlp === undefined
        ? (["otlp", ["headers"]] as const)
        : (["file or drops", ["maxMegabytes", "keep"]] as const);
    for (const key of others) {
      const field = cursor.field(key);
      if (!field.absent) field.report("SL1217", `got ${key}, which is for ${kind}, and no ${kind}`);
    }
    for (const [flag, values] of Object.entries(filter ?? {})) {
      if (flag === "cursor") continue;
      const wrong = readFlowFilter((each) => (each === flag ? (values as readonly string[]) : []));
      if (typeof wrong === "string") cursor.field("filter").field(flag).report("SL1219", wrong);
    }
  }
  const targets = flows.map(({ file, drops, cursor }) =>
    cursor.field(file !== undefined ? "file" : drops !== undefined ? "drops" : "otlp"),
  );
  reportTwice(targets, "file or collector");
}

/** Reports each text that an earlier place has already. */
function reportTwice(places: readonly Cursor[], what: string): void {
  const taken = new Map<string, Cursor>();
  for (const place of places) {
    const text = place.string() ?? "";
    const other = taken.get(text);
    if (other === undefined) taken.set(text, place);
    else {
      const message = `got "${text}", which ${other.path()} has already, want another ${what}`;
      place.report("SL1221", message);
    }
  }
}

function configOf(read: ReadNode, file: string): NodeConfig {
  const folder = dirname(file);
  const { watch, workers, poll, cpu, connections, fragments, established, loose } = read;
  const { connectionsPerEndpoint, nodeAddresses } = read;
  const { socket, metrics, metricsHits, hubbleListen, kubernetes, mode, deny } = read;
  const place = (path: string) => (isAbsolute(path) ? path : join(folder, path));
  return {
    source: {
      paths: (read.manifests ?? []).map(place),
      watch: watch ?? settings.watch.fallback,
      ...definedOnly({ ignore: read.ignore, strict: read.strict }),
      ...definedOnly({ kubernetes: kubernetes && kubernetesOf(kubernetes, place) }),
    },
    wires: (read.wires ?? []).map(wireOf),
    sidecars: (read.sidecars ?? []).map((each) => sidecarOf(each, place)),
    missingPods: "wait",
    nodeAddresses: nodeAddresses ?? [],
    dataplane: {
      established: established ?? settings.established.fallback,
      deny: deny ?? settings.deny.fallback,
      loose: loose ?? false,
      ...definedOnly({ workers, poll, cpu, connectionsMax: connections, fragmentsMax: fragments }),
      ...definedOnly({ connectionsPerEndpoint }),
    },
    mode: mode ?? settings.mode.fallback,
    control: definedOnly({ socket, metricsListen: metrics, metricsHits, hubbleListen }),
    flows: (read.flows ?? []).map((each) => sinkOf(each, place)),
  };
}

function kubernetesOf(
  { kubeconfig, context, node }: MapOf<typeof kubernetesShape.fields>,
  place: (path: string) => string,
): KubernetesConfig {
  return definedOnly({ kubeconfig: kubeconfig && place(kubeconfig), context, node });
}

function sinkOf(
  { file, drops, maxMegabytes, keep, otlp, headers, filter }: MapOf<typeof flowSinkShape.fields>,
  place: (path: string) => string,
): SinkConfig {
  const chosen = filter && filterOf(filter);
  const more = chosen === undefined ? {} : { filter: chosen };
  if (otlp !== undefined) return { kind: "otlp", url: otlp, headers: headers ?? [], ...more };
  return {
    kind: file === undefined ? "drops" : "file",
    path: place(file ?? drops ?? ""),
    bytesMax: (maxMegabytes ?? fileDefaults.megabytes) * 1_000_000,
    keep: keep ?? fileDefaults.keep,
    ...more,
  };
}

function filterOf({ cursor, ...values }: MapOf<typeof flowFilterShape.fields>): FlowFilterValues {
  return values;
}

function wireOf({
  pod,
  inside,
  outside,
  podMac,
  link,
  failMode,
  routerAdvertisements,
  mode,
  cursor,
}: ReadWire): WireConfig {
  return {
    pod: podNameOf(pod),
    inside,
    outside,
    link: link ?? settings.link.fallback,
    failMode: failMode ?? settings.failMode.fallback,
    routerAdvertisements: routerAdvertisements ?? settings.routerAdvertisements.fallback,
    span: cursor.field("pod").span,
    places: { inside: cursor.field("inside").span, outside: cursor.field("outside").span },
    ...definedOnly({ podMac: podMac === undefined ? undefined : canonicalMac(podMac), mode }),
  };
}

function sidecarOf(read: ReadSidecar, place: (path: string) => string): SidecarConfig {
  const { pod, interface: name, link, adopt, onStop, stateDir, cursor } = read;
  const { routerAdvertisements, mode } = read;
  return {
    pod: podNameOf(pod),
    interface: name,
    link: link ?? settings.link.fallback,
    adopt: adopt ?? false,
    stateFolder: place(stateDir ?? runFolder),
    span: cursor.field("pod").span,
    place: cursor.field("interface").span,
    ...definedOnly({ onStop, routerAdvertisements, mode }),
  };
}

/** Reads NAMESPACE/NAME, which has been checked. */
function podNameOf(text: string): PodName {
  const [namespace = "", name = ""] = text.split("/");
  return { namespace, name };
}

/** Leaves out what is undefined. */
function definedOnly<Values extends object>(
  values: Values,
): { [Key in keyof Values]?: Exclude<Values[Key], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [Key in keyof Values]?: Exclude<Values[Key], undefined> };
}
