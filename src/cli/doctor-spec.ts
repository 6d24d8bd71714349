import { command, type OptionsOf } from "./command-spec.js";
import { live, output } from "./shared-options.js";

const flags = [
  {
    flags: "--for <purpose...>",
    description:
      "what it has to be ready for: lab, run, af-xdp, kernel, capture, sidecar, node; only what concerns that is printed. When left out, all is printed, and lab and run decide",
  },
  output("table", "json"),
] as const;

export type DoctorOptions = OptionsOf<typeof flags>;

export const doctor = command({
  name: "doctor",
  summary: "say what this machine lacks, and the line that grants it",
  details: [
    "Tries each kernel feature that the data plane needs, and leaves nothing behind. See deploy.md.",
    "Exit 0 if the machine is ready for every purpose of --for, 4 if something is missing.",
  ],
  group: live,
  options: flags,
  examples: [
    { command: "sluice doctor", effect: "before the first lab" },
    { command: "sluice doctor --for run af-xdp -o json", effect: "before a deployment" },
  ],
  run: async (options, io) => (await import("./doctor.js")).runDoctor(options, io),
});
