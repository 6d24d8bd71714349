import { command } from "./command-spec.js";
import { live } from "./shared-options.js";

export const demo = command({
  name: "demo",
  summary: "bring up a lab of three tiers, send traffic, swap policies, and clean up",
  group: live,
  examples: [{ command: "sluice demo", effect: "all of it, in under a minute" }],
  run: async (options, io) => (await import("./demo.js")).runDemo(options, io),
});
