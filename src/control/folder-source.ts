import type { Tell } from "../diagnostics/tell.js";
import { ManifestWatch } from "./manifest-watch.js";
import type { ManifestSource, ReadManifests, SourceStatus, SourceUpdate } from "./source.js";

export interface FolderSourceOptions {
  readonly paths: () => readonly string[];
  readonly read: () => ReadManifests | Promise<ReadManifests>;
  /** Whether to watch for changes; if not, only a request reads the manifests again. */
  readonly watch: boolean;
  /** As ManifestWatch takes them. */
  readonly tell?: Tell;
  readonly quietMs?: number;
  readonly lookMs?: number;
}

/** How many times to read again because manifests changed during the read. */
const ATTEMPTS = 20;

/** Manifests in files and folders. */
export class FolderSource implements ManifestSource {
  readonly #options: FolderSourceOptions;
  readonly #watch: ManifestWatch | undefined;
  #changed: () => void = () => {};
  /** Whether a noticed change has not been taken yet. */
  #hasNews = false;

  constructor(options: FolderSourceOptions) {
    this.#options = options;
    if (options.watch) {
      const changed = () => {
        this.#hasNews = true;
        this.#changed();
      };
      this.#watch = new ManifestWatch({ ...options, changed });
    }
  }

  follow(changed: () => void): void {
    this.#changed = changed;
    if (this.#hasNews) setImmediate(changed);
  }

  /**
   * Reads a consistent state of all files.
   *
   * A ConfigMap volume swaps all its files at once; other writers do not. A mix of old and new files would be
   * a policy that no one wrote.
   *
   * Errors: Error when the files keep changing.
   */
  async take(): Promise<SourceUpdate> {
    for (let attempt = 1; ; attempt++) {
      this.#hasNews = false;
      this.#watch?.settled();
      const all = await this.#options.read();
      if (this.#watch === undefined || !this.#watch.isBehind) return { all };
      if (attempt === ATTEMPTS) throw new Error("the manifests change while they are read");
      await new Promise((resolve) => setTimeout(resolve, this.#options.quietMs ?? 150));
    }
  }

  get isBehind(): boolean {
    return this.#hasNews || (this.#watch?.isBehind ?? false);
  }

  status(): SourceStatus | undefined {
    return undefined;
  }

  close(): void {
    this.#watch?.close();
  }
}
