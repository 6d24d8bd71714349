import { printable } from "./api-client.js";

/** Describes a value that should have been a text. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? printable(value) : `a ${typeof value}`;
}
