import type { Contender, OpenContext } from "./contender.js";
import type { Stage } from "./stage.js";

/** What Sluice is measured beside. */
export interface Peer {
  readonly title: string;
  /** Whether its work depends on the policy. */
  readonly filters: boolean;
  readonly open: (context: OpenContext) => Contender;
}

/** The kernel works in the threads of those who send; there is nothing to pin or to rest. */
export function inKernel(stage: Stage, close = () => {}): Contender {
  return {
    ...stage.ends,
    resume() {},
    rest() {},
    memoryBytes: () => undefined,
    async close() {
      close();
      stage.close();
    },
  };
}
