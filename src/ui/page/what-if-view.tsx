import { useEffect, useState } from "preact/hooks";
import type { MapDocument, WhatIfDocument } from "../documents.js";
import { source } from "./data.js";
import type { Route } from "./route.js";
import { counted } from "./words.js";

interface WhatIfProps {
  readonly map: MapDocument;
  readonly route: Route;
}

/** Other policies, and what they would change, before anything is applied. */
export function WhatIfView({ map, route }: WhatIfProps) {
  const [text, setText] = useState("");
  const [removed, setRemoved] = useState<readonly string[]>([]);
  const [answer, setAnswer] = useState<WhatIfDocument | Error>();
  const [isAsking, setAsking] = useState(false);
  const [trouble, setTrouble] = useState("");
  const add = (place: number) =>
    source.policy(place).then(
      (policy) => {
        setTrouble("");
        setText((before) =>
          before.trim() === "" ? policy.text : `${before.trimEnd()}\n---\n${policy.text}`,
        );
      },
      (error: Error) => setTrouble(error.message),
    );
  const asked = route.query.get("policy");
  useEffect(() => {
    if (asked !== null) void add(Number(asked));
  }, [asked]);
  const compare = async () => {
    setAsking(true);
    setAnswer(await source.whatIf(text, removed).catch((error: Error) => error));
    setAsking(false);
  };
  const refs = map.policies.map(({ kind, namespace, name }) => `${kind} ${namespace}/${name}`);
  return (
    <div class="what-if">
      <section class="editor" aria-label="policies to try">
        <div class="toolbar">
          <select
            aria-label="edit a policy"
            value=""
            onChange={(event) => {
              const { value } = event.currentTarget;
              if (value !== "") void add(Number(value));
              event.currentTarget.value = "";
            }}
          >
            <option value="">Edit a policy …</option>
            {refs.map((ref, at) => (
              <option key={ref} value={at}>
                {ref}
              </option>
            ))}
          </select>
          <select
            aria-label="leave a policy out"
            value=""
            onChange={(event) => {
              const { value } = event.currentTarget;
              if (value !== "") setRemoved([...new Set([...removed, value])]);
              event.currentTarget.value = "";
            }}
          >
            <option value="">Leave a policy out …</option>
            {refs.map((ref) => (
              <option key={ref} value={ref}>
                {ref}
              </option>
            ))}
          </select>
          {removed.map((ref) => (
            <button
              key={ref}
              type="button"
              class="chip refused"
              aria-label={`keep ${ref}`}
              onClick={() => setRemoved(removed.filter((each) => each !== ref))}
            >
              without {ref} <span aria-hidden="true">✕</span>
            </button>
          ))}
        </div>
        {trouble !== "" && <p class="trouble">{trouble}</p>}
        <textarea
          value={text}
          spellcheck={false}
          aria-label="manifests to try"
          placeholder={
            "Paste policies here, or choose one above.\nThey take the place of those with the same name; nothing is applied."
          }
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void compare();
          }}
        />
        <p class="buttons">
          <button
            type="button"
            class="primary"
            disabled={isAsking || (text.trim() === "" && removed.length === 0)}
            onClick={() => void compare()}
          >
            {isAsking ? "Comparing …" : "What would change?"}
          </button>
          <span class="quiet">Ctrl+Enter · nothing is applied</span>
        </p>
      </section>
      <section class="outcome" aria-live="polite" aria-label="what would change">
        {answer instanceof Error && <p class="trouble">{answer.message}</p>}
        {answer !== undefined && !(answer instanceof Error) && <Outcome answer={answer} />}
        {answer === undefined && (
          <p class="empty">
            The answer names every connection that would open or close, a packet that proves it, and
            the traffic that would be cut.
          </p>
        )}
      </section>
    </div>
  );
}

function Outcome({ answer }: { readonly answer: WhatIfDocument }) {
  const { ok, findings, equivalent, changes, moreChanges, cut, moreCut, judged } = answer;
  const opened = changes.filter(({ what }) => what === "opened");
  const closed = changes.filter(({ what }) => what === "closed");
  return (
    <>
      {findings.length > 0 && (
        <ul class="findings">
          {findings.map(({ severity, place, message }) => (
            <li key={`${place} ${message}`} class={severity}>
              <code>{place}</code> {severity}: {message}
            </li>
          ))}
        </ul>
      )}
      {!ok && <p class="trouble">The manifests have errors: nothing was compared.</p>}
      {ok && equivalent && <p class="verdict allow">Every packet is judged as before.</p>}
      {ok && !equivalent && (
        <p class="tally">
          <span class="opened">{opened.length} opened</span>
          <span class="closed">{closed.length} closed</span>
          {answer.podsAdded.length > 0 && (
            <span>{counted(answer.podsAdded.length, "pod")} added</span>
          )}
          {answer.podsRemoved.length > 0 && (
            <span>{counted(answer.podsRemoved.length, "pod")} removed</span>
          )}
        </p>
      )}
      {ok && judged !== "" && (
        <p class={cut.length > 0 ? "cut-note alarm" : "cut-note"}>
          {cut.length > 0
            ? `${counted(cut.length + moreCut, "connection")} would be cut`
            : "Nothing would be cut"}{" "}
          <span class="quiet">of {judged}</span>
        </p>
      )}
      {cut.length > 0 && (
        <table class="grid">
          <caption class="hidden">what would be cut</caption>
          <thead>
            <tr>
              <th scope="col">From</th>
              <th scope="col">To</th>
              <th scope="col">Port</th>
              <th scope="col">Denied by</th>
            </tr>
          </thead>
          <tbody>
            {cut.map((each) => (
              <tr key={`${each.source} ${each.destination} ${each.service}`} class="dropped">
                <td data-title="From">{each.source}</td>
                <td data-title="To">{each.destination}</td>
                <td data-title="Port">{each.service}</td>
                <td data-title="Denied by">{each.deniedBy.join(" and ")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {[...opened, ...closed].map((change) => (
        <div key={JSON.stringify(change)} class={`change ${change.what}`}>
          <p>
            <strong>{change.what}</strong> {change.from.join(", ")} <span class="quiet">→</span>{" "}
            {change.to.join(", ")} <b class="ports">{change.ports}</b>
          </p>
          {change.witness !== null && (
            <p class="quiet">
              for example {change.witness.from} ({change.witness.source}) → {change.witness.to} (
              {change.witness.destination}) {change.witness.service}: {change.witness.before}{" "}
              before, {change.witness.after} after
            </p>
          )}
        </div>
      ))}
      {moreChanges > 0 && <p class="quiet">and {moreChanges} more changes</p>}
    </>
  );
}
