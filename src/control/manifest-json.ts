/** The members that stand for what JSON has no form of. No object of ours has a member of these names. */
const forms = { bytes: "$bytes", map: "$map", set: "$set" } as const;

/** Makes a value that JSON can carry of one with maps, sets and bytes. */
export function toJson(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(toJson);
  if (value instanceof Uint8Array) return { [forms.bytes]: [...value] };
  if (value instanceof Set) return { [forms.set]: [...value].map(toJson) };
  if (value instanceof Map) {
    return { [forms.map]: [...value].map(([key, held]) => [toJson(key), toJson(held)]) };
  }
  return Object.fromEntries(Object.entries(value).map(([key, held]) => [key, toJson(held)]));
}

/** Makes of what `toJson` gave what it was made of. */
export function fromJson(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(fromJson);
  const fields = value as Readonly<Record<string, unknown>>;
  if (forms.bytes in fields) return Uint8Array.from(fields[forms.bytes] as number[]);
  if (forms.set in fields) return new Set((fields[forms.set] as unknown[]).map(fromJson));
  if (forms.map in fields) {
    const entries = fields[forms.map] as readonly (readonly [unknown, unknown])[];
    return new Map(entries.map(([key, held]) => [fromJson(key), fromJson(held)]));
  }
  return Object.fromEntries(Object.entries(fields).map(([key, held]) => [key, fromJson(held)]));
}
