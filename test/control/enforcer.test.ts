import { expect, test } from "vitest";
import type { Reload } from "../../src/control/controller.js";
import { Enforcer, type EnforcerOptions } from "../../src/control/enforcer.js";
import { ManifestCompiler } from "../../src/control/manifest-compiler.js";

const nothing = { all: { objects: [], diagnostics: [] } };

function enforcerOf(options: Partial<EnforcerOptions> = {}): Enforcer {
  const enforcer: Enforcer = new Enforcer({
    name: "test",
    version: "0",
    dataplane: {},
    controller: {
      take: async () => nothing,
      local: () => "all",
      enforce: (table) => enforcer.dataplane.swapTable(table.blob, []),
    },
    reload: { take: async () => nothing },
    mode: () => "enforce",
    interfaceName: () => undefined,
    interfaces: () => [],
    isBehind: () => false,
    ...options,
  });
  return enforcer;
}

// Goal: what an owner does at the end finds the enforcer as it needs it, whatever it does.
// Method: each step notes when it comes, and asks the data plane what only one state of it allows.
test("ends step by step", async () => {
  const steps: string[] = [];
  const compiler = new ManifestCompiler();
  compiler.close = () => void steps.push("compiler");
  const enforcer = enforcerOf({ compiler });
  expect(await enforcer.controller.reload()).toMatchObject({ ok: true, generation: 1 });
  const { dataplane } = enforcer;
  dataplane.start({ switch: { gatewayMac: "02:00:00:00:00:01" } });
  expect(() => [...dataplane.saveConnections()]).toThrow();
  let isFree = () => {};
  await enforcer.listen(async (subject) => {
    expect(subject.controller).toBe(enforcer.controller);
    return {
      close() {
        steps.push("socket");
        return new Promise<void>((resolve) => {
          isFree = resolve;
        });
      },
    };
  });

  const closed = enforcer
    .close({
      stopped() {
        steps.push("stopped");
        expect([...dataplane.saveConnections()]).toEqual([]);
      },
      letGo() {
        steps.push("interfaces");
        expect([...dataplane.saveConnections()]).toEqual([]);
      },
    })
    .then(() => steps.push("closed"));
  await new Promise((resolve) => setImmediate(resolve));
  expect(steps).toEqual(["compiler", "stopped", "socket", "interfaces"]);
  expect(() => [...dataplane.saveConnections()]).toThrow();
  isFree();
  await closed;
  expect(steps.at(-1)).toBe("closed");
});

// Goal: after its end no table comes into force, whatever a reload was doing, and its owner is not called.
// Method: close while one rests, while one reads, and while one is being put in force.
test("its end is final: a reload that waits or runs ends as refused", async () => {
  const steps: string[] = [];
  let goOn = () => {};
  const held = () =>
    new Promise<void>((resolve) => {
      goOn = resolve;
    });
  const reload = {
    async take() {
      steps.push("take");
      if (steps.length > 1) await held();
      return nothing;
    },
    before: () => void steps.push("before"),
    after: () => void steps.push("after"),
  };
  const refused = { ok: false, refused: { kind: "environment", message: "the process is ending" } };

  const resting = enforcerOf({ reload: { ...reload, take: async () => nothing } });
  expect(await resting.reload()).toMatchObject({ ok: true });
  steps.length = 0;
  const waits = resting.reload();
  await resting.close();
  expect(await waits).toMatchObject(refused);
  expect(await resting.reload()).toMatchObject(refused);
  expect(steps).toEqual([]);

  const reading = enforcerOf({ reload });
  const reads = reading.reload();
  await expect.poll(() => steps).toEqual(["before", "take"]);
  const next = reading.reload();
  await reading.close();
  goOn();
  expect(await Promise.all([reads, next])).toMatchObject([refused, refused]);
  expect(steps).toEqual(["before", "take"]);
  expect(reading.controller.status.generation).toBe(0);

  steps.length = 0;
  const enforcing: Enforcer = enforcerOf({
    reload: { take: async () => nothing },
    controller: {
      take: async () => nothing,
      local: () => "all",
      async enforce(table) {
        steps.push("enforce");
        await held();
        return enforcing.dataplane.swapTable(table.blob, []);
      },
    },
  });
  const enforces = enforcing.reload();
  await expect.poll(() => steps).toEqual(["enforce"]);
  const closed = enforcing.close({ stopped: () => void steps.push("stopped") });
  await new Promise((resolve) => setImmediate(resolve));
  expect(steps).toEqual(["enforce"]);
  goOn();
  await closed;
  expect(steps).toEqual(["enforce", "stopped"]);
  expect(await enforces).toMatchObject({ ok: true, generation: 1 });
});

// Goal: a crowd that asks for reloads costs one, and whoever asks after its reading gets another.
// Method: ask before it reads, while it reads, and after one that failed.
test("shares a reload among those who ask before it reads", async () => {
  let taken = 0;
  let finish: (() => void) | undefined;
  const done: Reload[] = [];
  const enforcer = enforcerOf({
    reload: {
      async take() {
        taken++;
        if (taken === 2) throw new Error("unreadable");
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        return nothing;
      },
      after: (reload) => done.push(reload),
    },
  });
  try {
    const crowd = Promise.all([1, 2, 3].map(() => enforcer.reload()));
    await expect.poll(() => taken).toBe(1);
    const late = Promise.all([enforcer.reload(), enforcer.reload()]);
    finish!();
    expect((await crowd).map(({ ok }) => ok)).toEqual([true, true, true]);
    const refused = await late;
    expect(refused[0]).toMatchObject({ ok: false, refused: { message: "unreadable" } });
    expect(taken).toBe(2);
    const again = enforcer.reload();
    await expect.poll(() => taken).toBe(3);
    finish!();
    expect(await again).toMatchObject({ ok: true, generation: 2 });
    expect(done.map(({ ok }) => ok)).toEqual([true, false, true]);
  } finally {
    await enforcer.close();
  }
});
