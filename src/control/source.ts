import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { Lines } from "../diagnostics/findings.js";
import type { ObjectHead, ServiceObject } from "../manifest/objects.js";
import type { PassedOver } from "../manifest/passed-over.js";
import type { ObjectChange } from "../policy/live-cluster.js";

/** Objects that were added, changed or removed since the last take. */
export interface SourceChanges {
  /** In order of arrival; the last change of an object may replace its earlier ones. */
  readonly changes: readonly ObjectChange[];
  /** Arrival time of each event behind the changes. Units: milliseconds, as `performance.now()`. */
  readonly heardMs: readonly number[];
  /**
   * New findings. None is an error: unreadable objects have been replaced by ones that allow nothing.
   */
  readonly diagnostics: readonly Diagnostic[];
}

/** Manifests that were read; a compiler finds each whole object by its head. */
export interface ReadManifests {
  readonly objects: readonly ObjectHead[];
  /** Services and what is behind them: names for pods, of which no table is made. */
  readonly services?: readonly ServiceObject[];
  readonly diagnostics: readonly Diagnostic[];
  /** Files that are not among them. */
  readonly passedOver?: readonly PassedOver[];
  /** The texts, if available, for later findings. */
  readonly sources?: ReadonlyMap<string, Lines>;
}

/** A source's answer: all objects, or the changes. */
export type SourceUpdate = { readonly all: ReadManifests } | SourceChanges;

/** The state of a source that is not a folder. */
export interface SourceStatus {
  readonly kind: "kubernetes";
  /** The server's address. */
  readonly server: string;
  /** Whether every resource is being followed now. */
  readonly connected: boolean;
  /** When the server last sent anything; null: never. RFC 3339. */
  readonly lastHeard: string | null;
  /** Units: seconds since then; null: never. */
  readonly ageSeconds: number | null;
  /** Memory of its objects, and their limit together. Units: bytes, estimated. */
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number;
  readonly objects: number;
  /** Objects that could not be read; each counts as allowing nothing. */
  readonly unreadable: number;
  readonly resources: readonly ResourceStatus[];
}

export interface ResourceStatus {
  /** As in a role: `pods`, `networkpolicies.networking.k8s.io`. */
  readonly resource: string;
  readonly state: "starting" | "following" | "waiting" | "absent";
  /** Units: seconds since the resource was last proved current; null before that. */
  readonly ageSeconds: number | null;
  /** Whether that is so long ago that the objects may be out of date. */
  readonly stale: boolean;
  readonly objects: number;
  /** Events followed, and whole lists read, since the start. */
  readonly events: number;
  readonly lists: number;
  /** The last error; null when there was none since it was last followed. */
  readonly error: string | null;
}

/** Where manifests come from. */
export interface ManifestSource {
  /**
   * Starts to call `changed` when there is something to take: once, then again only after a take, or when something
   * urgent is the first: somebody waits for it.
   *
   * Threads: `changed` is never called from within `follow` or `take`.
   */
  follow(changed: (isUrgent?: boolean) => void): void;
  /**
   * Returns all objects, or the changes.
   *
   * Errors: an error ends the update, and the table in force stays.
   */
  take(): Promise<SourceUpdate>;
  /** Whether it knows of something that has not been taken. */
  readonly isBehind: boolean;
  /** Its state; undefined when its updates already say everything. */
  status(): SourceStatus | undefined;
  close(): void;
}

/**
 * Names the resources of a source that may be out of date, and why; undefined when there are none.
 */
export function staleText(source: SourceStatus | undefined): string | undefined {
  const stale = (source?.resources ?? []).filter((each) => each.stale);
  if (stale.length === 0) return undefined;
  const each = stale.map(({ resource, ageSeconds, error }) => {
    const why = error === null ? "" : ` (${error})`;
    return `${resource} for ${Math.floor(ageSeconds ?? 0)} s${why}`;
  });
  return `not known to be current: ${each.join(", ")}`;
}
