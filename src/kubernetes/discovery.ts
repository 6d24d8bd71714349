import type { ApiValue } from "../manifest/api-object.js";
import { mapOf, mapsOf } from "../manifest/foreign-json.js";
import { type ApiClient, printable } from "./api-client.js";
import type { Resource } from "./resources.js";

/** Where a server serves a resource: at a path that is read, at versions that are not, or nowhere. */
export type Served =
  | { readonly path: string }
  | { readonly unknownVersions: readonly string[] }
  | "absent";

/**
 * Asks the server itself where it serves a kind that it may lack. A "not found" may come from a proxy in front of it,
 * and would remove policies that deny.
 *
 * Shape:  of several versions that are read, the newest.
 * Errors: those of ApiClient; Error where the answer is none of such a server.
 */
export async function findServed(
  client: ApiClient,
  { group, plural, paths }: Resource,
  signal: AbortSignal,
): Promise<Served> {
  const ask = async (place: string, kind: string): Promise<ApiValue> => {
    const answer = mapOf(await client.get(place, new URLSearchParams(), signal));
    if (answer["kind"] !== kind) throw new Error(`got no ${kind} from ${place}`);
    return answer;
  };
  const { groups } = await ask("/apis", "APIGroupList");
  if (!Array.isArray(groups)) throw new Error("got no groups from /apis");
  const served = mapsOf(groups).find(({ name }) => name === group);
  const versions = mapsOf(served?.["versions"]).flatMap(({ groupVersion }) =>
    typeof groupVersion === "string" ? [groupVersion] : [],
  );
  const having: string[] = [];
  for (const version of versions) {
    const { resources } = await ask(`/apis/${version}`, "APIResourceList");
    if (!Array.isArray(resources)) throw new Error(`got no resources from /apis/${version}`);
    if (mapsOf(resources).some(({ name }) => name === plural)) having.push(version);
  }
  const path = paths.find((each) =>
    having.some((version) => each === `/apis/${version}/${plural}`),
  );
  if (path !== undefined) return { path };
  return having.length === 0 ? "absent" : { unknownVersions: having.map(printable) };
}

/**
 * Asks a server for a kind's group alone, whether it serves the kind: a small answer, or none. That it is "not found"
 * may come from a proxy.
 *
 * Errors: those of ApiClient.
 */
export async function isServed(
  client: ApiClient,
  { group, plural }: Resource,
  signal: AbortSignal,
): Promise<boolean> {
  const ask = (place: string) => client.get(place, new URLSearchParams(), signal);
  const { versions } = mapOf(await ask(`/apis/${group}`));
  for (const { groupVersion } of mapsOf(versions)) {
    if (typeof groupVersion !== "string") continue;
    const { resources } = mapOf(await ask(`/apis/${groupVersion}`));
    if (mapsOf(resources).some(({ name }) => name === plural)) return true;
  }
  return false;
}

/** Says that a server has a kind in versions alone that nobody here has read. */
export function unknownVersionText(
  { group, plural }: Resource,
  versions: readonly string[],
): string {
  const names = versions.map((each) => each.slice(group.length + 1));
  return `${plural}.${group} is served as ${names.join(" and ")} alone, which this release does not know: a newer one may`;
}
