import { dirname, isAbsolute, join } from "node:path";
import {
  compareDiagnostics,
  type Diagnostic,
  diagnostic,
  hasErrors,
} from "../diagnostics/diagnostic.js";
import { Cursor } from "../manifest/cursor.js";
import { readManifestTexts } from "../manifest/read.js";
import { SourceText } from "../manifest/source-text.js";
import { parseYaml } from "../manifest/yaml.js";
import { canonicalMac } from "../net/mac.js";
import type { MapOf } from "./config-shape.js";
import type { KubernetesConfig, NodeConfig, PodName, WireConfig } from "./node-config.js";
import { type kubernetesShape, nodeShape, type wireShape } from "./node-schema.js";

export type ReadConfig =
  | { readonly ok: true; readonly config: NodeConfig; readonly diagnostics: readonly Diagnostic[] }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/** A config file, which may be read again and again. */
export class ConfigFile {
  readonly path: string;
  #text: string | undefined;
  #last: ReadConfig | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Reads the file; what has not changed is the same object again.
   *
   * Errors: none thrown; every mistake is a diagnostic, all of them at once.
   */
  read(): ReadConfig {
    const { texts, diagnostics } = readManifestTexts([this.path]);
    const [first] = texts;
    if (first === undefined) return { ok: false, diagnostics };
    if (this.#last === undefined || first.text !== this.#text) {
      this.#text = first.text;
      this.#last = parseNodeConfig(first.text, first.name);
    }
    return this.#last;
  }
}

/** Reads the text of a config file; `file` is what places name, and where relative paths begin. */
export function parseNodeConfig(given: string, file: string): ReadConfig {
  const source = new SourceText(file, given.replace(/^\ufeff/, ""));
  const object = { kind: "NodeConfig", namespace: "", name: "" };
  const diagnostics: Diagnostic[] = [];
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
  if (root === undefined || hasErrors(diagnostics)) {
    if (diagnostics.length === 0) {
      diagnostics.push(diagnostic("SL1010", source.span(0, 0), "got nothing, want a NodeConfig"));
    }
    return { ok: false, diagnostics };
  }
  const cursor = new Cursor({ source, object, diagnostics, indexed: true }, root, root);
  const read = nodeShape.read(cursor);
  if (read !== undefined) checkWires(read.wires);
  diagnostics.sort(compareDiagnostics);
  if (read === undefined || hasErrors(diagnostics)) return { ok: false, diagnostics };
  return { ok: true, config: configOf(read, file), diagnostics };
}

type ReadNode = MapOf<typeof nodeShape.fields>;
type ReadWire = MapOf<typeof wireShape.fields>;

/** Reports interfaces and pods that are named twice: each has one place in a process. */
function checkWires(wires: readonly ReadWire[]): void {
  const places = new Map<string, string>();
  for (const wire of wires) {
    for (const key of ["inside", "outside"] as const) {
      const name = wire[key];
      const cursor = wire.cursor.field(key);
      const other = places.get(name);
      if (other === undefined) {
        places.set(name, cursor.path());
      } else {
        cursor.report(
          "SL1221",
          `got "${name}", which ${other} has already, want another interface`,
        );
      }
    }
  }
  const pods = new Map<string, string>();
  for (const { pod, cursor } of wires) {
    const other = pods.get(pod);
    const place = cursor.field("pod");
    if (other === undefined) pods.set(pod, place.path());
    else place.report("SL1221", `got "${pod}", which ${other} has already, want another pod`);
  }
}

function configOf(read: ReadNode, file: string): NodeConfig {
  const folder = dirname(file);
  const { watch, workers, poll, cpu, connections, fragments, established, loose } = read;
  const { socket, metrics, kubernetes, mode, deny } = read;
  const place = (path: string) => (isAbsolute(path) ? path : join(folder, path));
  return {
    source: {
      paths: (read.manifests ?? []).map(place),
      watch: watch ?? "auto",
      ...given({ kubernetes: kubernetes && kubernetesOf(kubernetes, place) }),
    },
    wires: read.wires.map(wireOf),
    sidecars: [],
    missingPods: "wait",
    dataplane: {
      established: established ?? "recheck",
      deny: deny ?? "drop",
      loose: loose ?? false,
      ...given({ workers, poll, cpu, connectionsMax: connections, fragmentsMax: fragments }),
    },
    mode: mode ?? "enforce",
    control: given({ socket, metricsListen: metrics }),
  };
}

function kubernetesOf(
  { kubeconfig, context, node }: MapOf<typeof kubernetesShape.fields>,
  place: (path: string) => string,
): KubernetesConfig {
  return given({ kubeconfig: kubeconfig && place(kubeconfig), context, node });
}

function wireOf({ pod, inside, outside, podMac, link, failMode, cursor }: ReadWire): WireConfig {
  return {
    pod: podNameOf(pod),
    inside,
    outside,
    link: link ?? "auto",
    failMode: failMode ?? "closed",
    span: cursor.field("pod").span,
    ...given({ podMac: podMac === undefined ? undefined : canonicalMac(podMac) }),
  };
}

/** Reads NAMESPACE/NAME, which has been checked. */
function podNameOf(text: string): PodName {
  const [namespace = "", name = ""] = text.split("/");
  return { namespace, name };
}

/** Leaves out what is undefined. */
function given<Values extends object>(
  values: Values,
): { [Key in keyof Values]?: Exclude<Values[Key], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [Key in keyof Values]?: Exclude<Values[Key], undefined> };
}
