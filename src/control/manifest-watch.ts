import { type BigIntStats, type FSWatcher, statSync, watch } from "node:fs";
import { join } from "node:path";
import type { Tell } from "../diagnostics/tell.js";
import { limits } from "../manifest/limits.js";
import { type Found, isDescriptor, manifestFiles, restOf } from "../manifest/manifest-files.js";
import { contained } from "./boundary.js";

/** Folders to watch, by what tells one from another that takes its place. */
type Folders = Map<string, string>;

export interface ManifestWatchOptions {
  /** Files and folders, as `readManifests` takes them; `-` is passed over. */
  readonly paths: () => readonly string[];
  /** Something there is other than when `settled` was last called. */
  readonly changed: () => void;
  /** Told of what goes wrong while it looks; it looks again. */
  readonly tell?: Tell;
  /** How long files have to stay as they are before they count as written: 150 ms when absent. */
  readonly quietMs?: number;
  /** How often to look where the kernel does not tell, as on network file systems: 2 s when absent. */
  readonly lookMs?: number;
}

/** A look is followed by a rest of so many times its length. */
const REST_OF_LOOKS = 9;

/**
 * Notices when manifests change on disk.
 *
 * The kernel's notices only say when to look; what counts is a print of names, sizes and times, taken
 * until two in a row are equal. So a file that is being written is waited for, a folder may vanish and
 * come back, and the links that a ConfigMap volume swaps are followed.
 *
 * Cost: a `stat` of each file at each look, of as many as are read; a tenth of the time at most.
 */
export class ManifestWatch {
  readonly #options: ManifestWatchOptions;
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #look: NodeJS.Timeout;
  #settling: NodeJS.Timeout | undefined;
  /** What was there when manifests were last read. */
  #settled: string;
  #isOpen = true;
  /** How long the last print took, and the timer of a look that was put off. */
  #printMs = 0;
  #next: NodeJS.Timeout | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(options: ManifestWatchOptions) {
    this.#options = options;
    this.#settled = this.#print();
    this.#look = setInterval(() => this.#contained(() => this.#check()), options.lookMs ?? 2_000);
    this.#look.unref();
  }

  /** Whether there is something that has not been read: what changed is still settling. */
  get isBehind(): boolean {
    return this.#print() !== this.#settled;
  }

  /** Takes what is there now as known. Call it just before manifests are read, for whatever cause. */
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

  /** Looks, but for a tenth of the time at most: whoever writes files decides how often it is told. */
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
      // Still being written: begin to wait anew.
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

  /** Writes down names, sizes and times of all files, and watches the folders they are in. */
  #print(): string {
    const start = performance.now();
    const folders: Folders = new Map();
    const lines: string[] = [];
    const rest = restOf(limits);
    for (const path of this.#options.paths()) {
      if (isDescriptor(path)) continue;
      for (const found of manifestFiles(path, rest)) lines.push(printOf(found, folders));
      // Whatever stands there, the folder that it is in tells when something else does.
      addFolder(folders, join(path, ".."));
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
      // Out of watches, or gone by now: the look that comes every so often has to do.
    }
  }

  #forget(identity: string, watcher: FSWatcher): void {
    watcher.close();
    if (this.#watchers.get(identity) === watcher) this.#watchers.delete(identity);
  }
}

/** Writes down one file or folder, and notes the folders. */
function printOf(found: Found, folders: Folders): string {
  const { path } = found;
  if (found.is === "fault") return `${path}: ${found.fault.message}`;
  const stat = statOf(path);
  if (typeof stat === "string") return `${path} ${stat}`;
  if (found.is === "folder") folders.set(`${path} ${stat.ino}`, path);
  return found.is === "folder"
    ? path
    : `${path} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
}

function addFolder(folders: Folders, path: string): void {
  const stat = statOf(path);
  if (typeof stat !== "string") folders.set(`${path} ${stat.ino}`, path);
}

/** Or why there is none: a link that leads to itself, a folder that may not be looked into. */
function statOf(path: string): BigIntStats | string {
  try {
    return statSync(path, { throwIfNoEntry: false, bigint: true }) ?? "is gone";
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}
