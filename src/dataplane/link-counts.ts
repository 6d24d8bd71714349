import { LinkCounters, type LinkCountersFields } from "../layout/layout.gen.js";

/** What has passed one link, and what the endpoint behind it has of the connection table. */
export type LinkCounts = LinkCountersFields;

/** What of it counts from the start, so that another process can go on with it. */
export type LinkTotals = Omit<LinkCounts, "connections" | "connectionQuota">;

/** The names of LinkTotals. */
export const linkTotalNames = Object.keys(LinkCounters).filter(
  (name): name is keyof LinkTotals =>
    name !== "bytes" && name !== "connections" && name !== "connectionQuota",
);
