import { constants } from "node:os";
import { nodePeerNames, wirePeerNames } from "../bench/contenders.js";
import { reportHtml } from "../bench/html.js";
import { withNativeFigures } from "../bench/native/figures.js";
import { measureNativeFigures } from "../bench/native/measure.js";
import { nodeLinks } from "../bench/node-links.js";
import { isSluice, makeReport, type Report } from "../bench/report.js";
import { type Earlier, earlierOf, readReport } from "../bench/saved-report.js";
import { runSuite, type SuiteOptions } from "../bench/suite.js";
import { podsMax, policiesMax } from "../bench/workload.js";
import { settings } from "../control/settings.js";
import { didYouMean } from "../diagnostics/suggest.js";
import { systemReason } from "../diagnostics/system-reason.js";
import { mayMakeNamespaces } from "../lab/privilege.js";
import { limits } from "../manifest/limits.js";
import { readToEnd } from "../manifest/regular-file.js";
import { reportText } from "./bench-report.js";
import { type BenchOptions, benchFlags } from "./bench-spec.js";
import { runEntered, selfWords } from "./enter.js";
import { flagWords } from "./flag-words.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { writeJson } from "./output.js";
import { createProgress } from "./progress.js";
import { asCommand } from "./refusals.js";
import { reportingIo, writeOut } from "./write-out.js";

const presets = {
  // The scheduler's placement of threads matters more than the duration of a measurement, so there are many
  // short ones.
  quick: { policies: [10, 1_000, 10_000], rounds: 7, seconds: 0.12, withinSeconds: 108 },
  full: { policies: [10, 100, 1_000, 10_000], rounds: 7, seconds: 0.6 },
} as const;

/** Pods on the node with --node: everything is measured with the fewest. */
const podCounts = [10, 50, 250];

/** The link that stands for the switch of a lab. */
const labLink = "tap";

/**
 * Measures Sluice and the kernel's own forwarding paths between two interfaces, in temporary namespaces.
 *
 * The kernel removes everything that it makes when its process ends, even after a kill.
 */
export async function runBench(options: BenchOptions, io: Io): Promise<number> {
  const earlier = options.baseline === undefined ? undefined : earlierOf(saved(options.baseline));
  if (options.report !== undefined) {
    show(saved(options.report), options, io, earlier);
    return exitCodes.ok;
  }
  const plan = readPlan(options);
  return asCommand(async () => {
    if (!mayMakeNamespaces()) return runEntered(["bench", ...flagWords(benchFlags, options)], io);
    const stop = new AbortController();
    const abort = (signal: NodeJS.Signals) => stop.abort(signal);
    process.on("SIGINT", abort).on("SIGTERM", abort).on("SIGHUP", abort);
    const progress = createProgress(io);
    const started = performance.now();
    try {
      const native = plan.manyFlows
        ? await measureNativeFigures(progress.update, stop.signal)
        : { rows: [], leftOut: [] };
      const nativeSeconds = (performance.now() - started) / 1_000;
      const result = await runSuite({
        ...plan,
        ...(plan.withinSeconds === undefined
          ? {}
          : { withinSeconds: plan.withinSeconds - nativeSeconds }),
        sluice: selfWords([], io),
        report: (step, detail) => progress.update(step, detail),
        signal: stop.signal,
      });
      progress.finish();
      const report = withNativeFigures(makeReport(result), native);
      for (const { name, reason } of native.leftOut) {
        io.stderr.write(`left out: ${name}: ${reason}\n`);
      }
      if (!report.results.some(isSluice)) throw nothingOfOurs(report);
      show(report, options, io, earlier);
      return exitCodes.ok;
    } catch (error) {
      if (!stop.signal.aborted) throw error;
      return 128 + constants.signals[stop.signal.reason as NodeJS.Signals];
    } finally {
      progress.finish();
      process.off("SIGINT", abort).off("SIGTERM", abort).off("SIGHUP", abort);
    }
  });
}

/** Reads a saved report. Errors: CommandError (input). */
function saved(file: string): Report {
  let text: string;
  try {
    text = readToEnd(file, limits.fileBytes).toString("utf8");
  } catch (error) {
    throw new CommandError(exitCodes.input, `cannot read ${file}: ${systemReason(error)}`);
  }
  const report = readReport(text);
  if (typeof report !== "string") return report;
  throw new CommandError(exitCodes.input, `${file}: ${report}`);
}

function show(report: Report, options: BenchOptions, io: Io, earlier?: Earlier): void {
  const { output, out } = options;
  if (out !== undefined) {
    const text = {
      table: () => reportText(report, { ...io, env: { ...io.env, NO_COLOR: "1" } }, earlier),
      json: () => `${JSON.stringify(report)}\n`,
      html: () => reportHtml(report, earlier),
    };
    writeOut(out, io, (write) => write(text[output]()));
    // A page is for later; who waits in a terminal wants to know now.
    if (output === "html") reportingIo(out, io).stdout.write(reportText(report, io, earlier));
    return;
  }
  if (output === "json") writeJson(io.stdout, report);
  else {
    const write = output === "html" ? reportHtml(report, earlier) : reportText(report, io, earlier);
    io.stdout.write(write);
  }
}

function nothingOfOurs({ leftOut }: Report): CommandError {
  const [first] = leftOut.filter(isSluice);
  return new CommandError(
    exitCodes.environment,
    `Sluice could not be measured: ${first?.reason ?? "no link was asked for"}`,
  );
}

type Plan = Omit<SuiteOptions, "sluice" | "report" | "signal">;

function readPlan(options: BenchOptions): Plan {
  const preset = options.quick ? presets.quick : presets.full;
  const ways = [...settings.link.words.filter((link) => link !== "auto"), labLink];
  const links = options.node ? nodeLinks : ways;
  // The last hook is for kernels that have nothing else.
  const usualLinks = options.node && options.quick ? nodeLinks.slice(0, -1) : links;
  const peers = options.node ? nodePeerNames : wirePeerNames;
  const { rounds: _, seconds: __, policies: ___, ...limits } = preset;
  return {
    quick: options.quick,
    ...(options.node ? { pods: readPods(options.pods) } : {}),
    peers: readNames(options.peers, peers, "--peers"),
    links: readNames(options.links, links, "--links", usualLinks),
    polls: options.node ? [] : settings.poll.words,
    // Where links or peers are picked, only those are asked about.
    manyFlows: !options.node && options.links === undefined && options.peers === undefined,
    policies: options.policies === undefined ? preset.policies : readSizes(options.policies),
    rounds: options.rounds ?? preset.rounds,
    seconds: options.seconds ?? preset.seconds,
    // If the user sets how much to measure, all of it is measured.
    ...(options.rounds === undefined && options.seconds === undefined ? limits : {}),
  };
}

/** Reads `a,b`; absent is the usual ones, and `none` none. Errors: CommandError (usage). */
function readNames(
  text: string | undefined,
  known: readonly string[],
  flag: string,
  usual = known,
): string[] {
  if (text === undefined) return [...usual];
  const names = text === "none" ? [] : text.split(",");
  const strange = names.find((name) => !known.includes(name));
  if (strange !== undefined) {
    throw new CommandError(
      exitCodes.usage,
      `${flag}: got "${strange}", want some of ${known.join(",")}, or none${didYouMean(strange, known)}`,
    );
  }
  return known.filter((name) => names.includes(name));
}

function readSizes(text: string): number[] {
  return readNumbers(text, "--policies", { least: 1, most: policiesMax, such: "10,1000" });
}

function readPods(text: string | undefined): readonly number[] {
  return text === undefined
    ? podCounts
    : readNumbers(text, "--pods", { least: 2, most: podsMax, such: "10,250" });
}

/** Ascending, each once. Errors: CommandError (usage). */
function readNumbers(
  text: string,
  flag: string,
  { least, most, such }: { least: number; most: number; such: string },
): number[] {
  const numbers = text.split(",").map(Number);
  if (!numbers.every((each) => Number.isInteger(each) && each >= least && each <= most)) {
    throw new CommandError(
      exitCodes.usage,
      `${flag}: got "${text}", want numbers of ${least} to ${most}, such as ${such}`,
    );
  }
  return [...new Set(numbers)].sort((a, b) => a - b);
}
