import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, assert, beforeAll, describe, test } from "vitest";
import { PcapngWriter } from "../../src/capture/pcapng.js";
import { runCli } from "../../src/cli/frame.js";
import { fakeIo } from "./fake-io.js";

// Goal: no command answers for a cluster with policies of another product without saying that they are left out.

const pod = (name: string, ip: string) =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: shop}\nstatus: {podIPs: [{ip: ${ip}}]}\n`;
const cilium = (name: string) =>
  `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: ${name}, namespace: shop}\n`;

let folder: string;
let file: string;
let probes: string;
let capture: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-others-"));
  file = join(folder, "all.yaml");
  probes = join(folder, "probes.json");
  capture = join(folder, "empty.pcapng");
  const blocks: Uint8Array[] = [];
  new PcapngWriter((block) => blocks.push(block)).addInterface("pod");
  writeFileSync(capture, Buffer.concat(blocks));
  const documents = [pod("a", "10.0.0.1"), cilium("x"), pod("b", "10.0.0.2"), cilium("y")];
  writeFileSync(file, documents.join("---\n"));
  const probe = { id: 1, src: "shop/a", dst: "shop/b", protocol: "TCP", port: 1 };
  writeFileSync(probes, JSON.stringify({ probes: [probe] }));
});
afterAll(() => rmSync(folder, { recursive: true }));

const kind = { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", count: 2, isPolicy: true };

async function run(...words: string[]) {
  const io = fakeIo();
  await runCli(words, io);
  return { out: io.out(), err: io.err() };
}

describe("policies of other products", () => {
  const ends = ["--from", "shop/a", "--to", "shop/b"];
  const commands: readonly (readonly [name: string, words: () => string[]])[] = [
    ["lint", () => ["lint"]],
    ["matrix", () => ["matrix"]],
    ["explain", () => ["explain", ...ends]],
    ["explain of a port", () => ["explain", ...ends, "--port", "80"]],
    ["query", () => ["query", "--probes", probes]],
    ["compile", () => ["compile"]],
    ["replay", () => ["replay", capture, "--pod", "shop/a", "--pod-mac", "02:00:00:00:00:01"]],
  ];
  test.each(commands)("%s says so, and its JSON has them", async (_name, words) => {
    const { out, err } = await run(...words(), "-f", file, "-o", "json");
    assert.include(
      err,
      "CiliumNetworkPolicy is not enforced here and not in the answer (2 objects)",
    );
    assert.deepEqual(JSON.parse(out).notEnforced, [kind]);
  });

  test("lint says so in SARIF, beside its results", async () => {
    const { out } = await run("lint", "-f", file, "-o", "sarif");
    const [{ invocations }] = JSON.parse(out).runs;
    const text = "CiliumNetworkPolicy is not enforced here and not in the answer (2 objects)";
    assert.deepEqual(invocations, [
      {
        executionSuccessful: true,
        toolExecutionNotifications: [
          { descriptor: { id: "SL1307" }, level: "warning", message: { text } },
        ],
      },
    ]);
  });

  test("diff says so of both sides", async () => {
    const { out, err } = await run("diff", "-f", file, "-F", file, "-o", "json");
    assert.lengthOf(err.match(/not in the answer/g) ?? [], 2);
    assert.deepEqual(JSON.parse(out).notEnforced, [kind, kind]);
  });

  test("validate lists every kind that it has passed over", async () => {
    const { out } = await run("validate", "-f", file, "-o", "json");
    assert.deepEqual(JSON.parse(out).skipped, [kind]);
  });
});
