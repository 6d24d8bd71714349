import { getHeapStatistics } from "node:v8";
import { usableMemoryBytes } from "../dataplane/capacity.js";

/**
 * The share of its memory that a process gives to objects of an API server; compiling takes as much again.
 */
const SHARE = 1 / 4;

/** The share of the budget for one resource, so that too many pods cannot keep policies out. */
const RESOURCE_SHARE = 3 / 4;

/** The objects of an API server exceed the memory budget. */
export class MemoryBudgetError extends Error {
  constructor(limitBytes: number) {
    const mebibytes = Math.floor(limitBytes / 1024 ** 2);
    super(
      `its objects need more memory than there is: want at most ${mebibytes} MiB for all resources together and three quarters of that for one, a quarter of what this process may use (its cgroup's memory limit, or node --max-old-space-size)`,
    );
    this.name = "MemoryBudgetError";
  }
}

/**
 * The memory limit for all resources of an API server together: kept objects, and those being read.
 */
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
   * Reserves memory, or with negative `bytes` frees it; `ownBytes` is what the caller has afterwards.
   *
   * Errors: MemoryBudgetError when the budget is exceeded; nothing is then reserved.
   */
  take(bytes: number, ownBytes = 0): void {
    const isFull =
      this.#usedBytes + bytes > this.limitBytes || ownBytes > this.limitBytes * RESOURCE_SHARE;
    if (bytes > 0 && isFull) throw new MemoryBudgetError(this.limitBytes);
    this.#usedBytes += bytes;
  }
}

/**
 * The memory that this process may use: the least of its heap limit, its cgroup's limit and the machine's
 * memory.
 */
function processMemoryBytes(): number {
  return Math.min(getHeapStatistics().heap_size_limit, usableMemoryBytes());
}

/**
 * Estimates the heap size of a plain object with its contents. Units: bytes.
 *
 * Shape:  a value that is referenced twice counts twice.
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
