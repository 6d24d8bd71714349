import { LinkCounters, type LinkCountersFields } from "../layout/layout.gen.js";

/** The traffic counts of one link, and what its endpoint uses of connections and fragments. */
export type LinkCounts = LinkCountersFields;

/** Counts of the present. */
const presentNames = ["connections", "connectionQuota", "fragments", "fragmentShare"] as const;

/** The counts since the start, which a successor continues. */
export type LinkTotals = Omit<LinkCounts, (typeof presentNames)[number]>;

/** The names of LinkTotals. */
export const linkTotalNames = Object.keys(LinkCounters).filter(
  (name): name is keyof LinkTotals =>
    name !== "bytes" && presentNames.every((each) => each !== name),
);
