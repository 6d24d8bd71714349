import { command, type OptionsOf } from "./command-spec.js";
import { input, making, offline } from "./shared-options.js";

const flags = [
  ...input,
  ...making,
  {
    flags: "--zones <file>",
    description: "the zones, and what is allowed between them: YAML of kind Zones, see report.md",
    completes: "file",
    required: true,
  },
  {
    flags: "--live",
    description:
      "also try connections between zones with real packets, in a lab that is brought up for it",
  },
  {
    flags: "--baseline <file>",
    description: "a report of before, written with -o json: say what changed since",
    completes: "file",
  },
  { flags: "--title <text>", description: "the report's title", default: "Network segmentation" },
  {
    flags: "--exit-code",
    description: "exit 1 if something may pass between zones that the zones file does not allow",
  },
  {
    flags: "--out <file>",
    description: "write to a file instead of standard output",
    completes: "file",
  },
  {
    flags: "-o, --output <format>",
    description:
      "Markdown, a page for a screen and for paper, one JSON document, or the findings as CSV",
    values: ["markdown", "html", "json", "csv"],
    default: "markdown",
  },
] as const;

export type ReportOptions = OptionsOf<typeof flags>;

export const report = command({
  name: "report",
  summary: "write what may pass between zones, as evidence of segmentation",
  details: [
    "Every answer is from the compiled table that would be enforced, with the rule behind it by file and line. The report names the requirements of PCI DSS 4.0, HIPAA and CIS Kubernetes that are about segmentation. It claims no compliance.",
    "SOURCE_DATE_EPOCH sets its date. Exit 1 if real packets contradict the table, or with --exit-code; 3 if a file has errors.",
  ],
  group: offline,
  options: flags,
  examples: [
    {
      command: "sluice report -f manifests/ --zones zones.yaml -o html --out report.html",
      effect: "to print, or to send",
    },
    {
      command: "sluice report -f manifests/ --zones zones.yaml --live --baseline last.json -o json",
      effect: "tried with real packets, and compared with the last one",
    },
  ],
  run: async (options, io) => (await import("./report.js")).runReport(options, io),
});
