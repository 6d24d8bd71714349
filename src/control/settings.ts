import {
  CONNECTIONS_DEFAULT_MAX,
  CONNECTIONS_DEFAULT_MIN,
  CONNECTIONS_MAX,
  denyWords,
  establishedWords,
  FRAGMENTS_DEFAULT,
  FRAGMENTS_MAX,
  forwardHookWords,
  LinkKind,
  linkKindWords,
  pollModeWords,
  WORKERS_MAX,
} from "../layout/layout.gen.js";
import { modes } from "../manifest/mode.js";

/**
 * The settings of an enforcing process, each declared once. Flags, config keys, their types, docs and
 * defaults are made from this.
 */

/** The folder for sockets and state that other processes look up. */
export const runFolder = "/run/sluice";
/** The default control socket. */
export const defaultSocket = `${runFolder}/sluice.sock`;

/** One of some words. */
export interface WordSetting<Word extends string> {
  readonly words: readonly Word[];
  /** The default. */
  readonly fallback: Word;
  readonly doc: string;
}

/** A whole number. */
export interface NumberSetting {
  readonly least: number;
  readonly most: number;
  /** The default, for the docs. */
  readonly fallback: string;
  readonly doc: string;
}

function word<const Word extends string>(
  words: readonly Word[],
  fallback: NoInfer<Word>,
  doc: string,
): WordSetting<Word> {
  return { words, fallback, doc };
}

function whole(least: number, most: number, fallback: string, doc: string): NumberSetting {
  return { least, most, fallback, doc };
}

export const settings = {
  mode: word(
    modes,
    "enforce",
    "enforce policy, or only report what it would deny (verdict AUDIT); annotations of policies and pods override this",
  ),
  deny: word(
    denyWords,
    denyWords[0],
    "what the sender of a denied packet gets: nothing, or a TCP reset or an ICMP error, at most 1,000 a second",
  ),
  established: word(
    establishedWords,
    establishedWords[0],
    "what a new table does to existing connections: judge each again on its next packet, keep them, or end at once those that it denies",
  ),
  poll: word(
    pollModeWords,
    pollModeWords[0],
    "how a worker waits for packets: poll for a short time when that pays, spin (on a core of its own), or sleep",
  ),
  link: word(
    [
      "auto",
      linkKindWords[LinkKind.Xdp],
      linkKindWords[LinkKind.Packet],
      linkKindWords[LinkKind.Kernel],
    ],
    "auto",
    "how packets are received and sent",
  ),
  failMode: word(
    ["closed", "open"],
    "closed",
    "what passes when the process is gone without a clean end (kill -9): nothing (closed), or everything, unjudged (open)",
  ),
  hook: word(
    ["auto", ...forwardHookWords],
    "auto",
    "what judges where the kernel forwards: a program at netfilter's forward hook (Linux 6.4), a program as the match of rules there (Linux 5.10), or this process, of packets that rules there queue; auto is the first that the kernel has",
  ),
  unknownPods: word(
    ["closed", "open"],
    "closed",
    "what passes to and from an address of the node's pod ranges that no pod is known to have: nothing (closed), or everything (open)",
  ),
  sourceGuard: word(
    ["on", "off"],
    "on",
    "whether the interface of each pod of the node passes only frames whose source is the pod's own address",
  ),
  lapsed: word(
    ["closed", "open"],
    "closed",
    "what passes to and from the node's pods when --lease is over: nothing (closed), or everything, unjudged, of pods with the annotation sluice/fail-mode: open (open)",
  ),
  routerAdvertisements: word(
    ["pass", "drop"],
    "drop",
    "whether the network's router advertisements reach the pod: they give it routes, addresses and DNS servers, and no policy judges them",
  ),
  watch: word(["auto", "never"], "auto", "read the manifests again when they change on disk"),
  workers: whole(1, WORKERS_MAX, "1", "threads that judge packets, each with its own connections"),
  cpu: whole(
    0,
    8_191,
    "any",
    "the CPU of the first such thread; the others take the CPUs after it",
  ),
  // A smaller table than this is of no use.
  connections: whole(
    64,
    CONNECTIONS_MAX,
    `what fits into 1/32 of the memory, at least ${CONNECTIONS_DEFAULT_MIN} and at most ${CONNECTIONS_DEFAULT_MAX}`,
    "connections tracked at once",
  ),
  connectionsPerEndpoint: whole(
    1,
    CONNECTIONS_MAX,
    "an equal share",
    `connections of one endpoint at once; at most the number of tracked connections, or ${CONNECTIONS_DEFAULT_MIN} where that is not set; each worker has an equal part`,
  ),
  fragments: whole(
    1,
    FRAGMENTS_MAX,
    `${FRAGMENTS_DEFAULT}`,
    "fragmented datagrams followed at once",
  ),
} as const;

/** What each setting of words may be. */
export type Choice<Name extends keyof typeof settings> =
  (typeof settings)[Name] extends WordSetting<infer Word> ? Word : never;
