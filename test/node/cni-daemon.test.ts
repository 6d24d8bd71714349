import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { CompiledTable } from "../../src/control/controller.js";
import { ManifestCompiler } from "../../src/control/manifest-compiler.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { Histogram } from "../../src/metrics/histogram.js";
import { parseAddress } from "../../src/net/address.js";
import { AttachedPods } from "../../src/node/cni/attached-pods.js";
import { CniDaemon } from "../../src/node/cni/cni-daemon.js";
import type { Attachment, Question } from "../../src/node/cni/question.js";

// Goal:   a pod's ADD waits for its guard and for its policy, and for neither before the other: the kernel takes some
//         milliseconds to attach a guard, in which the table can be made.
// Method: a guard and a table that come when the test says so; the addresses are kept in a real file, and the table is
//         compiled.

const address = parseAddress("10.244.1.9")!;
const attachment: Attachment = {
  ...{ network: "pods", container: "c1", interface: "eth0", hostInterface: "veth1" },
  pod: { namespace: "shop", name: "web", uid: "u1" },
  addresses: [address],
};
const question: Question = { command: "ADD", waitMs: 60_000, attachment };

let folder: string;
let pods: AttachedPods;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-cni-"));
  pods = new AttachedPods("n1", join(folder, "pods"), () => {});
});
afterEach(() => rmSync(folder, { recursive: true }));

function tableOf(text: string): CompiledTable {
  const { objects } = parseManifests(text, "shop.yaml");
  const compiled = new ManifestCompiler().compile(objects, "all");
  if (!compiled.ok) throw new Error("want a table");
  return { ...compiled, objects };
}

/** What an ADD has come to, and the ways to let it go on. */
function addedPod() {
  const steps: string[] = [];
  const measures = { added: new Histogram(), failed: 0 };
  let table: CompiledTable | undefined;
  let guard: { readonly resolve: () => void; readonly reject: (error: Error) => void };
  let enforce = () => {};
  const daemon = new CniDaemon({
    ...{ pods, measures },
    refresh: () => void steps.push("refreshed"),
    guard: () =>
      new Promise((resolve, reject) => {
        steps.push("guarding");
        guard = { resolve, reject };
      }),
    updateNow: () =>
      new Promise((resolve) => {
        steps.push("updating");
        enforce = () => {
          table = tableOf(`
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop }
status: { podIP: 10.244.1.9 }`);
          resolve({ ok: true, generation: 2, diagnostics: [] });
        };
      }),
    table: () => table,
  });
  const answered = daemon.answer(question, new AbortController().signal);
  const ended = answered.then(
    () => void steps.push("answered"),
    () => void steps.push("refused"),
  );
  return { steps, measures, ended, answered, guard: () => guard, enforce: () => enforce() };
}

/** Until all that is ready to run has run. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

test("the table is made while the guard is attached, and the answer waits for the guard", async () => {
  const { steps, ended, guard, enforce } = addedPod();
  await turn();
  expect(steps).toEqual(["guarding", "refreshed", "updating"]);
  enforce();
  await turn();
  expect(steps).not.toContain("answered");
  guard().resolve();
  await ended;
  expect(steps.at(-1)).toBe("answered");
});

test("the answer waits for the table", async () => {
  const { steps, measures, ended, guard, enforce } = addedPod();
  guard().resolve();
  await turn();
  expect(steps).not.toContain("answered");
  enforce();
  await ended;
  expect(steps.at(-1)).toBe("answered");
  expect(measures.added.count).toBe(1);
});

test("a guard that fails is the pod's failure, and its address is forgotten", async () => {
  const { steps, measures, answered, ended, guard, enforce } = addedPod();
  await turn();
  enforce();
  guard().reject(new Error("no such device"));
  await expect(answered).rejects.toThrow("no such device");
  await ended;
  expect(steps.slice(-2)).toEqual(["refreshed", "refused"]);
  expect(measures.failed).toBe(1);
  const kept = JSON.parse(readFileSync(join(folder, "pods"), "utf8"));
  expect(kept.attachments).toEqual([]);
});
