import { describe, expect, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import {
  type CompiledTable,
  Controller,
  type ControllerOptions,
} from "../../src/control/controller.js";
import type { SourceChanges } from "../../src/control/source.js";
import type { KubernetesObject } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import type { ObjectChange } from "../../src/policy/live-cluster.js";

const good = `
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop }
spec: { containers: [{ name: web, image: example/web }] }
status: { podIPs: [{ ip: 10.0.0.1 }] }
`;
const broken = good.replace("10.0.0.1", "10.0.0.256");

function controllerOf(enforce: (table: CompiledTable) => number) {
  let text = good;
  const controller = new Controller({
    take: async () => ({ all: parseManifests(text, "web.yaml") }),
    local: () => "all",
    enforce,
  });
  return {
    controller,
    edit: (next: string) => {
      text = next;
    },
  };
}

describe("Controller", () => {
  test("compiles and enforces, and knows since when", async () => {
    const tables: CompiledTable[] = [];
    const { controller } = controllerOf((table) => tables.push(table));
    expect(controller.status.generation).toBe(0);
    expect(await controller.reload()).toMatchObject({ ok: true, generation: 1 });
    expect(controller.table).toBe(tables[0]);
    expect(controller.status).toMatchObject({ generation: 1, endpoints: 1, lastError: undefined });
  });

  test("keeps the table when the manifests have errors, and says why until they have none", async () => {
    let generation = 0;
    const { controller, edit } = controllerOf(() => ++generation);
    await controller.reload();
    const inForce = controller.table;
    edit(broken);
    const reload = await controller.reload();
    expect(reload.ok).toBe(false);
    expect(reload.diagnostics.some((each) => each.severity === "error")).toBe(true);
    expect(controller.table).toBe(inForce);
    expect(controller.status.generation).toBe(1);
    expect(controller.status.lastError).toMatch(/^web\.yaml:\d+:\d+: /);
    edit(good);
    await controller.reload();
    expect(controller.status).toMatchObject({ generation: 2, lastError: undefined });
  });

  test("keeps the table when it cannot be put in force", async () => {
    let isRefusing = false;
    const { controller } = controllerOf(() => {
      if (isRefusing) throw new Error("no room");
      return 7;
    });
    await controller.reload();
    isRefusing = true;
    expect(await controller.reload()).toMatchObject({ ok: false, refused: { message: "no room" } });
    expect(controller.status).toMatchObject({ generation: 7, lastError: "no room" });
  });

  // Goal: reloads never overlap, whoever asks.
  // Method: two at once, whose reading takes its time; the trace must not interleave.
  test("runs one reload at a time", async () => {
    const trace: string[] = [];
    const { controller } = controllerOf(() => trace.push("enforced"));
    const slow = (name: string) => async () => {
      trace.push(`${name} reads`);
      await new Promise((resolve) => setTimeout(resolve, 20));
      return { all: parseManifests(good, "web.yaml") };
    };
    await Promise.all([controller.reload(slow("first")), controller.reload(slow("second"))]);
    expect(trace).toEqual(["first reads", "enforced", "second reads", "enforced"]);
  });
});

// Goal: changes give the table of the set that they lead to, whatever went wrong on the way, and every
// event is measured once, when it is in force.
describe("Controller, told of changes", () => {
  const podNamed = (name: string, address: string): KubernetesObject =>
    parseManifests(good.replace("name: web,", `name: ${name},`).replace("10.0.0.1", address), "x")
      .objects[0]!;
  const web = podNamed("web", "10.0.0.1");
  const db = podNamed("db", "10.0.0.2");
  const gone = { kind: "Pod", namespace: "shop", name: "db" } as const;

  function controllerFor(
    refuses: () => boolean,
    relabelled: ControllerOptions["relabelled"] = () => {},
  ) {
    const tables: CompiledTable[] = [];
    let changes: readonly ObjectChange[] = [];
    const controller = new Controller({
      async take(): Promise<SourceChanges> {
        const heardMs = changes.map(() => performance.now());
        return { changes, heardMs, diagnostics: [] };
      },
      local: () => "all",
      enforce: (table) => {
        if (refuses()) throw new Error("no room");
        return tables.push(table);
      },
      relabelled,
    });
    const tell = (...told: readonly ObjectChange[]) => {
      changes = told;
      return controller.update();
    };
    return { controller, tables, tell };
  }

  test("puts, removes and says nothing twice", async () => {
    const { controller, tables, tell } = controllerFor(() => false);
    await tell({ put: web }, { put: db });
    await tell({ remove: gone });
    await tell({ put: { ...web, meta: { ...web.meta } } });
    // The third changed nothing, and no table was swapped for it.
    expect(controller.status.generation).toBe(2);
    const want = compile({ objects: [web] });
    expect(want.ok && Buffer.from(tables[1]!.blob.bytes).equals(want.blob)).toBe(true);
    expect(controller.table?.objects.map(({ meta }) => meta.name)).toEqual(["web"]);
    expect(controller.measures.delay.count).toBe(4);
  });

  test("other labels that no rule parts are told of, without another table; a pod that comes has one", async () => {
    const told: [number, readonly string[]][] = [];
    const { controller, tables, tell } = controllerFor(
      () => false,
      (generation, { objects }) =>
        told.push([generation, objects.map(({ meta }) => `${meta.labels.get("app")}`)]),
    );
    await tell({ put: web });
    await tell({ put: { ...web, meta: { ...web.meta, labels: new Map([["app", "other"]]) } } });
    await tell();
    expect(told).toEqual([[1, ["other"]]]);
    await tell({ put: db });
    expect(tables.length).toBe(2);
    expect(controller.status.generation).toBe(2);
    expect(told.length).toBe(1);
  });

  test("an update that brings nothing compiles nothing, and says what the last one said", async () => {
    const { controller, tell } = controllerFor(() => false);
    const twice = [web, podNamed("db", "10.0.0.1")];
    const warned = await tell(...twice.map((put) => ({ put })));
    expect(warned.diagnostics.length).toBeGreaterThan(0);
    const compiled = controller.measures.compile.count;
    expect(await tell()).toEqual(warned);
    expect(controller.measures.compile.count).toBe(compiled);
    expect(await tell({ remove: gone })).toMatchObject({ ok: true, diagnostics: [] });
  });

  test("what could not be put in force is so the next time, and only then counts", async () => {
    let isRefusing = false;
    const { controller, tables, tell } = controllerFor(() => isRefusing);
    await tell({ put: web });
    isRefusing = true;
    const refused = await tell({ put: db });
    expect(refused).toMatchObject({ ok: false, refused: { message: "no room" } });
    expect(controller.measures.delay.count).toBe(1);
    isRefusing = false;
    // Nothing new is told, yet there is something to put in force.
    expect(await tell()).toMatchObject({ ok: true, generation: 2 });
    const want = compile({ objects: [web, db] });
    expect(want.ok && Buffer.from(tables[1]!.blob.bytes).equals(want.blob)).toBe(true);
    expect(controller.measures.delay.count).toBe(2);
  });
});
