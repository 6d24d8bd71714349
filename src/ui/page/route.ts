import { useEffect, useState } from "preact/hooks";

export const views = ["map", "flows", "why", "what-if", "policies"] as const;
export type View = (typeof views)[number];

/** What the address says after `#`: a view, and its settings. */
export interface Route {
  readonly view: View;
  readonly query: URLSearchParams;
}

function parseRoute(hash: string): Route {
  const [name = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const view = views.find((each) => each === name) ?? "map";
  return { view, query: new URLSearchParams(query) };
}

/** The route as the address has it now, for what is drawn once for many routes. */
export function currentRoute(): Route {
  return parseRoute(location.hash);
}

/** Writes a link; settings that are empty are left out. */
export function linkTo(
  view: View,
  settings: Readonly<Record<string, string | undefined>> = {},
): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(settings)) if (value) query.set(key, value);
  return `#${view}${query.size === 0 ? "" : `?${query}`}`;
}

/** Puts settings into the address, beside those that are there. `replaces`: without a step for the back button. */
export function setSettings(
  route: Route,
  settings: Readonly<Record<string, string | undefined>>,
  replaces = false,
): void {
  const query = new URLSearchParams(route.query);
  for (const [key, value] of Object.entries(settings)) {
    if (value) query.set(key, value);
    else query.delete(key);
  }
  const hash = linkTo(route.view, Object.fromEntries(query));
  if (replaces) {
    history.replaceState(null, "", hash);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else location.hash = hash;
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const heard = () => setRoute(parseRoute(location.hash));
    addEventListener("hashchange", heard);
    return () => removeEventListener("hashchange", heard);
  }, []);
  return route;
}
