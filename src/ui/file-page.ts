import type { PageDocument, WhyDocument } from "./documents.js";
import { pageAssets, singlePage } from "./page-assets.js";
import type { TableModel } from "./table-model.js";

/** Explanations that a file holds at most: every pair of a small map, else those that rules name. */
const whysMax = 2_000;

/**
 * Writes the map, the policies and why as one file, for a browser that nobody serves.
 *
 * Cost: an explanation for each pair that the file answers.
 */
export function filePage(model: TableModel, about: Omit<PageDocument, "mode" | "flows">): string {
  const page: PageDocument = { ...about, mode: "file", flows: null };
  return singlePage(pageAssets(), {
    page,
    map: { ...model.map, revision: 1 },
    whys: whysOf(model),
  });
}

function whysOf(model: TableModel): Readonly<Record<string, WhyDocument>> {
  const { parties, edges } = model.map;
  const named = edges.map(({ from, to }) => [parties[from]!, parties[to]!] as const);
  const every = parties.flatMap((from) => parties.map((to) => [from, to] as const));
  const pairs = every.length <= whysMax ? every : named.slice(0, whysMax);
  const whys: Record<string, WhyDocument> = {};
  for (const [from, to] of pairs) {
    // Outside to outside, and a lone pod to itself: nothing is judged there.
    if ((from.outside && to.outside) || (from === to && from.pods.length < 2)) continue;
    const why = model.tryWhy({ from: from.name, to: to.name, port: undefined });
    if (why !== undefined) whys[`${from.name}\n${to.name}`] = why;
  }
  return whys;
}
