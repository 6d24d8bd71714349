import { resolve } from "node:path";
import type { Lines } from "../diagnostics/findings.js";
import { limits } from "../manifest/limits.js";
import { readWhole, withRegularFile } from "../manifest/regular-file.js";
import { SourceText } from "../manifest/source-text.js";
import type { Texts } from "./excerpts.js";

/** Files whose texts are kept. */
const filesMax = 200;

/**
 * The texts of manifests that another process has read, from the same files: of those alone that have not changed since
 * its table is in force.
 */
export class FileTexts implements Texts {
  readonly #folder: string;
  readonly #sinceMs: number;
  readonly #known = new Map<string, Lines | undefined>();

  /** `folder`: of relative paths. */
  constructor(folder: string, sinceMs: number) {
    this.#folder = folder;
    this.#sinceMs = sinceMs;
  }

  get(file: string): Lines | undefined {
    if (this.#known.has(file)) return this.#known.get(file);
    if (this.#known.size >= filesMax) this.#known.clear();
    const text = this.#read(file);
    this.#known.set(file, text);
    return text;
  }

  #read(file: string): Lines | undefined {
    try {
      return withRegularFile(resolve(this.#folder, file), (descriptor, stat) => {
        const isOther = Number(stat.mtimeMs) > this.#sinceMs;
        if (isOther || stat.size > limits.fileBytes) return undefined;
        return new SourceText(file, readWhole(descriptor, stat).toString("utf8"));
      });
    } catch {
      // Another user's, another machine's, or no file: the answer stands without its text.
      return undefined;
    }
  }
}
