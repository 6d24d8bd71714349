import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../src/cli/frame.js";
import { ControlClient } from "../../src/control/client.js";
import { fakeIo } from "../cli/fake-io.js";
import { until } from "../live/lab-harness.js";
import { ControlBench } from "./control-bench.js";

// Goal: a name that nothing has is told, not answered with nothing.
// Method: the control socket of a process in this one, with a cluster of three pods; the commands themselves.
const pod = (namespace: string, name: string, address: string) => `
---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace} }
spec: { containers: [ { name: c } ] }
status: { podIPs: [ { ip: ${address} } ] }
`;
const namespace = (name: string) => `
---
apiVersion: v1
kind: Namespace
metadata: { name: ${name} }
`;
const manifests = [
  namespace("demo"),
  namespace("empty"),
  pod("demo", "client", "10.0.0.1"),
  pod("demo", "server-0", "10.0.0.2"),
  pod("demo", "server-1", "10.0.0.3"),
].join("");

let bench: ControlBench;
beforeAll(async () => {
  bench = await ControlBench.open(manifests);
});
afterAll(() => bench.close());

const run = (...words: string[]) => bench.run(...words);

describe("names that nothing has", () => {
  test.each([
    [["observe", "--pod", "demo/clent"], "--pod", "demo/clent", "pod", "demo/client"],
    [["observe", "--from-pod", "clent"], "--from-pod", "clent", "pod", "client"],
    [["observe", "--to-namespace", "dmeo"], "--to-namespace", "dmeo", "namespace", "demo"],
    [
      ["get", "connections", "--to-pod", "demo/sever-1"],
      "--to-pod",
      "demo/sever-1",
      "pod",
      "demo/server-1",
    ],
    [["conntrack", "list", "--pod", "empty/x"], "--pod", "empty/x", "pod", undefined],
    [["conntrack", "flush", "--pod", "demo/clent"], "--pod", "demo/clent", "pod", "demo/client"],
  ] as const)("%j", async (words, flag, value, what, near) => {
    const { code, out, err } = await run(...words);
    const meant = near === undefined ? "" : `: did you mean ${near}?`;
    expect(err).toBe(
      `sluice: ${flag}: got "${value}", want a ${what} that the process knows${meant}\n`,
    );
    expect({ code, out }).toEqual({ code: 2, out: "" });
  });

  test.each([
    [["observe", "--pod", "demo/client", "server"]],
    [["observe", "--pod", "demo/cli", "--namespace", "empty"]],
    [["get", "connections", "--namespace", "demo"]],
    [["conntrack", "flush", "--pod", "server-"]],
  ])("known: %j", async (words) => {
    expect(await run(...words)).toMatchObject({ code: 0, err: "" });
  });

  test("more than a request may ask for are asked for in several", async () => {
    const words = Array.from({ length: 40 }, (_, i) => ["--pod", `x${i}`]).flat();
    const { code, err } = await run("conntrack", "list", ...words);
    expect(code).toBe(2);
    expect(err.match(/want a pod that the process knows/g)).toHaveLength(40);
  });

  test("a request asks for 16 at most", async () => {
    const client = new ControlClient(bench.socket);
    const ask = (count: number) => {
      const names = new URLSearchParams();
      for (let i = 0; i < count; i++) names.append(i % 2 ? "pod" : "namespace", `x${i}`);
      return client.ask("GET", `/unknown-names?${names}`);
    };
    expect(await ask(16)).toMatchObject({ kind: "UnknownNames", unknown: { length: 16 } });
    await expect(ask(17)).rejects.toMatchObject({
      kind: "usage",
      message: "got 17 names of pods and namespaces, want at most 16 in a request",
    });
  });

  test("of flows that may still come it is a warning", async () => {
    const io = fakeIo();
    const ended = runCli(
      ["observe", "--follow", "--pod", "demo/clent", "--socket", bench.socket],
      io,
    );
    await until("the warning", () => io.err() !== "");
    expect(io.err()).toBe(
      'sluice: warning: --pod: got "demo/clent", want a pod that the process knows: did you mean demo/client?\n',
    );
    process.emit("SIGINT");
    expect(await ended).toBe(0);
  });
});
