import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  type Node,
  type Pair,
  Parser,
  type Scalar,
  type YAMLError,
} from "yaml";
import { limits } from "./limits.js";
import {
  keyText,
  NESTING_MAX,
  resolvePlain,
  type YamlEntry,
  type YamlFault,
  type YamlMap,
  type YamlNode,
  type YamlScalar,
  type YamlSequence,
} from "./yaml-node.js";
import { parsePlainYaml } from "./yaml-plain.js";

/** One document of a file: what it holds, or why it cannot be read; both after a doubled key. */
export interface YamlDocument {
  readonly root: YamlNode | undefined;
  readonly faults: readonly YamlFault[];
}

/**
 * Reads the documents of a YAML or JSON text; those that hold nothing are left out.
 *
 * A document in the plain style that most manifests keep to is read by our own reader, which is
 * some ten times as fast; every other one, and every one that seems broken, by the `yaml` package.
 *
 * Shape:  several texts may share a `budget`; SL1012 in each document that finds it used up.
 * Cost:   linear, but for documents of a nesting that is refused; no alias is expanded.
 * Errors: none; faults are in the documents, one syntax fault for each at most.
 */
export function* parseYaml(text: string, budget = new TokenBudget()): Generator<YamlDocument> {
  for (const [start, end] of splitDocuments(text)) {
    // Files that were joined have a byte order mark each.
    const mark = /(?:\r?\n)?\ufeff/y;
    mark.lastIndex = start;
    yield* parseDocument(text, mark.test(text) ? mark.lastIndex : start, end, budget);
  }
}

function* parseDocument(
  text: string,
  from: number,
  to: number,
  budget: TokenBudget,
): Generator<YamlDocument> {
  for (const [start, end] of splitObjects(text, from, to)) {
    const plain = parsePlainYaml(text, start, end);
    if (plain !== undefined) {
      if (plain.root !== undefined) yield { root: plain.root, faults: [] };
    } else {
      yield* parseAnyYaml(text, start, end, budget);
    }
  }
}

/** What may still be read with the `yaml` package, whose trees are large. Units: tokens. */
export class TokenBudget {
  readonly tokens: number;
  left: number;

  constructor(tokens = limits.tokens) {
    this.tokens = tokens;
    this.left = tokens;
  }
}

/**
 * Reads the documents in `text[start, end)` with the `yaml` package.
 *
 * Cost: reading stops at the first syntax error, since the package would collect one for each
 *       character of a text that is broken from end to end.
 */
export function* parseAnyYaml(
  text: string,
  start: number,
  end: number,
  budget = new TokenBudget(),
): Generator<YamlDocument> {
  const documents: YamlDocument[] = [];
  try {
    for (const document of compose(text.slice(start, end), start, budget)) {
      const read = readDocument(document, start);
      if (read !== undefined) documents.push(read);
    }
  } catch (stop) {
    if (!(stop instanceof Stop)) throw stop;
    documents.push({ root: undefined, faults: [stop.fault] });
  }
  yield* documents;
}

/** Stands for the backslash of `\'`, and for nothing: no text may hold it. */
const NO_CHARACTER = "\uffff";

/**
 * Makes of the escape `\'` in double quotes, which go-yaml takes and the package does not, a plain quote, without
 * moving what follows.
 */
function withPlainQuotes(lexeme: string): string {
  if (!lexeme.startsWith('"') || !lexeme.includes("\\'")) return lexeme;
  return lexeme.replace(/\\./gs, (pair) => (pair === "\\'" ? `${NO_CHARACTER}'` : pair));
}

/** Composes the documents of a text that starts at `base`. Errors: Stop, at the first fault. */
function* compose(text: string, base: number, budget: TokenBudget): Generator<Document.Parsed> {
  const composer = new Composer({ schema: "failsafe", uniqueKeys: false, prettyErrors: false });
  let first: Stop | undefined;
  const onError = (at: ErrorPlace, code: ErrorCode, message: string, warning?: boolean) => {
    if (warning === true) return;
    // The package catches what is thrown in here, and reports that in turn from each level above.
    first ??= new Stop(syntaxFault({ at, code, message }, base));
    throw first;
  };
  // Private to the package; should a later version ignore this, it collects errors as before.
  Object.assign(composer, { onError });

  const parser = new Parser();
  for (const lexeme of makeLexer().lex(text)) {
    if (budget.left-- <= 0) {
      const message = `got more than ${budget.tokens} tokens in documents of involved style, want JSON or plain YAML`;
      throw new Stop(fault("SL1012", base, base, message));
    }
    for (const token of parser.next(withPlainQuotes(lexeme)))
      yield* composed(composer, token, onError);
    // The composer recurses for each level, so this is settled before it sees the document.
    if (parser.stack.length > NESTING_MAX + 1) {
      const at = base + Math.min(parser.offset, text.length);
      const message = `got more than ${NESTING_MAX} levels of lists and maps, want fewer`;
      throw new Stop(fault("SL1006", at, at, message));
    }
  }
  for (const token of parser.end()) yield* composed(composer, token, onError);
  yield* composer.end(false, text.length) as Generator<Document.Parsed>;
}

/** What is touched of a lexer that the package does not make public. */
type LexerParts = { indentNext: number } & Record<string, () => Generator<string, unknown>>;

/**
 * Makes a lexer for which quoted text and flow style go on at any indentation: YAML asks for more than that of
 * the key, libyaml and its ports, and so kubectl, do not.
 */
function makeLexer(): Lexer {
  const lexer = new Lexer();
  // Private to the package; should a later version ignore this, such texts are refused.
  const parts = lexer as unknown as LexerParts;
  for (const name of ["parseQuotedScalar", "parseFlowCollection"]) {
    const parse = parts[name];
    if (parse === undefined) continue;
    parts[name] = function* () {
      const { indentNext } = parts;
      parts.indentNext = 0;
      const next = yield* parse.call(lexer);
      parts.indentNext = indentNext;
      return next;
    };
  }
  return lexer;
}

function* composed(
  composer: Composer,
  token: CST.Token,
  onError: (at: ErrorPlace, code: ErrorCode, message: string) => void,
): Generator<Document.Parsed> {
  if (token.type === "error") onError(token, "UNEXPECTED_TOKEN", token.message);
  yield* composer.next(token) as Generator<Document.Parsed>;
}

/**
 * Cuts a text at its document markers, so that one broken document does not hide the others and no
 * more than one is in memory as a syntax tree.
 */
function* splitDocuments(text: string): Generator<readonly [number, number]> {
  // Directives and explicit ends tie documents together; they are rare. What begins a line is asked for in this way
  // since ^ finds Unicode's line ends too, which are text in JSON.
  if (/(?<![^\n])(%|\.\.\.(\s|$))/m.test(text)) {
    yield [0, text.length];
    return;
  }
  let start = 0;
  for (const marker of text.matchAll(/(?<![^\n])---(?=\s|$)(?:([ \t]*(?:#.*)?\r?$)|)/gm)) {
    yield [start, marker.index];
    // What stands beside the marker belongs to the document, and then so does the marker.
    start = marker[1] === undefined ? marker.index : marker.index + marker[0].length;
  }
  yield [start, text.length];
}

/**
 * Cuts a document of JSON objects in a row, as `jq .items[]` writes them, into these objects.
 *
 * Anything else is one: a text is cut only where what stands before the cut is JSON, whole and by itself.
 */
function* splitObjects(
  text: string,
  start: number,
  end: number,
): Generator<readonly [number, number]> {
  let from = start;
  for (;;) {
    const close = endOfObject(text, from, end);
    const next = close === undefined ? end : skipBlanks(text, close, end);
    if (close === undefined || next >= end || text[next] !== "{") break;
    if (!isJson(text.slice(from, close))) break;
    yield [from, close];
    from = next;
  }
  yield [from, end];
}

/** Finds where an object of JSON ends; undefined where none begins, or it does not end. */
function endOfObject(text: string, start: number, end: number): number | undefined {
  let at = skipBlanks(text, start, end);
  if (text[at] !== "{") return undefined;
  let depth = 0;
  for (; at < end; at++) {
    const each = text[at];
    if (each === '"') at = endOfString(text, at, end);
    else if (each === "{") depth++;
    else if (each === "}" && --depth === 0) return at + 1;
  }
  return undefined;
}

/** Finds the quote that ends a string; the end of the text where none does. */
function endOfString(text: string, start: number, end: number): number {
  let at = start + 1;
  while (at < end && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}

function skipBlanks(text: string, start: number, end: number): number {
  let at = start;
  while (at < end && " \t\r\n".includes(text[at]!)) at++;
  return at;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function readDocument(document: Document.Parsed, base: number): YamlDocument | undefined {
  const error = document.errors[0];
  if (error !== undefined) {
    const { pos, code, message } = error;
    return { root: undefined, faults: [syntaxFault({ at: [...pos], code, message }, base)] };
  }
  if (document.contents === null) return undefined;
  const converter = new Converter(base);
  try {
    const root = converter.convert(document.contents as Node);
    if (root.type === "scalar" && root.value === null) return undefined;
    const tag = converter.faults.find(({ code }) => code === "SL1008");
    // An alias may carry the value to where it bears on policy.
    if (tag !== undefined && converter.hasAliases) throw new Stop(tag);
    return { root, faults: converter.faults };
  } catch (stop) {
    if (stop instanceof Stop) return { root: undefined, faults: [...converter.faults, stop.fault] };
    throw stop;
  }
}

type ErrorCode = YAMLError["code"];

/** Where the package places an error: an offset, a range, or a token. */
type ErrorPlace = number | number[] | { readonly offset: number; readonly source?: string };

/** What the package says, in our words where we have better ones. */
function syntaxFault(
  error: { readonly at: ErrorPlace; readonly code: ErrorCode; readonly message: string },
  base: number,
): YamlFault {
  const plainer: Partial<Record<ErrorCode, string>> = {
    TAB_AS_INDENT: "got a tab as indentation, want spaces",
    BLOCK_AS_IMPLICIT_KEY:
      "got a map where a value has begun, want it on a line of its own, with deeper indentation",
    MULTILINE_IMPLICIT_KEY: "got a key over several lines, want it on one, followed by a colon",
  };
  const theirs = error.message.charAt(0).toLowerCase() + error.message.slice(1);
  const [start, end] = rangeOf(error.at);
  return fault(
    "SL1001",
    base + start,
    base + end,
    plainer[error.code] ?? theirs.replace(/\s+/g, " "),
  );
}

function rangeOf(at: ErrorPlace): readonly [number, number] {
  if (typeof at === "number") return [at, at + 1];
  if (Array.isArray(at)) return [at[0] ?? 0, at[1] ?? 0];
  return [at.offset, at.offset + (at.source?.length ?? 1)];
}

/** Ends the reading of a document; never leaves this file. */
class Stop extends Error {
  readonly fault: YamlFault;

  constructor(fault: YamlFault) {
    super(fault.message);
    this.fault = fault;
  }
}

/** Nodes that a document may amount to when its aliases are written out. */
const EXPANDED_MAX = 1_000_000;

/** Turns the package's nodes into ours. An alias becomes the very node it names, never a copy. */
class Converter {
  readonly faults: YamlFault[] = [];
  readonly #base: number;
  readonly #anchors = new Map<
    string,
    { readonly node: YamlNode; readonly size: number } | "open"
  >();
  readonly #path: (string | number)[] = [];
  #size = 0;
  #aliased = false;

  get hasAliases(): boolean {
    return this.#aliased;
  }

  constructor(base: number) {
    this.#base = base;
  }

  convert(node: Node): YamlNode {
    const [start, end] = this.#range(node);
    if (isAlias(node)) return this.#follow(node.source, start, end);
    const before = this.#size++;
    const anchor = isScalar(node) || isMap(node) || isSeq(node) ? node.anchor : undefined;
    if (anchor !== undefined) this.#anchors.set(anchor, "open");
    let converted: YamlNode;
    if (isScalar(node)) converted = this.#scalar(node, start, end);
    else if (isSeq(node)) converted = this.#sequence(node.items as Node[], node.tag, start, end);
    else if (isMap(node)) converted = this.#map(node.items as Pair[], node.tag, start, end);
    else throw new Stop(fault("SL1001", start, end, "got a node of no kind that YAML has"));
    if (anchor !== undefined) {
      this.#anchors.set(anchor, { node: converted, size: this.#size - before });
    }
    return converted;
  }

  #range(node: Node): [number, number] {
    const range = node.range ?? [0, 0, 0];
    return [this.#base + range[0], this.#base + range[1]];
  }

  #follow(name: string, start: number, end: number): YamlNode {
    const anchor = this.#anchors.get(name);
    if (anchor === undefined) {
      throw new Stop(
        fault("SL1003", start, end, `got alias *${name}, want an anchor &${name} before it`),
      );
    }
    if (anchor === "open") {
      throw new Stop(fault("SL1003", start, end, `got alias *${name} inside what it stands for`));
    }
    this.#size += anchor.size;
    this.#aliased = true;
    this.#checkSize(start, end);
    return anchor.node;
  }

  #checkSize(start: number, end: number): void {
    if (this.#aliased && this.#size > EXPANDED_MAX) {
      const message = `got aliases that amount to more than ${EXPANDED_MAX} nodes when written out`;
      throw new Stop(fault("SL1005", start, end, message));
    }
  }

  #scalar(node: Scalar, start: number, end: number): YamlScalar {
    const source = node.source ?? String(node.value);
    const text = node.type === "QUOTE_DOUBLE" ? source.replaceAll(NO_CHARACTER, "") : source;
    const plain = node.type === "PLAIN";
    switch (node.tag) {
      case undefined:
        return { type: "scalar", value: plain ? resolvePlain(text) : text, start, end };
      case "!":
      case "tag:yaml.org,2002:str":
        return { type: "scalar", value: text, start, end };
      case "tag:yaml.org,2002:null":
      case "tag:yaml.org,2002:bool":
      case "tag:yaml.org,2002:int":
      case "tag:yaml.org,2002:float": {
        const value = resolvePlain(text);
        const want = node.tag.slice("tag:yaml.org,2002:".length);
        const got = value === null ? "null" : typeof value === "boolean" ? "bool" : typeof value;
        if (got === want || (got === "number" && (want === "int" || want === "float"))) {
          return { type: "scalar", value, start, end };
        }
        throw new Stop(
          fault("SL1008", start, end, `got "${text.slice(0, 64)}", want a value of !!${want}`),
        );
      }
      default:
        this.#reportTag(node.tag, start, end);
        return { type: "scalar", value: text, start, end };
    }
  }

  /** Reports a tag that nothing is made of: a fault, but where it stands in an object of no concern. */
  #reportTag(tag: string, start: number, end: number): void {
    this.faults.push(
      fault("SL1008", start, end, `got tag ${tag}, want none`, pathText(this.#path)),
    );
  }

  #sequence(
    items: readonly Node[],
    tag: string | undefined,
    start: number,
    end: number,
  ): YamlSequence {
    if (tag !== undefined && tag !== "tag:yaml.org,2002:seq") this.#reportTag(tag, start, end);
    const converted = items.map((item, index) => {
      this.#path.push(index);
      const node = this.convert(item);
      this.#path.pop();
      return node;
    });
    return { type: "sequence", items: converted, start, end };
  }

  #map(pairs: readonly Pair[], tag: string | undefined, start: number, end: number): YamlMap {
    if (tag !== undefined && tag !== "tag:yaml.org,2002:map") this.#reportTag(tag, start, end);
    const entries = new Map<string, YamlEntry>();
    const own = new Set<string>();
    for (const pair of pairs) {
      const keyNode = pair.key as Node;
      const [keyStart, keyEnd] = this.#range(keyNode);
      if (isMergeKey(keyNode)) {
        this.#merge(pair.value as Node | null, keyStart, keyEnd, entries);
        continue;
      }
      const read = this.convert(keyNode);
      const key = read.type === "scalar" ? keyText(read.value) : undefined;
      if (key === undefined) {
        throw new Stop(fault("SL1001", keyStart, keyEnd, "got a key that is no text"));
      }
      this.#path.push(key);
      if (own.has(key)) {
        const message = `key "${key}" is already set in map, want each key once`;
        this.faults.push(fault("SL1007", keyStart, keyEnd, message, pathText(this.#path)));
      }
      const value: YamlNode =
        pair.value === null
          ? { type: "scalar", value: null, start: keyEnd, end: keyEnd }
          : this.convert(pair.value as Node);
      this.#path.pop();
      own.add(key);
      // Of two the later counts, as it does for kubectl.
      entries.set(key, { key, keyStart, keyEnd, value });
    }
    return { type: "map", entries: [...entries.values()], start, end };
  }

  /**
   * Sets the entries that `<<` brings in. They take the place of those set so far, and of several maps the
   * first counts, as for kubectl.
   */
  #merge(value: Node | null, start: number, end: number, into: Map<string, YamlEntry>): void {
    const node = value === null ? undefined : this.convert(value);
    for (const each of node?.type === "sequence" ? node.items.toReversed() : [node]) {
      if (each?.type !== "map") {
        throw new Stop(
          fault("SL1001", start, end, "got << beside no map, want a map or a list of maps"),
        );
      }
      this.#size += each.entries.length;
      this.#aliased = true;
      this.#checkSize(start, end);
      for (const entry of each.entries) into.set(entry.key, entry);
    }
  }
}

/** `<<`, plain or so tagged. */
function isMergeKey(node: Node): boolean {
  if (!isScalar(node) || node.source !== "<<") return false;
  return node.tag === undefined ? node.type === "PLAIN" : node.tag === "tag:yaml.org,2002:merge";
}

function fault(
  code: YamlFault["code"],
  start: number,
  end: number,
  message: string,
  field?: string,
): YamlFault {
  return field === undefined ? { code, start, end, message } : { code, start, end, message, field };
}

function pathText(path: readonly (string | number)[]): string {
  let text = "";
  for (const step of path) {
    text += typeof step === "number" ? `[${step}]` : text === "" ? step : `.${step}`;
  }
  return text;
}
