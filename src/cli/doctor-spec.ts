import { command, type OptionsOf } from "./command-spec.js";
import { live, output } from "./shared-options.js";

const flags = [
  {
    flags: "--for <purpose...>",
    description:
      "what it has to be ready for: lab, run, af-xdp, capture; lab and run when left out",
  },
  output("table", "json"),
] as const;

export type DoctorOptions = OptionsOf<typeof flags>;

export const doctor = command({
  name: "doctor",
  summary: "say what this machine lacks, and the line that grants it",
  details: [
    "Tries what the data plane asks of the kernel, and leaves nothing behind. Exit 0 when the machine is ready for everything that --for names, 4 when something is missing. See deploy.md.",
  ],
  group: live,
  options: flags,
  examples: [
    { command: "sluice doctor", effect: "before the first lab" },
    { command: "sluice doctor --for run af-xdp -o json", effect: "before a deployment" },
  ],
  run: async (options, io) => (await import("./doctor.js")).runDoctor(options, io),
});
