import { assert, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { IncrementalCompiler } from "../../src/compiler/incremental.js";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import { Table } from "../../src/dataplane/table.js";
import { linesOf, TableBlob } from "../../src/dataplane/table-blob.js";
import type { KubernetesObject } from "../../src/manifest/objects.js";
import { parseAddress } from "../../src/net/address.js";
import type { LocalPods, OwnNode } from "../../src/policy/cluster.js";
import type { ObjectChange } from "../../src/policy/live-cluster.js";
import { Random } from "./random.js";
import { randomCluster, randomObject } from "./random-cluster.js";
import { withRandomModes } from "./random-modes.js";
import { rounds } from "./rounds.js";

const SEQUENCES = rounds(30);
const EVENTS = 24;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

function keyOf({ kind, meta }: KubernetesObject): string {
  return `${kind} ${meta.namespace}/${meta.name}`;
}

/** An event, or now and then several at once, as when a file is read again. */
function randomChanges(
  random: Random,
  state: ReadonlyMap<string, KubernetesObject>,
): ObjectChange[] {
  return random.list(1, random.oneIn(4) ? 4 : 1, (): ObjectChange => {
    const known = [...state.values()];
    if (known.length > 0 && random.oneIn(3)) {
      const { kind, meta } = random.pick(known);
      return { remove: { kind, namespace: meta.namespace, name: meta.name } };
    }
    return { put: withRandomModes(random, [randomObject(random)])[0]! };
  });
}

function randomOwnNode(random: Random): OwnNode {
  const texts = ["10.9.0.1", "10.0.0.2", "fe80::1", "192.168.0.1"];
  const addresses = texts.filter(() => random.oneIn(2)).map((text) => parseAddress(text)!);
  return { addresses, isWhole: random.oneIn(2) };
}

function carryOut(state: Map<string, KubernetesObject>, changes: readonly ObjectChange[]): void {
  for (const change of changes) {
    if ("put" in change) state.set(keyOf(change.put), change.put);
    else state.delete(`${change.remove.kind} ${change.remove.namespace}/${change.remove.name}`);
  }
}

// Goal: after any sequence of events the incremental blob is, byte for byte, that of a full compile.
// Method: random clusters and events of every kind; local pods are all, one node's, or one; each
// state is compiled anew too; the native side opens each blob that was patched, and takes each by its
// changed lines where those are known, which its checksum proves.
test(`increments give the bytes of a full compile (SEED=${seed})`, () => {
  const dataplane = Dataplane.create({ connectionsMax: 1 });
  let byLines = 0;
  const efforts = { none: 0, patch: 0, rebuild: 0, refused: 0 };
  for (let round = 0; round < SEQUENCES; round++) {
    const random = new Random(seed + round);
    const given = random.pick<LocalPods>([
      { node: "n1" },
      { node: "n1" },
      { node: "n1" },
      { pod: { namespace: "default", name: "pod-1" } },
      { pods: new Set(["default/pod-1", "blue/pod-2", "red/pod-3"]) },
      "all",
    ]);
    let local = given;
    const objects = withRandomModes(random, randomCluster(random));
    const state = new Map(objects.map((object) => [keyOf(object), object]));
    const compiler = new IncrementalCompiler({ local });
    const kept: { readonly blob: TableBlob; readonly want: Uint8Array }[] = [];
    let blob: TableBlob | undefined;
    let changes: readonly ObjectChange[] = objects.map((put) => ({ put }));
    for (let event = 0; event <= EVENTS; event++) {
      const hint = `SEED=${seed + round} event ${event}`;
      // Where the node is the machine that this runs on, its interfaces come and go too.
      if (typeof local === "object" && "pods" in local && random.oneIn(3)) {
        local = { ...local, ownNode: randomOwnNode(random) };
      }
      const got = compiler.update(changes, local);
      const want = compile({ objects: [...state.values()], local });
      assert.deepEqual(
        got.diagnostics.map(({ code, message }) => `${code} ${message}`).sort(),
        want.diagnostics.map(({ code, message }) => `${code} ${message}`).sort(),
        hint,
      );
      assert.equal(got.ok, want.ok, hint);
      efforts[got.ok ? got.effort : "refused"]++;
      if (got.ok && want.ok) {
        if (!Buffer.from(want.blob).equals(Buffer.from(got.blob))) {
          assert.fail(`${hint}: ${got.effort} gave other bytes`);
        }
        assert.deepEqual(got.stats, want.stats, hint);
        if (got.effort === "patch") Table.open(got.blob);
        const lines = got.changedLines;
        if (lines !== undefined) byLines++;
        blob = TableBlob.next(
          blob,
          lines === undefined ? { whole: got.blob.slice() } : { lines: linesOf(got.blob, lines) },
        );
        dataplane.swapTable(blob, []);
        kept.push({ blob, want: want.blob });
      }
      changes = randomChanges(random, state);
      carryOut(state, changes);
    }
    // Only now, so that the bytes have passed to later tables, as far as these share them.
    for (const [event, { blob, want }] of kept.entries()) {
      assert.isTrue(Buffer.from(blob.copy()).equals(want), `SEED=${seed + round} table ${event}`);
    }
  }
  dataplane.close();
  assert.isAbove(byLines, SEQUENCES / 2, "tables by their changed lines occur");
  assert.isAbove(efforts.none, SEQUENCES / 2, "events without effect occur");
  assert.isAbove(efforts.patch, SEQUENCES / 2, "patches occur");
  assert.isAbove(efforts.rebuild, SEQUENCES / 2, "rebuilds occur");
});
