import { type BigIntStats, type FSWatcher, statSync, watch } from "node:fs";
import { join } from "node:path";
import type { Tell } from "../diagnostics/tell.js";
import { limits } from "../manifest/limits.js";
import {
  everyFile,
  type Found,
  isDescriptor,
  isUrl,
  manifestFiles,
  restOf,
} from "../manifest/manifest-files.js";
import { contained } from "./boundary.js";

/** Folders to watch, with an identity that changes when another folder replaces one. */
type Folders = Map<string, string>;

export interface ManifestWatchOptions {
  /** Files and folders, as `readManifests` takes them; `-` is ignored. */
  readonly paths: () => readonly string[];
  /** Patterns of files that are left out of folders. */
  readonly ignore?: () => readonly string[];
  /** Folders of which every file counts, since something is rendered from them. */
  readonly rendered?: () => readonly string[];
  /** Called when something differs from the last `settled`. */
  readonly changed: () => void;
  /** Reports errors of a check; it checks again later. */
  readonly tell?: Tell;
  /** How long files must stay unchanged to count as written: 150 ms when absent. */
  readonly quietMs?: number;
  /** How often to check without kernel events, as on network file systems: 2 s when absent. */
  readonly lookMs?: number;
}

/** The pause after a check, in multiples of its duration. */
const REST_OF_LOOKS = 9;

/**
 * Notices when manifests change on disk.
 *
 * The kernel's events only say when to check. A check takes fingerprints of names, sizes and times until two
 * in a row are equal. So it waits for a file that is being written, a folder may vanish and come back, and
 * the links that a ConfigMap volume swaps are followed.
 *
 * Cost: a `stat` of each manifest file at each check; at most a tenth of the time.
 */
export class ManifestWatch {
  readonly #options: ManifestWatchOptions;
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #look: NodeJS.Timeout;
  #settling: NodeJS.Timeout | undefined;
  /** The fingerprint when manifests were last read. */
  #settled: string;
  #isOpen = true;
  /** How long the last fingerprint took, and the timer of a delayed check. */
  #printMs = 0;
  #next: NodeJS.Timeout | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(options: ManifestWatchOptions) {
    this.#options = options;
    this.#settled = this.#print();
    this.#look = setInterval(() => this.#contained(() => this.#check()), options.lookMs ?? 2_000);
    this.#look.unref();
  }

  /** Whether a change has not been read because it is still settling. */
  get isBehind(): boolean {
    return this.#print() !== this.#settled;
  }

  /** Marks the present state as known. Call it just before manifests are read, for any reason. */
  settled(): void {
    this.#settled = this.#print();
  }

  close(): void {
    this.#isOpen = false;
    clearInterval(this.#look);
    clearTimeout(this.#settling);
    clearTimeout(this.#next);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /** Checks, for at most a tenth of the time: a writer of files decides how many events come. */
  #check(): void {
    if (!this.#isOpen || this.#settling !== undefined || this.#next !== undefined) return;
    const restMs = this.#lookedMs + REST_OF_LOOKS * this.#printMs - performance.now();
    if (restMs > 0) {
      const look = () => {
        this.#next = undefined;
        this.#check();
      };
      this.#next = setTimeout(() => this.#contained(look), restMs);
      return;
    }
    const before = this.#print();
    this.#lookedMs = performance.now();
    if (before === this.#settled) return;
    const settle = () => {
      this.#settling = undefined;
      // Still being written: start the wait again.
      if (this.#print() !== before) return this.#check();
      this.#settled = before;
      this.#options.changed();
    };
    const quietMs = Math.max(this.#options.quietMs ?? 150, REST_OF_LOOKS * this.#printMs);
    this.#settling = setTimeout(() => this.#contained(settle), quietMs);
  }

  #contained(step: () => void): void {
    contained(this.#options.tell ?? (() => {}), "looking for changes of manifests", step);
  }

  /** Takes a fingerprint of names, sizes and times of all files, and watches their folders. */
  #print(): string {
    const start = performance.now();
    const folders: Folders = new Map();
    const lines: string[] = [];
    const rest = restOf(limits, this.#options.ignore?.());
    for (const path of this.#options.paths()) {
      if (isDescriptor(path) || isUrl(path)) continue;
      for (const found of manifestFiles(path, rest)) lines.push(printOf(found, folders));
      // The parent folder reports when something else takes this path.
      addFolder(folders, join(path, ".."));
    }
    for (const path of this.#options.rendered?.() ?? []) {
      for (const found of everyFile(path, rest)) lines.push(printOf(found, folders));
    }
    for (const [identity, watcher] of this.#watchers) {
      if (!folders.has(identity)) this.#forget(identity, watcher);
    }
    for (const [identity, folder] of folders) this.#watch(identity, folder);
    this.#printMs = performance.now() - start;
    return lines.join("\n");
  }

  #watch(identity: string, folder: string): void {
    if (!this.#isOpen || this.#watchers.has(identity)) return;
    try {
      const look = () => this.#contained(() => this.#check());
      const watcher = watch(folder, { persistent: false }, look);
      watcher.on("error", () => this.#forget(identity, watcher));
      this.#watchers.set(identity, watcher);
    } catch {
      // Out of watches, or the folder is gone: the periodic check must suffice.
    }
  }

  #forget(identity: string, watcher: FSWatcher): void {
    watcher.close();
    if (this.#watchers.get(identity) === watcher) this.#watchers.delete(identity);
  }
}

/** The fingerprint of one file or folder; adds its folders. */
function printOf(found: Found, folders: Folders): string {
  const { path } = found;
  if (found.is === "fault") return `${path}: ${found.fault.message}`;
  const stat = statOf(path);
  if (typeof stat === "string") return `${path} ${stat}`;
  if (found.is === "file") {
    return `${path} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
  }
  folders.set(`${path} ${stat.ino}`, path);
  return `${path} ${found.is}`;
}

function addFolder(folders: Folders, path: string): void {
  const stat = statOf(path);
  if (typeof stat !== "string") folders.set(`${path} ${stat.ino}`, path);
}

/** The stat, or the reason that there is none: a link to itself, or a folder without permission. */
function statOf(path: string): BigIntStats | string {
  try {
    return statSync(path, { throwIfNoEntry: false, bigint: true }) ?? "is gone";
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}
