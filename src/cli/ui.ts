import { defaultSocket } from "../control/settings.js";
import { Signals } from "../control/signals.js";
import { count } from "../diagnostics/count.js";
import type { Manifests } from "../manifest/parse.js";
import { passedOverLines } from "../manifest/passed-over.js";
import { readCapturedFlows } from "../ui/captured-flows.js";
import { LiveSource, liveQuestions, readInForce } from "../ui/live-source.js";
import { pageAssets } from "../ui/page-assets.js";
import { servePage } from "../ui/page-server.js";
import { UiSession } from "../ui/session.js";
import { TableModel } from "../ui/table-model.js";
import type { Making } from "../ui/what-if.js";
import type { Given } from "./command-spec.js";
import { type Compiled, compilePods } from "./compiled.js";
import { controlClient } from "./control-common.js";
import { readFlowFile } from "./flow-source.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { asCommand } from "./refusals.js";
import type { UiOptions } from "./ui-spec.js";
import { packageVersion } from "./version.js";

/** Serves the page until SIGTERM or SIGINT. */
export async function runUi(options: UiOptions, io: Io, given: Given): Promise<number> {
  return asCommand(async () => {
    const isOffline = options.filename !== undefined || options.cluster;
    checkFlags(options, isOffline, given);
    const assets = pageAssets();
    const session = isOffline ? await offline(options, io) : await live(options, io, given);
    if (session === undefined) return exitCodes.input;
    const signals = new Signals();
    const served = await servePage(
      session.session,
      assets,
      options.pagePort ?? 0,
      (line) => void io.stderr.write(`sluice: ${line}\n`),
    );
    try {
      io.stdout.write(`${served.url}\n`);
      io.stderr.write("sluice: the page is for whoever has this address; Ctrl-C ends it\n");
      await signals.untilStopped;
      return exitCodes.ok;
    } finally {
      served.close();
      session.close();
      signals.release();
    }
  });
}

interface Opened {
  readonly session: UiSession;
  close(): void;
}

function checkFlags({ lab, flows }: UiOptions, isOffline: boolean, given: Given): void {
  const usage = (message: string) => new CommandError(exitCodes.usage, message);
  const isSocketGiven = given.get("--socket") === "--socket";
  if (isOffline && (lab !== undefined || isSocketGiven)) {
    throw usage(`got ${lab === undefined ? "--socket" : "--lab"} and manifests, want one of them`);
  }
  if (!isOffline && flows !== undefined) throw usage("got --flows without -f, want manifests too");
}

/** What the page tells of manifests. */
export function pageModel(compiled: Compiled, sources: Manifests["sources"]): TableModel {
  const { objects, notEnforced, passedOver } = compiled;
  return new TableModel({
    ...{ objects, compiled, generation: 1, sources },
    leftOut: [
      ...notEnforced.map((each) => `${count(each.count, each.kind)}: a policy of another product`),
      ...passedOverLines(passedOver, false),
    ],
  });
}

/** Errors: CommandError; undefined when the manifests are invalid. */
async function offline(options: UiOptions, io: Io): Promise<Opened | undefined> {
  let sources: Manifests["sources"];
  const compiled = await compilePods(options, io, undefined, (manifests) => {
    sources = manifests.sources;
    return manifests;
  });
  if (compiled === undefined) return undefined;
  const { namespace, replicas, podCidr, flows } = options;
  const model = pageModel(compiled, sources);
  const making: Making = {
    compile: {},
    pods: {
      ...(replicas === undefined ? {} : { replicas }),
      ...(podCidr === undefined ? {} : { ranges: podCidr }),
    },
    ...(namespace === undefined ? {} : { namespace }),
  };
  const title = options.cluster ? "cluster" : options.filename!.join(" ");
  const about = { schemaVersion: 1, title, version: packageVersion(), mode: "offline" } as const;
  const session = new UiSession({ ...about, flows: flows ?? null }, model, making);
  if (flows !== undefined) {
    await readFlowFile(flows, io, {
      record: (record) => session.see(record),
      capture: (capture) => readCapturedFlows(capture, session),
    });
  }
  return { session, close() {} };
}

/** Errors: RefusalError when the process does not answer. */
async function live({ lab, socket }: UiOptions, io: Io, given: Given): Promise<Opened> {
  // A lab that is named counts more than a variable that names the usual process.
  const isOther = lab !== undefined && given.get("--socket") !== "--socket";
  const where = { ...(lab && { lab }), ...(socket !== undefined && !isOther && { socket }) };
  const client = controlClient(where, io);
  const { key, model, making } = await readInForce(client);
  const title = lab === undefined ? (socket ?? defaultSocket) : `lab ${lab}`;
  const about = { schemaVersion: 1, title, version: packageVersion(), mode: "live" } as const;
  const page = { ...about, flows: title };
  const session = new UiSession(page, model, making, liveQuestions(client));
  const source = new LiveSource(client, session, key);
  return { session, close: () => source.close() };
}
