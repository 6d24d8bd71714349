/** A map of a JSON that somebody else wrote: any field may be absent, or be anything. */
export type ForeignMap = Readonly<Record<string, unknown>>;

/** The longest name of an object. Source: RFC 1123. Units: characters. */
const nameMax = 253;

export function isMap(value: unknown): value is ForeignMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What is a map; empty where it is something else. */
export function mapOf(value: unknown): ForeignMap {
  return isMap(value) ? value : {};
}

/** What is a list; empty where it is something else. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The maps of a list; empty where it is none. */
export function mapsOf(value: unknown): readonly ForeignMap[] {
  return listOf(value).map(mapOf);
}

/** What is a text, and no longer than a name may be; undefined where it is something else. */
export function nameOf(value: unknown): string | undefined {
  return typeof value === "string" && value.length <= nameMax ? value : undefined;
}
