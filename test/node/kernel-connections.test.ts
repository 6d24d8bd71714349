import { assert, test } from "vitest";
import type { ForwardFilter } from "../../src/dataplane/forward-filter.js";
import { FlowEvent } from "../../src/layout/layout.gen.js";
import { KernelConnections } from "../../src/node/kernel-connections.js";

// Goal: whatever the kernel says when its reports are read, the flows go on, and so does the reload that has them drained.
// Method: reports that fail once they have been opened, as a socket does that has been shut.
test("reports that fail are told once, and the events before them are kept", () => {
  const told: string[] = [];
  let asked = 0;
  const ends = {
    overruns: 0,
    drainEvents: () => {
      asked++;
      throw new Error("read the kernel's connections: recv: ENOMEM");
    },
  };
  const filter = { followEnds: () => ends } as unknown as ForwardFilter;
  const connections = new KernelConnections(filter, (line) => told.push(line));
  const buffer = new Uint8Array(8 * FlowEvent.bytes);
  assert.equal(connections.drainEvents(buffer, 3), 3);
  assert.equal(connections.drainEvents(buffer, 0), 0);
  assert.equal(asked, 1);
  assert.deepEqual(told, [
    "read the kernel's connections: recv: ENOMEM: flows do not report the ends of connections",
  ]);
  assert.isFalse(connections.status.told);
});
