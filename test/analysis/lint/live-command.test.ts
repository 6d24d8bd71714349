import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli } from "../../../src/cli/frame.js";
import { controlRoutes } from "../../../src/control/control-routes.js";
import { Controller } from "../../../src/control/controller.js";
import { type Serving, serveUnix } from "../../../src/control/server.js";
import { Dataplane } from "../../../src/dataplane/dataplane.js";
import { parseManifests } from "../../../src/manifest/parse.js";
import { DroppedFrames } from "../../../src/observe/dropped-frames.js";
import { FlowLog } from "../../../src/observe/flow-log.js";
import { Hits } from "../../../src/observe/hits.js";
import { fakeIo } from "../../cli/fake-io.js";

const text = `apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { containers: [{ name: c, image: c }] }
status: { podIP: 10.0.0.1 }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: {}
  ingress:
    - ports: [{ port: 80 }]
    - ports: [{ port: 81 }]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: quiet, namespace: shop }
spec: { podSelector: {}, policyTypes: [Egress] }
`;
const hour = 3_600_000;

let folder: string;
let socket: string;
let serving: Serving;
let dataplane: Dataplane;
let flows: FlowLog;
let hits: Hits;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-lint-live-"));
  socket = join(folder, "control.sock");
  dataplane = Dataplane.create({ connectionsMax: 1_000 });
  flows = new FlowLog(dataplane, { interfaceName: () => undefined });
  hits = new Hits({ dataplane, flows });
  const controller = new Controller({
    take: async () => ({ all: parseManifests(text, "shop.yaml") }),
    local: () => "all",
    enforce: (table) => {
      flows.useTable(1, table);
      return 1;
    },
  });
  await controller.reload();
  // The counts of a predecessor that ran for ten hours: one rule had a hit two hours ago.
  const since = Date.now() - 10 * hour;
  const rule = ["rule NetworkPolicy ingress 0", 5, 300, 1, Date.now() - 2 * hour] as const;
  const names = { kind: "NetworkPolicy", namespace: "shop", since };
  hits.restore({
    policies: [
      { ...names, name: "web", sums: [rule] },
      { ...names, name: "quiet", sums: [] },
    ],
    ...{ others: [], since },
  });
  serving = await serveUnix(
    socket,
    0o600,
    controlRoutes({
      droppedFrames: new DroppedFrames([dataplane], flows),
      ...{ name: "test", version: "0.0.0", dataplane, flows, established: "recheck", deny: "drop" },
      ...{ mode: () => "enforce" as const, interfaces: () => [], isBehind: () => false },
      ...{ hits, controller },
      reload: async () => ({ ok: true, generation: 1, diagnostics: [] }),
    }),
  );
});
afterAll(() => {
  serving.close();
  hits.close();
  flows.close();
  dataplane.close();
  rmSync(folder, { recursive: true, force: true });
});

async function lint(...words: string[]) {
  const io = fakeIo();
  const code = await runCli(["lint", ...words], io);
  return { code, out: io.out(), err: io.err() };
}

const live = (...words: string[]) => lint("--live", "--socket", socket, ...words);

test("rules and policies without hits are named with file and line", async () => {
  const { code, out } = await live("--since", "3h");
  expect(out.split("\n")).toEqual([
    "shop.yaml:14:7: info SL3021: got a rule (Accept) that decided nothing in the 10h that are counted (NetworkPolicy shop/web, spec.ingress[1])",
    expect.stringMatching(/^shop\.yaml:\d+:1: info SL3022: .*\(NetworkPolicy shop\/quiet\)$/),
    "passed: found 2 infos",
    "",
  ]);
  expect(code).toBe(0);
  expect((await live("--fail-on", "info")).code).toBe(1);
});

test("a hit that is older than --since is none, and what is not known is said", async () => {
  const hourly = await live("--since", "1h", "-o", "json");
  expect(JSON.parse(hourly.out).findings.map((each: { rule: string }) => each.rule)).toEqual([
    ...["SL3022", "SL3022"],
  ]);
  const daily = await live("--since", "1d");
  expect(daily.out).toBe(
    `${socket}: info SL3023: got hits of the last 10h, want of 1d: nothing can be said of what has none\npassed: found 1 info\n`,
  );
  const sarif = JSON.parse((await live("--since", "1d", "-o", "sarif")).out);
  // A process has no lines.
  expect(sarif.runs[0].results[0].locations[0].physicalLocation).not.toHaveProperty("region");
  expect((await live("--since", "1d", "-o", "github")).out).toMatch(
    /^::notice file=[^,]*control\.sock,title=SL3023 hits-not-known::/,
  );
});

test("rules are left out by name, and by a baseline", async () => {
  const { out } = await live("--disable", "policy-without-hits", "-o", "json");
  expect(JSON.parse(out).counts).toEqual({ error: 0, warning: 0, info: 1 });
  const baseline = join(folder, "known.json");
  writeFileSync(baseline, out);
  const rest = await live("--baseline", baseline, "-o", "json");
  expect(JSON.parse(rest.out).findings).toMatchObject([{ rule: "SL3022", name: "quiet" }]);
});

test.each([
  [["--live", "-f", "shop.yaml"], "got --filename and --live, want one of them"],
  [["--live", "--stand-ins", "x.yaml"], "got --stand-ins and --live, want one of them"],
  [["-f", "shop.yaml", "--since", "1h"], "got --since without --live, want both"],
  [["-f", "shop.yaml", "--lab", "x"], "got --lab without --live, want both"],
  [["--live", "--since", "soon"], '--since: got "soon", want a time such as 30s or 5m'],
])("flags that would change nothing are refused: %s", async (words, message) => {
  const { code, err } = await lint(...words);
  expect(err).toContain(message);
  expect(code).toBe(2);
});

test("without a process there is no answer", async () => {
  const { code, err } = await lint("--live", "--socket", join(folder, "none.sock"));
  expect(err).toContain("none.sock");
  expect(code).toBe(4);
});
