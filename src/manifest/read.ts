import { count } from "../diagnostics/count.js";
import { type Diagnostic, diagnostic, startOfFile } from "../diagnostics/diagnostic.js";
import { decodeText } from "./decode.js";
import { type Limits, limits } from "./limits.js";
import { isDescriptor, unreadable } from "./manifest-files.js";
import { type Manifests, type ManifestText, parseTexts } from "./parse.js";
import { type PassedOver, toldReasons } from "./passed-over.js";
import { holdsObjects } from "./recognize.js";
import { FileRefusal, readToEnd, readWhole, withRegularFile } from "./regular-file.js";
import {
  type Leniency,
  type Renderable,
  type Survey,
  type SurveyOptions,
  surveyInput,
} from "./survey.js";
import { TokenBudget } from "./yaml.js";

export interface ReadOptions extends SurveyOptions {
  /** Standard input's text, where somebody has read it already. */
  readonly stdin?: string | undefined;
  /** Of objects that name none. */
  readonly namespace?: string | undefined;
  /** What charts, kustomizations and addresses gave, by their paths; absent: nothing is rendered or fetched. */
  readonly made?: ReadonlyMap<string, Made> | undefined;
}

/** What is read, as one thread says it to another. */
export interface ReadRequest extends Pick<ReadOptions, "stdin" | "ignore" | "leniency" | "made"> {
  readonly paths: readonly string[];
}

/** What a program made of a chart or a kustomization, or an address gave, or why there is nothing. */
export type Made =
  | { readonly texts: readonly ManifestText[] }
  | { readonly fault: Diagnostic }
  /** Why it was not rendered. */
  | { readonly absent: string }
  /** Why a program that was run gave nothing. */
  | { readonly failed: string };

/** Texts of an input, and what else is to say of it. */
export interface InputTexts {
  readonly texts: readonly ManifestText[];
  readonly diagnostics: readonly Diagnostic[];
  readonly passedOver: readonly PassedOver[];
}

/**
 * Reads manifests from files, folders and standard input (`-`).
 *
 * Shape:  folders are searched to the bottom for .yaml, .yml and .json, in the order of their names;
 *         names that begin with a dot are passed over, and so are files without Kubernetes objects.
 *         A file that is named twice is read once.
 * Errors: none thrown; SL1002, SL1010, SL1011, SL1012, SL1017, SL1321, SL1322 beside those of
 *         `parseManifests`.
 */
export function readManifests(paths: readonly string[], options: ReadOptions = {}): Manifests {
  return readSurveyed(surveyInput(paths, options), paths, options);
}

/** Reads what a survey of the same paths has found. */
export function readSurveyed(
  survey: Survey,
  paths: readonly string[],
  options: ReadOptions = {},
): Manifests {
  const { bounds = limits, namespace } = options;
  const place = paths.map((path) => (path === "-" ? "<stdin>" : path)).join(",");
  const passedOver: PassedOver[] = [...survey.passedOver];
  const read = parseTexts(textsOf(survey, options, passedOver), place, bounds, namespace);
  passedOver.push(...(read.passedOver ?? []));
  return { ...read, diagnostics: read.diagnostics.map(withPassed(passedOver)), passedOver };
}

/**
 * Reads the same files without looking into them, for whoever else is to parse them.
 *
 * Errors: none thrown; SL1002, SL1011, SL1012, SL1017, SL1321, SL1322.
 */
export function readManifestTexts(
  survey: Survey,
  options: Omit<ReadOptions, "namespace"> = {},
): InputTexts {
  const texts: ManifestText[] = [];
  const diagnostics: Diagnostic[] = [];
  const passedOver: PassedOver[] = [...survey.passedOver];
  for (const read of textsOf(survey, options, passedOver)) {
    if ("text" in read) texts.push(read);
    else diagnostics.push(read);
  }
  return { texts, diagnostics, passedOver };
}

/** Says of an input that holds nothing how much of it was passed over. */
function withPassed(passedOver: readonly PassedOver[]): (found: Diagnostic) => Diagnostic {
  return (found) => {
    if (found.code !== "SL1010" || passedOver.length === 0) return found;
    const message = `got no Kubernetes objects in ${count(passedOver.length, "file")}, want some`;
    return { ...found, message };
  };
}

/** What is still read, of what the bounds allow. */
interface Rest {
  readonly bounds: Limits;
  bytes: number;
}

function* textsOf(
  survey: Survey,
  { stdin, bounds = limits, made }: ReadOptions,
  passedOver: PassedOver[],
): Generator<ManifestText | Diagnostic> {
  const rest: Rest = { bounds, bytes: bounds.allBytes };
  const budget = new TokenBudget(bounds.tokens);
  const seen = new Set<string>();
  const absent = new AbsentRenderings(survey.leniency);
  const noObjects = (file: string) => void passedOver.push({ file, why: "no Kubernetes objects" });
  for (const item of survey.items) {
    if (item.is === "fault") yield item.fault;
    else if (item.is === "url") yield* ofMade(made?.get(item.path) ?? notFetched(item.path));
    else if (item.is !== "file") {
      const absence = item.refused ?? "nothing is rendered here";
      const what = made?.get(item.path) ?? { absent: absence };
      if ("texts" in what) yield* what.texts;
      else passedOver.push({ file: item.path, why: toldReasons.unrendered });
      if ("fault" in what) yield what.fault;
      if ("absent" in what) absent.add(item, what.absent, true);
      if ("failed" in what) absent.add(item, what.failed, false);
    } else {
      const isPassable = !item.isNamed && survey.leniency !== "strict";
      const read = readOnce(item.path, stdin, rest, seen, isPassable);
      if (read === undefined) continue;
      if (!isPassable || !("text" in read)) yield read;
      else if (!holdsObjects(read.text, budget)) noObjects(read.name);
      else yield { ...read, isPassable: survey.leniency === "lenient" };
    }
  }
  yield* absent.told();
}

/** Charts and kustomizations that were not rendered: those that are so for one reason are told at once. */
class AbsentRenderings {
  readonly #leniency: Leniency;
  readonly #groups = new Map<
    string,
    { readonly why: string; readonly hasCommand: boolean; readonly items: Renderable[] }
  >();

  constructor(leniency: Leniency) {
    this.#leniency = leniency;
  }

  /** Shape: `hasCommand`: the command that would render it is yet to be tried. */
  add(item: Renderable, why: string, hasCommand: boolean): void {
    // What was named is told by itself.
    const key = `${item.isNamed ? item.path : ""}\n${item.is}\n${why}`;
    const group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, { why, hasCommand, items: [item] });
    else group.items.push(item);
  }

  *told(): Generator<Diagnostic> {
    for (const { why, hasCommand, items } of this.#groups.values()) {
      const { is, path, isNamed, command } = items[0]!;
      const others = items.length === 1 ? "" : ` (and ${items.length - 1} more, which -v lists)`;
      const want = hasCommand ? `; want ${command} | sluice … -f -` : "";
      const message = `got a ${is}, which is not rendered: ${why}${others}${want}`;
      const code = this.#leniency === "lenient" && !isNamed ? "SL1321" : "SL1017";
      yield diagnostic(code, startOfFile(path), message);
    }
  }
}

function* ofMade(made: Made): Generator<ManifestText | Diagnostic> {
  if ("texts" in made) yield* made.texts;
  if ("fault" in made) yield made.fault;
}

function notFetched(url: string): Made {
  const message = "got an address, and nothing is fetched here, want a file, a folder or -";
  return { fault: diagnostic("SL1011", startOfFile(url), message) };
}

/**
 * Reads a text; undefined when that was read before.
 *
 * Shape: a passable one that is no text and has not the words of an object is an empty text.
 */
function readOnce(
  file: string,
  stdin: string | undefined,
  rest: Rest,
  seen: Set<string>,
  isPassable: boolean,
): ManifestText | Diagnostic | undefined {
  const name = file === "-" ? "<stdin>" : file;
  try {
    if (isDescriptor(file)) {
      if (seen.has(file)) return undefined;
      seen.add(file);
      if (file === "-" && stdin !== undefined) return { name, text: stdin };
      const bytes = readToEnd(file, rest.bounds.fileBytes);
      takeBytes(bytes.length, rest);
      return decode(bytes, name);
    }
    return withRegularFile(file, (descriptor, stat) => {
      const identity = `${stat.dev} ${stat.ino}`;
      if (seen.has(identity)) return undefined;
      seen.add(identity);
      takeBytes(Number(stat.size), rest);
      const bytes = readWhole(descriptor, stat);
      const isOther = isPassable && !["apiVersion", "kind"].every((word) => bytes.includes(word));
      const read = decode(bytes, name);
      return "text" in read || !isOther ? read : { name, text: "" };
    });
  } catch (error) {
    return unreadable(name, error);
  }
}

/** Takes a size from what is left. Errors: FileRefusal. */
function takeBytes(size: number, rest: Rest): void {
  const { fileBytes, allBytes } = rest.bounds;
  if (size > fileBytes) {
    throw new FileRefusal(`got more than ${fileBytes} bytes, want a smaller file`, true);
  }
  rest.bytes -= size;
  if (rest.bytes < 0) {
    const message = `got more than ${allBytes} bytes with the files before, want fewer`;
    throw new FileRefusal(message, true);
  }
}

function decode(bytes: Buffer, name: string): ManifestText | Diagnostic {
  const text = decodeText(bytes);
  if (typeof text === "string") return { name, text };
  const { line, column } = text;
  const span = { file: name, line, column, endLine: line, endColumn: column };
  return diagnostic(
    "SL1002",
    span,
    "got bytes that are neither UTF-8 nor marked as UTF-16, want text",
  );
}
