import { describe, expect, test } from "vitest";
import { type CompiledTable, Controller } from "../../src/control/controller.js";
import { parseManifests } from "../../src/manifest/parse.js";

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
    read: async () => parseManifests(text, "web.yaml"),
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
      return parseManifests(good, "web.yaml");
    };
    await Promise.all([controller.reload(slow("first")), controller.reload(slow("second"))]);
    expect(trace).toEqual(["first reads", "enforced", "second reads", "enforced"]);
  });
});
