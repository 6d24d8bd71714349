import { startTurnTaker } from "./turns.js";

/** The outcome of one kind of connections. */
export interface FloodGroup {
  readonly name: keyof typeof groupNames;
  readonly tried: number;
  /** Connections whose first packet did not pass. */
  readonly refused: number;
  /** Connections of which a later packet did not pass, before one end closed. */
  readonly cut: number;
  /** Connections of which a packet did not pass after one end had closed. */
  readonly unclosed: number;
}

/** The outcome for all parties during several simultaneous floods, in simulated time. */
export interface MixedFlood {
  readonly seconds: number;
  readonly pods: number;
  readonly frames: number;
  /** The processor's time for a frame. */
  readonly nsPerFrame: number;
  readonly connectionsMax: number;
  /** Of these, for each pod. */
  readonly quota: number;
  /** Connections at the end. */
  readonly inUse: number;
  /** Evicted connections, by class. */
  readonly evicted: Readonly<Record<"closing" | "unanswered" | "unassured" | "assured", number>>;
  /** Memory in use at the beginning, and after each sixth of the time. */
  readonly residentBytes: readonly number[];
  readonly groups: readonly FloodGroup[];
  readonly reached: {
    /** Under 0.1 % of the other pods' new connections were lost. */
    readonly others: boolean;
    /** None of the established ones was. */
    readonly established: boolean;
    /**
     * Within 1 % from two thirds of the time to the end. It grows until the table has been full, and then by single
     * pages of what was taken at the start and is used for the first time.
     */
    readonly memory: boolean;
  };
}

export const groupNames = {
  others: "other pods: new connections",
  established: "all pods: established connections",
  short: "first pod: short TCP connections",
  besideShort: "first pod: other new connections",
  echo: "second pod: echo requests of a stranger",
  dns: "second pod: DNS queries of the same stranger",
  besideStranger: "second pod: other new connections",
  ally: "third pod: connections that it and an ally keep",
} as const;

const lostShareMax = 0.001;

/**
 * Lets the filter judge some floods at once, beside other pods, for so many simulated seconds.
 *
 * Shape:  `program` is native_bench, `table` the file of the table of floodManifests.
 * Errors: throws an Error with what the program said, for example when `connections` are too few.
 */
export async function measureMixedFlood(
  program: string,
  table: string,
  { seconds, connections }: { readonly seconds: number; readonly connections: number },
): Promise<MixedFlood> {
  const words = ["mixed-flood", table, `${seconds}`, `${connections}`];
  const taker = await startTurnTaker("mixed flood", program, words);
  try {
    const turn = await taker.turn();
    const detail = turn.detail as RawFlood;
    return { ...detail, nsPerFrame: Math.round(turn.ns), reached: reached(detail) };
  } finally {
    taker.close();
  }
}

type RawFlood = Omit<MixedFlood, "nsPerFrame" | "reached">;

const growthMax = 1.01;

function reached({ groups, residentBytes }: RawFlood): MixedFlood["reached"] {
  const lostShare = (wanted: FloodGroup["name"]) => {
    const group = groups.find(({ name }) => name === wanted)!;
    return lostOf(group) / group.tried;
  };
  return {
    others: lostShare("others") < lostShareMax,
    established: lostShare("established") === 0,
    memory: residentBytes.at(-1)! <= growthMax * residentBytes.at(-3)!,
  };
}

export function lostOf({ refused, cut }: FloodGroup): number {
  return refused + cut;
}
