import { render } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { MapDocument, PageDocument } from "../documents.js";
import { FlowStore, source } from "./data.js";
import { FlowsView } from "./flows-view.js";
import { MapView } from "./map-view.js";
import { PoliciesView } from "./policies-view.js";
import { linkTo, useRoute, type View, views } from "./route.js";
import { WhatIfView } from "./what-if-view.js";
import { WhyView } from "./why-view.js";

const titles: Readonly<Record<View, string>> = {
  map: "Map",
  flows: "Flows",
  why: "Why",
  "what-if": "What if",
  policies: "Policies",
};

const pollMs = 1_000;

const keys: readonly (readonly [string, string])[] = [
  ["1 … 5", "the views"],
  ["/", "search"],
  ["Esc", "close, or clear the search"],
  ["Tab", "from arrow to arrow, box to box"],
  ["Arrows, Enter", "in the heat map: from cell to cell, and why"],
  ["?", "this help"],
];

/** The documents of the page, kept up to date. */
function usePage() {
  const [page, setPage] = useState<PageDocument>();
  const [map, setMap] = useState<MapDocument>();
  const [trouble, setTrouble] = useState("");
  const [store] = useState(() => new FlowStore());
  const [tick, setTick] = useState(0);

  useEffect(() => {
    Promise.all([source.page(), source.map()]).then(
      ([about, first]) => {
        document.title = `${about.title} · Sluice`;
        setPage(about);
        setMap(first);
      },
      (error: Error) => setTrouble(error.message),
    );
  }, []);

  const isPolled = page !== undefined && page.flows !== null;
  const isLive = page?.mode === "live";
  const revision = map?.revision;
  useEffect(() => {
    if (!isPolled) return;
    let timer = 0;
    let isOver = false;
    const poll = async () => {
      try {
        if (await store.refresh()) setTick((before) => before + 1);
        setTrouble(store.last?.trouble ?? "");
        if (store.last?.revision !== revision) setMap(await source.map());
      } catch (error) {
        setTrouble((error as Error).message);
      }
      if (!isOver && isLive) timer = setTimeout(poll, pollMs);
    };
    void poll();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [isPolled, isLive, store, revision]);
  return { page, map, store, tick, trouble };
}

function App() {
  const route = useRoute();
  const { page, map, store, tick, trouble } = usePage();
  const [isHelp, setHelp] = useState(false);

  useEffect(() => {
    const heard = (event: KeyboardEvent) => onKey(event, route.view, setHelp);
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  }, [route.view]);

  // Views that no flow changes are not looked at again for each second's.
  const still = useMemo(() => {
    if (map === undefined || page === undefined) return undefined;
    if (route.view === "why") return <WhyView {...{ map, route }} />;
    if (route.view === "what-if") return <WhatIfView {...{ map, route }} />;
    if (route.view !== "policies") return undefined;
    const isLive = page.mode === "live";
    return <PoliciesView {...{ map, route, isLive }} canEdit={page.mode !== "file"} />;
  }, [map, page, route]);

  const shown = views.filter(
    (view) => page?.mode !== "file" || !["flows", "what-if"].includes(view),
  );
  return (
    <>
      <header class="top">
        <strong class="brand">Sluice</strong>
        <nav aria-label="views">
          {shown.map((view) => (
            <a
              key={view}
              href={linkTo(view)}
              aria-current={route.view === view ? "page" : undefined}
            >
              {titles[view]}
            </a>
          ))}
        </nav>
        <span class="about">
          {page !== undefined && (
            <>
              {page.mode === "live" && (
                <span class={`live${trouble === "" ? "" : " stopped"}`}>
                  {trouble === "" ? "live" : "stopped"}
                </span>
              )}
              <span class="title" title={page.title}>
                {page.title}
              </span>
              {page.mode === "live" && <span class="quiet">generation {map?.generation}</span>}
            </>
          )}
          <Theme />
          <button
            type="button"
            class="icon"
            aria-label="keys"
            title="keys (?)"
            onClick={() => setHelp(!isHelp)}
          >
            ?
          </button>
        </span>
      </header>
      {trouble !== "" && (
        <p class="banner" role="alert">
          {trouble}
        </p>
      )}
      {map !== undefined && map.leftOut.length > 0 && (
        <p class="banner note">{map.leftOut.join(" · ")}</p>
      )}
      <main>
        {map !== undefined && page !== undefined && (
          <>
            {route.view === "map" && (
              <MapView
                {...{ map, store, route }}
                hasFlows={page.flows !== null}
                isLive={page.mode === "live"}
              />
            )}
            {route.view === "flows" && (
              <FlowsView
                {...{ store, tick, route }}
                hasFlows={page.flows !== null}
                isLive={page.mode === "live"}
              />
            )}
            {still}
          </>
        )}
      </main>
      {isHelp && <Help onClose={() => setHelp(false)} />}
    </>
  );
}

function Help({ onClose }: { readonly onClose: () => void }) {
  const close = useRef<HTMLButtonElement>(null);
  // The keyboard is where the help is, and then where it was.
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    close.current?.focus();
    return () => before?.focus();
  }, []);
  return (
    <dialog open class="help" aria-label="keys">
      <h2>Keys</h2>
      <dl>
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <button ref={close} type="button" onClick={onClose}>
        Close
      </button>
    </dialog>
  );
}

function onKey(event: KeyboardEvent, view: View, setHelp: (isOn: boolean) => void): void {
  const target = event.target as HTMLElement;
  const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
  if (event.key === "Escape") {
    setHelp(false);
    if (isTyping) target.blur();
    else if (view === "map") document.querySelector<HTMLElement>(".panel .close")?.click();
    return;
  }
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const chosen = views[Number(event.key) - 1];
  if (chosen !== undefined) location.hash = linkTo(chosen);
  else if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search")?.focus();
  } else if (event.key === "?") setHelp(true);
}

/** Light or dark, other than the system has it. It is not kept: nothing is stored in the browser. */
function Theme() {
  const [theme, setTheme] = useState("");
  useEffect(() => {
    if (theme === "") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }, [theme]);
  const isDark = () =>
    theme === "dark" || (theme === "" && matchMedia("(prefers-color-scheme: dark)").matches);
  return (
    <button
      type="button"
      class="icon"
      aria-label="light or dark"
      title="light or dark"
      onClick={() => setTheme(isDark() ? "light" : "dark")}
    >
      ◐
    </button>
  );
}

render(<App />, document.getElementById("app")!);
