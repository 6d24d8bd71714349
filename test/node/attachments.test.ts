import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { commandLine } from "../../src/cli/run.js";
import { compile } from "../../src/compiler/compile.js";
import type { CompiledTable } from "../../src/control/controller.js";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import { TableBlob } from "../../src/dataplane/table-blob.js";
import type { Attachment } from "../../src/node/attachment.js";
import { Attachments } from "../../src/node/attachments.js";
import { parseNodeConfig } from "../../src/node/read-config.js";
import { SidecarAttachment } from "../../src/node/sidecar/attachment.js";
import { WireAttachment } from "../../src/node/wire-attachment.js";
import { summarize } from "../../src/policy/ruleset.js";

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
  expect(() => attachments.swapTo(wanted, {} as CompiledTable)).toThrow("far enough");
  expect(noted).toEqual([slots]);
  dataplane.close();
});

// Goal: what was left to a successor is not taken back, and the guard of its names stays.
test.each(["leave", "close"] as const)("after `%s` no table is put in force", (end) => {
  const dataplane = Dataplane.create();
  const attachments = new Attachments({ dataplane, tell: () => {}, swapped: () => {} });
  const compiled = compile({ objects: [] });
  if (!compiled.ok) throw new Error("got no table");
  const blob = new TableBlob(compiled.blob);
  const table = { ...compiled, blob, objects: [], ruleset: summarize(compiled.ruleset) };
  expect(attachments.swapTo([], table)).toBe(1);
  attachments[end]();
  expect(() => attachments.swapTo([], table)).toThrow("released");
  expect(attachments.generation).toBe(1);
  dataplane.close();
});

// Goal: a name that is no interface's is found in the file that has it.
// Method: configs as users write them, opened as at a start; nothing of the machine is touched.
test("an interface that is not there is told with its place in the config", () => {
  const text = `apiVersion: sluice/v1
kind: NodeConfig
manifests: [a.yaml]
wires:
  - { pod: shop/web, inside: sl-none-in, outside: sl-none-out }
sidecars:
  - pod: shop/db
    interface: sl-none
`;
  const read = parseNodeConfig(text, "etc/sluice.yaml");
  if (!read.ok) throw new Error("got a config with errors");
  const { wires, sidecars } = read.config;
  const folder = mkdtempSync(join(tmpdir(), "sluice-absent-"));
  const dataplane = Dataplane.create();
  const opening = {
    ...{ dataplane, tell: () => {}, slots: 16 },
    ...{ mayWait: () => false, former: () => [] },
  };
  const told = (attachment: Attachment) => {
    try {
      attachment.open(opening);
      return "it was opened";
    } catch (error) {
      return String((error as Error).message);
    }
  };
  try {
    expect(told(new WireAttachment(wires[0]!))).toBe(
      "etc/sluice.yaml:5:30: there is no interface sl-none-in",
    );
    const sidecar = { ...sidecars[0]!, stateFolder: folder };
    expect(told(new SidecarAttachment(sidecar, false))).toMatch(
      /^etc\/sluice\.yaml:8:16: cannot attach in front of sl-none: there is no interface/,
    );
  } finally {
    dataplane.close();
    rmSync(folder, { recursive: true });
  }
});
