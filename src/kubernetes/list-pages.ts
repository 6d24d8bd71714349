import type { ApiValue } from "../manifest/api-object.js";
import { mapOf } from "../manifest/foreign-json.js";
import type { ApiClient } from "./api-client.js";
import { textOf } from "./api-values.js";

/** No server uses longer versions; the limit bounds what is sent back to it. */
const VERSION_LENGTH_MAX = 128;
const CONTINUE_LENGTH_MAX = 16 * 1024;

/**
 * Reads a list page by page, and hands on its items. Returns the version of the list, from which a watch goes on.
 *
 * Shape:  `query` has a `limit` where pages are wanted. `paged` is called after each.
 * Errors: those of ApiClient; Error where the answer is no such list.
 */
export async function listPages(
  client: ApiClient,
  { kind, path }: { readonly kind: string; readonly path: string },
  query: URLSearchParams,
  signal: AbortSignal,
  listed: (value: ApiValue) => void,
  paged: () => void = () => {},
): Promise<string> {
  const item = (value: unknown) => {
    if (!signal.aborted) listed(mapOf(value));
  };
  for (;;) {
    const page = mapOf(await client.list(path, query, signal, item));
    paged();
    const wanted = `${kind}List`;
    // An empty list says that there is no such object, so it must be a list of this kind.
    if (page["kind"] !== wanted) throw new Error(`got ${textOf(page["kind"])}, want ${wanted}`);
    const { items } = page;
    // Its items have been handed on, whatever stands here for them.
    if (items !== null && !(Array.isArray(items) && items.length === 0)) {
      throw new Error("got a list without items");
    }
    const metadata = mapOf(page["metadata"]);
    const next = metadata["continue"];
    if (typeof next !== "string" || next === "") {
      const version = versionOf(metadata);
      if (version === undefined) throw new Error("got a list without a resourceVersion");
      return version;
    }
    if (next.length > CONTINUE_LENGTH_MAX) throw new Error("got a continue of more than 16 kB");
    query.set("continue", next);
  }
}

/** The resourceVersion in metadata; undefined when there is none to continue from. */
export function versionOf(metadata: ApiValue): string | undefined {
  const version = metadata["resourceVersion"];
  if (typeof version !== "string" || version === "") return undefined;
  return version.length <= VERSION_LENGTH_MAX ? version : undefined;
}
