import { existsSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { contained } from "../control/boundary.js";
import { CompilerThread } from "../control/compiler-thread.js";
import { notAttached, notAttachedText } from "../control/control-routes.js";
import { Controller, type Reload } from "../control/controller.js";
import {
  type ControlListen,
  defaultSocket,
  type OpenControl,
  openControl,
} from "../control/open-control.js";
import { Signals } from "../control/signals.js";
import { SourceFollower } from "../control/source-follower.js";
import { Dataplane } from "../dataplane/dataplane.js";
import { watchInterfaces } from "../dataplane/interfaces.js";
import { touchedBy } from "../netlink/events.js";
import { FlowLog } from "../observe/flow-log.js";
import { Attachments } from "./attachments.js";
import { Succession } from "./handoff/succession.js";
import { KeptConnections } from "./kept-connections.js";
import { keepLeastPrivilege } from "./least-privilege.js";
import type { NodeConfig } from "./node-config.js";
import type { NodeHost } from "./node-host.js";
import { openSource, UpdateTeller } from "./open-source.js";
import { missingPods, Plans } from "./plan.js";
import type { ConfigFile } from "./read-config.js";
import { ServiceManager } from "./service-manager.js";

/** After a reload that was asked for there is as much time for other things as it took, up to this. */
const reloadRestMs = 500;

export interface NodeRun {
  /** What the control socket calls it. */
  readonly name: string;
  readonly version: string;
  readonly config: NodeConfig;
  /** Where to listen, whatever the config says. */
  readonly control: ControlListen;
  /** Where the config came from, to be read again with the manifests; absent where flags made it. */
  readonly configFile?: ConfigFile;
  /** Standard input's text, where the config names `-`. */
  readonly stdin: string | undefined;
  readonly host: NodeHost;
  /** Takes the place of the process that answers on the control socket, where one does. */
  readonly takesOver?: boolean;
}

/**
 * Stands on a node's interfaces and enforces, until SIGTERM or SIGINT. False when the manifests have
 * errors, which have been shown.
 *
 * The interfaces are touched only after the manifests have compiled, and are as they were again when
 * this ends; a sidecar's where its config says so. Until the first table is in force, and when the process is killed, nothing passes. Once it
 * enforces, it gives up every privilege that it does not need any more.
 *
 * It ends also when another process has taken its place; the interfaces are that one's then. At SIGTERM it
 * leaves them to its successor where the service manager keeps descriptors, see docs/restart.md.
 *
 * Errors: DataplaneError, RefusalError.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: assembles one process; the order in which it opens and closes its parts is the contract
export async function runNode(run: NodeRun): Promise<boolean> {
  const { name, version, config, configFile, stdin, host, takesOver = false } = run;
  const plans = new Plans(config, configFile, host.hasTerminal);
  const compiler = new CompilerThread({ mode: config.mode });
  const folder = {
    paths: () => [...plans.files, ...plans.wanted.config.source.paths],
    read: () => plans.reread() ?? compiler.read(plans.wanted.config.source.paths, stdin),
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
    changed: () => service.says(statusLine(controller, attachments)),
  });
  const followInterfaces = (): void => {
    const told = watch.read();
    attachments.follow(told === undefined ? undefined : touchedBy(told));
  };
  const watch = watchInterfaces(() => contained(host.tell, "interfaces", followInterfaces));
  const flows = new FlowLog(dataplane, {
    interfaceName: (linkId) => attachments.interfaceName(linkId),
    tell: host.tell,
  });
  const kept = new KeptConnections({
    dataplane,
    wires: () => attachments.zones().filter(({ stateFolder }) => stateFolder === undefined),
    path: `${run.control.socket ?? defaultSocket}.connections`,
    tell: host.tell,
  });
  const succession = new Succession({
    dataplane,
    attachments,
    host,
    version,
    socket: run.control.socket,
    takesOver,
    takeUp: () => {
      if (run.control.socket !== "none") kept.load();
    },
  });
  const controller = new Controller({
    take: () => source.take(),
    local: () => plans.wanted.local,
    mode: config.mode,
    compiler,
    async enforce(table) {
      const enforce = () => attachments.enforce(plans.wanted.attachments, table);
      const generation = await succession.enter(enforce);
      const later = plans.enforced();
      if (later.length > 0) {
        host.tell(`${later.join(", ")}: changed; in force from the next start on`);
      }
      return generation;
    },
    generation: () => attachments.generation,
  });
  let missingBefore = "";
  const tellMissing = (): void => {
    const missing = missingPods(plans.inForce, controller);
    const text = missing.map(({ message }) => message).join();
    if (text !== missingBefore) host.show(missing);
    missingBefore = text;
  };
  const before = (): void => service.reloading();
  const after = (done: Reload): void => {
    if (!done.ok) plans.failed();
    tellReload(done, attachments, host);
    tellMissing();
    service.reloaded(statusLine(controller, attachments));
  };
  const reloadOnce = async (): Promise<Reload> => {
    before();
    const done = await controller.reload(async () => {
      // Whoever asks from now on may want what is not read here.
      nextReload = undefined;
      // Files are read together with the config; an API server's events are not.
      const refused = config.source.kubernetes === undefined ? undefined : plans.reread();
      return refused === undefined ? source.take() : { all: refused };
    });
    after(done);
    return done;
  };
  let nextReload: Promise<Reload> | undefined;
  let restUntilMs = 0;
  const reloadAfterRest = async (): Promise<Reload> => {
    await pause(Math.max(0, restUntilMs - performance.now()));
    const startMs = performance.now();
    try {
      return await reloadOnce();
    } catch (error) {
      nextReload = undefined;
      throw error;
    } finally {
      const endMs = performance.now();
      restUntilMs = endMs + Math.min(endMs - startMs, reloadRestMs);
    }
  };
  // Those who ask before it begins share one, however many they are.
  const reload = (): Promise<Reload> => {
    nextReload ??= reloadAfterRest();
    return nextReload;
  };
  let follower: SourceFollower | undefined;
  let control: OpenControl | undefined;
  let isLeft = false;
  const openSocket = () =>
    openControl(
      {
        name,
        version,
        controller,
        dataplane,
        flows,
        established: config.dataplane.established,
        deny: config.dataplane.deny,
        get mode() {
          return plans.inForce.config.mode;
        },
        interfaces: () => attachments.interfaces(),
        nameGuard: () => attachments.nameGuard,
        retaken: () => attachments.retaken,
        reload,
        offerPlace: () => succession.offerPlace((step) => controller.alone(step)),
        isBehind: () => source.isBehind,
        source: () => source.status(),
      },
      run.control,
      host.tell,
    );

  try {
    if (!takesOver) control = await openSocket();
    // An API server may be away for long; whoever wants to stop meanwhile does not wait for it.
    const first = await Promise.race([controller.reload(), signals.untilStopped]);
    if (typeof first === "string") return true;
    host.show(first.diagnostics);
    if (!first.ok) {
      if (first.refused !== undefined) throw first.refused;
      return false;
    }
    tellMissing();
    const read = (controller.table?.objects ?? [])
      .map((each) => each.meta.span)
      .flatMap(({ file, line }) => (line === 0 ? [] : [file]));
    await succession.predecessorGone();
    control ??= await openSocket();
    keepLeastPrivilege({
      files: [...new Set([...plans.files, ...files, ...read])].filter(existsSync),
    });
    if (control.socket !== undefined) kept.start();
    host.ready();
    service.ready(statusLine(controller, attachments), () => dataplane.progress());
    const teller = new UpdateTeller(host);
    const afterEvents = (done: Reload): void => {
      teller.update(done);
      tellMissing();
    };
    follower = new SourceFollower({
      source,
      controller,
      tell: host.tell,
      ...(config.source.kubernetes === undefined ? { before, after } : { after: afterEvents }),
    });
    signals.onHangup = () => contained(host.tell, "SIGHUP", reload);
    const end = await Promise.race([signals.untilStopped, succession.untilSucceeded]);
    isLeft = await succession.end(end ?? undefined);
    return true;
  } finally {
    service.stopping();
    watch.close();
    follower?.close();
    source.close();
    compiler.close();
    dataplane.stop();
    // Before the socket's folder goes, which stays where something is kept in it.
    kept.end(isLeft || succession.isHeir);
    const closed = control?.close();
    flows.close();
    if (isLeft || succession.isHeir) {
      attachments.leave();
      dataplane.leave();
    } else {
      attachments.close();
      dataplane.close();
    }
    // Whoever takes this place wants the port.
    await closed;
    succession.close();
    signals.release();
  }
}

function statusLine({ status }: Controller, attachments: Attachments): string {
  const inForce = `generation ${status.generation} is in force${exceptionText(attachments)}`;
  return status.lastError === undefined ? inForce : `${inForce}; refused: ${status.lastError}`;
}

/** Says where nothing is in force, since there is no interface. */
function exceptionText(attachments: Attachments): string {
  const missing = notAttached(attachments.interfaces());
  return missing.length === 0 ? "" : `, but ${notAttachedText(missing)}`;
}

function tellReload(reload: Reload, attachments: Attachments, host: NodeHost): void {
  host.show(reload.diagnostics);
  if (reload.ok) {
    host.tell(`generation ${reload.generation} is in force${exceptionText(attachments)}`);
    return;
  }
  if (reload.refused !== undefined) host.tell(reload.refused.message);
  host.tell("nothing changed: the table in force stays");
}
