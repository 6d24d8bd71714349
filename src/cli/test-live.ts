import type { CompiledState } from "../analysis/explain.js";
import type { Flow } from "../analysis/policy-test/flows.js";
import type { PolicyTest, PolicyTestFile } from "../analysis/policy-test/policy-test.js";
import {
  connectionText,
  counterexampleOf,
  type FileResult,
  liveFlows,
  type TestResult,
} from "../analysis/policy-test/run-tests.js";
import { protocolWord } from "../analysis/protocols.js";
import { settings } from "../control/settings.js";
import { Signals } from "../control/signals.js";
import { count } from "../diagnostics/count.js";
import { LabClient, takeDown } from "../lab/client.js";
import type { ProbeRow, ProbeSpec } from "../lab/protocol.js";
import { stateFolder } from "../lab/state.js";
import { type Address, formatAddress } from "../net/address.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { runLabUp } from "./lab.js";
import type { LabUpOptions } from "./lab-spec.js";
import { createProgress } from "./progress.js";
import { asCommand } from "./refusals.js";
import type { TestOptions } from "./test-spec.js";

const interrupted = 130;

/**
 * Tries the connections of passed tests with real packets, in a temporary lab.
 *
 * Shape: connections with outside addresses cannot be tried. A test with no others is skipped; for the rest,
 *        standard error says how many were left out.
 */
export async function runLive(
  options: TestOptions,
  state: CompiledState,
  files: readonly PolicyTestFile[],
  offline: readonly FileResult[],
  io: Io,
): Promise<readonly FileResult[]> {
  const filename = wantFiles(options.filename);
  const plans = new Map(
    files.flatMap((file, at) => {
      const passed = offline[at]!.results.filter((each) => each.status === "passed");
      return [
        ...liveFlows(
          state,
          file,
          passed.map((each) => each.test),
        ),
      ];
    }),
  );
  const flows = [...plans.values()].flatMap((plan) => plan.flows);
  const left = [...plans.values()].reduce((sum, plan) => sum + plan.left, 0);
  if (left > 0) {
    io.stderr.write(
      `sluice: not tried in a lab: ${count(left, "connection")} with addresses outside\n`,
    );
  }
  const rows = flows.length === 0 ? [] : await probeInLab({ ...options, filename }, flows, io);
  const rowOf = new Map(flows.map((flow, at) => [flow, rows[at]!]));
  return offline.map(({ file, results }) => ({
    file,
    results: results.map((result) => {
      const plan = plans.get(result.test);
      return plan === undefined ? result : liveResult(result, plan.flows, rowOf);
    }),
  }));
}

/** Errors: CommandError (usage) for what can be read only once. */
export function wantFiles(filename: readonly string[] | undefined): readonly string[] {
  if (filename !== undefined && !filename.includes("-")) return filename;
  throw new CommandError(exitCodes.usage, "--live reads the manifests twice, want files for -f");
}

/** A connection to try; the ends by `namespace/pod`. */
export interface LiveFlow {
  readonly from: { readonly label: string; readonly address: Address };
  readonly to: LiveFlow["from"];
  readonly protocol: number;
  readonly port: number | null;
}

/** What a lab is made of. */
export type LabInput = Pick<
  LabUpOptions,
  | "filename"
  | "ignore"
  | "strict"
  | "render"
  | "values"
  | "verbose"
  | "namespace"
  | "replicas"
  | "podCidr"
>;

/** Brings a lab up, tries the connections, and takes it down whatever happens. A row each, in their order. */
export async function probeInLab(
  options: LabInput,
  flows: readonly LiveFlow[],
  io: Io,
): Promise<readonly ProbeRow[]> {
  const name = `test-${process.pid}`;
  const folder = stateFolder(io.env);
  const quiet: Io = { ...io, stdout: { write: () => true } };
  // A Ctrl-C must not leave the lab behind.
  const signals = new Signals();
  const stopped = signals.untilStopped.then((): never => {
    throw new CommandError(interrupted, "interrupted: the lab is taken down");
  });
  // While the lab comes up nothing waits for this yet: an unhandled rejection would end the process at once.
  stopped.catch(() => {});
  try {
    const { filename, ignore, strict, render, values, verbose, namespace, replicas, podCidr } =
      options;
    const code = await runLabUp(
      {
        ...{ filename, strict, render, verbose },
        ...(ignore === undefined ? {} : { ignore }),
        ...(values === undefined ? {} : { values }),
        ...(namespace === undefined ? {} : { namespace }),
        ...(replicas === undefined ? {} : { replicas }),
        ...(podCidr === undefined ? {} : { podCidr }),
        name,
        foreground: false,
        serve: false,
        watch: "never",
        poll: settings.poll.fallback,
        mode: "enforce",
        deny: "drop",
        established: "recheck",
      },
      quiet,
    );
    if (code !== exitCodes.ok) throw new CommandError(code, "the lab for --live did not come up");
    const progress = createProgress(io);
    progress.update("trying connections");
    const probes = flows.map(specOf);
    const probing = asCommand(() => LabClient.find(folder, name).probe({ probes }));
    const report = await Promise.race([probing, stopped]).finally(() => progress.finish());
    return report.probes;
  } finally {
    await asCommand(() => takeDown(folder, name));
    signals.release();
  }
}

function specOf({ from, to, protocol, port }: LiveFlow, at: number): ProbeSpec {
  return {
    id: String(at),
    src: from.label,
    dst: to.label,
    srcIP: formatAddress(from.address),
    dstIP: formatAddress(to.address),
    protocol: protocolWord(protocol),
    port,
  };
}

function liveResult(
  result: TestResult,
  flows: readonly Flow[],
  rowOf: ReadonlyMap<Flow, ProbeRow>,
): TestResult {
  const { test } = result;
  if (flows.length === 0) {
    const message = "has only connections with addresses outside, which a lab cannot try";
    return { ...result, status: "skipped", message };
  }
  const wrong = flows.find((flow) => rowOf.get(flow)!.observed !== test.expect);
  const connections = flows.length;
  if (wrong === undefined) return { ...result, connections };
  return { ...result, connections, ...liveFailure(test, wrong, rowOf.get(wrong)!) };
}

function liveFailure(test: PolicyTest, flow: Flow, row: ProbeRow) {
  const observed = row.observed === "error" ? "nothing" : row.observed;
  const verdict = row.observed === "allow" ? "allow" : "deny";
  const counterexample = counterexampleOf(flow, verdict);
  const message = `${connectionText(counterexample)}: expected ${test.expect}, real packets got ${observed} (${row.outcome})`;
  return { status: "failed" as const, message, counterexample };
}
