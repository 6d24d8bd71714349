import { useEffect, useState } from "preact/hooks";
import type { WhyDocument, WhyPlace, WhyRule, WhySide } from "../documents.js";
import { serviceOf, source } from "./data.js";

interface WhyProps {
  readonly from: string;
  readonly to: string;
  /** As `5432/tcp`; empty: one that tells most. */
  readonly port: string;
  /** Changes when another table is in force. */
  readonly revision: number;
}

/** The explanation of one packet between two ends. */
export function WhyPanel({ from, to, port, revision }: WhyProps) {
  const [why, setWhy] = useState<WhyDocument | Error>();
  useEffect(() => {
    let isCurrent = true;
    source
      .why(from, to, port)
      .catch((error: Error) => error)
      .then((answer) => isCurrent && setWhy(answer));
    return () => {
      isCurrent = false;
    };
  }, [from, to, port, revision]);
  if (why === undefined) return <p class="quiet">asking the table …</p>;
  if (why instanceof Error) return <p class="trouble">{why.message}</p>;
  return <Explained why={why} />;
}

function Explained({ why }: { readonly why: WhyDocument }) {
  const { verdict, sides, nearest, passes, self, differs } = why;
  const isAllowed = verdict === "allow";
  return (
    <article class="why" aria-live="polite">
      <p class={`verdict ${verdict}`}>
        <strong>{isAllowed ? "Allowed" : "Denied"}</strong> {serviceOf(why)}
        {!isAllowed && (
          <span>
            {" "}
            by{" "}
            {sides
              .filter((side) => side.verdict === "deny")
              .map((side) => side.direction)
              .join(" and ")}
          </span>
        )}
      </p>
      <dl class="packet">
        <dt>packet</dt>
        <dd>
          <code>{why.from.address}</code> → <code>{why.to.address}</code>{" "}
          <code>{serviceOf(why)}</code>, judged by the table of generation {why.generation}
        </dd>
        <dt>passes</dt>
        <dd>{passes === "-" ? "nothing between these two" : passes}</dd>
      </dl>
      {self && <p>A pod's traffic to itself is never judged.</p>}
      {sides.map((side) => (
        <Side key={side.direction} side={side} />
      ))}
      {nearest !== null && (
        <section class="nearest">
          <h3>Nearest miss</h3>
          <Rule rule={nearest} isOpen />
        </section>
      )}
      {differs.length > 0 && (
        <section>
          <h3>Judged otherwise</h3>
          <ul>
            {differs.map((text) => (
              <li key={text}>{text}</li>
            ))}
          </ul>
        </section>
      )}
    </article>
  );
}

function Side({ side }: { readonly side: WhySide }) {
  const { direction, endpoint, verdict, judged, isolatedBy, decidedBy, rules } = side;
  const others = rules.filter((rule) => rule.ref !== decidedBy?.ref);
  return (
    <section class={`side ${verdict}`}>
      <h3>
        <span class={`dot ${verdict}`} /> {direction === "egress" ? "Leaving" : "Reaching"}{" "}
        <code>{endpoint}</code>: {verdict === "allow" ? "allowed" : "denied"}
      </h3>
      {!judged && <p>No policy judges this end: it is no pod here.</p>}
      {judged && isolatedBy.length === 0 && decidedBy === null && (
        <p>No policy isolates it for {direction}, so everything passes.</p>
      )}
      {decidedBy !== null && (
        <>
          <p>
            {decidedBy.action === "Accept"
              ? "This rule allows it"
              : `This rule decides: ${decidedBy.action}`}
            {decidedBy.tier === "NetworkPolicy" ? "" : ` (tier ${decidedBy.tier})`}
          </p>
          <Excerpt place={decidedBy} />
        </>
      )}
      {judged && decidedBy === null && isolatedBy.length > 0 && (
        <>
          <p>
            Default deny:{" "}
            {isolatedBy.length === 1 ? "this policy isolates" : "these policies isolate"} it, and no
            rule allows the packet.
          </p>
          {isolatedBy.map((place) => (
            <Excerpt key={place.ref} place={place} />
          ))}
        </>
      )}
      {others.length > 0 && (
        <details>
          <summary>
            {others.length === 1 ? "1 other rule" : `${others.length} other rules`} asked
          </summary>
          {others.map((rule) => (
            <Rule key={`${rule.ref} ${rule.line}`} rule={rule} />
          ))}
        </details>
      )}
    </section>
  );
}

function Rule({ rule, isOpen = false }: { readonly rule: WhyRule; readonly isOpen?: boolean }) {
  const { peer, ports, advice, matches } = rule;
  return (
    <div class="rule">
      <Excerpt place={rule} isOpen={isOpen} />
      <ul class="conditions">
        <li class={peer.ok ? "ok" : "fails"}>
          {rule.direction === "ingress" ? "from" : "to"}: {peer.detail}
        </li>
        <li class={ports.ok ? "ok" : "fails"}>ports: {ports.detail}</li>
      </ul>
      {matches && <p class="quiet">It matches, and an earlier rule has decided.</p>}
      {advice !== null && <p class="advice">{advice}</p>}
    </div>
  );
}

function Excerpt({
  place,
  isOpen = true,
}: {
  readonly place: WhyPlace;
  readonly isOpen?: boolean;
}) {
  const { ref, file, line, excerpt } = place;
  const where = line === 0 ? file : `${file}:${line}`;
  return (
    <figure class="excerpt">
      <figcaption>
        <strong>{ref}</strong> <span class="quiet">{where}</span>
      </figcaption>
      {isOpen && excerpt.length > 0 && (
        <pre>
          {excerpt.map((text, at) => (
            <span key={line + at} class="line" data-line={line + at}>
              {text}
              {"\n"}
            </span>
          ))}
        </pre>
      )}
    </figure>
  );
}
