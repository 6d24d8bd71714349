import { isPolicyOfOthers } from "./foreign.js";
import { parseYaml, type TokenBudget } from "./yaml.js";
import { entryOf, resolvePlain, type YamlNode } from "./yaml-node.js";

/** As far into a text as its first document is looked at before all of it is parsed. Units: characters. */
const FIRST_LOOK = 64 * 1024;

/**
 * Reports whether a text that was found in a folder is meant as manifests: whether a document has both `apiVersion`
 * and `kind` as text.
 *
 * A text that cannot be parsed counts as one when it has lines for both; so does a policy that lacks one of the two,
 * which nobody should miss in silence.
 *
 * Cost: as parsing at most; nothing of it where a word is missing, or where the first document has both.
 */
export function holdsObjects(text: string, budget: TokenBudget): boolean {
  // A key may be written with escapes; only then may the words be missing.
  const hasWords = text.includes("apiVersion") || text.includes("kind");
  if (!hasWords && !/\\[uUx\r\n]/.test(text)) return false;
  if (beginsWithObject(text.slice(0, FIRST_LOOK))) return true;
  for (const { root, faults } of parseYaml(text, budget)) {
    if (root === undefined) {
      if (faults.length > 0 && hasLinesOfBoth(text)) return true;
    } else if (isObject(root) || isHalfPolicy(root)) {
      return true;
    } else if (root.type === "sequence" && root.items.some(isObject)) {
      // A list of objects is not what kubectl takes, but surely meant so.
      return true;
    }
  }
  return false;
}

/** Reports whether the first document, in block style, has both fields, without parsing it. */
function beginsWithObject(text: string): boolean {
  const end = text.indexOf("\n---");
  const first = end < 0 ? text : text.slice(0, end);
  return [/^apiVersion:[ \t]+([A-Za-z][\w./-]*)/m, /^kind:[ \t]+([A-Za-z][\w./-]*)/m].every(
    (line) => typeof resolvePlain(line.exec(first)?.[1] ?? "") === "string",
  );
}

function hasLinesOfBoth(text: string): boolean {
  return /(^|[\s{,"'-])apiVersion["']?\s*:/.test(text) && /(^|[\s{,"'-])kind["']?\s*:/.test(text);
}

function isObject(root: YamlNode): boolean {
  return textOf(root, "apiVersion") !== "" && textOf(root, "kind") !== "";
}

/** A policy by its kind alone, or of the policies' groups without a kind. */
function isHalfPolicy(root: YamlNode): boolean {
  const [apiVersion, kind] = [textOf(root, "apiVersion"), textOf(root, "kind")];
  return kind !== ""
    ? isPolicyOfOthers("", kind)
    : /^(policy\.)?networking\.k8s\.io\//.test(apiVersion);
}

function textOf(root: YamlNode, key: string): string {
  const value = root.type === "map" ? entryOf(root, key)?.value : undefined;
  return value?.type === "scalar" && typeof value.value === "string" ? value.value : "";
}

/**
 * Finds where a text has what a template has: `{{`, or a line that begins with `{%`, outside quotes, comments and
 * blocks of text.
 *
 * Shape: an offset; undefined where there is none. Manifests have `{{` in plain text too, so only one that cannot be
 *        read is a template.
 * Cost:  linear.
 */
export function templatePlace(text: string): number | undefined {
  let quote = "";
  /** Lines indented by more are of a block of text. Units: columns; none while negative. */
  let block = -1;
  for (let start = 0; start < text.length; ) {
    const feed = text.indexOf("\n", start);
    const end = feed < 0 ? text.length : feed;
    const line = text.slice(start, end);
    const indent = line.search(/\S/);
    if (quote === "" && indent >= 0 && indent <= block) block = -1;
    if (block < 0 && indent >= 0) {
      const found = scanLine(line, quote);
      if (found.place !== undefined) return start + found.place;
      quote = found.quote;
      if (quote === "" && opensBlock(line)) block = keyColumn(line);
    }
    start = end + 1;
  }
  return undefined;
}

/** Reads a line from within a quote, or from none; tells the quote that it ends in. */
function scanLine(line: string, before: string): { place?: number; quote: string } {
  let quote = before;
  for (let at = 0; at < line.length; at++) {
    const character = line[at]!;
    const previous = line[at - 1] ?? " ";
    if (quote !== "") {
      if (quote === '"' && character === "\\") at++;
      else if (character === quote) quote = "";
    } else if ((character === '"' || character === "'") && /[\s[{,:]/.test(previous)) {
      quote = character;
    } else if (character === "#" && /\s/.test(previous)) {
      return { quote };
    } else if (character === "{" && line[at + 1] === "{") {
      return { place: at, quote };
    } else if (character === "{" && line[at + 1] === "%" && line.slice(0, at).trim() === "") {
      return { place: at, quote };
    }
  }
  return { quote };
}

function opensBlock(line: string): boolean {
  return /(^|[:-])\s+([!&]\S+\s+)*[|>][-+0-9]{0,2}\s*(#.*)?$/.test(line);
}

/** The column of the key of a line: behind the dashes of lists. */
function keyColumn(line: string): number {
  return /^\s*(-\s+)*/.exec(line)![0].length - (/^\s*(-\s+)+[|>]/.test(line) ? 1 : 0);
}
