import type { CompiledState } from "../analysis/explain.js";
import type { PolicyTestFile } from "../analysis/policy-test/policy-test.js";
import { readTestFile } from "../analysis/policy-test/read-test-file.js";
import { jsonReport } from "../analysis/policy-test/report-json.js";
import { junitReport } from "../analysis/policy-test/report-junit.js";
import { prettyReport } from "../analysis/policy-test/report-pretty.js";
import { tapReport } from "../analysis/policy-test/report-tap.js";
import { type FileResult, runTestFile } from "../analysis/policy-test/run-tests.js";
import { summarize, type TestReport } from "../analysis/policy-test/summary.js";
import { Table } from "../dataplane/table.js";
import { hasErrors } from "../diagnostics/diagnostic.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { systemReason } from "../diagnostics/system-reason.js";
import { limits } from "../manifest/limits.js";
import { readToEnd } from "../manifest/regular-file.js";
import { ServiceIndex } from "../services/service-index.js";
import { type Compiled, compileAsked, withLeftOut } from "./compiled.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { showDiagnostics } from "./manifests.js";
import { styles, writeJson } from "./output.js";
import { runLive } from "./test-live.js";
import type { TestOptions } from "./test-spec.js";

/** Runs assertions about who may reach whom. Exit 1 when one fails, 3 when a file is invalid. */
export async function runTest(options: TestOptions, io: Io): Promise<number> {
  const files = await readTestFiles(options.file, io);
  const compiled = await compileAsked(options, io);
  if (files === undefined || compiled === undefined) return exitCodes.input;

  const { objects } = compiled;
  const services = new ServiceIndex(objects, compiled.services);
  const state: CompiledState = { objects, compiled, table: Table.open(compiled.blob), services };
  const started = performance.now();
  const now = () => performance.now();
  let results: readonly FileResult[] = files.map((file) => runTestFile(state, file, now));
  if (options.live) results = await runLive(options, state, files, results, io);
  const report: TestReport = { files: results, durationMs: performance.now() - started };
  write(report, compiled, options.reporter, io);
  return summarize(report).ok ? exitCodes.ok : exitCodes.negative;
}

/** Reads all files; what is wrong with them goes to standard error, and then the answer is undefined. */
async function readTestFiles(
  paths: readonly string[],
  io: Io,
): Promise<readonly PolicyTestFile[] | undefined> {
  const files: PolicyTestFile[] = [];
  let valid = true;
  for (const path of paths) {
    const { tests, diagnostics } = readTestFile(await textOf(path), path);
    showDiagnostics(diagnostics, io);
    valid &&= !hasErrors(diagnostics);
    files.push(tests);
  }
  return valid ? files : undefined;
}

async function textOf(path: string): Promise<string> {
  try {
    return readToEnd(path, limits.fileBytes).toString("utf8");
  } catch (error) {
    throw new CommandError(exitCodes.input, `cannot read ${path}: ${systemReason(error)}`);
  }
}

function write(
  report: TestReport,
  compiled: Compiled,
  reporter: TestOptions["reporter"],
  io: Io,
): void {
  switch (reporter) {
    case "json":
      writeJson(io.stdout, withLeftOut(jsonReport(report), compiled));
      break;
    case "tap":
      io.stdout.write(tapReport(report));
      break;
    case "junit":
      io.stdout.write(junitReport(report));
      break;
    case "pretty": {
      const { green, red, yellow, dim } = styles(io);
      const paints = { passed: green, failed: red, skipped: yellow, quiet: dim };
      io.stdout.write(prettyReport(printable(report), (text, as) => paints[as](text)));
    }
  }
}

/** Names come from files, and must not drive the terminal. */
function printable(report: TestReport): TestReport {
  const lines = (text: string) => text.split("\n").map(sanitize).join("\n");
  return {
    ...report,
    files: report.files.map(({ file, results }) => ({
      file: sanitize(file),
      results: results.map(({ test, message, explanation, ...result }) => ({
        ...result,
        test: { ...test, name: sanitize(test.name) },
        message: sanitize(message),
        ...(explanation === undefined ? {} : { explanation: lines(explanation) }),
      })),
    })),
  };
}
