import type { Diagnostic } from "../diagnostics/diagnostic.js";
import { type ApiValue, readApiObject } from "../manifest/api-object.js";
import { mapOf } from "../manifest/foreign-json.js";
import type { KubernetesObject } from "../manifest/objects.js";
import { ApiClient, ApiError, printable } from "./api-client.js";
import type { ClusterAccess } from "./cluster-access.js";
import { findServed, unknownVersionText } from "./discovery.js";
import { listPages } from "./list-pages.js";
import { MemoryBudget, weightOf } from "./memory-budget.js";
import { Pace } from "./pace.js";
import { type Resource, resourceName, resources, serviceResources } from "./resources.js";
import { type Timing, usualTiming, within } from "./timing.js";

/** What a cluster has at one moment, as far as it bears on policy. */
export interface ListedCluster {
  readonly objects: readonly KubernetesObject[];
  /** Services and what stands behind them, as the server has them, each with kind and version. */
  readonly services: readonly ApiValue[];
  /** Findings of single objects: none is an error. */
  readonly diagnostics: readonly Diagnostic[];
  /** Why services are not all there, in words. */
  readonly withoutServices: readonly string[];
}

export interface ListOptions {
  readonly access: ClusterAccess;
  readonly timing?: Timing;
  /** For everything together. Units: milliseconds. */
  readonly limitMs?: number;
  readonly pageItems?: number;
}

const usualLimitMs = 60_000;

/**
 * Lists once what policy depends on, and follows nothing.
 *
 * Shape:  all resources or none: pods without their policies would look open. Of services any part may be missing.
 * Cost:   a list for each resource, all at the same time.
 * Errors: ListError, which names the right that is missing.
 */
export async function listCluster({
  access,
  timing = usualTiming,
  limitMs = usualLimitMs,
  pageItems = 500,
}: ListOptions): Promise<ListedCluster> {
  const budget = new MemoryBudget();
  const client = new ApiClient({ access, timing, pace: new Pace(), budget });
  const late = () =>
    new ListError(access.server.origin, new Error(`not all is listed within ${limitMs / 1_000} s`));
  const listAll = async <Kept>(
    resource: Resource,
    signal: AbortSignal,
    read: (value: ApiValue) => Kept,
  ): Promise<readonly Kept[]> => {
    try {
      return await listWhereServed({ client, pageItems, signal }, resource, (value) => {
        const kept = read(value);
        budget.take(weightOf(kept));
        return kept;
      });
    } catch (error) {
      throw new ListError(access.server.origin, error as Error, resource);
    }
  };
  return within(limitMs, new AbortController().signal, late, async (signal) => {
    const beside = Promise.allSettled(
      serviceResources.map((resource) =>
        listAll(resource, signal, (value) => withType(value, resource)),
      ),
    );
    const lists = await Promise.all(
      resources.map((resource) =>
        listAll(resource, signal, (value) => readApiObject(resource.kind, value)),
      ),
    );
    const services = await beside;
    return {
      objects: lists.flat().flatMap(({ object }) => object ?? []),
      diagnostics: lists.flat().flatMap((each) => each.diagnostics),
      services: services.flatMap((each) => (each.status === "fulfilled" ? each.value : [])),
      withoutServices: services.flatMap((each) =>
        each.status === "rejected" ? [(each.reason as Error).message] : [],
      ),
    };
  });
}

/** Items of a list do not say what they are; what a server keeps for itself is left out. */
function withType(value: ApiValue, { kind, group, paths }: Resource): ApiValue {
  const version = paths[0].split("/").at(-2);
  const { managedFields: _, ...metadata } = mapOf(value["metadata"]);
  return {
    ...value,
    apiVersion: group === "" ? version : `${group}/${version}`,
    kind,
    metadata,
  };
}

interface Asking {
  readonly client: ApiClient;
  readonly pageItems: number;
  readonly signal: AbortSignal;
}

/** Lists a resource in the newest version that is known; nothing where the server itself says that it has none. */
async function listWhereServed<Kept>(
  asking: Asking,
  resource: Resource,
  keep: (value: ApiValue) => Kept,
): Promise<readonly Kept[]> {
  const { paths, isCustom } = resource;
  try {
    return await listAt(asking, resource, paths[0], keep);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404 || !isCustom) throw error;
    const served = await findServed(asking.client, resource, asking.signal);
    if (served === "absent") return [];
    if ("unknownVersions" in served) {
      throw new Error(unknownVersionText(resource, served.unknownVersions));
    }
    if (served.path === paths[0]) throw error;
    return listAt(asking, resource, served.path, keep);
  }
}

/** Lists page by page; in one go where the list changes too fast for that. */
async function listAt<Kept>(
  asking: Asking,
  resource: Resource,
  path: string,
  keep: (value: ApiValue) => Kept,
  isPaged = true,
): Promise<readonly Kept[]> {
  const { client, pageItems, signal } = asking;
  const { kind, fieldSelector } = resource;
  const found: Kept[] = [];
  const query = new URLSearchParams(isPaged ? { limit: `${pageItems}` } : {});
  if (fieldSelector !== undefined) query.set("fieldSelector", fieldSelector);
  try {
    await listPages(client, { kind, path }, query, signal, (value) => found.push(keep(value)));
    return found;
  } catch (error) {
    if (!isPaged || !(error instanceof ApiError) || error.status !== 410) throw error;
    return listAt(asking, resource, path, keep, false);
  }
}

/** What is asked of a cluster could not be listed. */
export class ListError extends Error {
  /** The right that is missing; undefined where it is something else. */
  readonly grant?: string;

  constructor(server: string, cause: Error, resource?: Resource) {
    const { code } = cause as NodeJS.ErrnoException;
    const why = cause.message === "" ? (code ?? cause.name) : printable(cause.message);
    const what = resource === undefined ? "" : `${resourceName(resource)} cannot be listed: `;
    super(`${server}: ${what}${why}`);
    this.name = "ListError";
    const isForbidden = cause instanceof ApiError && cause.status === 403;
    if (resource === undefined || !isForbidden) return;
    this.grant = `the verb list on ${resource.plural} in apiGroup "${resource.group}"`;
  }
}
