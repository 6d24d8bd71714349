import { readlinkSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { type CompileResult, compile } from "../compiler/compile.js";
import { type ControlClient, keptListBytesMax } from "../control/client.js";
import type { ConnectionItem, ControlStatus, ManifestListHead } from "../control/control-routes.js";
import { fromJson } from "../control/manifest-json.js";
import type { PolicyItem } from "../control/policy-routes.js";
import { RefusalError } from "../control/refusal.js";
import { count } from "../diagnostics/count.js";
import type { KubernetesObject, ServiceObject } from "../manifest/objects.js";
import type { LocalPods } from "../policy/cluster.js";
import type { PolicyHitsDocument } from "./documents.js";
import { FileTexts } from "./file-texts.js";
import type { FindConnections, LiveQuestions, UiSession } from "./session.js";
import { TableModel } from "./table-model.js";
import type { Making, Traffic } from "./what-if.js";

/** How often the process is asked whether another table is in force, and how long after it did not answer. */
const pollMs = 1_000;
/** Of a cluster that changes all the time no more is read than a tenth of the time allows. */
const restFactor = 10;
/** Flows from before the start of the page. */
const lastFlows = 5_000;
const connectionsMax = 200_000;

/** A process's status, with the folder that a lab tells. */
type Status = ControlStatus & { readonly cwd?: string };

/** A table in force, and how another is made. */
export interface InForce {
  /** Tells this table from every other, of this process or another on the same socket. */
  readonly key: string;
  readonly model: TableModel;
  readonly making: Making;
}

/**
 * Reads the table in force, and what it was made from, of a process.
 *
 * Verdicts and reasons come from the process's own table; its manifests only give the words.
 *
 * Errors: RefusalError.
 */
export async function readInForce(client: ControlClient): Promise<InForce> {
  const status = await client.ask<Status>("GET", "/status");
  const list = await readManifestList(client);
  const { objects, head } = list;
  const { mode } = head;
  const { compiled, local } = compiledInForce(list);
  const sinceMs = Date.parse(status.since ?? "") || Date.now();
  const model = new TableModel({
    ...{ objects, compiled },
    generation: head.generation,
    sources: new FileTexts(status.cwd ?? folderOf(status.pid), sinceMs),
    leftOut: head.lastError === null ? [] : [`the last reload changed nothing: ${head.lastError}`],
  });
  return { key: keyOf(status), model, making: { compile: { mode, local }, pods: {} } };
}

/** What a process has in force. */
export interface ProcessManifests {
  readonly objects: readonly KubernetesObject[];
  readonly services: readonly ServiceObject[];
  readonly head: ManifestListHead;
}

/**
 * The table in force of a process, with what its manifests add to the answers. Errors: RefusalError for manifests that
 * are not in force.
 */
export function compiledInForce({ objects, head }: ProcessManifests): {
  readonly compiled: Extract<CompileResult, { ok: true }>;
  readonly local: LocalPods;
} {
  const local = fromJson(head.local) as LocalPods;
  const compiled = compile({ objects, mode: head.mode, local });
  if (!compiled.ok) {
    const why = head.lastError ?? compiled.diagnostics[0]?.message;
    throw new RefusalError("environment", `the process has read manifests with errors: ${why}`);
  }
  const blob = new Uint8Array(Buffer.from(head.table, "base64"));
  return { compiled: { ...compiled, blob }, local };
}

function keyOf({ pid, generation, since }: Status): string {
  return `${pid} ${generation} ${since}`;
}

/** Reads the objects of a process, and its table. Errors: RefusalError. */
export async function readManifestList(client: ControlClient): Promise<ProcessManifests> {
  const objects: KubernetesObject[] = [];
  const services: ServiceObject[] = [];
  const head = await client.list<unknown>("GET", "/manifests", {
    bytesMax: keptListBytesMax,
    onItem(item) {
      const object = fromJson(item) as KubernetesObject | ServiceObject;
      if (isService(object)) services.push(object);
      else objects.push(object);
    },
  });
  return { objects, services, head: head as unknown as ManifestListHead };
}

function isService(object: KubernetesObject | ServiceObject): object is ServiceObject {
  return ["Service", "EndpointSlice", "Endpoints", "Ingress"].includes(object.kind);
}

/** The folder of a process on this machine; this one's where it is another user's. */
function folderOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return process.cwd();
  }
}

/** What a process is asked when the page asks it. */
export function liveQuestions(client: ControlClient): LiveQuestions {
  return { connections: connectionsOf(client), hits: hitsOf(client) };
}

function hitsOf(client: ControlClient): LiveQuestions["hits"] {
  return async () => {
    const policies: Record<string, PolicyHitsDocument> = {};
    await client.list<PolicyItem>("GET", "/policies", {
      bytesMax: keptListBytesMax,
      onItem({ kind, namespace, name, hits }) {
        // A process of an earlier version counts none.
        if (hits === null || hits === undefined) return;
        const { rules, denied } = hits;
        const times = [rules, denied.ingress, denied.egress].flatMap(({ lastHit }) =>
          lastHit === null ? [] : [Date.parse(lastHit)],
        );
        policies[`${kind} ${namespace}/${name}`] = {
          connections: rules.connections,
          packets: rules.packets,
          denied: denied.ingress.packets + denied.egress.packets,
          lastMs: times.length === 0 ? null : Math.max(...times),
        };
      },
    });
    return { policies };
  };
}

/** Finds the live connections of a process. */
function connectionsOf(client: ControlClient): FindConnections {
  return async () => {
    const { established } = await client.ask<Status>("GET", "/status");
    if (established === "keep") {
      return { traffic: [], judged: "no connection: this process keeps them" };
    }
    const traffic: Traffic[] = [];
    let seen = 0;
    await client.list<ConnectionItem>("GET", "/connections", {
      bytesMax: keptListBytesMax,
      onItem({ source, destination, protocol }) {
        seen++;
        if (traffic.length >= connectionsMax) return;
        traffic.push({
          source: source.address,
          destination: destination.address,
          from: source.pod ?? source.address,
          to: destination.pod ?? destination.address,
          protocol,
          port: destination.port === 0 ? null : destination.port,
          connections: 1,
        });
      },
    });
    const which = seen > traffic.length ? `the first ${traffic.length} of ` : "";
    return { traffic, judged: `${which}${count(seen, "live connection")}` };
  };
}

/** Keeps a session equal to a process: its flows, and its table when another is in force. */
export class LiveSource {
  readonly #client: ControlClient;
  readonly #session: UiSession;
  readonly #stop = new AbortController();
  #key: string;
  #isFollowing = false;

  /** `key`: of the table that the session has. */
  constructor(client: ControlClient, session: UiSession, key: string) {
    this.#client = client;
    this.#session = session;
    this.#key = key;
    void this.#followFlows();
    void this.#followTable();
  }

  close(): void {
    this.#stop.abort();
  }

  async #followFlows(): Promise<void> {
    const { signal } = this.#stop;
    let query = `last=${lastFlows}`;
    while (!signal.aborted) {
      this.#isFollowing = true;
      try {
        await this.#client.follow(
          `/flows?follow=true&${query}`,
          (line) => {
            this.#session.trouble = null;
            this.#session.see(line);
          },
          signal,
        );
        this.#session.trouble = "the process has ended the stream of flows";
      } catch (error) {
        this.#session.trouble = (error as Error).message;
      }
      this.#isFollowing = false;
      query = `since=${new Date().toISOString()}`;
      await this.#rest();
    }
  }

  async #followTable(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#rest();
      try {
        const status = await this.#client.ask<Status>("GET", "/status");
        // No flow may come for long: that the process answers says that it is there again.
        if (this.#isFollowing) this.#session.trouble = null;
        if (keyOf(status) === this.#key) continue;
        const startMs = performance.now();
        const { key, model, making } = await readInForce(this.#client);
        this.#session.replace(model, making);
        this.#key = key;
        await this.#rest(restFactor * (performance.now() - startMs));
      } catch (error) {
        this.#session.trouble = (error as Error).message;
      }
    }
  }

  async #rest(forMs = pollMs): Promise<void> {
    await pause(forMs, undefined, { signal: this.#stop.signal }).catch(() => {});
  }
}
