/** A stretch that wants a track of its own in a group; stretches with one key share theirs. */
export interface Stretch {
  readonly group: number;
  readonly key: string;
  readonly start: number;
  readonly end: number;
}

/**
 * Gives parallel lines tracks, so that no two that overlap lie on each other.
 *
 * Shape: the first fit in the order of their starts; deterministic.
 */
export function packTracks(stretches: readonly Stretch[]): {
  readonly count: (group: number) => number;
  readonly track: (group: number, key: string) => number;
} {
  const joined = new Map<string, Stretch>();
  for (const stretch of stretches) {
    const id = `${stretch.group} ${stretch.key}`;
    const known = joined.get(id);
    const start = Math.min(stretch.start, known?.start ?? stretch.start);
    const end = Math.max(stretch.end, known?.end ?? stretch.end);
    joined.set(id, { ...stretch, start, end });
  }
  const ends = new Map<number, number[]>();
  const tracks = new Map<string, number>();
  const ordered = [...joined].sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  for (const [id, { group, start, end }] of ordered) {
    const taken = ends.get(group) ?? [];
    ends.set(group, taken);
    const free = taken.findIndex((last) => last < start);
    const track = free < 0 ? taken.length : free;
    taken[track] = end;
    tracks.set(id, track);
  }
  return {
    count: (group) => ends.get(group)?.length ?? 0,
    track: (group, key) => tracks.get(`${group} ${key}`) ?? 0,
  };
}
