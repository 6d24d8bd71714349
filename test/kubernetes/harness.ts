import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findCluster } from "../../src/kubernetes/cluster-access.js";
import { KubernetesSource } from "../../src/kubernetes/kubernetes-source.js";
import type { Timing } from "../../src/kubernetes/timing.js";
import type { KubernetesObject } from "../../src/manifest/objects.js";
import { formatAddress } from "../../src/net/address.js";
import { patientMs } from "../patience.js";
import { ApiServer } from "./api-server.js";

/** A real server's times, divided by a few hundred. */
export const quick: Timing = {
  answerMs: 1_500,
  idleMs: 300,
  listMs: 5_000,
  watchIdleMs: 600,
  relistMs: 960,
  staleMs: 1_200,
  watchMs: 20_000,
  steadyMs: 100,
  backoffMs: 10,
  backoffMaxMs: 150,
  absentMs: 150,
  absentGroupMs: 50,
};

/** For tests of what goes well: no limit of the source ends a request, however busy the machine is. */
export const unhurried: Partial<Timing> = {
  answerMs: patientMs,
  idleMs: patientMs,
  listMs: patientMs,
  watchIdleMs: patientMs,
  relistMs: patientMs,
  staleMs: patientMs,
};

/** A server, a source that follows it, and what the source has said so far. */
export class Followed {
  readonly server = new ApiServer();
  /** What an operator was told. */
  readonly told: string[] = [];
  readonly folder = mkdtempSync(join(tmpdir(), "sluice-kube-"));
  readonly kubeconfig = join(this.folder, "config");
  /** What has been taken, by kind and name. */
  readonly objects = new Map<string, KubernetesObject>();
  /** Every change that was taken, in order: `Pod shop/a 10.0.0.1` or `-Pod shop/a`. */
  readonly changes: string[] = [];
  readonly codes: string[] = [];
  source: KubernetesSource | undefined;

  async start(
    options: {
      readonly timing?: Partial<Timing>;
      readonly pageItems?: number;
      readonly memoryBytes?: number;
      readonly ca?: string;
      readonly node?: string;
    } = {},
  ): Promise<KubernetesSource> {
    await this.server.start();
    writeFileSync(this.kubeconfig, this.server.kubeconfig("first-token", options.ca));
    const access = await findCluster({ kubeconfig: this.kubeconfig, env: {} });
    this.source = new KubernetesSource({
      access,
      tell: (line) => this.told.push(line),
      timing: { ...quick, ...options.timing },
      ...(options.pageItems === undefined ? {} : { pageItems: options.pageItems }),
      ...(options.memoryBytes === undefined ? {} : { memoryBytes: options.memoryBytes }),
      ...(options.node === undefined ? {} : { node: options.node }),
    });
    return this.source;
  }

  /** Takes until a condition holds, and from then on at each change. */
  async until(holds: () => boolean, waitMs = patientMs): Promise<void> {
    const end = Date.now() + waitMs;
    for (;;) {
      await this.take();
      if (holds()) return;
      if (Date.now() > end) {
        const state = JSON.stringify(this.source?.status(), null, 1);
        throw new Error(`waited in vain; told ${this.told.join("\n")}\n${state}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async take(): Promise<void> {
    const { changes, diagnostics } = await this.source!.take();
    this.codes.push(...diagnostics.map(({ code }) => code));
    for (const change of changes) {
      if ("put" in change) {
        const { kind, meta } = change.put;
        const name = `${kind} ${meta.namespace}/${meta.name}`;
        const addresses = kind === "Pod" ? change.put.addresses.map(formatAddress) : [];
        this.objects.set(name, change.put);
        this.changes.push([name, ...addresses].join(" "));
      } else {
        const { kind, namespace, name } = change.remove;
        this.objects.delete(`${kind} ${namespace}/${name}`);
        this.changes.push(`-${kind} ${namespace}/${name}`);
      }
    }
  }

  names(kind: string): string[] {
    return [...this.objects.values()]
      .filter((each) => each.kind === kind)
      .map(({ meta }) => meta.name)
      .sort();
  }

  /** Requests for one kind's path that were answered or not. */
  asked(path: string, isWatch: boolean): number {
    return this.server.seen.filter((each) => each.path === path && each.isWatch === isWatch).length;
  }

  async close(): Promise<void> {
    this.source?.close();
    await this.server.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export const podsPath = "/api/v1/pods";
export const policiesPath = "/apis/networking.k8s.io/v1/networkpolicies";

/** Waits until a condition holds, and fails when it does not come to. */
export async function eventually(what: string, holds: () => boolean): Promise<void> {
  for (const end = Date.now() + patientMs; !holds(); ) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await pause(10);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
