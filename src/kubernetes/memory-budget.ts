import { getHeapStatistics } from "node:v8";
import { usableMemoryBytes } from "../dataplane/capacity.js";

/** What part of its memory a process gives to what an API server says: compiling it takes the same again. */
const SHARE = 1 / 4;

/** What part of the budget one resource may take: whoever fills it with pods does not keep policies out. */
const RESOURCE_SHARE = 3 / 4;

/** What the objects of an API server do not fit into. */
export class MemoryBudgetError extends Error {
  constructor(limitBytes: number) {
    const mebibytes = Math.floor(limitBytes / 1024 ** 2);
    super(
      `its objects need more memory than there is: want at most ${mebibytes} MiB for all resources together and three quarters of that for one, a quarter of what this process may use (its cgroup's memory limit, or node --max-old-space-size)`,
    );
    this.name = "MemoryBudgetError";
  }
}

/** Bytes that all resources of an API server may take together: what is kept of them, and what is being read. */
export class MemoryBudget {
  readonly limitBytes: number;
  #usedBytes = 0;

  constructor(limitBytes: number = Math.floor(processMemoryBytes() * SHARE)) {
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /**
   * Takes room, or gives it back; `ownBytes` is what whoever takes it has then.
   *
   * Errors: MemoryBudgetError, when there is none; nothing is then taken.
   */
  take(bytes: number, ownBytes = 0): void {
    const isFull =
      this.#usedBytes + bytes > this.limitBytes || ownBytes > this.limitBytes * RESOURCE_SHARE;
    if (bytes > 0 && isFull) throw new MemoryBudgetError(this.limitBytes);
    this.#usedBytes += bytes;
  }
}

/** What this process may use: the least of its heap's limit, its cgroup's and the machine's memory. */
function processMemoryBytes(): number {
  return Math.min(getHeapStatistics().heap_size_limit, usableMemoryBytes());
}

/**
 * Estimates what a plain object takes on the heap, with all it holds.
 *
 * Shape:  what one object holds twice counts twice.
 * Source: layouts of V8 with 64-bit pointers.
 */
export function weightOf(value: unknown): number {
  if (typeof value === "string") return 24 + value.length;
  if (typeof value !== "object" || value === null) return 8;
  if (ArrayBuffer.isView(value)) return 120 + value.byteLength;
  let bytes = 56;
  if (value instanceof Map) {
    for (const [key, inner] of value) bytes += 40 + weightOf(key) + weightOf(inner);
    return bytes + 200;
  }
  if (value instanceof Set) {
    for (const inner of value) bytes += 32 + weightOf(inner);
    return bytes + 200;
  }
  for (const key of Object.keys(value)) bytes += 8 + weightOf((value as Fields)[key]);
  return bytes;
}

type Fields = Readonly<Record<string, unknown>>;
