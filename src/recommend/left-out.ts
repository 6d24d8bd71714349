import { compareText } from "../net/order.js";

/** Why a record gives no rule, each with the words for it. `harmless`: nothing that it was about would be cut. */
export const leftOutReasons = {
  denied: { text: "refused, so it was not needed", harmless: true },
  reply: { text: "a reply: the rule for its connection carries it", harmless: true },
  exempt: { text: "no policy judges it", harmless: true },
  itself: { text: "from a pod to itself: no policy judges it", harmless: true },
  "own-node": {
    text: "between a pod and its own node, as kubelet probes are: always allowed",
    harmless: true,
  },
  outside: { text: "neither end is a pod: no policy selects it", harmless: true },
  "host-network": {
    text: "a pod on its node's network: no policy selects it",
    harmless: true,
  },
  "not-asked": { text: "neither end is asked for by --only", harmless: true },
  protocol: {
    text: "neither TCP, UDP nor SCTP: NetworkPolicy has no word for it, and will refuse it",
    harmless: false,
  },
  "no-ends": { text: "the record names no addresses, or half of them", harmless: false },
  "no-direction": { text: "the record does not say who opened the connection", harmless: false },
  "no-start": {
    text: "the capture does not show its start, so nobody knows who opened it",
    harmless: false,
  },
  unanswered: { text: "no answer was seen: --unanswered counts it", harmless: false },
  service: {
    text: "to a Service of which no pod is known: want -f with its manifests",
    harmless: false,
  },
  policy: { text: "a policy that stays refuses it", harmless: false },
  gone: { text: "another pod has taken the address over", harmless: false },
} as const satisfies Readonly<Record<string, { text: string; harmless: boolean }>>;

/** Records that give no rule, for one reason. */
export interface LeftOut {
  readonly why: keyof typeof leftOutReasons;
  readonly count: number;
  /** The first ones by name. */
  readonly examples: readonly string[];
}

const examplesMax = 3;

/** Counts what is left out, in bounded memory. */
export class LeftOutTally {
  readonly #reasons = new Map<LeftOut["why"], { count: number; readonly examples: string[] }>();

  add(why: LeftOut["why"], example: string): void {
    let tally = this.#reasons.get(why);
    if (tally === undefined) {
      tally = { count: 0, examples: [] };
      this.#reasons.set(why, tally);
    }
    tally.count++;
    const { examples } = tally;
    if (examples.length === examplesMax && example >= examples.at(-1)!) return;
    if (examples.includes(example)) return;
    examples.push(example);
    examples.sort(compareText);
    examples.length = Math.min(examples.length, examplesMax);
  }

  /** In the order of `leftOutReasons`. */
  get all(): readonly LeftOut[] {
    const words = Object.keys(leftOutReasons) as LeftOut["why"][];
    return words.flatMap((why) => {
      const tally = this.#reasons.get(why);
      return tally === undefined ? [] : [{ why, ...tally }];
    });
  }
}
