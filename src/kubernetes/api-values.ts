import type { ApiValue } from "../manifest/api-object.js";
import { printable } from "./api-client.js";

/** What of an answer is a map; empty where it is something else. */
export function mapOf(value: unknown): ApiValue {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as ApiValue)
    : {};
}

/** The maps of a list; empty where it is none. */
export function listOf(value: unknown): readonly ApiValue[] {
  return Array.isArray(value) ? value.map(mapOf) : [];
}

/** Describes a value that should have been a text. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? printable(value) : `a ${typeof value}`;
}
