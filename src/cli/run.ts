import { closeSync, existsSync, writeSync } from "node:fs";
import type { FilteredInterface } from "../control/control-routes.js";
import { Controller, type Reload } from "../control/controller.js";
import { ManifestWatch } from "../control/manifest-watch.js";
import { Signals } from "../control/signals.js";
import { Dataplane } from "../dataplane/dataplane.js";
import { readManifests } from "../manifest/read.js";
import { FlowLog } from "../observe/flow-log.js";
import { readMac, readPodRef, workersOf } from "./arguments.js";
import { openControl } from "./control-socket.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { keepLeastPrivilege } from "./least-privilege.js";
import { readStdin, showDiagnostics } from "./manifests.js";
import type { RunOptions } from "./options.js";
import { ServiceManager } from "./service-manager.js";
import { packageVersion } from "./version.js";

/**
 * Stands between two interfaces and enforces, until SIGTERM or SIGINT.
 *
 * The interfaces are touched only after the manifests have compiled, and are as they were again when
 * this ends. Until the first table is in force, and when the process is killed, nothing passes. Once it
 * enforces, it gives up every privilege that it does not need any more.
 */
export async function runRun(options: RunOptions, io: Io): Promise<number> {
  const [inside, outside] = readWire(options.wire);
  const pod = readPodRef(options.pod, "--pod");
  const mac = options.podMac === undefined ? {} : { mac: readMac(options.podMac, "--pod-mac") };
  const signals = new Signals();
  const service = new ServiceManager(io);
  const stdin = options.filename.includes("-") ? await readStdin(io) : undefined;
  const dataplane = Dataplane.create({
    staleFlows: options.staleFlows,
    loose: options.loose,
    ...workersOf(options),
  });
  const take = (name: string, more: { readonly mac?: string } = {}): number => {
    const { linkId, kind, why } = dataplane.addInterface(
      { interface: name, ...more },
      options.link,
    );
    io.stderr.write(`sluice: ${name}: ${kind} (${why})\n`);
    return linkId;
  };
  const interfaces: FilteredInterface[] = [];
  const flows = new FlowLog(dataplane, {
    interfaceName: (linkId) => interfaces.find((each) => each.linkId === linkId)?.name,
  });
  let insideLink: number | undefined;
  const controller = new Controller({
    read: async () => readManifests(options.filename, stdin),
    local: { pod },
    enforce(table) {
      if (insideLink !== undefined) {
        const generation = dataplane.swapTable(table.blob, [[0, insideLink]]);
        flows.useTable(generation, table);
        return generation;
      }
      const links = {
        inside: take(inside, mac),
        outside: take(outside),
      };
      const generation = dataplane.swapTable(table.blob, [[0, links.inside]]);
      dataplane.start({ wire: links });
      insideLink = links.inside;
      interfaces.push(
        { name: inside, linkId: links.inside, role: "endpoint", pod: options.pod },
        { name: outside, linkId: links.outside, role: "uplink", pod: null },
      );
      flows.useTable(generation, table);
      return generation;
    },
  });
  const watch =
    options.watch === "never"
      ? undefined
      : new ManifestWatch({ paths: () => options.filename, changed: () => void reload() });
  const reload = async (): Promise<Reload> => {
    watch?.settled();
    service.reloading();
    const done = await controller.reload();
    tellReload(done, stdin, io);
    service.reloaded(statusLine(controller));
    return done;
  };
  let control: { close(): void } | undefined;

  try {
    control = await openControl(
      {
        name: "run",
        version: packageVersion(),
        controller,
        dataplane,
        flows,
        staleFlows: options.staleFlows,
        interfaces: () => interfaces,
        reload,
        isBehind: () => watch?.isBehind ?? false,
      },
      options,
      io,
    );
    watch?.settled();
    const first = await controller.reload();
    showDiagnostics(first.diagnostics, io, stdin);
    if (!first.ok) {
      if (first.refused !== undefined) throw first.refused;
      return exitCodes.input;
    }
    const files = controller.table?.objects.map((each) => each.meta.span.file) ?? [];
    keepLeastPrivilege([...new Set([...options.filename, ...files])].filter(existsSync));
    io.stdout.write("ready\n");
    if (options.readyFd !== undefined) tellReady(options.readyFd);
    service.ready(statusLine(controller), () => dataplane.rounds());
    signals.onHangup = () => void reload();
    await signals.untilStopped;
    return exitCodes.ok;
  } finally {
    service.stopping();
    watch?.close();
    control?.close();
    flows.close();
    dataplane.close();
    signals.release();
  }
}

function statusLine({ status }: Controller): string {
  const inForce = `generation ${status.generation} is in force`;
  return status.lastError === undefined ? inForce : `${inForce}; refused: ${status.lastError}`;
}

function tellReload(reload: Reload, stdin: string | undefined, io: Io): void {
  showDiagnostics(reload.diagnostics, io, stdin);
  if (reload.ok) {
    io.stderr.write(`sluice: generation ${reload.generation} is in force\n`);
    return;
  }
  if (reload.refused !== undefined) io.stderr.write(`sluice: ${reload.refused.message}\n`);
  io.stderr.write("sluice: nothing changed: the table in force stays\n");
}

function tellReady(fd: number): void {
  try {
    writeSync(fd, "ready\n");
    if (fd > 2) closeSync(fd);
  } catch (error) {
    throw new CommandError(
      exitCodes.environment,
      `--ready-fd ${fd} cannot be written to: ${(error as Error).message}`,
    );
  }
}

function readWire(text: string): [inside: string, outside: string] {
  const [inside, outside, ...rest] = text.split(",");
  if (!inside || !outside || rest.length > 0 || inside === outside) {
    throw new CommandError(
      exitCodes.usage,
      `--wire: got "${text}", want two different interfaces as INSIDE,OUTSIDE`,
    );
  }
  return [inside, outside];
}
