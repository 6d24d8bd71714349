import { command, type OptionsOf } from "./command-spec.js";
import { input, making, offline, output } from "./shared-options.js";

const flags = [...input, ...making, output("text", "json")] as const;

export type ValidateOptions = OptionsOf<typeof flags>;

export const validate = command({
  name: "validate",
  summary: "check manifests as the Kubernetes API server does",
  details: [
    "Reports all errors at once, each with its file, line, column and the field that the API server names.",
    "Exit 3 if there is an error.",
  ],
  group: offline,
  options: flags,
  examples: [
    { command: "sluice validate -f manifests/", effect: "a folder" },
    { command: "kubectl get netpol -A -o yaml | sluice validate -f -", effect: "a cluster's" },
  ],
  run: async (options, io) => (await import("./validate.js")).runValidate(options, io),
});
