import { expect, test } from "vitest";
import { commandLine } from "../../src/cli/run.js";
import type { CompiledTable } from "../../src/control/controller.js";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import type { Attachment } from "../../src/node/attachment.js";
import { Attachments } from "../../src/node/attachments.js";

// Goal: the memory of the rings does not grow with the number of wires.
// Method: attachments that go no further than to note what each of their interfaces may have.
test.each([
  [1, 256],
  [32, 256],
  [64, 128],
  [250, 32],
  [5_000, 16],
])("%i wires: each interface may have %i slots", (count, slots) => {
  const dataplane = Dataplane.create();
  const attachments = new Attachments({ dataplane, tell: () => {}, swapped: () => {} });
  const noted: number[] = [];
  const wanted = Array.from(
    { length: count },
    (_, index): Attachment => ({
      name: `in${index}`,
      pod: { namespace: "shop", name: `pod-${index}` },
      span: commandLine,
      interfaces: [`in${index}`, `out${index}`],
      identity: String(index),
      open(opening) {
        noted.push(opening.slots);
        throw new Error("far enough");
      },
    }),
  );
  expect(() => attachments.enforce(wanted, {} as CompiledTable)).toThrow("far enough");
  expect(noted).toEqual([slots]);
  dataplane.close();
});
