/**
 * A YAML document as the manifest readers see it: aliases followed, merge keys merged, scalars
 * resolved, everything with its place. Offsets count UTF-16 units from the start of the file.
 */
export type YamlNode = YamlScalar | YamlMap | YamlSequence;

export interface YamlScalar {
  readonly type: "scalar";
  readonly value: string | number | boolean | null;
  readonly start: number;
  readonly end: number;
}

export interface YamlEntry {
  readonly key: string;
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly value: YamlNode;
}

export interface YamlMap {
  readonly type: "map";
  /** No two with the same key. */
  readonly entries: readonly YamlEntry[];
  readonly start: number;
  readonly end: number;
}

export interface YamlSequence {
  readonly type: "sequence";
  readonly items: readonly YamlNode[];
  readonly start: number;
  readonly end: number;
}

/** A fault of the text itself, before it is known which object it belongs to. */
export interface YamlFault {
  readonly code: "SL1001" | "SL1003" | "SL1005" | "SL1006" | "SL1007" | "SL1008" | "SL1012";
  readonly start: number;
  readonly end: number;
  readonly message: string;
  /** The path of the key at fault, where there is one. */
  readonly field?: string;
}

/** Levels of lists and maps that a document may nest; Kubernetes objects need about 20. */
export const NESTING_MAX = 100;

/** Maps of more entries than this are looked up by an index, made at the first look. */
const FEW = 32;

const indexes = new WeakMap<YamlMap, ReadonlyMap<string, YamlEntry>>();

/** Finds the entry of a key. */
export function entryOf(map: YamlMap, key: string): YamlEntry | undefined {
  if (map.entries.length <= FEW) {
    for (const entry of map.entries) if (entry.key === key) return entry;
    return undefined;
  }
  let index = indexes.get(map);
  if (index === undefined) {
    index = new Map(map.entries.map((entry) => [entry.key, entry]));
    indexes.set(map, index);
  }
  return index.get(key);
}

/** Returns the key of an entry from its resolved scalar, as JSON wants it: a text. */
export function keyText(value: YamlScalar["value"]): string | undefined {
  return value === null ? undefined : String(value);
}

/**
 * Resolves a scalar that was written without quotes and without a tag.
 *
 * The rules are those of the YAML reader in front of the Kubernetes API, which is of YAML 1.1: `yes`,
 * `on` and `n` are booleans, `010` is 8, and `1_000` is 1000. Dates stay text.
 */
export function resolvePlain(text: string): string | number | boolean | null {
  switch (text.charCodeAt(0)) {
    case 0x2b: // +
    case 0x2d: // -
    case 0x2e: // .
    case 0x30:
    case 0x31:
    case 0x32:
    case 0x33:
    case 0x34:
    case 0x35:
    case 0x36:
    case 0x37:
    case 0x38:
    case 0x39:
      return resolveNumber(text);
    default: {
      const word = text.length > 5 ? undefined : words.get(text);
      return word === undefined ? text : word;
    }
  }
}

const words = new Map<string, boolean | null>([
  ["", null],
  ["~", null],
]);
for (const [value, stems] of [
  [null, ["null"]],
  [true, ["y", "yes", "true", "on"]],
  [false, ["n", "no", "false", "off"]],
] as const) {
  for (const stem of stems) {
    words.set(stem, value);
    words.set(stem.toUpperCase(), value);
    words.set(stem.charAt(0).toUpperCase() + stem.slice(1), value);
  }
}

const integer = /^([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[1-9][0-9]*|0)$/;
const decimal = /^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$/;
const special = /^([-+]?)\.(inf|Inf|INF|nan|NaN|NAN)$/;

function resolveNumber(text: string): string | number {
  const plain = text.includes("_") && !text.startsWith(".") ? text.replaceAll("_", "") : text;
  const whole = integer.exec(plain);
  if (whole !== null) {
    const digits = whole[2]!;
    const magnitude = /^0[0-7]/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
    return whole[1] === "-" ? -magnitude : magnitude;
  }
  if (decimal.test(plain)) return Number(plain);
  const named = special.exec(text);
  if (named === null) return text;
  if (named[2]!.toLowerCase() === "nan") return named[1] === "" ? Number.NaN : text;
  return named[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}
