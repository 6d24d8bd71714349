import { useState } from "preact/hooks";
import type { MapDocument } from "../documents.js";
import { type Route, setSettings } from "./route.js";
import { WhyPanel } from "./why-panel.js";

/** A question about any two ends. */
export function WhyView({ map, route }: { readonly map: MapDocument; readonly route: Route }) {
  const asked = {
    from: route.query.get("from") ?? "",
    to: route.query.get("to") ?? "",
    port: route.query.get("port") ?? "",
  };
  const [ends, setEnds] = useState(asked);
  const [shown, setShown] = useState(asked);
  // The address has changed by a link.
  if (asked.from !== shown.from || asked.to !== shown.to || asked.port !== shown.port) {
    setShown(asked);
    setEnds(asked);
  }
  const names = map.parties.flatMap(({ name, pods }) => [name, ...pods]);
  const field = (key: keyof typeof ends, label: string, hint: string) => (
    <label>
      <span>{label}</span>
      <input
        value={ends[key]}
        list={key === "port" ? undefined : "ends"}
        placeholder={hint}
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => setEnds({ ...ends, [key]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <div class="page-narrow">
      <form
        class="question"
        onSubmit={(event) => {
          event.preventDefault();
          setSettings(route, ends);
        }}
      >
        {field("from", "From", "pod, workload or address")}
        {field("to", "To", "pod, workload or address")}
        {field("port", "Port", "5432/tcp, or none")}
        <span class="buttons">
          <button type="submit" class="primary">
            Why?
          </button>
          <button
            type="button"
            title="ask the other way round"
            onClick={() => setSettings(route, { from: ends.to, to: ends.from })}
          >
            ⇄<span class="hidden">swap</span>
          </button>
        </span>
        <datalist id="ends">
          {[...new Set(names)].slice(0, 2_000).map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
      </form>
      {asked.from !== "" && asked.to !== "" ? (
        <>
          <h2 class="ends">
            {asked.from} <span class="quiet">→</span> {asked.to}
          </h2>
          <WhyPanel {...asked} revision={map.revision} />
        </>
      ) : (
        <p class="empty">
          Ask about any two: a workload, one pod of it, or an address. The answer comes from the
          table that is in force, with the line of the manifest that decides.
        </p>
      )}
    </div>
  );
}
