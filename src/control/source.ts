import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { Lines } from "../diagnostics/findings.js";
import type { ObjectHead } from "../manifest/objects.js";
import type { ObjectChange } from "../policy/live-cluster.js";

/** Objects that came, changed or went since a source was last asked. */
export interface SourceChanges {
  /** In the order in which they were heard of; of changes to one object the last may stand for all. */
  readonly changes: readonly ObjectChange[];
  /** When each event that led to them was heard of. Units: milliseconds, as `performance.now()`. */
  readonly heardMs: readonly number[];
  /** What is newly wrong with them. None is an error: what cannot be read has been made harmless. */
  readonly diagnostics: readonly Diagnostic[];
}

/** What was read of manifests; a compiler knows the whole of each object by its head. */
export interface ReadManifests {
  readonly objects: readonly ObjectHead[];
  readonly diagnostics: readonly Diagnostic[];
  /** The texts, where they are at hand, for what is found later. */
  readonly sources?: ReadonlyMap<string, Lines>;
}

/** What a source has to say when it is asked: all there is, or what has become of it. */
export type SourceUpdate = { readonly all: ReadManifests } | SourceChanges;

/** How a source that is not a folder is doing. */
export interface SourceStatus {
  readonly kind: "kubernetes";
  /** Where it reads from. */
  readonly server: string;
  /** Whether everything that is asked of it is being followed at this moment. */
  readonly connected: boolean;
  /** When it last said anything; null when it never did. RFC 3339. */
  readonly lastHeard: string | null;
  /** Units: seconds since then; null when it never did. */
  readonly ageSeconds: number | null;
  /** What its objects take, and what they may take all together. Units: bytes, estimated. */
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number;
  readonly objects: number;
  /** Objects that could not be read, and stand for nothing allowed. */
  readonly unreadable: number;
  readonly resources: readonly ResourceStatus[];
}

export interface ResourceStatus {
  /** As in a role: `pods`, `networkpolicies.networking.k8s.io`. */
  readonly resource: string;
  readonly state: "starting" | "following" | "waiting" | "absent";
  /** Units: seconds since it was last proved that what is known of it is current; null before that. */
  readonly ageSeconds: number | null;
  /** Whether that is so long ago that what is known may be out of date. */
  readonly stale: boolean;
  readonly objects: number;
  /** Events followed, and whole lists read, since the start. */
  readonly events: number;
  readonly lists: number;
  /** What went wrong last; null when nothing has since it was last followed. */
  readonly error: string | null;
}

/** Where manifests come from. */
export interface ManifestSource {
  /**
   * Begins to tell when there is something to take. It is told once; again only after a take.
   *
   * Threads: `changed` is never called from within `follow` or `take`.
   */
  follow(changed: () => void): void;
  /**
   * Takes what there is, or what is new.
   *
   * Errors: what it throws ends an update, and leaves the table in force.
   */
  take(): Promise<SourceUpdate>;
  /** Whether there is something that has not been taken, as far as it knows. */
  readonly isBehind: boolean;
  /** How it is doing; undefined where there is nothing to tell but what its updates say. */
  status(): SourceStatus | undefined;
  close(): void;
}

/** Says which resources of a source may be out of date, and why; undefined when none is. */
export function staleText(source: SourceStatus | undefined): string | undefined {
  const stale = (source?.resources ?? []).filter((each) => each.stale);
  if (stale.length === 0) return undefined;
  const each = stale.map(({ resource, ageSeconds, error }) => {
    const why = error === null ? "" : ` (${error})`;
    return `${resource} for ${Math.floor(ageSeconds ?? 0)} s${why}`;
  });
  return `not known to be current: ${each.join(", ")}`;
}
