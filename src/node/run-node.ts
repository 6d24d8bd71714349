import { existsSync } from "node:fs";
import { contained } from "../control/boundary.js";
import { CompilerThread } from "../control/compiler-thread.js";
import { notAttached, notAttachedText } from "../control/control-routes.js";
import type { CompiledTable, Reload } from "../control/controller.js";
import { Enforcer, type EnforcerOptions } from "../control/enforcer.js";
import { defaultSocket } from "../control/settings.js";
import { Signals } from "../control/signals.js";
import { SourceFollower } from "../control/source-follower.js";
import type { Dataplane } from "../dataplane/dataplane.js";
import { type InterfaceEvents, watchInterfaces } from "../dataplane/interfaces.js";
import type { Diagnostic } from "../diagnostics/diagnostic.js";
import type { PassOn } from "../hubble/open-hubble.js";
import { type PassedOver, passedOverLines } from "../manifest/passed-over.js";
import { touchedBy } from "../netlink/events.js";
import { FlowSinks } from "../sinks/flow-sinks.js";
import type { SinkConfig } from "../sinks/sink-config.js";
import { Attachments } from "./attachments.js";
import { PodNetwork } from "./cni/pod-network.js";
import { Succession } from "./handoff/succession.js";
import { InPlace } from "./in-place.js";
import { KeptConnections } from "./kept-connections.js";
import { keepLeastPrivilege } from "./least-privilege.js";
import { type Listen, type OpenListeners, openListeners } from "./listeners.js";
import type { NodeConfig } from "./node-config.js";
import type { NodeHost } from "./node-host.js";
import { type NodeSource, openSource, UpdateTeller } from "./open-source.js";
import { OwnNodeWatch } from "./own-node.js";
import { OwnWay } from "./own-way.js";
import { missingPods, otherAddresses, Plans } from "./plan.js";
import type { ConfigFile } from "./read-config.js";
import { ServiceManager } from "./service-manager.js";

export interface NodeRun {
  /** What the control socket calls it. */
  readonly name: string;
  readonly version: string;
  readonly config: NodeConfig;
  /** Where to listen; overrides the config. */
  readonly control: Listen;
  /** Where flows go, beside the config's. */
  readonly flows: readonly SinkConfig[];
  /** The config's file, to be read again with the manifests; absent when flags made the config. */
  readonly configFile?: ConfigFile;
  /** The text of standard input, when the config names `-`. */
  readonly stdin: string | undefined;
  readonly host: NodeHost;
  /** Takes over from the process that answers on the control socket, if one does. */
  readonly takesOver?: boolean;
  /** When a successor has taken over, waits for a signal, idle, before it ends. */
  readonly stays?: boolean;
  /** Whether wires may take interfaces that this machine's own traffic needs. */
  readonly takesNeeded?: boolean;
}

/**
 * Takes a node's interfaces and enforces policy until SIGTERM or SIGINT. False when the manifests have
 * errors, which have been shown.
 *
 * The interfaces are taken only after the manifests have compiled, and are restored when this ends; a
 * sidecar's interface only if its config says so. Nothing passes until the first table is in force, nor after
 * the process is killed. Once it enforces, it drops every privilege that it does not need.
 *
 * It also ends when a successor has taken over; the interfaces are then the successor's. At SIGTERM it leaves
 * them to its successor if the service manager stores descriptors: docs/restart.md.
 *
 * Errors: DataplaneError, RefusalError.
 */
export async function runNode(run: NodeRun): Promise<boolean> {
  const { config, configFile, stdin, host } = run;
  const plans = new Plans(config, configFile, host.hasTerminal);
  const compiler = new CompilerThread({ mode: config.mode });
  const told = new LastTold(host);
  const folder = {
    paths: () => [...plans.files, ...plans.wanted.config.source.paths],
    ignore: () => plans.wanted.config.source.ignore ?? [],
    read: async () => {
      const refused = plans.reread();
      if (refused !== undefined) return refused;
      const { paths, ignore, strict } = plans.wanted.config.source;
      const leniency = strict === true ? "strict" : "careful";
      const read = await compiler.read({ paths, stdin, leniency, ...(ignore && { ignore }) });
      told.passedOver(read.passedOver);
      return read;
    },
    watch: config.source.watch !== "never",
  };
  const network = PodNetwork.of(config, host.tell);
  const ownWay = ownWayOf(config);
  const source = await openSource(config.source, folder, host, { local: network?.pods, ownWay });
  const node = new NodeProcess(run, plans, compiler, source, { network, ownWay });
  let isEnforced = false;
  try {
    isEnforced = await node.run();
  } finally {
    await node.close();
  }
  if (run.stays === true && node.isSucceeded) await idle(host);
  return isEnforced;
}

/** Waits for a signal: whoever has started this process would start it again, and that one would take over. */
async function idle(host: NodeHost): Promise<void> {
  const signals = new Signals();
  host.tell("another process has taken over: waiting to be ended");
  await signals.untilStopped;
  signals.release();
}

/** A sidecar's process is in its pod's network: its own wire is the only way to an API server. */
function ownWayOf({ source, sidecars, wires }: NodeConfig): OwnWay | undefined {
  const [sidecar] = sidecars;
  const isAlone = sidecars.length === 1 && wires.length === 0;
  if (source.kubernetes === undefined || sidecar === undefined || !isAlone) return undefined;
  return new OwnWay(sidecar);
}

/**
 * Loads what links of the kind `kernel` may want, which takes some tenths of a second: nothing passes meanwhile once
 * an interface is taken, or a predecessor has stopped. A refusal is told with the link that is chosen instead.
 */
function prepareLinks({ wires, sidecars }: NodeConfig, dataplane: Dataplane): void {
  const ends = [
    ...wires.map(({ link, inside, outside }) => ({ link, names: [inside, outside] })),
    ...sidecars.map(({ link, interface: name }) => ({ link, names: [name] })),
  ];
  for (const { link, names } of ends) {
    if (link === "auto") dataplane.kernelChance(names);
    if (link === "kernel") dataplane.kernelChance([]);
  }
}

/** Says which files of folders are no manifests, once until that changes. */
class LastTold {
  readonly #host: NodeHost;
  #lines = "";

  constructor(host: NodeHost) {
    this.#host = host;
  }

  passedOver(passedOver: readonly PassedOver[] = []): void {
    const lines = passedOverLines(passedOver);
    if (lines.join("\n") === this.#lines) return;
    this.#lines = lines.join("\n");
    for (const line of lines) this.#host.tell(line);
  }
}

/** The enforcer of a node, with its attachments, its source of manifests and the handoff. */
class NodeProcess {
  readonly #run: NodeRun;
  readonly #plans: Plans;
  readonly #source: NodeSource;
  readonly #signals = new Signals();
  readonly #service: ServiceManager;
  readonly #enforcer: Enforcer;
  readonly #sinks: FlowSinks;
  readonly #attachments: Attachments;
  readonly #watch: InterfaceEvents;
  readonly #kept: KeptConnections;
  readonly #succession: Succession;
  readonly #inPlace: InPlace | undefined;
  readonly #network: PodNetwork | undefined;
  readonly #ownNode = new OwnNodeWatch();
  readonly #ownWay: OwnWay | undefined;
  #isReady = false;
  #follower: SourceFollower | undefined;
  #differingBefore = "";
  /** A successor has taken over, or will. */
  #isLeft = false;
  /** Whether what a predecessor was told of pods until its end is known: `#catchUp`. */
  #hasCaughtUp: boolean;
  /** Whether the predecessor's table still judges in place, as it knows pods that this process's first one lacks. */
  #owesTable = false;
  /** Passes on what answers Hubble's clients, at the end. */
  #passHubble: PassOn | undefined;

  constructor(
    run: NodeRun,
    plans: Plans,
    compiler: CompilerThread,
    source: NodeSource,
    {
      network,
      ownWay,
    }: { readonly network: PodNetwork | undefined; readonly ownWay: OwnWay | undefined },
  ) {
    const { control, host, version } = run;
    this.#ownWay = ownWay;
    this.#run = run;
    this.#hasCaughtUp = run.takesOver !== true;
    this.#plans = plans;
    this.#source = source;
    this.#network = network;
    this.#service = new ServiceManager(host);
    const { inPlace } = run.config;
    this.#inPlace =
      inPlace &&
      new InPlace(inPlace, {
        tell: host.tell,
        events: source.events,
        takesOver: run.takesOver,
        deny: run.config.dataplane.deny,
      });
    this.#enforcer = new Enforcer(this.#enforcerOptions(compiler));
    const { dataplane, flows, hits } = this.#enforcer;
    const { droppedFrames } = this.#enforcer.subject;
    this.#sinks = new FlowSinks({ flows, droppedFrames, version, tell: host.tell });
    const attachments = new Attachments({
      dataplane,
      takesNeeded: run.takesNeeded ?? false,
      tell: host.tell,
      swapped: (generation, table) => flows.useTable(generation, table),
      changed: () => this.#service.says(this.#statusLine()),
    });
    this.#attachments = attachments;
    this.#watch = watchInterfaces(() =>
      contained(host.tell, "interfaces", () => this.#followInterfaces()),
    );
    this.#kept = new KeptConnections({
      dataplane,
      wires: () => attachments.zones().filter(({ stateFolder }) => stateFolder === undefined),
      path: `${control.socket ?? defaultSocket}.connections`,
      tell: host.tell,
    });
    this.#succession = new Succession({
      dataplane,
      hits,
      attachments,
      inPlace: this.#inPlace,
      pods: network?.pods,
      host,
      version,
      socket: control.socket,
      hubbleListen: control.hubbleListen,
      takesOver: run.takesOver ?? false,
      takeUp: () => {
        if (control.socket !== "none") this.#kept.load();
      },
      endReloads: () => this.#enforcer.endReloads(),
    });
  }

  #enforcerOptions(compiler: CompilerThread): EnforcerOptions {
    const { name, version, config, host } = this.#run;
    const { source } = this.#source;
    return {
      name,
      version,
      dataplane: config.dataplane,
      compiler,
      tell: host.tell,
      controller: {
        take: () => source.take(),
        local: () => this.#ownNode.localOf(this.#plans.wanted),
        mode: config.mode,
        enforce: (table) => this.#applyPlan(table),
        relabelled: (generation, table) => {
          if (this.#ownWay?.knows(table) !== false) {
            this.#enforcer.flows.useTable(generation, table);
          }
        },
        generation: () => this.#attachments.generation,
      },
      reload: {
        // The config is read again together with files; an API server's events do not reload it.
        take: async () => {
          const refused = this.#isFollowing ? this.#plans.reread() : undefined;
          return refused === undefined ? source.take() : { all: refused };
        },
        before: () => this.#service.reloading(),
        after: (done) => this.#reloaded(done),
      },
      mode: () => this.#plans.inForce.config.mode,
      // A process that judges in place has no links: those numbers are the guards'.
      interfaceName: (linkId) =>
        this.#inPlace === undefined
          ? this.#attachments.interfaceName(linkId)
          : this.#inPlace.interfaces?.nameOf(linkId),
      interfaces: () => this.#attachments.interfaces(),
      nameGuard: () => this.#attachments.nameGuard,
      retaken: () => this.#attachments.retaken,
      offerPlace: () =>
        this.#succession.offerPlace((step) => this.#enforcer.controller.alone(step)),
      isBehind: () => source.isBehind,
      otherAddresses: () => this.#otherAddresses().map(({ message }) => message),
      sinks: () => this.#sinks.status,
      source: () => source.status(),
      plugin: this.#network,
      ...(this.#inPlace === undefined ? {} : { inPlace: this.#inPlace, moreEvents: this.#inPlace }),
    };
  }

  /** Whether changes come from an API server. */
  get #isFollowing(): boolean {
    return this.#run.config.source.kubernetes !== undefined;
  }

  /** Enforces until a signal or a successor ends it; false when the manifests have errors. */
  async run(): Promise<boolean> {
    const { takesOver = false, host } = this.#run;
    const { controller, dataplane } = this.#enforcer;
    let control = takesOver ? undefined : await this.#listen();
    prepareLinks(this.#run.config, dataplane);
    if (this.#ownWay !== undefined) {
      this.#attachments.hold(this.#plans.wanted.attachments, this.#ownWay.closedTable());
      this.#ownWay.open(dataplane);
    }
    // An API server may be unreachable for long; a signal ends this wait.
    const first = await Promise.race([this.#firstTable(), this.#signals.untilStopped]);
    if (typeof first === "string") {
      this.#isLeft = await this.#succession.end(first);
      return true;
    }
    host.show(first.diagnostics);
    if (!first.ok) {
      if (first.refused !== undefined) throw first.refused;
      return false;
    }
    this.#tellDiffering();
    const read = this.#filesInForce();
    await this.#succession.predecessorGone();
    control ??= await this.#listen();
    keepLeastPrivilege({
      files: read.filter(existsSync),
      programs: this.#inPlace !== undefined || dataplane.hasPrograms,
    });
    if (control.socket !== undefined) this.#kept.start();
    if (control.metrics !== undefined) host.tell(`metrics on ${control.metrics}`);
    if (control.hubble !== undefined) host.tell(`Hubble's protocol on ${control.hubble}`);
    const follower = this.#followSource();
    this.#follower = follower;
    await this.#network?.open({
      guard: async (pod) => this.#inPlace?.interfaces?.attach(pod),
      refresh: this.#source.refreshLocal,
      updateNow: () => follower.now(),
      table: () => controller.table,
    });
    this.#tellReady();
    this.#service.ready(this.#statusLine(), () => dataplane.progress());
    this.#followOwnNode();
    this.#enforcer.followSignals(this.#signals);
    const end = await Promise.race([this.#signals.untilStopped, this.#succession.untilSucceeded]);
    this.#isLeft = await this.#succession.end(end ?? undefined);
    return true;
  }

  /** Puts the first table in force, and in place the first that lacks no pod. */
  async #firstTable(): Promise<Reload> {
    const { controller } = this.#enforcer;
    const first = await controller.reload();
    if (!first.ok || !this.#owesTable) return first;
    this.#source.refreshLocal();
    return controller.reload();
  }

  /** Whether another process has taken this one's place. */
  get isSucceeded(): boolean {
    return this.#succession.isSucceeded;
  }

  async close(): Promise<void> {
    this.#service.stopping();
    this.#watch.close();
    this.#inPlace?.close();
    this.#network?.close();
    this.#follower?.close();
    this.#source.events?.close();
    this.#source.source.close();
    const leaves = this.#isLeft || this.#succession.isSuccessor;
    await this.#enforcer.close({
      leaves,
      // Runs before the socket's folder is removed: the folder stays if the file is in it.
      stopped: () => this.#kept.end(leaves),
      letGo: () => (leaves ? this.#attachments.leave() : this.#attachments.close()),
    });
    this.#inPlace?.leave();
    this.#succession.close(this.#passHubble);
    this.#signals.release();
  }

  /** Says once that it enforces; a sidecar whose pod the API server has not told of does not yet. */
  #tellReady(): void {
    const { table } = this.#enforcer.controller;
    const waits = table !== undefined && this.#ownWay?.knows(table) === false;
    if (this.#isReady || waits) return;
    this.#isReady = true;
    this.#run.host.ready();
  }

  #listen(): Promise<OpenListeners> {
    const { control, host } = this.#run;
    return this.#enforcer.listen(async (subject) => {
      const left = this.#succession.takeHubble();
      const open = await openListeners(subject, control, host.tell, left);
      this.#sinks.open(this.#wantedSinks());
      const end = async () => {
        if (this.#succession.handsOnHubble) this.#passHubble = await open.handOn();
        else await open.close();
      };
      const close = async () => void (await Promise.all([this.#sinks.close(), end()]));
      return { ...open, close };
    });
  }

  #wantedSinks(): readonly SinkConfig[] {
    return [...this.#plans.wanted.config.flows, ...this.#run.flows];
  }

  async #applyPlan(table: CompiledTable): Promise<number> {
    const { attachments } = this.#plans.wanted;
    // Without its pod nothing would pass the wire, the connection that could tell of the pod neither.
    const waits = this.#ownWay?.knows(table) === false;
    const judging = waits ? this.#ownWay.closedTable() : table;
    const generation = await this.#succession.enter(() =>
      this.#attachments.swapTo(attachments, judging),
    );
    if (this.#catchUp()) return generation;
    await this.#inPlace?.enforce(table, generation, this.#enforcer.controller.find);
    this.#sinks.use(this.#wantedSinks());
    const later = this.#plans.enforced();
    if (later.length > 0) {
      this.#run.host.tell(
        `${later.join(", ")}: changed; in force from the next start on`,
        "warning",
      );
    }
    return generation;
  }

  /**
   * Once, when a predecessor answers the plugin no more: reads what it was told while this process made its first
   * table. Whether that table lacks something of it: in force, it would close those pods for a moment.
   */
  #catchUp(): boolean {
    if (this.#hasCaughtUp) return false;
    this.#hasCaughtUp = true;
    this.#owesTable = this.#network?.pods.reload() === true;
    return this.#owesTable;
  }

  #followSource(): SourceFollower {
    const { host } = this.#run;
    const teller = new UpdateTeller(host);
    const afterEvents = (done: Reload): void => {
      teller.update(done);
      this.#network?.updated(done);
      this.#tellReady();
      this.#tellDiffering();
    };
    return new SourceFollower({
      source: this.#source.source,
      controller: this.#enforcer.controller,
      tell: host.tell,
      ...(this.#isFollowing
        ? { after: afterEvents, recompiled: afterEvents }
        : {
            before: () => this.#service.reloading(),
            after: (done: Reload) => this.#reloaded(done),
            recompiled: (done: Reload) => this.#recompiled(done),
          }),
    });
  }

  #followInterfaces(): void {
    const told = this.#watch.read();
    const touched = told === undefined ? undefined : touchedBy(told);
    this.#attachments.follow(touched);
    this.#inPlace?.interfaces?.interfacesChanged(touched);
    this.#followOwnNode();
  }

  /** The table follows the addresses that the node gets and loses. */
  #followOwnNode(): void {
    if (this.#ownNode.isOutdated(this.#plans.inForce)) this.#follower?.recompile();
  }

  #recompiled(done: Reload): void {
    this.#tellDiffering();
    if (done.ok) return;
    const why = done.refused?.message ?? "the manifests have errors";
    const then = "the table in force stays, and the manifests are read again";
    this.#run.host.tell(
      `the addresses of the node or of a pod have changed: ${why}; ${then}`,
      "warning",
    );
  }

  #reloaded(done: Reload): void {
    const { host } = this.#run;
    if (!done.ok) this.#plans.failed();
    host.show(done.diagnostics);
    if (done.ok) {
      const exception = this.#exceptionText();
      const severity = exception === "" ? "info" : "warning";
      host.tell(`generation ${done.generation} is in force${exception}`, severity);
    } else {
      if (done.refused !== undefined) host.tell(done.refused.message, "error");
      host.tell("nothing changed: the table in force stays", "warning");
    }
    this.#tellDiffering();
    this.#service.reloaded(this.#statusLine());
  }

  /** Says once which pods the manifests do not have, or have with other addresses. */
  #tellDiffering(): void {
    const missing = missingPods(this.#plans.inForce, this.#enforcer.controller);
    const differing = [...missing, ...this.#otherAddresses()];
    const text = differing.map(({ message }) => message).join();
    if (text !== this.#differingBefore) this.#run.host.show(differing);
    this.#differingBefore = text;
  }

  #otherAddresses(): readonly Diagnostic[] {
    const { ownAddresses } = this.#ownNode;
    return otherAddresses(this.#plans.inForce, this.#enforcer.controller, ownAddresses);
  }

  /** The files to read again: the config, the source's own, and the manifests. */
  #filesInForce(): readonly string[] {
    const read = (this.#enforcer.controller.table?.objects ?? [])
      .map((each) => each.meta.span)
      .flatMap(({ file, line }) => (line === 0 ? [] : [file]));
    return [...new Set([...this.#plans.files, ...this.#source.files, ...read])];
  }

  #statusLine(): string {
    const { status } = this.#enforcer.controller;
    const inForce = `generation ${status.generation} is in force${this.#exceptionText()}`;
    return status.lastError === undefined ? inForce : `${inForce}; refused: ${status.lastError}`;
  }

  /** Names the attachments where nothing is enforced, because an interface is missing. */
  #exceptionText(): string {
    const missing = notAttached(this.#attachments.interfaces());
    return missing.length === 0 ? "" : `, but ${notAttachedText(missing)}`;
  }
}
