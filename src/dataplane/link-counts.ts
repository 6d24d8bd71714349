import { LinkCounters, type LinkCountersFields } from "../layout/layout.gen.js";

/** The traffic counts of one link, and its endpoint's use of the connection table. */
export type LinkCounts = LinkCountersFields;

/** The counts since the start, which a successor continues. */
export type LinkTotals = Omit<LinkCounts, "connections" | "connectionQuota">;

/** The names of LinkTotals. */
export const linkTotalNames = Object.keys(LinkCounters).filter(
  (name): name is keyof LinkTotals =>
    name !== "bytes" && name !== "connections" && name !== "connectionQuota",
);
