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
