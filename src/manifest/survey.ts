import { basename, dirname, resolve } from "node:path";
import { count } from "../diagnostics/count.js";
import { type Diagnostic, diagnostic, startOfFile } from "../diagnostics/diagnostic.js";
import { type Chart, readChart } from "./chart.js";
import {
  type Kustomization,
  kustomizationIn,
  kustomizationOfPatch,
  readKustomization,
} from "./kustomization.js";
import { type Limits, limits } from "./limits.js";
import {
  chartFile,
  type Found,
  isUrl,
  kustomizationFiles,
  manifestFiles,
  restOf,
} from "./manifest-files.js";
import { type PassedOver, toldReasons } from "./passed-over.js";
import { shellWord } from "./shell-word.js";

/**
 * What becomes of files of a folder that cannot be read as manifests. `lenient`: those without objects are passed
 * over, and what may hold policy is warned of. `careful`, where traffic hangs on the answer: that is an error.
 * `strict`: nothing is passed over.
 */
export type Leniency = "lenient" | "careful" | "strict";

export interface SurveyOptions {
  readonly bounds?: Limits;
  /** Patterns of files that are left out of every folder, in gitignore's syntax. */
  readonly ignore?: readonly string[];
  /** `careful` when absent. */
  readonly leniency?: Leniency;
}

/** A folder that a program makes manifests of. */
export interface Renderable {
  readonly is: "chart" | "kustomization";
  /** As the user gave it, or below that. */
  readonly path: string;
  readonly isNamed: boolean;
  /** What a chart says of itself. */
  readonly chart?: Chart;
  /** A command that prints its manifests, for a shell. */
  readonly command: string;
  /** Why it is not rendered, whatever program is there. */
  readonly refused?: string;
}

export type SurveyItem =
  | { readonly is: "file"; readonly path: string; readonly isNamed: boolean }
  | { readonly is: "url"; readonly path: string }
  | { readonly is: "fault"; readonly fault: Diagnostic }
  | Renderable;

/** What an input is made of, before any of it is read. */
export interface Survey {
  readonly leniency: Leniency;
  /** In the order of the input. */
  readonly items: readonly SurveyItem[];
  readonly passedOver: readonly PassedOver[];
  /** Folders of which any file may change what is rendered. */
  readonly rendered: readonly string[];
}

type FoundItem = (Found & { readonly isNamed: boolean }) | Extract<SurveyItem, { is: "url" }>;

/**
 * Finds what the paths of an input stand for: files, addresses, and folders to render.
 *
 * A kustomization's files are read through it alone. One that another uses is not rendered by itself, and neither are
 * several that share a base: each is a context of its own, and together they give the same objects twice.
 *
 * Errors: none thrown; SL1011, SL1012, SL1017, SL1321, SL1322 among the items.
 */
export function surveyInput(paths: readonly string[], options: SurveyOptions = {}): Survey {
  const { bounds = limits, ignore = [], leniency = "careful" } = options;
  const rest = restOf(bounds, ignore);
  const found: FoundItem[] = [];
  const known = new Kustomizations();
  for (const path of paths) {
    if (isUrl(path)) {
      found.push({ is: "url", path });
      continue;
    }
    for (const each of manifestFiles(path, rest)) {
      const isNamed = each.path === path;
      if (each.is !== "kustomization" || known.add(each.path, each.file, isNamed)) {
        found.push({ ...each, isNamed });
      } else {
        found.push({ is: "file", path: each.file, isNamed: false });
      }
    }
  }
  return new Sorting(known, leniency).survey(found);
}

/** Sorts what was found in folders into what is read, rendered and passed over. */
class Sorting {
  readonly #known: Kustomizations;
  readonly #leniency: Leniency;
  readonly #items: SurveyItem[] = [];
  readonly #passedOver: PassedOver[] = [];
  readonly #rendered: string[] = [];

  constructor(known: Kustomizations, leniency: Leniency) {
    this.#known = known;
    this.#leniency = leniency;
  }

  survey(found: readonly FoundItem[]): Survey {
    this.#known.relate();
    for (const each of found) {
      if (each.is === "url") this.#items.push(each);
      else if (each.is === "fault") this.#items.push({ is: "fault", fault: each.fault });
      else if (each.is === "chart") this.#chart(each.path, each.file, each.isNamed);
      else if (each.is === "kustomization") this.#kustomization(each.path, each.isNamed);
      else if (each.is === "file" && each.isNamed) this.#namedFile(each.path);
      else if (each.is === "file") this.#file(each.path);
    }
    return {
      leniency: this.#leniency,
      items: this.#items,
      passedOver: this.#passedOver,
      rendered: this.#rendered,
    };
  }

  #refuse(path: string, message: string, warning: "SL1321" | "SL1322"): void {
    const code = this.#leniency === "lenient" ? warning : "SL1017";
    this.#items.push({ is: "fault", fault: diagnostic(code, startOfFile(path), message) });
  }

  #pass(file: string, why: string): void {
    this.#passedOver.push({ file, why });
  }

  #chart(path: string, file: string, isNamed: boolean): void {
    if (this.#known.rendersChart(path)) return;
    const chart = readChart(file);
    if (chart.isLibrary) {
      this.#pass(path, "library charts, which give no objects");
      return;
    }
    const command = `helm template ${chart.release} ${shellWord(path)}`;
    this.#items.push({ is: "chart", path, isNamed, chart, command });
    this.#rendered.push(path);
  }

  #kustomization(path: string, isNamed: boolean): void {
    const known = this.#known;
    const role = known.roleOf(path);
    if (role === "used") return;
    if (role === "component") {
      this.#pass(path, "components, which no kustomization of the input uses");
      return;
    }
    if (role !== "root") {
      if (role[0] === path) this.#contexts(role);
      this.#pass(path, toldReasons.shared);
      return;
    }
    const refused = known.whyNot(path);
    const command = `kubectl kustomize ${refused?.flags ?? ""}${shellWord(path)}`;
    this.#items.push({
      is: "kustomization",
      path,
      isNamed,
      command,
      ...(refused === undefined ? {} : { refused: refused.why }),
    });
    this.#rendered.push(...known.foldersOf(path));
  }

  /** Says that overlays share a base. */
  #contexts(overlays: readonly string[]): void {
    const shown = overlays.slice(0, 8).join(", ");
    const more = overlays.length > 8 ? ` and ${overlays.length - 8} more` : "";
    const message = `got ${count(overlays.length, "kustomization")} that share a base: ${shown}${more}; each is a context of its own, want one of them, such as -f ${shellWord(overlays[0]!)}`;
    this.#refuse(overlays[0]!, message, "SL1321");
  }

  #namedFile(path: string): void {
    const folder = dirname(path);
    const kind = kindOfFile(path);
    if (kind !== undefined) {
      const message = `got the file of a ${kind}, want its folder: -f ${shellWord(folder)}`;
      // No client takes a chart's as an object, but *.yaml of a folder may well name a kustomization's.
      if (kind === "kustomization") {
        this.#refuse(path, message, "SL1322");
        this.#pass(path, toldReasons.part);
      } else {
        this.#items.push({ is: "fault", fault: diagnostic("SL1017", startOfFile(path), message) });
      }
      return;
    }
    const patched = kustomizationOfPatch(path);
    if (patched === undefined) {
      this.#items.push({ is: "file", path, isNamed: true });
      return;
    }
    const message = `got a patch of the kustomization in ${patched.folder}, which holds parts of objects, want -f with its folder`;
    this.#refuse(path, message, "SL1322");
    this.#pass(path, toldReasons.part);
  }

  #file(path: string): void {
    if (this.#known.names(path)) return;
    if (this.#known.isBeside(path)) {
      this.#pass(path, "not named by the kustomization beside them");
      return;
    }
    this.#items.push({ is: "file", path, isNamed: false });
  }
}

/** What a file that was named is part of, by its name. */
function kindOfFile(path: string): "chart" | "kustomization" | undefined {
  const name = basename(path);
  if (name === chartFile) return "chart";
  return kustomizationFiles.includes(name) && readKustomization(path) !== undefined
    ? "kustomization"
    : undefined;
}

/** As many kustomizations are followed from those of the input. */
const FOLLOWED_MAX = 5_000;

/** What a kustomization of the input is to the others: overlays that share a base are told together. */
type Role = "root" | "used" | "component" | readonly string[];

interface InputKustomization {
  readonly is: Kustomization;
  readonly isNamed: boolean;
}

/** The kustomizations of an input, those that they use, and how they hang together. */
class Kustomizations {
  /** Of the input, by the path that the user sees. */
  readonly #ofInput = new Map<string, InputKustomization>();
  /** By their folders. */
  readonly #all = new Map<string, Kustomization | undefined>();
  readonly #roles = new Map<string, Role>();
  readonly #named = new Set<string>();
  readonly #chartHomes: string[] = [];

  /** Adds one of the input; false when its file is none. */
  add(path: string, file: string, isNamed: boolean): boolean {
    const is = readKustomization(file);
    if (is === undefined) return false;
    this.#ofInput.set(path, { is, isNamed });
    this.#all.set(is.folder, is);
    return true;
  }

  /** Follows what they use, and gives each its role. To be called once all are added. */
  relate(): void {
    const reach = new Map(
      [...this.#ofInput].map(([path, { is }]) => [path, this.#reachable(is, true)] as const),
    );
    const used = new Set(
      [...this.#all.values()].flatMap((each) => [
        ...(each?.bases ?? []),
        ...(each?.components ?? []),
      ]),
    );
    for (const each of this.#all.values()) {
      for (const path of each?.named ?? []) this.#named.add(path);
      if (each?.chartHome !== undefined) this.#chartHomes.push(each.chartHome);
    }
    const inputs = [...this.#ofInput];
    // Who names a component wants to see what it gives by itself.
    const isApart = ({ is, isNamed }: InputKustomization) => is.isComponent && !isNamed;
    const roots = inputs.filter(([, each]) => !isApart(each) && !used.has(each.is.folder));
    const covered = new Set(roots.flatMap(([path]) => [...(reach.get(path) ?? [])]));
    for (const [path, each] of inputs) {
      const { folder, isComponent } = each.is;
      // One that no root leads to is in a circle, of which the renderer shall say that.
      const isUsed = used.has(folder) && (covered.has(folder) || isComponent);
      this.#roles.set(path, isUsed ? "used" : isApart(each) ? "component" : "root");
    }
    for (const family of this.#families(roots.map(([path]) => path))) {
      if (family.length < 2 || family.every((path) => this.#ofInput.get(path)?.isNamed)) continue;
      for (const path of family) this.#roles.set(path, family);
    }
  }

  roleOf(path: string): Role {
    return this.#roles.get(path) ?? "root";
  }

  /** Reports whether a kustomization has a file among its own. */
  names(path: string): boolean {
    return this.#named.has(resolve(path));
  }

  isBeside(path: string): boolean {
    return this.#all.get(dirname(resolve(path))) !== undefined;
  }

  /** Reports whether a chart is one that a kustomization renders. */
  rendersChart(path: string): boolean {
    return this.#chartHomes.some((home) => `${resolve(path)}/`.startsWith(`${home}/`));
  }

  /** Folders of one and of all that it uses. */
  foldersOf(path: string): readonly string[] {
    return [...this.#reachable(this.#ofInput.get(path)!.is, true)];
  }

  /** Why one is not to be rendered here. */
  whyNot(path: string): { readonly why: string; readonly flags: string } | undefined {
    const all = this.foldersOf(path).flatMap((folder) => this.#at(folder) ?? []);
    const remote = all.flatMap((each) => each.remote)[0];
    if (remote !== undefined) {
      const shown = remote.length > 200 ? `${remote.slice(0, 200)}…` : remote;
      return { why: `it takes "${shown}" from elsewhere, and nothing is fetched here`, flags: "" };
    }
    return all.some(({ chartHome }) => chartHome !== undefined)
      ? { why: "it renders charts, which is not done here", flags: "--enable-helm " }
      : undefined;
  }

  /** Folders that one leads to, its own among them. */
  #reachable(start: Kustomization, withComponents: boolean): ReadonlySet<string> {
    const reached = new Set<string>();
    const waiting = [start];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (reached.has(next.folder)) continue;
      reached.add(next.folder);
      for (const folder of [...next.bases, ...(withComponents ? next.components : [])]) {
        const found = this.#at(folder);
        if (found !== undefined) waiting.push(found);
      }
    }
    return reached;
  }

  #at(folder: string): Kustomization | undefined {
    if (!this.#all.has(folder)) {
      if (this.#all.size >= FOLLOWED_MAX) return undefined;
      this.#all.set(folder, kustomizationIn(folder));
    }
    return this.#all.get(folder);
  }

  /** Groups those that share a base. */
  #families(roots: readonly string[]): readonly (readonly string[])[] {
    const familyOf = new Map<string, string[]>();
    const families = new Set<string[]>();
    for (const path of roots) {
      const { is } = this.#ofInput.get(path)!;
      const bases = [...this.#reachable(is, false)].filter((folder) => folder !== is.folder);
      const shared = new Set(bases.map((base) => familyOf.get(base)));
      shared.delete(undefined);
      const family = [...shared].flatMap((each) => each ?? []).concat(path);
      for (const each of shared) families.delete(each!);
      families.add(family);
      for (const [base, old] of familyOf) if (shared.has(old)) familyOf.set(base, family);
      for (const base of bases) familyOf.set(base, family);
    }
    return [...families];
  }
}
