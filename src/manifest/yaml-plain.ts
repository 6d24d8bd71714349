import {
  keyText,
  NESTING_MAX,
  resolvePlain,
  type YamlEntry,
  type YamlMap,
  type YamlNode,
  type YamlScalar,
  type YamlSequence,
} from "./yaml-node.js";

/**
 * Reads one document of plain style, or returns undefined when any of it is of another.
 *
 * Plain style is what most manifests and all JSON keep to: block maps and lists, flow maps and
 * lists, and scalars that end on the line they begin on. Everything else (anchors, tags, block
 * scalars, explicit keys, and every fault whatever) is left to the full reader, so this one needs to
 * be right about what it takes and may be ignorant of the rest. `root` is undefined when the
 * document holds nothing.
 *
 * Shape: `text[start, end)` holds one document, without its marker.
 * Cost:  one pass; some 30 MB in a second.
 */
export function parsePlainYaml(
  text: string,
  start: number,
  end: number,
): { readonly root: YamlNode | undefined } | undefined {
  try {
    return { root: new PlainReader(text, start, end).document() };
  } catch (stop) {
    if (stop === NOT_PLAIN) return undefined;
    throw stop;
  }
}

/** Thrown where plain style ends; never leaves this file. */
const NOT_PLAIN = new Error("not plain");

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const DOUBLE_QUOTE = 0x22;
const HASH = 0x23;
const SINGLE_QUOTE = 0x27;
const COMMA = 0x2c;
const DASH = 0x2d;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_MAP = 0x7b;
const CLOSE_MAP = 0x7d;

/** Characters that a plain scalar of any plainness does not begin with. */
const indicators = new Set("?:,[]{}#&*!|>'\"%@`".split("").map((each) => each.charCodeAt(0)));

/** Longest key that need not be marked as one. Source: YAML 1.2.2, section 7.4.2. */
const KEY_MAX = 1024;

class PlainReader {
  readonly #text: string;
  readonly #end: number;
  #at: number;
  /** Column of the content that #at stands on; -1 at the end of the document. */
  #column = -1;
  #depth = 0;

  constructor(text: string, start: number, end: number) {
    this.#text = text;
    this.#at = start;
    this.#end = end;
  }

  document(): YamlNode | undefined {
    if (this.#text.startsWith("---", this.#at)) throw NOT_PLAIN;
    this.#nextContent();
    if (this.#column < 0) return undefined;
    const root = this.#block(this.#column, -1);
    if (root.type === "scalar" || this.#column >= 0) throw NOT_PLAIN;
    return root;
  }

  #code(at: number): number {
    return at < this.#end ? this.#text.charCodeAt(at) : -1;
  }

  /** Moves from the start of a line to the next line's content, past blanks and comments. */
  #nextContent(): void {
    for (;;) {
      const lineStart = this.#at;
      while (this.#code(this.#at) === SPACE) this.#at++;
      const code = this.#code(this.#at);
      if (code === -1) {
        this.#column = -1;
        return;
      }
      if (code === HASH) this.#skipLine();
      else if (code === LF || code === CR) this.#endLine();
      else if (code === TAB) throw NOT_PLAIN;
      else {
        this.#column = this.#at - lineStart;
        return;
      }
    }
  }

  #skipLine(): void {
    const lineEnd = this.#text.indexOf("\n", this.#at);
    this.#at = lineEnd < 0 || lineEnd >= this.#end ? this.#end : lineEnd + 1;
  }

  /** Passes the end of a line, of which nothing but blanks and a comment may be left. */
  #endLine(): void {
    const from = this.#at;
    while (this.#code(this.#at) === SPACE) this.#at++;
    let code = this.#code(this.#at);
    if (code === HASH && this.#at > from) {
      this.#skipLine();
      return;
    }
    if (code === -1) return;
    if (code === CR) code = this.#code(++this.#at);
    if (code !== LF) throw NOT_PLAIN;
    this.#at++;
  }

  #atLineEnd(): boolean {
    const code = this.#code(this.#at);
    return code === -1 || code === LF || code === CR || code === HASH;
  }

  /** Reports whether a dash at this place begins a list item. */
  #isItem(): boolean {
    return this.#code(this.#at) === DASH && isBlank(this.#code(this.#at + 1));
  }

  /**
   * Reads the node that begins here, at `column`, within one that begins at column `outer`, and
   * moves to the content that follows it.
   */
  #block(column: number, outer: number): YamlNode {
    if (++this.#depth > NESTING_MAX) throw NOT_PLAIN;
    let node: YamlNode;
    if (this.#isItem()) {
      node = this.#blockSequence(column);
    } else {
      const key = this.#blockKey();
      if (key === undefined) {
        node = this.#inline(outer);
        this.#afterInline(outer);
      } else {
        node = this.#blockMap(column, key);
      }
    }
    this.#depth--;
    return node;
  }

  #blockSequence(column: number): YamlSequence {
    const start = this.#at;
    const items: YamlNode[] = [];
    let end = start;
    while (this.#column === column && this.#isItem()) {
      const dash = this.#at++;
      while (this.#code(this.#at) === SPACE) this.#at++;
      if (this.#code(this.#at) === TAB) throw NOT_PLAIN;
      let item: YamlNode;
      if (this.#atLineEnd()) {
        item = this.#onNextLines(column, column, dash + 1);
      } else {
        this.#column = column + (this.#at - dash);
        item = this.#block(this.#column, column);
      }
      items.push(item);
      end = item.end;
    }
    // What stands in the same column goes on the map whose value this is; a list within a list refuses it.
    if (this.#column > column) throw NOT_PLAIN;
    return { type: "sequence", items, start, end };
  }

  #blockMap(column: number, firstKey: YamlScalar): YamlMap {
    const start = firstKey.start;
    const entries = new Entries();
    let key: YamlScalar | undefined = firstKey;
    let end = start;
    for (;;) {
      while (this.#code(this.#at) === SPACE) this.#at++;
      if (this.#code(this.#at) === TAB) throw NOT_PLAIN;
      let value: YamlNode;
      if (this.#atLineEnd()) {
        value = this.#onNextLines(column, column - 1, key.end);
      } else {
        value = this.#inline(column);
        this.#afterInline(column);
      }
      entries.add(key, value);
      end = value.end;
      if (this.#column < column) break;
      if (this.#column > column || this.#isItem()) throw NOT_PLAIN;
      key = this.#blockKey();
      if (key === undefined) throw NOT_PLAIN;
    }
    return { type: "map", entries: entries.list, start, end };
  }

  /**
   * Reads a value that begins below the line of its key or dash: deeper than `column`, or for a list
   * deeper than `listColumn`. Nothing there is null, which stands at `place`.
   */
  #onNextLines(column: number, listColumn: number, place: number): YamlNode {
    this.#endLine();
    this.#nextContent();
    const deep = this.#column > column || (this.#column > listColumn && this.#isItem());
    if (deep) return this.#block(this.#column, column);
    return { type: "scalar", value: null, start: place, end: place };
  }

  /** Ends the line of a value, and makes sure that the value does not go on below. */
  #afterInline(outer: number): void {
    this.#endLine();
    this.#nextContent();
    if (this.#column > outer) throw NOT_PLAIN;
  }

  /** Reads a key and its colon; stays where it is, and returns undefined, when there is none. */
  #blockKey(): YamlScalar | undefined {
    const start = this.#at;
    const code = this.#code(start);
    if (code === OPEN_MAP || code === OPEN_LIST) return undefined;
    let key: YamlScalar;
    if (code === DOUBLE_QUOTE || code === SINGLE_QUOTE) {
      key = this.#quotedScalar(code);
      const next = this.#code(this.#at);
      if (next === COLON && isBlank(this.#code(this.#at + 1))) {
        this.#at++;
        return key;
      }
      while (this.#code(this.#at) === SPACE) this.#at++;
      if (this.#code(this.#at) === COLON) throw NOT_PLAIN;
      this.#at = start;
      return undefined;
    }
    if (indicators.has(code)) throw NOT_PLAIN;
    for (let at = start; ; at++) {
      const each = this.#code(at);
      if (each === -1 || each === LF || each === CR) return undefined;
      if (each === HASH && isBlank(this.#code(at - 1))) return undefined;
      if (each === COLON && isBlank(this.#code(at + 1))) {
        key = this.#plainScalar(start, at);
        this.#at = at + 1;
        return key;
      }
    }
  }

  /** Reads a flow collection or a scalar, which for a scalar ends on this line. */
  #inline(outer: number): YamlNode {
    const start = this.#at;
    const code = this.#code(start);
    if (code === OPEN_MAP || code === OPEN_LIST) return this.#flow(outer);
    if (code === DOUBLE_QUOTE || code === SINGLE_QUOTE) return this.#quotedScalar(code);
    if (indicators.has(code)) throw NOT_PLAIN;
    let at = start;
    for (; ; at++) {
      const each = this.#code(at);
      if (each === -1 || each === LF || each === CR) break;
      if (each === HASH && isBlank(this.#code(at - 1))) break;
      if (each === COLON && isBlank(this.#code(at + 1))) throw NOT_PLAIN;
    }
    return this.#plainScalar(start, at);
  }

  /** Makes a scalar of `text[start, limit)` but for blanks at its end, and moves to that end. */
  #plainScalar(start: number, limit: number): YamlScalar {
    let end = limit;
    while (end > start && isBlank(this.#text.charCodeAt(end - 1))) end--;
    if (this.#code(start) === DASH && isBlank(this.#code(start + 1))) throw NOT_PLAIN;
    this.#at = end;
    return { type: "scalar", value: resolvePlain(this.#text.slice(start, end)), start, end };
  }

  #quotedScalar(quote: number): YamlScalar {
    const start = this.#at;
    let escaped = false;
    for (let at = start + 1; ; at++) {
      const code = this.#code(at);
      if (code === -1 || code === LF || code === CR) throw NOT_PLAIN;
      if (code === BACKSLASH && quote === DOUBLE_QUOTE) {
        escaped = true;
        at++;
      } else if (code === quote) {
        if (quote === SINGLE_QUOTE && this.#code(at + 1) === SINGLE_QUOTE) {
          escaped = true;
          at++;
          continue;
        }
        const end = at + 1;
        this.#at = end;
        const inside = this.#text.slice(start + 1, at);
        let value = inside;
        if (escaped && quote === SINGLE_QUOTE) value = inside.replaceAll("''", "'");
        else if (escaped) value = unescapeJson(inside);
        return { type: "scalar", value, start, end };
      }
    }
  }

  #flow(outer: number): YamlMap | YamlSequence {
    if (++this.#depth > NESTING_MAX) throw NOT_PLAIN;
    const node = this.#code(this.#at) === OPEN_MAP ? this.#flowMap(outer) : this.#flowList(outer);
    this.#depth--;
    return node;
  }

  #flowMap(outer: number): YamlMap {
    const start = this.#at++;
    const entries = new Entries();
    for (;;) {
      this.#flowBlanks(outer);
      if (this.#code(this.#at) === CLOSE_MAP) break;
      const code = this.#code(this.#at);
      const quotedKey = code === DOUBLE_QUOTE || code === SINGLE_QUOTE;
      const key = quotedKey ? this.#quotedScalar(code) : this.#flowPlain();
      if (this.#code(this.#at) !== COLON) throw NOT_PLAIN;
      const after = this.#code(++this.#at);
      if (!quotedKey && !isBlank(after)) throw NOT_PLAIN;
      this.#flowBlanks(outer);
      const next = this.#code(this.#at);
      const value: YamlNode =
        next === COMMA || next === CLOSE_MAP
          ? { type: "scalar", value: null, start: this.#at, end: this.#at }
          : this.#flowNode(outer);
      entries.add(key, value);
      if (!this.#flowComma(outer, CLOSE_MAP)) break;
    }
    return { type: "map", entries: entries.list, start, end: ++this.#at };
  }

  #flowList(outer: number): YamlSequence {
    const start = this.#at++;
    const items: YamlNode[] = [];
    for (;;) {
      this.#flowBlanks(outer);
      if (this.#code(this.#at) === CLOSE_LIST) break;
      items.push(this.#flowNode(outer));
      if (!this.#flowComma(outer, CLOSE_LIST)) break;
    }
    return { type: "sequence", items, start, end: ++this.#at };
  }

  #flowNode(outer: number): YamlNode {
    const code = this.#code(this.#at);
    if (code === OPEN_MAP || code === OPEN_LIST) return this.#flow(outer);
    if (code === DOUBLE_QUOTE || code === SINGLE_QUOTE) return this.#quotedScalar(code);
    const scalar = this.#flowPlain();
    if (this.#code(this.#at) === COLON) throw NOT_PLAIN;
    return scalar;
  }

  #flowPlain(): YamlScalar {
    const start = this.#at;
    const first = this.#code(start);
    if (indicators.has(first) || isFlowEnd(first)) throw NOT_PLAIN;
    if (first === DASH && isFlowEnd(this.#code(start + 1))) throw NOT_PLAIN;
    let at = start;
    for (; ; at++) {
      const code = this.#code(at);
      if (code === COLON && isFlowEnd(this.#code(at + 1))) break;
      if (code === HASH && isBlank(this.#code(at - 1))) break;
      if (code !== SPACE && code !== TAB && isFlowEnd(code)) break;
    }
    return this.#plainScalar(start, at);
  }

  /** Passes the comma after an entry and returns true, or stops at the `close` and returns false. */
  #flowComma(outer: number, close: number): boolean {
    this.#flowBlanks(outer);
    const code = this.#code(this.#at);
    if (code === close) return false;
    if (code !== COMMA) throw NOT_PLAIN;
    this.#at++;
    return true;
  }

  /** Passes blanks, ends of lines and comments between brackets. Lines stay deeper than `outer`. */
  #flowBlanks(outer: number): void {
    let lineStart = -1;
    for (;;) {
      const code = this.#code(this.#at);
      if (code === LF || (code === CR && this.#code(this.#at + 1) === LF)) {
        this.#at += code === LF ? 1 : 2;
        lineStart = this.#at;
      } else if (code === SPACE || (code === TAB && outer < 0)) {
        this.#at++;
      } else if (code === HASH && isBlank(this.#code(this.#at - 1))) {
        this.#skipLine();
        lineStart = this.#at;
      } else {
        break;
      }
    }
    if (lineStart >= 0 && this.#at - lineStart <= outer) throw NOT_PLAIN;
  }
}

/** A blank, the end of a line, or the end of the document. */
function isBlank(code: number): boolean {
  return code === SPACE || code === LF || code === CR || code === TAB || code === -1;
}

function isFlowEnd(code: number): boolean {
  return (
    isBlank(code) ||
    code === COMMA ||
    code === OPEN_LIST ||
    code === CLOSE_LIST ||
    code === OPEN_MAP ||
    code === CLOSE_MAP
  );
}

/** Maps of more entries than this remember their keys. */
const FEW = 32;

/** The entries of a map while it is read. */
class Entries {
  readonly list: YamlEntry[] = [];
  #keys: Set<string> | undefined;

  add(scalar: YamlScalar, value: YamlNode): void {
    const key = keyText(scalar.value);
    if (key === undefined || key === "<<" || scalar.end - scalar.start > KEY_MAX) throw NOT_PLAIN;
    if (this.#has(key)) throw NOT_PLAIN;
    this.list.push({ key, keyStart: scalar.start, keyEnd: scalar.end, value });
    this.#keys?.add(key);
  }

  #has(key: string): boolean {
    if (this.list.length <= FEW) {
      for (const entry of this.list) if (entry.key === key) return true;
      return false;
    }
    this.#keys ??= new Set(this.list.map((entry) => entry.key));
    return this.#keys.has(key);
  }
}

/** Resolves the escapes that JSON has too; the others are not plain. */
function unescapeJson(inside: string): string {
  if (/\\[^"\\/bfnrtu]|\\u(?![0-9a-fA-F]{4})|\t/.test(inside)) throw NOT_PLAIN;
  return JSON.parse(`"${inside}"`) as string;
}
