import { LinkCounters } from "../layout/layout.gen.js";

/** What has passed one link. */
export type LinkCounts = {
  readonly [Name in Exclude<keyof typeof LinkCounters, "bytes">]: number;
};

/** The names of LinkCounts. */
export const linkCountNames = Object.keys(LinkCounters).filter(
  (name): name is keyof LinkCounts => name !== "bytes",
);
