import {
  NDA_CACHEINFO,
  NDA_PROBES,
  NLM_F_CREATE,
  NLM_F_REPLACE,
  NTF_PROXY,
  NUD_DELAY,
  NUD_NOARP,
  NUD_PERMANENT,
  NUD_PROBE,
  NUD_REACHABLE,
  NUD_STALE,
  RTM_DELNEIGH,
  RTM_GETNEIGH,
  RTM_NEWNEIGH,
  RTN_UNICAST,
} from "./constants.js";
import { type Entry, indexAt, rebuilt, retargetBody, SELF, sorted } from "./entry.js";
import { attributesOf, dump, type Request, removals, view, wordOf } from "./messages.js";

const neighbourBodyBytes = 12;
/** States in which a neighbour's hardware address is known. */
const knownStates = NUD_REACHABLE | NUD_STALE | NUD_NOARP | NUD_PERMANENT;

/** Reads an interface's neighbours, proxied ones too. Errors: NetlinkError. */
export function readNeighbours(index: number): Entry[] {
  const proxied = new Uint8Array(neighbourBodyBytes);
  proxied[10] = NTF_PROXY;
  return [new Uint8Array(neighbourBodyBytes), proxied]
    .flatMap((asked) => dump(RTM_GETNEIGH, asked, RTM_NEWNEIGH))
    .filter((body) => wordOf(body, indexAt) === index)
    .flatMap((body) => comparableNeighbour(body) ?? []);
}

/** Whether a neighbour was configured, not learnt. */
export function isStatic(neighbour: Entry): boolean {
  const state = view(neighbour).getUint16(8, true);
  return (state & (NUD_PERMANENT | NUD_NOARP)) !== 0 || isProxy(neighbour);
}

/** Requests that add neighbours to an interface. */
export function putNeighbours(entries: readonly Entry[], index: number): Request[] {
  return entries.map((entry) => ({
    type: RTM_NEWNEIGH,
    body: retargetBody(entry, index),
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    what: "add a neighbour",
    // A refusal is no error for a learnt neighbour: the kernel learns it again.
    ...(isStatic(entry) ? {} : { allows: "any" as const }),
  }));
}

/** Requests that remove neighbours; those that went with the link are no error. */
export function removeNeighbours(entries: readonly Entry[], index: number): Request[] {
  const bodies = entries.map((entry) => retargetBody(entry, index));
  return removals(RTM_DELNEIGH, "remove a neighbour", bodies);
}

/** The comparable entry; none for entries that the kernel makes by itself or has not resolved. */
function comparableNeighbour(body: Uint8Array): Entry[] | undefined {
  const head = body.slice(0, neighbourBodyBytes);
  const words = view(head);
  const said = words.getUint16(8, true);
  const state = (said & (NUD_DELAY | NUD_PROBE)) === 0 ? said : NUD_STALE;
  const isAutomatic = (state & NUD_NOARP) !== 0 && head[11] !== RTN_UNICAST;
  if (!isProxy(body) && ((state & knownStates) === 0 || isAutomatic)) return undefined;
  words.setUint32(indexAt, SELF, true);
  words.setUint16(8, state, true);
  head[11] = 0;
  const kept = attributesOf(body, neighbourBodyBytes).filter(
    ({ type }) => type !== NDA_CACHEINFO && type !== NDA_PROBES,
  );
  return [rebuilt(head, neighbourBodyBytes, sorted(kept))];
}

function isProxy(neighbour: Uint8Array): boolean {
  return ((neighbour[10] ?? 0) & NTF_PROXY) !== 0;
}
