import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { median, spreadOf } from "../statistics.js";

/**
 * The result of one turn: nanoseconds per item, as mean, in the median batch, in the 99th percentile.
 */
export interface Turn {
  readonly ns: number;
  readonly p50: number;
  readonly p99: number;
  /** A checksum over all answers: equal for all programs that answer the same questions alike. */
  readonly answers: number;
  /** Memory that the program uses afterwards, if it reports that. */
  readonly residentBytes?: number;
  /** Other output of the program, if any. */
  readonly detail?: unknown;
}

/** Something that can be measured again and again, one turn at a time. */
export interface TurnTaker {
  readonly name: string;
  readonly memoryBytes: number;
  readonly setupMs: number;
  turn(): Promise<Turn>;
  close(): void;
}

/**
 * Starts a program of native/bench or bench/peers, and waits until it is set up.
 *
 * Owner:  the caller closes what it gets.
 * Errors: throws an Error with what the program said when it cannot do this work.
 */
export async function startTurnTaker(
  name: string,
  program: string,
  words: readonly string[],
): Promise<TurnTaker> {
  const child = spawn(program, words);
  const complaints: string[] = [];
  child.stderr.on("data", (chunk: Buffer) => complaints.push(chunk.toString()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const read = async (): Promise<unknown> => {
    const line = await lines.next();
    if (line.done === true) {
      await exitOf(child);
      throw new Error(complaints.join("").trim() || `${program} ended early`);
    }
    return JSON.parse(line.value);
  };
  const ready = (await read()) as { readonly setupMs: number; readonly memoryBytes: number };
  return {
    name,
    ...ready,
    async turn() {
      child.stdin.write("run\n");
      return (await read()) as Turn;
    },
    close() {
      child.stdin.end();
    },
  };
}

function exitOf(child: ChildProcessWithoutNullStreams): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once("close", () => resolve());
  });
}

/** The turns of one taker, in the order of the rounds. */
export interface Measured {
  readonly name: string;
  readonly memoryBytes: number;
  readonly setupMs: number;
  readonly turns: readonly Turn[];
}

/**
 * After a warm-up round, each program takes one turn in each round; every round starts with another program.
 * Closes all of them, also when `signal` aborts.
 */
export async function takeTurns(
  takers: readonly TurnTaker[],
  rounds: number,
  signal?: AbortSignal,
): Promise<readonly Measured[]> {
  try {
    const turns = takers.map((): Turn[] => []);
    for (let round = -1; round < rounds; round++) {
      for (let place = 0; place < takers.length; place++) {
        signal?.throwIfAborted();
        const index = (place + round + takers.length) % takers.length;
        const turn = await takers[index]!.turn();
        if (round >= 0) turns[index]!.push(turn);
      }
    }
    return takers.map(({ name, memoryBytes, setupMs }, index) => ({
      name,
      memoryBytes,
      setupMs,
      turns: turns[index]!,
    }));
  } finally {
    for (const taker of takers) taker.close();
  }
}

/** One comparison, as every benchmark of Sluice prints it: a ratio first, then what it is made of. */
export interface Row {
  readonly name: string;
  /** Ours by theirs: less is faster. */
  readonly ratio: number;
  readonly against: string;
  readonly spread: number;
  /** Medians. */
  readonly value: number;
  readonly base: number;
  readonly unit: "ns";
  readonly p50: number;
  readonly p99: number;
  /** The target ratio, at most. */
  readonly reach?: number;
  readonly reached?: boolean;
}

/** Compares two that took turns: a ratio a round, and the median of the rounds. */
export function compare(name: string, ours: Measured, theirs: Measured, reach?: number): Row {
  const ratios = ours.turns.map(({ ns }, round) => ns / theirs.turns[round]!.ns);
  const of = (measured: Measured, field: "ns" | "p50" | "p99") =>
    round(median(measured.turns.map((turn) => turn[field])), 2);
  const ratio = median(ratios);
  return {
    name,
    ratio: round(ratio, 4),
    against: theirs.name,
    spread: round(spreadOf(ratios), 3),
    value: of(ours, "ns"),
    base: of(theirs, "ns"),
    unit: "ns",
    p50: of(ours, "p50"),
    p99: of(ours, "p99"),
    ...(reach === undefined ? {} : { reach, reached: ratio <= reach }),
  };
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** The fastest of some, by the median. */
export function fastestOf(measured: readonly Measured[]): Measured | undefined {
  const nsOf = ({ turns }: Measured) => median(turns.map(({ ns }) => ns));
  return [...measured].sort((a, b) => nsOf(a) - nsOf(b))[0];
}
