/** What is read of an input, and no more. */
export interface Limits {
  /** Bytes of one file. */
  readonly fileBytes: number;
  /** Bytes of all files together. */
  readonly allBytes: number;
  /** Manifests, and folders searched for them. */
  readonly files: number;
  /** Entries of all folders together, whatever they are. */
  readonly entries: number;
  /** Lines of all .sluiceignore files that are patterns. */
  readonly patterns: number;
  /** How often an entry is compared with a pattern. */
  readonly comparisons: number;
  /** Objects of all files together; Kubernetes is made for 150,000 pods. */
  readonly objects: number;
  /** Bytes of one object: what the API server takes in a request. */
  readonly objectBytes: number;
  /** Tokens of all documents that are not of the plain style: each costs some hundred bytes. */
  readonly tokens: number;
}

/**
 * What holds where nobody says otherwise. docs/limits.md tells what it comes to in time and memory.
 *
 * Whoever may write manifests may write anything; these are what that can cost at most.
 */
export const limits: Limits = {
  fileBytes: 64 * 1024 * 1024,
  allBytes: 256 * 1024 * 1024,
  files: 10_000,
  entries: 100_000,
  patterns: 500,
  comparisons: 2_000_000,
  objects: 250_000,
  objectBytes: 3 * 1024 * 1024,
  tokens: 4_000_000,
};
