import { useEffect, useState } from "preact/hooks";
import { objectName } from "../../diagnostics/object-name.js";
import type { HitsDocument, MapDocument, PolicyHitsDocument } from "../documents.js";
import { source } from "./data.js";
import { linkTo, type Route, setSettings } from "./route.js";
import { ago, counted, short } from "./words.js";

/** Policies and the workloads that they concern, both ways. */
export function PoliciesView({
  map,
  route,
  canEdit,
  isLive,
}: {
  readonly map: MapDocument;
  readonly route: Route;
  readonly canEdit: boolean;
  readonly isLive: boolean;
}) {
  const search = (route.query.get("q") ?? "").toLowerCase();
  const by = route.query.get("by") ?? "policy";
  return (
    <div class="flows">
      <div class="toolbar" role="toolbar" aria-label="policies">
        <input
          id="search"
          type="search"
          aria-label="search policies and workloads"
          placeholder="Search  /"
          value={route.query.get("q") ?? ""}
          onInput={(event) => setSettings(route, { q: event.currentTarget.value }, true)}
        />
        <span class="segments">
          {(["policy", "workload"] as const).map((each) => (
            <button
              key={each}
              type="button"
              aria-pressed={by === each}
              onClick={() => setSettings(route, { by: each === "policy" ? undefined : each })}
            >
              By {each}
            </button>
          ))}
        </span>
        <span class="quiet count">{counted(map.policies.length, "policy", "policies")}</span>
      </div>
      <div class="scroll">
        {by === "policy" ? (
          <ByPolicy {...{ map, search, canEdit, isLive }} />
        ) : (
          <ByWorkload {...{ map, search }} />
        )}
      </div>
    </div>
  );
}

interface TableProps {
  readonly map: MapDocument;
  readonly search: string;
}

const namesShown = 12;

const pollMs = 2_000;

/** What the policies have decided so far; undefined where nobody counts. */
function useHits(isLive: boolean): HitsDocument["policies"] | undefined {
  const [hits, setHits] = useState<HitsDocument>();
  useEffect(() => {
    if (!isLive) return;
    let isOver = false;
    let timer = 0;
    const poll = async () => {
      const answer = await source.hits().catch(() => undefined);
      if (isOver) return;
      // The last that were known stay while nobody answers; that nobody does, the flows' poll says.
      if (answer !== undefined && answer.policies !== null) setHits(answer);
      timer = setTimeout(poll, pollMs);
    };
    void poll();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [isLive]);
  return hits?.policies;
}

interface ByPolicyProps extends TableProps {
  readonly canEdit: boolean;
  readonly isLive: boolean;
}

function ByPolicy({ map, search, canEdit, isLive }: ByPolicyProps) {
  const hits = useHits(isLive);
  const shown = map.policies
    .map((policy, place) => ({ policy, place }))
    .filter(({ policy }) =>
      `${policy.kind} ${objectName(policy)} ${policy.file}`.toLowerCase().includes(search),
    );
  if (shown.length === 0) {
    return (
      <p class="empty">
        {map.policies.length === 0
          ? "There are no policies: whatever another end allows passes."
          : "No policy has this in its name or file."}
      </p>
    );
  }
  return (
    <table class="grid" aria-label="policies">
      <thead>
        <tr>
          <th scope="col">Policy</th>
          <th scope="col">Tier</th>
          <th scope="col">Written at</th>
          <th scope="col" class="number">
            Pods
          </th>
          {hits && (
            <>
              <th scope="col" class="number">
                Connections
              </th>
              <th scope="col" class="number">
                Denied
              </th>
              <th scope="col">Last hit</th>
            </>
          )}
          <th scope="col">Workloads</th>
          {canEdit && (
            <th>
              <span class="hidden">what if</span>
            </th>
          )}
        </tr>
      </thead>
      <tbody>
        {shown.map(({ policy, place }) => (
          <tr key={`${policy.kind} ${objectName(policy)}`}>
            <th scope="row" data-title="Policy">
              {objectName(policy)}
              {policy.kind !== "NetworkPolicy" && <span class="quiet"> {policy.kind}</span>}
            </th>
            <td data-title="Tier">{policy.tier}</td>
            <td class="quiet" data-title="Written at">
              {policy.line === 0 ? policy.file : `${policy.file}:${policy.line}`}
            </td>
            <td class="number" data-title="Pods">
              {policy.pods === 0 ? <span class="warn">0</span> : policy.pods}
            </td>
            {hits && <Hits hits={hits[`${policy.kind} ${policy.namespace}/${policy.name}`]} />}
            <td data-title="Workloads">
              <Names names={policy.parties.map((at) => map.parties[at]!.name)} />
            </td>
            {canEdit && (
              <td class="why-cell">
                <a href={linkTo("what-if", { policy: String(place) })}>What if?</a>
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Connections that its rules decided, packets that it denied by isolating, and when the last was. */
function Hits({ hits }: { readonly hits: PolicyHitsDocument | undefined }) {
  const last = hits?.lastMs ?? null;
  return (
    <>
      <td class="number" data-title="Connections">
        {hits === undefined ? "" : short(hits.connections)}
      </td>
      <td class="number" data-title="Denied">
        {hits === undefined ? "" : short(hits.denied)}
      </td>
      <td data-title="Last hit">
        {last === null ? <span class="quiet">never</span> : ago(last, Date.now())}
      </td>
    </>
  );
}

function Names({ names }: { readonly names: readonly string[] }) {
  if (names.length === 0) return <span class="warn">selects no pod</span>;
  return (
    <span class="names">
      {names.slice(0, namesShown).map((name) => (
        <a key={name} href={linkTo("map", { focus: name })}>
          {name}
        </a>
      ))}
      {names.length > namesShown && <span class="quiet">and {names.length - namesShown} more</span>}
    </span>
  );
}

function ByWorkload({ map, search }: TableProps) {
  const shown = map.parties.filter(
    ({ outside, name }) => !outside && name.toLowerCase().includes(search),
  );
  const side = (isolated: number, pods: number) =>
    isolated === 0 ? (
      <span class="warn">open</span>
    ) : isolated === pods ? (
      "isolated"
    ) : (
      `${isolated} of ${pods} pods`
    );
  if (shown.length === 0) {
    return (
      <p class="empty">
        {search === "" ? "There are no workloads." : "No workload has this in its name."}
      </p>
    );
  }
  return (
    <table class="grid" aria-label="workloads">
      <thead>
        <tr>
          <th scope="col">Workload</th>
          <th scope="col" class="number">
            Pods
          </th>
          <th scope="col">Ingress</th>
          <th scope="col">Egress</th>
          <th scope="col">From the internet</th>
          <th scope="col">Policies</th>
        </tr>
      </thead>
      <tbody>
        {shown.map((party) => (
          <tr key={party.name}>
            <th scope="row" data-title="Workload">
              <a href={linkTo("map", { focus: party.name })}>{party.name}</a>
            </th>
            <td class="number" data-title="Pods">
              {party.pods.length}
            </td>
            <td data-title="Ingress">{side(party.isolated.ingress, party.pods.length)}</td>
            <td data-title="Egress">{side(party.isolated.egress, party.pods.length)}</td>
            <td data-title="From the internet">
              {party.internet === 0 ? (
                "nothing"
              ) : (
                <span class="alarm">{map.ports[party.internet]}</span>
              )}
            </td>
            <td data-title="Policies">
              {party.policies.length === 0 ? (
                <span class="warn">none</span>
              ) : (
                <span class="names">
                  {party.policies.map((at) => (
                    <a key={at} href={linkTo("policies", { q: objectName(map.policies[at]!) })}>
                      {objectName(map.policies[at]!)}
                    </a>
                  ))}
                </span>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
