import type { Result } from "./suites.mjs";

export function tableOf(
  results: readonly (Result & { readonly configuration: string; readonly round: number })[],
): string;
