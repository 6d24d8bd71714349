import { LinkCounters, type LinkCountersFields } from "../layout/layout.gen.js";

/** What has passed one link. */
export type LinkCounts = LinkCountersFields;

/** The names of LinkCounts. */
export const linkCountNames = Object.keys(LinkCounters).filter(
  (name): name is keyof LinkCounts => name !== "bytes",
);
