import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { decodeText } from "./decode.js";
import { groupOf } from "./foreign.js";
import { kustomizationFiles } from "./manifest-files.js";
import { readRegularFile } from "./regular-file.js";
import { parseYaml } from "./yaml.js";
import { entryOf, type YamlMap, type YamlNode } from "./yaml-node.js";

/** What a kustomization names, as far as it must be known before it is rendered. Paths are absolute. */
export interface Kustomization {
  readonly folder: string;
  /** Folders that it takes objects from: its bases. */
  readonly bases: readonly string[];
  /** Folders of components, which change what others give. */
  readonly components: readonly string[];
  /** Files that are parts of objects. */
  readonly patches: ReadonlySet<string>;
  /** Every file or folder that a text of it may name. */
  readonly named: ReadonlySet<string>;
  /** What it takes from elsewhere, as it is written. */
  readonly remote: readonly string[];
  /** Where the charts are that it renders; undefined when it renders none. */
  readonly chartHome: string | undefined;
  /** It gives no objects by itself. */
  readonly isComponent: boolean;
}

const fileBytesMax = 1024 * 1024;

const nothing: YamlMap = { type: "map", entries: [], start: 0, end: 0 };

/** The group of a kind of another product, whose objects are often in files of that name. */
const fluxGroup = "kustomize.toolkit.fluxcd.io";

/**
 * Reads a kustomization's file.
 *
 * Shape: undefined when it is an object of another product. One that cannot be read names nothing: what is wrong with
 *        it, the renderer says, and the files beside it are no manifests for that.
 */
export function readKustomization(file: string): Kustomization | undefined {
  const root = yamlMapOf(file) ?? nothing;
  if (groupOf(textsIn(root, "apiVersion")[0] ?? "") === fluxGroup) {
    return undefined;
  }
  const folder = resolve(dirname(file));
  const at = (texts: readonly string[]) => texts.map((text) => resolve(folder, text));
  const taken = [...textsIn(root, "resources"), ...textsIn(root, "bases")];
  const components = textsIn(root, "components");
  const patchPaths = ["patches", "patchesJson6902"].flatMap((key) => pathsIn(root, key));
  const texts = scalarsOf(root).filter((text) => text !== "" && !text.includes("\n"));
  const rendersCharts = ["helmCharts", "helmChartInflationGenerator"].some(
    (key) => entryOf(root, key) !== undefined,
  );
  const home = textsIn(entryOf(root, "helmGlobals")?.value, "chartHome")[0] ?? "charts";
  return {
    folder,
    bases: at(taken.filter((text) => !isRemote(text, folder))),
    components: at(components.filter((text) => !isRemote(text, folder))),
    patches: new Set(at([...patchPaths, ...textsIn(root, "patchesStrategicMerge")])),
    // A generator's files may stand as KEY=FILE.
    named: new Set(at(texts.flatMap((text) => [text, text.slice(text.indexOf("=") + 1)]))),
    remote: [...taken, ...components].filter((text) => isRemote(text, folder)),
    chartHome: rendersCharts ? resolve(folder, home) : undefined,
    isComponent: textsIn(root, "kind")[0] === "Component",
  };
}

/** Folders above a file in which a kustomization that names it is looked for. */
const FOLDERS_ABOVE = 3;

/** Finds the kustomization that has a file among its patches, in the file's folder or a little above. */
export function kustomizationOfPatch(path: string): Kustomization | undefined {
  const file = resolve(path);
  let folder = dirname(file);
  for (let above = 0; above <= FOLDERS_ABOVE; above++, folder = dirname(folder)) {
    const found = kustomizationIn(folder);
    if (found?.patches.has(file)) return found;
  }
  return undefined;
}

/** Reads the kustomization of a folder; undefined when it has none. */
export function kustomizationIn(folder: string): Kustomization | undefined {
  const name = kustomizationFiles.find((each) => existsSync(join(folder, each)));
  return name === undefined ? undefined : readKustomization(join(folder, name));
}

/** What is not there, and has the form of an address: of a repository, or of a file. */
function isRemote(text: string, folder: string): boolean {
  const looksSo =
    /^[a-z][a-z+.-]*::?\/\//i.test(text) ||
    /^(git@|git::|[\w-]+(\.[\w-]+)+[:/]|.*[?&](ref|version)=)/.test(text);
  return looksSo && !existsSync(resolve(folder, text));
}

/** Reads the first document of a file; undefined where that is no map, or cannot be read. */
export function yamlMapOf(file: string): YamlMap | undefined {
  try {
    const text = decodeText(readRegularFile(file, fileBytesMax));
    if (typeof text !== "string") return undefined;
    for (const { root } of parseYaml(text)) return root?.type === "map" ? root : undefined;
  } catch {
    // The renderer says why it cannot be read.
  }
  return undefined;
}

/** The texts of a field that is one or a list of them. */
export function textsIn(node: YamlNode | undefined, key: string): readonly string[] {
  const value = node?.type === "map" ? entryOf(node, key)?.value : undefined;
  const items = value?.type === "sequence" ? value.items : value === undefined ? [] : [value];
  return items.flatMap((item) =>
    item.type === "scalar" && typeof item.value === "string" ? [item.value] : [],
  );
}

/** The paths of a list of patches. */
function pathsIn(root: YamlMap, key: string): readonly string[] {
  const value = entryOf(root, key)?.value;
  return value?.type === "sequence" ? value.items.flatMap((item) => textsIn(item, "path")) : [];
}

function scalarsOf(root: YamlNode): readonly string[] {
  const texts: string[] = [];
  const waiting: YamlNode[] = [root];
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    if (node.type === "map") for (const { value } of node.entries) waiting.push(value);
    else if (node.type === "sequence") for (const item of node.items) waiting.push(item);
    else if (typeof node.value === "string") texts.push(node.value);
  }
  return texts;
}
