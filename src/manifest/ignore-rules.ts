import { join } from "node:path";

/**
 * Patterns of files that are left out, in gitignore's syntax.
 *
 * They are ours, and no library's, since whoever may write manifests may write them: what matches here takes time
 * in proportion to pattern and path, where regular expressions take powers of it.
 *
 * Source: man 5 gitignore; man 3 fnmatch for what stands in brackets.
 */

/** What one line says. */
interface Pattern {
  /** Takes files in again. */
  readonly isNegated: boolean;
  readonly isOnlyFolders: boolean;
  /** One for each folder of a path; `**` stands for any number of them. */
  readonly segments: readonly Segment[];
}

type Segment = "**" | readonly Token[];
/** `*`, or what stands for one character. */
type Token = "*" | CharacterSet;
type CharacterSet = (character: string) => boolean;

/** Patterns of one place: those of a file hold in its folder and below, later ones win. */
export class IgnoreRules {
  /** How much of a path is the folder's. */
  readonly #start: number;
  readonly #patterns: readonly Pattern[];
  readonly #above: IgnoreRules | undefined;

  /** Shape: paths are `join`ed to `folder`; rules `above` hold where these say nothing. */
  constructor(folder: string, lines: readonly string[], above?: IgnoreRules) {
    this.#start = join(folder, "-").length - 1;
    this.#patterns = lines.flatMap((line) => readPattern(line) ?? []);
    this.#above = above;
  }

  /** How many patterns a path is compared with at most. */
  get size(): number {
    return this.#patterns.length + (this.#above?.size ?? 0);
  }

  /** Reports whether a path below the folder is left out. A folder that is takes all below it along. */
  ignores(path: string, isFolder: boolean): boolean {
    const names = path.slice(this.#start).split("/");
    for (let at = this.#patterns.length - 1; at >= 0; at--) {
      const { isNegated, isOnlyFolders, segments } = this.#patterns[at]!;
      if ((isFolder || !isOnlyFolders) && matchesPath(segments, names)) return !isNegated;
    }
    return this.#above?.ignores(path, isFolder) ?? false;
  }
}

/** Returns the lines of a text that are patterns. */
export function patternLines(text: string): readonly string[] {
  return text.split(/\r?\n/).filter((line) => line.trim() !== "" && !line.startsWith("#"));
}

function readPattern(line: string): Pattern | undefined {
  const isNegated = line.startsWith("!");
  const trimmed = withoutSpacesBehind(isNegated ? line.slice(1) : line);
  const isOnlyFolders = trimmed.endsWith("/");
  const body = isOnlyFolders ? trimmed.slice(0, -1) : trimmed;
  if (body === "") return undefined;
  const isAnchored = body.includes("/");
  const names = (body.startsWith("/") ? body.slice(1) : body).split("/");
  const segments = names.map((name): Segment => (/^\*\*+$/.test(name) ? "**" : readTokens(name)));
  return { isNegated, isOnlyFolders, segments: isAnchored ? segments : ["**", ...segments] };
}

/** Spaces at the end are no part of a pattern but where a backslash says so. */
function withoutSpacesBehind(line: string): string {
  let end = line.length;
  while (line[end - 1] === " ") end--;
  let slashes = 0;
  while (line[end - 1 - slashes] === "\\") slashes++;
  return line.slice(0, slashes % 2 === 1 && end < line.length ? end + 1 : end);
}

function readTokens(name: string): readonly Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < name.length; at++) {
    const character = name[at]!;
    if (character === "*") {
      if (tokens.at(-1) !== "*") tokens.push("*");
    } else if (character === "?") {
      tokens.push(() => true);
    } else if (character === "[") {
      const set = readSet(name, at + 1);
      tokens.push(set?.has ?? never);
      at = set === undefined ? name.length : set.end;
    } else {
      if (character === "\\") at++;
      const literal = name[at] ?? "";
      tokens.push((each) => each === literal);
    }
  }
  return tokens;
}

/** A bracket without an end matches nothing. */
const never: CharacterSet = () => false;

const classes: Readonly<Record<string, RegExp>> = {
  alnum: /[A-Za-z0-9]/,
  alpha: /[A-Za-z]/,
  blank: /[ \t]/,
  digit: /[0-9]/,
  lower: /[a-z]/,
  punct: /[!-/:-@[-`{-~]/,
  space: /\s/,
  upper: /[A-Z]/,
  xdigit: /[0-9A-Fa-f]/,
};

/** Reads what stands in brackets, from behind the first of them; undefined when they do not end. */
function readSet(
  name: string,
  start: number,
): { readonly has: CharacterSet; readonly end: number } | undefined {
  const isNegated = name[start] === "!" || name[start] === "^";
  const members: CharacterSet[] = [];
  const first = isNegated ? start + 1 : start;
  for (let at = first; at < name.length; at++) {
    if (name[at] === "]" && at > first) {
      return { has: (each) => members.some((has) => has(each)) !== isNegated, end: at };
    }
    const named = /\[:([a-z]+):\]/y;
    named.lastIndex = at;
    const [word = "", className = ""] = named.exec(name) ?? [];
    if (word !== "") {
      const known = Object.hasOwn(classes, className) ? classes[className] : undefined;
      members.push((each) => known?.test(each) ?? false);
      at += word.length - 1;
      continue;
    }
    if (name[at] === "\\") at++;
    const from = name[at] ?? "";
    if (name[at + 1] === "-" && at + 2 < name.length && name[at + 2] !== "]") {
      at += name[at + 2] === "\\" ? 3 : 2;
      const to = name[at] ?? "";
      members.push((each) => each >= from && each <= to);
    } else {
      members.push((each) => each === from);
    }
  }
  return undefined;
}

/**
 * Matches names against segments.
 *
 * Cost: segments × names; each pair once.
 */
function matchesPath(segments: readonly Segment[], names: readonly string[]): boolean {
  const [first, second] = segments;
  if (segments.length === 2 && first === "**" && second !== undefined && second !== "**") {
    return matchesName(second, names[names.length - 1]!);
  }
  // reached[n]: the segments so far stand for the first n names.
  let reached = names.map(() => false).concat(false);
  reached[0] = true;
  for (const [index, segment] of segments.entries()) {
    const next = reached.map(() => false);
    if (segment === "**") {
      // At the end it stands for what is within a folder, and not for the folder.
      const least = index === segments.length - 1 ? 1 : 0;
      const from = reached.indexOf(true);
      for (let n = from + least; from >= 0 && n < next.length; n++) next[n] = true;
    } else {
      for (const [n, name] of names.entries()) {
        if (reached[n]) next[n + 1] = matchesName(segment, name);
      }
    }
    reached = next;
  }
  return reached[names.length] === true;
}

/** Cost: tokens × characters: a star that has failed is never tried again once a later one is reached. */
function matchesName(tokens: readonly Token[], name: string): boolean {
  let [token, at, star, from] = [0, 0, -1, 0];
  while (at < name.length) {
    const want = tokens[token];
    if (want === "*") {
      [star, from] = [token++, at];
    } else if (typeof want === "function" && want(name[at]!)) {
      token++;
      at++;
    } else if (star >= 0) {
      token = star + 1;
      at = ++from;
    } else {
      return false;
    }
  }
  while (tokens[token] === "*") token++;
  return token === tokens.length;
}
