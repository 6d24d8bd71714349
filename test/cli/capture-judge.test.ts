import { describe, expect, test } from "vitest";
import type { FlowView } from "../../src/cli/capture-decode.js";
import { CaptureJudge, type Ruling } from "../../src/cli/capture-judge.js";
import { compile } from "../../src/compiler/compile.js";
import { Provenance } from "../../src/compiler/decode.js";
import { Table } from "../../src/dataplane/table.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { parseAddress } from "../../src/net/address.js";

const manifest = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}}, status: {podIP: 10.0.0.2}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
`;

function makeJudge(): CaptureJudge {
  const { objects, diagnostics } = parseManifests(manifest, "db.yaml");
  expect(diagnostics).toEqual([]);
  const compiled = compile({ objects });
  if (!compiled.ok) throw new Error("the manifest of this test does not compile");
  return new CaptureJudge(Table.open(compiled.blob), new Provenance(compiled.blob));
}

function tcp(
  from: string,
  fromPort: number,
  to: string,
  toPort: number,
  more: Partial<FlowView> = {},
): FlowView {
  return {
    protocol: 6,
    source: parseAddress(from)!,
    destination: parseAddress(to)!,
    sourcePort: fromPort,
    destinationPort: toPort,
    opener: undefined,
    opens: false,
    quoted: false,
    ...more,
  };
}

const syn = { opener: "source", opens: true } as const;
const synAck = { opener: "destination" } as const;

function judge(...flows: (FlowView | undefined)[]): (Ruling | undefined)[] {
  return makeJudge().judge(flows);
}

describe("CaptureJudge", () => {
  test("names the ends, the verdict and the rule", () => {
    const [ruling] = judge(tcp("10.0.0.1", 40000, "10.0.0.2", 5432, syn));
    expect(ruling).toEqual({
      verdict: "allow",
      deniedBy: [],
      reply: false,
      sourcePod: "shop/web",
      destinationPod: "shop/db",
      because: [
        { direction: "egress", verdict: "allow", policies: [] },
        {
          direction: "ingress",
          verdict: "allow",
          policies: ["shop/db"],
          rule: { index: 0, field: "spec.ingress[0]", place: "db.yaml:14:5" },
        },
      ],
    });
  });

  test("says who denies", () => {
    const [ruling] = judge(tcp("10.0.0.9", 40000, "10.0.0.2", 5432, syn));
    expect(ruling).toMatchObject({ verdict: "deny", deniedBy: ["ingress"] });
    expect(ruling?.sourcePod).toBeUndefined();
    expect(ruling?.because).toEqual([
      { direction: "ingress", verdict: "deny", policies: ["shop/db"] },
    ]);
  });

  test("a reply has its connection's verdict, seen from its own ends", () => {
    const rulings = judge(
      tcp("10.0.0.1", 40000, "10.0.0.2", 5432, syn),
      tcp("10.0.0.2", 5432, "10.0.0.1", 40000, synAck),
      tcp("10.0.0.1", 40000, "10.0.0.2", 5432),
    );
    expect(rulings.map((each) => [each?.verdict, each?.reply, each?.sourcePod])).toEqual([
      ["allow", false, "shop/web"],
      ["allow", true, "shop/db"],
      ["allow", false, "shop/web"],
    ]);
  });

  test("a SYN,ACK that comes first, or a server's port, tells who opened", () => {
    for (const flow of [
      tcp("10.0.0.2", 5432, "10.0.0.1", 40000, synAck),
      tcp("10.0.0.2", 5432, "10.0.0.1", 40000),
    ]) {
      expect(judge(flow)[0]).toMatchObject({ verdict: "allow", reply: true });
    }
  });

  test("a SYN the other way opens another connection", () => {
    const [, back] = judge(
      tcp("10.0.0.1", 40000, "10.0.0.2", 5432, syn),
      tcp("10.0.0.2", 5432, "10.0.0.1", 40000, syn),
    );
    expect(back).toMatchObject({ verdict: "allow", reply: false, sourcePod: "shop/db" });
  });

  test("an error has the verdict of what it quotes, and flows the other way", () => {
    const [, error] = judge(
      tcp("10.0.0.9", 40000, "10.0.0.2", 5432, syn),
      tcp("10.0.0.9", 40000, "10.0.0.2", 5432, { quoted: true }),
    );
    expect(error).toMatchObject({ verdict: "deny", reply: true });
    expect(error).not.toHaveProperty("sourcePod");
  });

  test("what is not judged keeps its place", () => {
    const [first, second] = judge(undefined, tcp("10.0.0.1", 40000, "10.0.0.2", 80, syn));
    expect(first).toBeUndefined();
    expect(second).toMatchObject({ verdict: "deny" });
  });

  test("forgets the oldest of too many connections, and judges it again", () => {
    const kept = makeJudge();
    const reply = tcp("10.0.0.2", 5432, "10.0.0.1", 20000);
    kept.judge([tcp("10.0.0.1", 20000, "10.0.0.2", 5432, syn)]);
    expect(kept.judge([reply])[0]).toMatchObject({ reply: true });
    for (let port = 0; port < 65_536; port++) {
      kept.judge([tcp("10.0.0.9", port, "10.0.0.2", 5432, syn)]);
    }
    // Both ports are below the ephemeral ones: without its SYN the packet seems to open.
    expect(kept.judge([reply])[0]).toMatchObject({ reply: false });
  });
});
