import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { closeDescriptor, createNamespace } from "../../src/dataplane/host.js";
import type { FoundNameGuard } from "../../src/dataplane/interfaces.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { labObstacle, named, root, until } from "../live/lab-harness.js";

const obstacle =
  labObstacle ?? (mayMakeNamespaces() ? undefined : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

const children: ChildProcess[] = [];
const namespaces: number[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const each of namespaces.splice(0)) closeDescriptor(each);
});

const words = (namespace: number, script: string): string[] => [
  `--net=/proc/${process.pid}/fd/${namespace}`,
  ...["--", process.execPath, "--input-type=module", "-e"],
  `const guards = await import(${JSON.stringify(join(root, "dist/dataplane/interfaces.js"))}); ${script}`,
];

/** Starts a process that holds names; returns once they are held. */
async function holder(namespace: number, names: readonly string[]): Promise<ChildProcess> {
  const script = `
    globalThis.guard = guards.createNameGuard();
    const refused = guard.hold(${JSON.stringify(names)}, []);
    console.log(JSON.stringify([...refused]));
    setInterval(() => {}, 1e6);`;
  const child = spawn("nsenter", words(namespace, script));
  children.push(child);
  let said = "";
  child.stdout.on("data", (text) => {
    said += text;
  });
  await until("the guard", () => said.endsWith("\n"));
  expect(said).toBe("[]\n");
  return child;
}

function ask(namespace: number, script: string): FoundNameGuard[] {
  const list = `${script}; console.log(JSON.stringify(guards.listNameGuards()))`;
  const { stdout, stderr } = spawnSync("nsenter", words(namespace, list), { encoding: "utf8" });
  expect(stderr).toBe("");
  const found: FoundNameGuard[] = JSON.parse(stdout);
  return [...found].sort((a, b) => (a.names.join() < b.names.join() ? -1 : 1));
}

// Goal: no process takes another's guard away; what one has left, another takes over name by name.
// Method: processes in a namespace that hold names, and one that is killed.
test.skipIf(obstacle !== undefined)(named("guards by interface names", obstacle), async () => {
  const namespace = createNamespace();
  namespaces.push(namespace);
  const first = await holder(namespace, ["in", "out"]);
  await holder(namespace, ["eth0", "fifteen-letters"]);
  const release = (names: readonly string[]) =>
    `guards.releaseGuardedNames(${JSON.stringify(names)})`;
  const live = [
    { names: ["eth0", "fifteen-letters"], live: true },
    { names: ["in", "out"], live: true },
  ];
  expect(ask(namespace, release(["in", "out", "eth0"]))).toMatchObject(live);

  first.kill("SIGKILL");
  await until("the end", () => first.signalCode !== null);
  expect(ask(namespace, "")).toMatchObject([live[0], { names: ["in", "out"], live: false }]);
  expect(ask(namespace, release(["in", "eth0"]))).toMatchObject([
    live[0],
    { names: ["out"], live: false },
  ]);
  expect(ask(namespace, release(["out"]))).toMatchObject([live[0]]);
  expect(ask(namespace, "guards.tryNameGuard()")).toMatchObject([live[0]]);
});
