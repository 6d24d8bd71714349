import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, assert, beforeEach, expect, test } from "vitest";
import { ControlClient } from "../../src/control/client.js";
import type { CutItem } from "../../src/control/control-routes.js";
import type * as DryRun from "../../src/control/dry-run-process.js";
import { ConnectionRecord } from "../../src/layout/layout.gen.js";
import type { Mode } from "../../src/manifest/annotations.js";
import type { Pod } from "../../src/manifest/objects.js";
import { parseAddress } from "../../src/net/address.js";
import { ListenersProcess } from "../fuzz/listeners-process.js";
import { eventually } from "../kubernetes/harness.js";

const connections = 3_000;

let listeners: ListenersProcess;
let client: ControlClient;

beforeEach(async () => {
  listeners = new ListenersProcess({ connections });
  client = new ControlClient((await listeners.place).socket);
});

afterEach(() => listeners.close());

async function longestMs(): Promise<number> {
  listeners.child.send("report");
  const [report] = (await once(listeners.child, "message")) as [{ longestMs: number }];
  return report.longestMs;
}

const light = "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n";

/** Policies that take the compiler seconds: each selects by an expression, and names many peers. */
function heavy(): string {
  const documents = [light];
  for (let each = 0; each < 600; each++) {
    documents.push(`apiVersion: v1
kind: Pod
metadata: { name: p${each}, namespace: shop, labels: { app: a${each % 300} } }
spec: { containers: [{ name: main, image: "example.invalid/x:1" }] }
status: { phase: Running, podIP: 10.2.${each >> 8}.${each & 255} }
`);
  }
  for (let each = 0; each < 250; each++) {
    const peers = Array.from(
      { length: 20 },
      (_, peer) => `{ podSelector: { matchLabels: { app: a${(each + peer) % 300} } } }`,
    );
    documents.push(`apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: n${each}, namespace: shop }
spec:
  podSelector: { matchExpressions: [{ key: app, operator: NotIn, values: [a${each % 300}] }] }
  ingress: [{ from: [${peers.join(", ")}], ports: [{ port: ${1 + each} }] }]
`);
  }
  return documents.join("---\n");
}

const ask = (text: string, onItem: (item: CutItem) => void = () => {}) =>
  client.list<CutItem>("POST", "/dry-run", { onItem }, { files: [{ name: "a.yaml", text }] });

/** The process of the dry run that is under way. */
function dryRunProcess(): number | undefined {
  const { pid } = listeners.child;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
  const command = (each: string) => {
    try {
      return readFileSync(`/proc/${each}/cmdline`, "utf8");
    } catch {
      return ""; // it has ended
    }
  };
  const found = children.find((each) => command(each).includes("dry-run-child"));
  return found === undefined ? undefined : Number(found);
}

// Goal: manifests that are only asked about cost the process that enforces no time, however heavy they are.
// Method: the process of the listeners' fuzzer, whose longest work in one go is asked for; a set that takes the
// compiler seconds. Its process is stopped for as long as others ask.
test("a heavy dry run holds up nobody, and another one waits for its turn", async () => {
  const heavyRun = ask(heavy());
  // Where something else fails, it is that which counts.
  heavyRun.catch(() => {});
  await eventually("its process", () => dryRunProcess() !== undefined);
  const pid = dryRunProcess()!;
  process.kill(pid, "SIGSTOP");
  for (let round = 0; round < 3; round++) {
    await client.ask("GET", "/status");
    await expect(ask(light)).rejects.toThrow("another dry run is under way");
  }
  process.kill(pid, "SIGCONT");
  expect(await heavyRun).toMatchObject({ ok: true, connections });
  expect(await ask(light)).toMatchObject({ ok: true });
  // Processor time of its main thread; the compiler would have taken more.
  expect(await longestMs()).toBeLessThan(1_000);
});

test("connections are put to the table piece by piece, and the reasons come with them", async () => {
  const text = `
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { containers: [{ name: main, image: "example.invalid/x:1" }] }
status: { phase: Running, podIP: 10.0.1.1 }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: some, namespace: shop }
spec: { podSelector: {}, policyTypes: [Ingress], ingress: [{ from: [{ ipBlock: { cidr: 10.1.0.0/24 } }] }] }
`;
  const cut: CutItem[] = [];
  const document = await ask(text, (item) => cut.push(item));
  expect(document).toMatchObject({ kind: "DryRun", ok: true, connections });
  // All come from 10.1.0.0/16 and are counted up from there; 256 of them are allowed.
  expect(cut.length).toBe(connections - 256);
  expect(cut[0]).toMatchObject({
    deniedBy: ["ingress"],
    isolatedBy: [{ name: "some" }],
    rule: null,
  });
});

test("what cannot be compiled is refused, and the next one is taken", async () => {
  expect(await ask("kind: Pod")).toMatchObject({ ok: false, diagnostics: [{ severity: "error" }] });
  await expect(client.ask("POST", "/dry-run", { files: 1 })).rejects.toMatchObject({
    kind: "usage",
  });
  expect(await ask(light)).toMatchObject({ ok: true, connections });
});

/** A ConnectionRecord of an open connection to port 80. */
function connection(from: string, to: string): Uint8Array {
  const record = new Uint8Array(ConnectionRecord.bytes);
  const view = new DataView(record.buffer);
  record.set(parseAddress(from)!.bytes, ConnectionRecord.source);
  record.set(parseAddress(to)!.bytes, ConnectionRecord.destination);
  view.setUint16(ConnectionRecord.sourcePort, 40_000, true);
  view.setUint16(ConnectionRecord.destinationPort, 80, true);
  record[ConnectionRecord.protocol] = 6;
  record[ConnectionRecord.family] = 4;
  return record;
}

// Goal: a dry run judges for the pods of a node's config, with the modes and the addresses that they have there.
// Method: the program itself, asked as the controller asks it, about an open connection from the node to its pod.
test("a dry run judges by the pods, the modes, the node and the addresses of the process", async () => {
  const built = join(import.meta.dirname, "../../dist/control/dry-run-process.js");
  const { DryRunProcess } = (await import(built)) as typeof DryRun;
  const text = `apiVersion: v1
kind: Pod
metadata: { name: a, namespace: shop }
status: { podIP: 10.0.0.1 }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: shut, namespace: shop }
spec: { podSelector: {}, ingress: [{ from: [{ podSelector: { matchLabels: { role: own } } }] }] }
`;
  const denials = async (
    mode: Mode,
    node: string,
    { added = [], at = "10.0.0.1" }: { added?: readonly Pod[]; at?: string } = {},
  ) => {
    const local = {
      ...(at !== "10.0.0.1" && {
        ownAddresses: new Map([["shop/a", { first: [parseAddress(at)!], added: [] }]]),
      }),
      pods: new Set(["shop/a"]),
      modes: new Map<string, Mode>([["shop/a", mode]]),
      ownNode: { addresses: [parseAddress(node)!], isWhole: true },
    };
    const request = { files: [{ name: "a.yaml", text }] };
    const run = new DryRunProcess(
      { local, mode: "enforce", assigned: [], added },
      Buffer.from(JSON.stringify(request)),
    );
    try {
      assert.isTrue((await run.compiled()).ok);
      return (await run.denials(connection("10.9.0.1", at))).length;
    } finally {
      run.close();
    }
  };
  assert.equal(await denials("enforce", "10.9.0.2"), 1);
  assert.equal(await denials("enforce", "10.9.0.1"), 0);
  assert.equal(await denials("audit", "10.9.0.2"), 0);
  // The manifests have another address than the pod's interface.
  assert.equal(await denials("enforce", "10.9.0.2", { at: "10.0.0.7" }), 1);
  // A pod that the process has added is one of the pods that policies select.
  const own: Pod = {
    kind: "Pod",
    meta: {
      name: "own",
      namespace: "shop",
      labels: new Map([["role", "own"]]),
      annotations: new Map(),
      span: { file: "", line: 1, column: 1, endLine: 1, endColumn: 1 },
    },
    nodeName: "",
    hostNetwork: false,
    phase: "Running",
    addresses: [parseAddress("10.9.0.1")!],
    ports: [],
    created: "",
  };
  assert.equal(await denials("enforce", "10.9.0.2", { added: [own] }), 0);
});
