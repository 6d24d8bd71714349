import { existsSync } from "node:fs";
import { Controller, type Reload } from "../control/controller.js";
import { openControl } from "../control/open-control.js";
import { Signals } from "../control/signals.js";
import { SourceFollower } from "../control/source-follower.js";
import { Dataplane } from "../dataplane/dataplane.js";
import { readManifests } from "../manifest/read.js";
import { FlowLog } from "../observe/flow-log.js";
import type { LocalPods } from "../policy/resolve.js";
import type { Attachment } from "./attachment.js";
import { Attachments } from "./attachments.js";
import { keepLeastPrivilege } from "./least-privilege.js";
import { type NodeConfig, podText } from "./node-config.js";
import type { NodeHost } from "./node-host.js";
import { openSource, UpdateTeller } from "./open-source.js";
import { ServiceManager } from "./service-manager.js";
import { WireAttachment } from "./wire-attachment.js";

export interface NodeRun {
  /** What the control socket calls it. */
  readonly name: string;
  readonly version: string;
  readonly config: NodeConfig;
  /** Standard input's text, where the config names `-`. */
  readonly stdin: string | undefined;
  readonly host: NodeHost;
}

/**
 * Stands on a node's interfaces and enforces, until SIGTERM or SIGINT. False when the manifests have
 * errors, which have been shown.
 *
 * The interfaces are touched only after the manifests have compiled, and are as they were again when
 * this ends. Until the first table is in force, and when the process is killed, nothing passes. Once it
 * enforces, it gives up every privilege that it does not need any more.
 *
 * Errors: DataplaneError, RefusalError.
 */
export async function runNode({ name, version, config, stdin, host }: NodeRun): Promise<boolean> {
  const { paths } = config.source;
  const folder = {
    paths: () => paths,
    read: () => readManifests(paths, stdin),
    watch: config.source.watch !== "never",
  };
  const { source, files } = await openSource(config.source, folder, host);
  const signals = new Signals();
  const service = new ServiceManager(host);
  const dataplane = Dataplane.create(config.dataplane);
  const attachments = new Attachments({
    dataplane,
    tell: host.tell,
    swapped: (generation, table) => flows.useTable(generation, table),
  });
  const flows = new FlowLog(dataplane, {
    interfaceName: (linkId) =>
      attachments.interfaces().find((each) => each.linkId === linkId)?.name,
  });
  const wanted = attachmentsOf(config);
  const local = localPods(wanted, config);
  const controller = new Controller({
    take: () => source.take(),
    local: () => local,
    enforce: (table) => attachments.enforce(wanted, table),
  });
  const before = (): void => service.reloading();
  const after = (done: Reload): void => {
    tellReload(done, host);
    service.reloaded(statusLine(controller));
  };
  const reload = async (): Promise<Reload> => {
    before();
    const done = await controller.reload();
    after(done);
    return done;
  };
  let follower: SourceFollower | undefined;
  let control: { close(): void } | undefined;

  try {
    control = await openControl(
      {
        name,
        version,
        controller,
        dataplane,
        flows,
        staleFlows: config.dataplane.staleFlows,
        interfaces: () => attachments.interfaces(),
        reload,
        isBehind: () => source.isBehind,
        source: () => source.status(),
      },
      config.control,
      host.tell,
    );
    // An API server may be away for long; whoever wants to stop meanwhile does not wait for it.
    const first = await Promise.race([controller.reload(), signals.untilStopped]);
    if (typeof first === "string") return true;
    host.show(first.diagnostics);
    if (!first.ok) {
      if (first.refused !== undefined) throw first.refused;
      return false;
    }
    const read = (controller.table?.objects ?? [])
      .map((each) => each.meta.span)
      .flatMap(({ file, line }) => (line === 0 ? [] : [file]));
    keepLeastPrivilege([...new Set([...files, ...read])].filter(existsSync));
    host.ready();
    service.ready(statusLine(controller), () => dataplane.rounds());
    const teller = new UpdateTeller(host);
    follower = new SourceFollower({
      source,
      controller,
      ...(config.source.kubernetes === undefined
        ? { before, after }
        : { after: (done) => teller.update(done) }),
    });
    signals.onHangup = () => void reload();
    await signals.untilStopped;
    return true;
  } finally {
    service.stopping();
    follower?.close();
    source.close();
    control?.close();
    flows.close();
    dataplane.stop();
    attachments.close();
    dataplane.close();
    signals.release();
  }
}

function attachmentsOf({ wires }: NodeConfig): readonly Attachment[] {
  return wires.map((wire) => new WireAttachment(wire));
}

/** One pod that was asked for by name has to be there; of several, some may come later. */
function localPods(wanted: readonly Attachment[], { source }: NodeConfig): LocalPods {
  const [first, ...others] = wanted;
  const pods = new Set(wanted.map(({ pod }) => podText(pod)));
  if (source.kubernetes !== undefined) {
    // A cluster's pods come and go, and whoever stands before one waits for it.
    const { node } = source.kubernetes;
    return node === undefined ? { pods } : { pods, node };
  }
  return first !== undefined && others.length === 0 ? { pod: first.pod } : { pods };
}

function statusLine({ status }: Controller): string {
  const inForce = `generation ${status.generation} is in force`;
  return status.lastError === undefined ? inForce : `${inForce}; refused: ${status.lastError}`;
}

function tellReload(reload: Reload, host: NodeHost): void {
  host.show(reload.diagnostics);
  if (reload.ok) {
    host.tell(`generation ${reload.generation} is in force`);
    return;
  }
  if (reload.refused !== undefined) host.tell(reload.refused.message);
  host.tell("nothing changed: the table in force stays");
}
