import { defaultSocket } from "../control/settings.js";
import { command, type OptionsOf } from "./command-spec.js";
import { readPodRanges, wholeNumber } from "./readers.js";
import { cluster, filename, folders, making, offline, rendering } from "./shared-options.js";

const flags = [
  { ...filename, required: false, unless: ["--cluster", "--live"] },
  ...cluster,
  ...folders,
  ...rendering,
  ...making,
  {
    flags: "--live",
    description:
      "in the place of -f: rules and policies of the process in force that had no hits (SL3021, SL3022)",
    variable: false,
  },
  {
    flags: "--socket <path>",
    description: `with --live, the control socket of the process; ${defaultSocket} when left out`,
    completes: "file",
    variable: false,
  },
  { flags: "--lab <name>", description: "with --live, a lab's process instead", variable: false },
  {
    flags: "--since <duration>",
    description:
      "with --live, for how long there were none, such as 12h or 7d; since the process counts when left out",
    variable: false,
  },
  {
    flags: "--fail-on <severity>",
    description: "the least grave finding that makes the command fail",
    values: ["error", "warning", "info", "never"],
    default: "error",
  },
  { flags: "--disable <rule...>", description: "rules not to ask, by id or name" },
  {
    flags: "--baseline <file>",
    description: "leave out what an earlier -o json document has",
    completes: "file",
  },
  {
    flags: "--widest-v4 <bits>",
    description: "the shortest IPv4 prefix that is not called wide; 8 when left out",
    parse: wholeNumber(0),
  },
  {
    flags: "--widest-v6 <bits>",
    description: "the shortest IPv6 prefix that is not called wide; 16 when left out",
    parse: wholeNumber(0),
  },
  {
    flags: "--stand-ins <path...>",
    description:
      "manifests of what is somewhere else, such as an ingress controller's pods: peers, in which nothing is found",
    completes: "file",
  },
  {
    flags: "--service-cidr <ranges>",
    description:
      "where Services have their addresses, one range of each family at most; left out, 10.96.0.0/16 is taken for such",
    parse: readPodRanges,
  },
  {
    flags: "-o, --output <format>",
    description: "how to print the findings; text, or github inside a GitHub workflow",
    values: ["text", "json", "sarif", "github"],
  },
] as const;

export type LintOptions = OptionsOf<typeof flags>;

export const lint = command({
  name: "lint",
  summary: "find likely mistakes in valid policies",
  details: [
    "Findings are computed on the compiled table: without a rule that changes nothing, the table is the same. lint/README.md describes each rule.",
    "Exit 1 if a finding has the severity of --fail-on, or a higher one.",
  ],
  group: offline,
  options: flags,
  examples: [
    { command: "sluice lint -f manifests/", effect: "one finding a line" },
    {
      command: "sluice lint -f manifests/ -o sarif --fail-on never > lint.sarif",
      effect: "for code scanning",
    },
    {
      command: "sluice lint -f manifests/ --disable SL3004 --baseline known.json",
      effect: "only what is new",
    },
    {
      command: "sluice lint --live --since 7d",
      effect: "what nobody used for a week",
    },
  ],
  run: async (options, io, given) => (await import("./lint.js")).runLint(options, io, given),
});
