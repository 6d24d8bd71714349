import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { PolicyItem, RuleItem, RulesTail } from "../../src/control/policy-routes.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { FilterBench } from "./filter-bench.js";
import { finish, labObstacle, main, named, root, until } from "./lab-harness.js";
import { missing } from "./wire-bench.js";

const obstacle =
  labObstacle ??
  (mayMakeNamespaces() ? missing("nsenter") : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

const client = "10.1.2.20";
const server = "10.1.2.30";
/** Both policies open the first, only one the second and only the other the third; nobody opens the last. */
const [both, first, second, neither] = [5301, 5302, 5303, 5304];
/** A frame of a datagram `counted`. */
const frameBytes = 14 + 20 + 8 + "counted".length;

const cluster = `
apiVersion: v1
kind: Pod
metadata: { name: server, namespace: shop, labels: { app: server } }
status: { podIP: ${server} }
---
apiVersion: v1
kind: Pod
metadata: { name: client, namespace: shop, labels: { app: client } }
status: { podIP: ${client} }
---
`;
const policy = (name: string, ...ports: readonly number[]) => `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: ${name}, namespace: shop }
spec:
  podSelector: { matchLabels: { app: server } }
  policyTypes: [Ingress]
  ingress:
${ports
  .map((port) => `    - { from: [{ podSelector: {} }], ports: [{ protocol: UDP, port: ${port} }] }`)
  .join("\n")}
`;

interface Told {
  readonly sent: Readonly<Record<string, number>>;
  readonly received: Readonly<Record<string, number>>;
}

// Goal: what the rules of a policy let pass and denied is what both ends have counted, to the packet: of connections
// that live, of ended ones, of those that another rule judges after a swap, and from one process to the next.
// Method: `sluice run` between two namespaces; datagrams are sent by number and answered, and policies are exchanged
// between them.
describe.skipIf(obstacle !== undefined)(named("hits", obstacle), () => {
  let bench: FilterBench;
  beforeEach(() => {
    bench = new FilterBench("hits", { inside: [server], outside: [client] });
  });
  afterEach(() => bench.close());

  const write = (text: string) =>
    writeFileSync(join(bench.folder, "shop.yaml"), `${cluster}${text}`);

  async function run(...more: string[]): Promise<ChildProcess> {
    const words = ["run", "--wire", "inside,outside", "--pod", "shop/server", "-f", bench.folder];
    const child = bench.enter(
      bench.filter,
      ...[process.execPath, main, ...words, "--socket", bench.socket, "--watch", "never", ...more],
    );
    let said = "";
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
    }
    await until(`ready: ${said}`, () => said.includes("ready\n"));
    return child;
  }

  /** Asks the process; the document without its items is what is beside them. */
  async function list<Item>(
    what: string,
  ): Promise<{ readonly items: readonly Item[] } & RulesTail> {
    const words = [main, "get", what, "--socket", bench.socket, "-o", "json"];
    const { stdout, stderr } = await finish(spawn(process.execPath, words));
    expect(stderr).toBe("");
    return JSON.parse(stdout);
  }

  const rulesOf = async (name: string): Promise<readonly number[][]> =>
    (await list<RuleItem>("rules")).items
      .filter((rule) => rule.name === name)
      .map(({ hits: { packets, bytes, connections } }) => [packets, bytes, connections]);

  const policyOf = async (name: string): Promise<PolicyItem> =>
    (await list<PolicyItem>("policies")).items.find((each) => each.name === name)!;

  /** What a rule has that let pass `connections` with these datagrams and their answers. */
  const passed = (datagrams: number, connections: number): number[] => [
    2 * datagrams,
    2 * datagrams * frameBytes,
    connections,
  ];

  async function reload(): Promise<void> {
    const words = [main, "reload", "--socket", bench.socket];
    expect((await finish(spawn(process.execPath, words))).code).toBe(0);
  }

  function peer(namespace: number, ...words: string[]) {
    const program = join(root, "test/live/counting-peer.mjs");
    const child = bench.enter(namespace, process.execPath, program, ...words);
    const told: Told[] = [];
    createInterface({ input: child.stdout! }).on("line", (line) => told.push(JSON.parse(line)));
    return { child, last: () => told.at(-1) };
  }

  /** Starts both ends; `send` ends when each datagram that may pass was answered. */
  async function ends() {
    const ports = [both, first, second, neither].map(String);
    const receiver = peer(bench.pod, "receive", server, ...ports);
    const sender = peer(bench.network, "send", server);
    await until("the receiver", () => receiver.last() !== undefined);
    const at = (told: Told | undefined, what: keyof Told, port: number) => told?.[what][port] ?? 0;
    return async (port: number, count: number, fresh: boolean, passes: boolean) => {
      const before = at(sender.last(), "sent", port);
      const answers = at(sender.last(), "received", port);
      sender.child.stdin!.write(`${JSON.stringify({ port, count, fresh })}\n`);
      await until(`${count} datagrams to ${port}`, () => {
        const told = sender.last();
        const wanted = answers + (passes ? count : 0);
        return at(told, "sent", port) === before + count && at(told, "received", port) >= wanted;
      });
      return at(receiver.last(), "received", port);
    };
  }

  test.each(["af-packet", "kernel"])(
    "what each rule let pass is what both ends counted, across swaps, %s",
    async (link) => {
      write(policy("one", both, first));
      await run("--link", link);
      const send = await ends();
      await send(both, 40, false, true);
      await send(both, 7, true, true);
      await send(first, 5, false, true);
      expect(await send(neither, 3, true, false)).toBe(0);
      expect(await rulesOf("one")).toEqual([passed(47, 8), passed(5, 1)]);

      // The same connections, judged by the rules of another policy: what they carry from here on is its own.
      write(`${policy("one", both, first)}---${policy("two", both, second)}`);
      await reload();
      await send(both, 10, false, true);
      // Both policies allow it, and the first decides.
      expect(await rulesOf("one")).toEqual([passed(57, 8), passed(5, 1)]);
      expect(await rulesOf("two")).toEqual([
        [0, 0, 0],
        [0, 0, 0],
      ]);
      write(policy("two", both, second));
      await reload();
      await send(both, 11, false, true);
      await send(both, 2, true, true);
      await send(second, 4, true, true);
      expect(await send(first, 6, false, false)).toBe(5);
      expect(await rulesOf("two")).toEqual([passed(13, 2), passed(4, 4)]);
      const two = await policyOf("two");
      expect(two.hits?.denied.ingress).toMatchObject({ packets: 6, bytes: 6 * frameBytes });
      expect(two.hits?.rules).toMatchObject({ packets: 2 * 17, connections: 6 });
      expect(Date.parse(two.hits!.rules.lastHit!)).toBeGreaterThan(Date.parse(two.hits!.since));
      // A policy that is gone has no counts; what was denied before the swap stays in the sum.
      expect(await policyOf("one")).toBeUndefined();
      const { defaults, unknown } = await list<RuleItem>("rules");
      expect(defaults.denied.ingress.packets).toBe(9);
      expect(unknown).toMatchObject({ passed: { packets: 0 }, denied: { packets: 0 } });
    },
  );

  test.each(["af-packet", "kernel"])(
    "the counts of the process before go on after a take-over, %s",
    async (link) => {
      write(policy("one", both, first));
      const old = await run("--link", link);
      const send = await ends();
      await send(both, 20, false, true);
      await send(both, 3, true, true);
      await send(neither, 2, false, false);
      const { since } = (await policyOf("one")).hits!;
      await run("--link", link, "--take-over");
      await until("the old process has ended", () => old.exitCode !== null);
      await send(both, 30, false, true);
      await send(both, 1, true, true);
      await send(neither, 2, false, false);
      expect(await rulesOf("one")).toEqual([passed(54, 5), [0, 0, 0]]);
      const one = await policyOf("one");
      expect(one.hits?.denied.ingress.packets).toBe(4);
      expect(one.hits?.since).toBe(since);
    },
  );
});
