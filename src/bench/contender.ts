import type { Address } from "../net/address.js";
import { Stage } from "./stage.js";
import type { Workload } from "./workload.js";

/** A forwarding path between a client and a server, ready to be measured. */
export interface Contender {
  readonly clientNamespaceFd: number;
  readonly serverNamespaceFd: number;
  /** What the client calls the server: its own address when absent. */
  readonly target?: Address;
  /** Gets ready for a measurement, with its own threads on these CPUs; on any when there are none. */
  resume(cpus: readonly number[]): void;
  /** Uses no CPU until it is resumed. */
  rest(): void;
  /** What its process holds in memory; undefined when it has none. */
  memoryBytes(): number | undefined;
  /** The CPU time that its own threads have used, with the kernel's work in their name; absent when it has none. */
  cpuSeconds?(): number;
  close(): Promise<void>;
}

/** How to run Sluice. */
export interface SluiceVariant {
  /** A value of `sluice run --link`, `tap` for the switch of a lab, or one of `nodeLinks` for `sluice node`. */
  readonly link: string;
  /** A value of `sluice run --poll`; absent: what the build does by itself. */
  readonly poll?: string;
}

export interface OpenContext {
  readonly workload: Workload;
  /** The command line that starts this program again. */
  readonly sluice: readonly string[];
}

/** Builds on a stage, which is given up when the building fails. */
export function onStage<Result>(build: (stage: Stage) => Result): Result {
  const stage = new Stage();
  try {
    return build(stage);
  } catch (error) {
    stage.close();
    throw error;
  }
}
