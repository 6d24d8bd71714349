import { controlStatus } from "../control/control-routes.js";
import type { CompiledTable, Reload } from "../control/controller.js";
import { Enforcer } from "../control/enforcer.js";
import { settings } from "../control/settings.js";
import type { ReadManifests } from "../control/source.js";
import type { TableCompiler } from "../control/table-compiler.js";
import type { MakingOptions } from "../control/thread-messages.js";
import type { DataplaneOptions } from "../dataplane/dataplane.js";
import {
  closeDescriptor,
  configureInterface,
  createNamespace,
  setSysctl,
} from "../dataplane/host.js";
import { Table } from "../dataplane/table.js";
import { count } from "../diagnostics/count.js";
import type { Mode } from "../manifest/annotations.js";
import type { ObjectHead } from "../manifest/objects.js";
import { type Address, formatAddress, parseAddress } from "../net/address.js";
import type { PodRanges } from "../workloads/assign-addresses.js";
import { LabError } from "./lab-error.js";
import {
  gatewayMac,
  gatewayV4,
  gatewayV6,
  type LabPlan,
  type PlannedPod,
  planLab,
} from "./plan.js";
import { PodPrograms } from "./pod-programs.js";
import { probePods } from "./probes.js";
import type { LabStatus, ProbeReport, ProbeSpec } from "./protocol.js";

/** Name of every pod's interface, in its own namespace. */
const podInterface = "eth0";

interface Running extends PlannedPod {
  readonly namespaceFd: number;
  readonly linkId: number;
}

export interface LabOptions {
  readonly name: string;
  readonly version: string;
  /** Reads the current manifests. */
  readonly read: () => Promise<ReadManifests>;
  /** The paths of the manifests, for `status`. */
  readonly paths: () => readonly string[];
  /** How its packets are judged. */
  readonly dataplane?: DataplaneOptions;
  /** Mode of a policy when neither it nor its pod sets one: enforced when absent. */
  readonly mode?: Mode;
  /** Ranges for pods without addresses; `usualRanges` when absent. */
  readonly ranges?: PodRanges;
  /** What `read` makes of manifests. */
  readonly making?: MakingOptions;
  /** Owner: closed with the lab. When absent, it compiles in this thread. */
  readonly compiler?: TableCompiler;
  /** Reports the progress of the start, one line per step. */
  readonly report?: (step: string) => void;
  /** Called to end the programs that still run in a removed pod. */
  readonly podRemoved?: (ref: string) => void;
  /** Called with the result of a requested reload. */
  readonly reloaded?: (reload: Reload) => void;
  /** Whether changes on disk are known that have not been read yet. */
  readonly isBehind?: () => boolean;
  readonly tell?: (line: string) => void;
  /** Gives pods names and Services; the lab answers at declared ports with `isServing`. Absent: neither. */
  readonly programs?: { readonly isServing: boolean };
}

/**
 * A namespace for each pod of a set of manifests, wired through one data plane that enforces them.
 *
 * This process holds the namespaces by descriptors and the interfaces by its links. So the kernel removes all
 * of them when the process ends, even when it is killed. Nothing is forwarded before a table is in force.
 *
 * Errors: LabError for input and names, DataplaneError for what the environment refuses.
 */
export class Lab {
  readonly enforcer: Enforcer;
  readonly #options: LabOptions;
  readonly #programs: PodPrograms | undefined;
  #plan: LabPlan = { pods: [], objects: [], own: [] };
  #running = new Map<string, Running>();
  #table: Table | undefined;

  private constructor(options: LabOptions) {
    this.#options = options;
    const { name, version, compiler, tell, reloaded, programs } = options;
    if (programs !== undefined) {
      this.#programs = new PodPrograms(programs.isServing, tell ?? (() => {}));
    }
    const take = async () => ({ all: await options.read() });
    const mode = options.mode ?? settings.mode.fallback;
    this.enforcer = new Enforcer({
      name,
      version,
      dataplane: options.dataplane ?? {},
      controller: {
        take,
        local: () => "all",
        mode,
        prepare: (read) => this.#prepare(read),
        added: () => this.#plan.own,
        ...(options.making === undefined ? {} : { making: options.making }),
        enforce: (table) => this.#swapTo(table),
      },
      reload: { take, ...(reloaded === undefined ? {} : { after: reloaded }) },
      mode: () => mode,
      // The interface has the same name in every pod; the pod's name distinguishes them.
      interfaceName: () => podInterface,
      interfaces: () =>
        [...this.#running.values()].map(({ ref, linkId }) => ({
          name: podInterface,
          linkId,
          role: "endpoint",
          pod: ref,
        })),
      isBehind: options.isBehind ?? (() => false),
      ...(compiler === undefined ? {} : { compiler }),
      ...(tell === undefined ? {} : { tell }),
    });
  }

  /** Starts a lab. With `ok` it enforces; otherwise it has been removed again. */
  static async start(options: LabOptions): Promise<{ lab: Lab; reload: Reload }> {
    const lab = new Lab(options);
    try {
      const reload = await lab.enforcer.controller.reload();
      if (reload.ok) lab.enforcer.dataplane.start({ switch: { gatewayMac } });
      else await lab.close();
      return { lab, reload };
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  /** Tries connections between the pods. See `probePods`. */
  async probe(specs: readonly ProbeSpec[] | undefined): Promise<ProbeReport> {
    if (this.#table === undefined) throw new LabError("environment", "no table is in force yet");
    const start = performance.now();
    const { generation } = this.enforcer.controller.status;
    const pods = [...this.#running.values()].map((pod) => ({
      ...pod,
      isServed: (address: Address, protocol: string, port: number) =>
        this.#programs?.answersAt(pod, formatAddress(address), protocol, port) ?? false,
    }));
    const deny = this.#options.dataplane?.deny ?? settings.deny.fallback;
    const probes = await probePods(pods, this.#table, specs, deny);
    return {
      ok: probes.length > 0 && probes.every((each) => each.agrees),
      generation,
      elapsedMs: Math.round(performance.now() - start),
      probes,
    };
  }

  status(): LabStatus {
    const counters = this.enforcer.dataplane.counters();
    const status = controlStatus(this.enforcer.subject);
    return {
      ...status,
      since: status.since ?? "",
      paths: this.#options.paths(),
      cwd: process.cwd(),
      pods: [...this.#running.values()].map((pod) => {
        const counts = counters.links.get(pod.linkId);
        return {
          ref: pod.ref,
          name: pod.name,
          addresses: pod.addresses.map(formatAddress),
          mac: pod.mac,
          assigned: pod.assigned,
          isOwn: pod.isOwn,
          hostname: pod.hostname,
          subdomain: pod.subdomain,
          namespaceFd: pod.namespaceFd,
          namespacePath: `/proc/${process.pid}/fd/${pod.namespaceFd}`,
          packetsOut: counts?.receivedFrames ?? 0,
          packetsIn: counts?.sentFrames ?? 0,
          dropped: counts?.droppedFrames ?? 0,
        };
      }),
      names: this.#programs?.status ?? null,
    };
  }

  /** Stops forwarding and releases every namespace. */
  async close(): Promise<void> {
    await this.#programs?.close();
    await this.enforcer.close();
    for (const pod of this.#running.values()) closeDescriptor(pod.namespaceFd);
    this.#running.clear();
  }

  #prepare({ objects, services = [] }: ReadManifests): readonly ObjectHead[] {
    this.#options.report?.("planning pods");
    const { ranges } = this.#options;
    const names =
      this.#programs === undefined ? undefined : { services, before: this.#plan.services };
    const plan = planLab(objects, [...this.#running.values()], ranges, names);
    if (plan.pods.length === 0) throw nothingToRun(objects);
    this.#plan = plan;
    return this.#plan.objects;
  }

  async #swapTo(table: CompiledTable): Promise<number> {
    const { services } = this.#plan;
    const { generation, added } = this.#swapPods(table);
    if (services !== undefined) {
      this.#options.report?.("giving pods names");
      await this.#programs?.follow(services, [...this.#running.values()], added);
    }
    return generation;
  }

  #swapPods(table: CompiledTable): { generation: number; added: ReadonlySet<string> } {
    const added: Running[] = [];
    const next = new Map<string, Running>();
    try {
      for (const [index, planned] of this.#plan.pods.entries()) {
        const running = this.#running.get(planned.ref);
        if (running !== undefined && samePlace(running, planned)) {
          next.set(planned.ref, { ...running, ...planned });
          continue;
        }
        this.#options.report?.(`pod ${index + 1} of ${this.#plan.pods.length}: ${planned.ref}`);
        const pod = this.#bringUp(planned);
        added.push(pod);
        next.set(planned.ref, pod);
      }
      const bindings = table.ruleset.endpoints.flatMap((endpoint, endpointId) => {
        const pod = next.get(`${endpoint.namespace}/${endpoint.name}`);
        return pod === undefined ? [] : [[endpointId, pod.linkId] as const];
      });
      const opened = Table.open(table.blob.bytes);
      const generation = this.enforcer.dataplane.swapTable(table.blob, bindings);
      this.#table = opened;
      const { given: services = table.services ?? [] } = this.#plan.services ?? {};
      this.enforcer.flows.useTable(generation, { ...table, services });
      const gone = [...this.#running.values()].filter(
        (pod) => next.get(pod.ref)?.linkId !== pod.linkId,
      );
      this.#running = next;
      for (const pod of gone) this.#takeDown(pod);
      return { generation, added: new Set(added.map(({ ref }) => ref)) };
    } catch (error) {
      for (const pod of added) this.#takeDown(pod);
      throw error;
    }
  }

  #bringUp(planned: PlannedPod): Running {
    const namespaceFd = createNamespace();
    let linkId: number | undefined;
    try {
      // Every address is a host address (/32, /128), without an on-link prefix: all traffic passes the
      // switch.
      setSysctl(namespaceFd, "ipv6/conf/default/accept_dad", "0");
      setSysctl(namespaceFd, "ipv6/conf/default/accept_ra", "0");
      linkId = this.enforcer.dataplane.addEndpointLink({
        namespaceFd,
        name: podInterface,
        mac: planned.mac,
      });
      const gateways = planned.addresses.some((each) => each.family === 6)
        ? [gatewayV4, gatewayV6]
        : [gatewayV4];
      configureInterface(namespaceFd, {
        name: podInterface,
        addresses: planned.addresses.map((address) => ({ address, length: hostLength(address) })),
        up: true,
        routes: gateways.flatMap((text) => {
          const gateway = parseAddress(text)!;
          if (!planned.addresses.some((each) => each.family === gateway.family)) return [];
          return [{ destination: { address: gateway, length: hostLength(gateway) } }, { gateway }];
        }),
      });
      return { ...planned, namespaceFd, linkId };
    } catch (error) {
      if (linkId !== undefined) this.enforcer.dataplane.removeLink(linkId);
      closeDescriptor(namespaceFd);
      throw error;
    }
  }

  #takeDown(pod: Running): void {
    this.#options.podRemoved?.(pod.ref);
    this.enforcer.dataplane.removeLink(pod.linkId);
    closeDescriptor(pod.namespaceFd);
  }
}

function nothingToRun(objects: readonly ObjectHead[]): LabError {
  const pods = objects.filter(({ kind }) => kind === "Pod").length;
  const policies = objects.filter(({ kind }) => kind.endsWith("Policy")).length;
  const got = `${count(policies, "policy", "policies")} and ${count(pods, "pod")}`;
  return new LabError(
    "input",
    `got ${got}${pods === 0 ? "" : ", none with a network of its own"}, want pods to run, or workloads that want some`,
    "sluice validate -f PATH says what was read, and what was passed over",
  );
}

/** A pod whose address has changed is another pod, as in Kubernetes: it gets a new namespace. */
function samePlace(running: PlannedPod, planned: PlannedPod): boolean {
  const text = (pod: PlannedPod) => pod.addresses.map(formatAddress).join();
  return running.mac === planned.mac && text(running) === text(planned);
}

function hostLength(address: Address): number {
  return address.family === 4 ? 32 : 128;
}
