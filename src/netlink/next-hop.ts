import {
  NHA_ENCAP,
  NHA_GROUP,
  NHA_ID,
  NHA_OIF,
  NLM_F_CREATE,
  NLM_F_REPLACE,
  RTM_GETNEXTHOP,
  RTM_NEWNEXTHOP,
} from "./constants.js";
import { type Entry, nextHopFlags, rebuilt, SELF } from "./entry.js";
import { attributesOf, dump, NetlinkError, type Request, view, word, wordOf } from "./messages.js";

const nextHopBodyBytes = 8;
/**
 * The last attribute that a request may set; later ones are read-only, or of unusual kinds of groups.
 */
const askedLast = NHA_ENCAP;
const groupEntryBytes = 8;

/** Reads next hop objects of the interface, and the groups that they are in, with their ids. */
export function readNextHops(index: number): { entries: Entry[]; ids: Set<number> } {
  const all = listNextHops().map((body) => ({
    body,
    said: new Map(attributesOf(body, nextHopBodyBytes).map(({ type, data }) => [type, data])),
  }));
  const number = (said: ReadonlyMap<number, Uint8Array>, type: number): number =>
    wordOf(said.get(type) ?? word(0));
  const own = all.filter(({ said }) => said.has(NHA_OIF) && number(said, NHA_OIF) === index);
  const ids = new Set(own.map(({ said }) => number(said, NHA_ID)));
  const groups = all.filter(({ said }) => {
    const group = said.get(NHA_GROUP) ?? new Uint8Array();
    for (let at = 0; at < group.length; at += groupEntryBytes) {
      if (ids.has(wordOf(group, at))) return true;
    }
    return false;
  });
  for (const { said } of groups) ids.add(number(said, NHA_ID));
  const entries = [...own, ...groups].map(({ body }) => {
    const head = body.slice(0, nextHopBodyBytes);
    head[1] = 0; // the scope follows from the rest
    view(head).setUint32(4, view(head).getUint32(4, true) & nextHopFlags, true);
    const asked = attributesOf(body, nextHopBodyBytes).filter(({ type }) => type <= askedLast);
    return retargetNextHop(rebuilt(head, nextHopBodyBytes, asked), SELF);
  });
  return { entries, ids };
}

export function putNextHops(entries: readonly Entry[], index: number): Request[] {
  return entries.map((entry) => ({
    type: RTM_NEWNEXTHOP,
    body: retargetNextHop(entry, index),
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    what: "add a next hop",
  }));
}

function retargetNextHop(body: Uint8Array, to: number): Uint8Array {
  return rebuilt(
    body,
    nextHopBodyBytes,
    attributesOf(body, nextHopBodyBytes).map(({ type, data }) =>
      type === NHA_OIF ? { type, data: word(to) } : { type, data },
    ),
  );
}

function listNextHops(): Uint8Array[] {
  try {
    return dump(RTM_GETNEXTHOP, new Uint8Array(nextHopBodyBytes), RTM_NEWNEXTHOP);
  } catch (error) {
    // Linux before 5.3 has no next hop objects.
    if (error instanceof NetlinkError) return [];
    throw error;
  }
}
