import { describe, expect, test } from "vitest";
import { Connectivity } from "../../src/analysis/connectivity.js";
import { portText } from "../../src/analysis/render/port-text.js";
import { readCapture } from "../../src/capture/read-capture.js";
import { readCapturedFlows } from "../../src/ui/captured-flows.js";
import type { MapDocument } from "../../src/ui/documents.js";
import { workloadMatrix } from "../../src/ui/map-document.js";
import { flowLine, modelOf, sessionOf, threeTierModel } from "./page-harness.js";

const stranger = ["elsewhere/stranger", "10.1.4.10"] as const;
const payment = ["shop/payment", "10.1.2.20"] as const;
const database = ["shop/database", "10.1.2.30"] as const;
const frontend = ["shop/frontend", "10.1.2.10"] as const;

function textBetween(
  map: Pick<MapDocument, "parties" | "cells" | "within" | "ports">,
  from: number,
  to: number,
): string | undefined {
  const { parties, cells, within, ports } = map;
  const number = from === to ? within[from]! : cells[parties[from]!.kind]![parties[to]!.kind]!;
  return number < 0 ? undefined : ports[number];
}

describe("the map", () => {
  // Goal: kinds of parties say of each pair what the matrix says. Method: every pair, of manifests with pods alike.
  test("has for each pair what the matrix has", () => {
    const pods = ["a", "b"].flatMap((app) =>
      [1, 2, 3].map(
        (each) => `apiVersion: v1
kind: Pod
metadata: { name: ${app}${each}, namespace: shop, labels: { app: ${app} } }
status: { podIP: 10.0.${app === "a" ? 0 : 1}.${each} }
`,
      ),
    );
    const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: a, namespace: shop }
spec:
  podSelector: { matchLabels: { app: a } }
  ingress: [{ from: [{ podSelector: { matchLabels: { app: b } } }], ports: [{ port: 80 }] }]
`;
    for (const model of [
      threeTierModel(),
      modelOf({ "all.yaml": [...pods, policy].join("---\n") }),
    ]) {
      const { map } = model;
      const { compiled, objects } = model.input;
      const matrix = workloadMatrix(new Connectivity(compiled.blob), objects);
      expect(map.parties.map(({ name }) => name)).toEqual(matrix.parties.map(({ name }) => name));
      let pairs = 0;
      matrix.parties.forEach((source, from) => {
        matrix.parties.forEach((target, to) => {
          const cell = matrix.cell(source, target);
          const text = cell && portText(matrix.pool.get(cell.some));
          expect(textBetween(map, from, to), `${source.name} ${target.name}`).toBe(text);
          pairs++;
        });
      });
      expect(pairs).toBe(map.parties.length ** 2);
    }
  });

  test("tells pods without policy, and those that the internet reaches", () => {
    const { map } = threeTierModel();
    const party = (name: string) => map.parties.find((each) => each.name === name)!;
    expect(party("elsewhere/stranger")).toMatchObject({
      isolated: { ingress: 0, egress: 0 },
      policies: [],
      internet: map.allPorts,
    });
    expect(party("shop/database")).toMatchObject({
      isolated: { ingress: 1, egress: 1 },
      internet: 0,
    });
    const policies = party("shop/database").policies.map((at) => map.policies[at]!.name);
    expect(policies).toContain("database");
    const policy = map.policies.find(({ name }) => name === "database")!;
    expect(policy.parties.map((at) => map.parties[at]!.name)).toEqual(["shop/database"]);
  });
});

describe("why", () => {
  const session = sessionOf(threeTierModel(4));

  test("names the policies, the nearest miss, its lines and the packet", () => {
    const why = session.why({ from: stranger[0], to: database[0], port: "5432/tcp" });
    expect(why).toMatchObject({
      verdict: "deny",
      generation: 4,
      passes: "-",
      from: { ref: "elsewhere/stranger", address: "10.1.4.10" },
      nearest: { ref: "shop/database ingress[0]", peer: { ok: false }, ports: { ok: true } },
    });
    expect(why.nearest!.excerpt[0]).toBe("- from:");
    expect(why.sides.map(({ verdict }) => verdict)).toEqual(["allow", "deny"]);
  });

  test("chooses a port that passes when none is asked for", () => {
    const why = session.why({ from: payment[0], to: database[0], port: undefined });
    expect(why).toMatchObject({
      verdict: "allow",
      protocol: "tcp",
      port: 5432,
      passes: "tcp 5432",
    });
    expect(why.sides[1]!.decidedBy!.excerpt.join("\n")).toContain("app: payment");
  });

  test("takes parties outside, with an address that is theirs", () => {
    for (const party of session.map().parties.filter(({ outside }) => outside)) {
      const why = session.why({ from: party.name, to: "shop/frontend", port: "8080/tcp" });
      expect(session.model.partyOfAddress(why.from.address)).toBe(party.name);
    }
  });
});

describe("flows", () => {
  test("are of the workloads of the map", () => {
    const session = sessionOf(threeTierModel());
    expect(session.see("a text")).toMatch(/want an object/);
    expect(session.see(flowLine(stranger, database, 5432, "DROPPED"))).toBeUndefined();
    session.see(flowLine([undefined, "198.51.100.9"], frontend, 8080, "DROPPED"));
    session.see(flowLine(payment, database, 5432, "FORWARDED", { lostBefore: 3 }));
    session.see(flowLine(payment, database, 5432, "FORWARDED", { event: "exempt" }));
    const { rows, lost, seen } = session.flowsSince(0);
    const outside = session.map().parties.map(({ name }) => name);
    expect(rows.map(({ from, to, verdict }) => [from, to, verdict])).toEqual([
      ["elsewhere/stranger", "shop/database", "DROPPED"],
      [expect.stringMatching(/^any/), "shop/frontend", "DROPPED"],
      ["shop/payment", "shop/database", "FORWARDED"],
    ]);
    expect(outside).toContain(rows[1]!.from);
    expect([lost, seen]).toEqual([3, 3]);
  });

  test("of another program's log are read as recommend reads them", () => {
    const session = sessionOf(threeTierModel());
    const { flow } = flowLine(payment, database, 5432, "FORWARDED") as {
      readonly flow: Record<string, unknown>;
    };
    const { is_reply: _, ext: __, ...bare } = flow;
    const tcp = (flags: object) => ({ TCP: { source_port: 4_000, destination_port: 5432, flags } });
    // Without what is around it, as older versions write it; an answer says so by its flags alone.
    expect(session.see({ ...bare, l4: tcp({ SYN: true }) })).toBeUndefined();
    expect(session.see({ ...bare, l4: tcp({ SYN: true, ACK: true }) })).toBeUndefined();
    expect(session.see({ ...bare, verdict: "ERROR" })).toBeUndefined();
    expect(session.see({ lost_events: { num_events_lost: "7" } })).toBeUndefined();
    expect(session.see({ text: "no flow" })).toMatch(/want a flow/);
    const { rows, lost } = session.flowsSince(0);
    expect(rows.map(({ verdict, connections }) => [verdict, connections])).toEqual([
      ["FORWARDED", 1],
      ["DROPPED", 1],
    ]);
    expect(lost).toBe(7);
  });

  test("of a file may have anything in any place", () => {
    const session = sessionOf(threeTierModel());
    const places = ["l4", "l4.TCP", "l4.TCP.destination_port", "source", "source.workloads", "IP"];
    const ownPlaces = ["ext", "ext.isolated_by", "ext.rule", "ext.total", "ext.total.packets"];
    for (const place of [...places, ...ownPlaces]) {
      for (const value of ["x", 1, null, [], [null], {}, true]) {
        const line = JSON.parse(
          JSON.stringify(
            flowLine(payment, database, 5432, "DROPPED", { total: {}, reason: "policy-ingress" }),
          ),
        );
        const names = place.split(".");
        const last = names.pop()!;
        // biome-ignore lint/suspicious/noExplicitAny: of any shape.
        const parent = names.reduce((at: any, name) => at[name], line.flow);
        parent[last] = value;
        expect(session.see(line)).toBeUndefined();
      }
    }
    for (const { port, packets } of session.flows.rows) {
      expect(Number.isInteger(port ?? 0)).toBe(true);
      expect(Number.isInteger(packets)).toBe(true);
    }
  });

  test("of a capture are judged by the table, replies with what they answer", () => {
    const session = sessionOf(threeTierModel());
    const frames = [
      tcpFrame(payment[1], database[1], 40_000, 5432, 0x02),
      tcpFrame(database[1], payment[1], 5432, 40_000, 0x12),
      tcpFrame(stranger[1], database[1], 40_001, 5432, 0x02),
    ];
    readCapturedFlows(readCapture(pcapOf(frames)), session);
    expect(session.flowsSince(0).rows).toMatchObject([
      {
        from: "shop/payment",
        to: "shop/database",
        port: 5432,
        verdict: "FORWARDED",
        connections: 1,
        packets: 2,
      },
      { from: "elsewhere/stranger", verdict: "DROPPED", reason: "policy-ingress", connections: 1 },
    ]);
  });
});

describe("what if", () => {
  const open = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: database, namespace: shop }
spec:
  podSelector: { matchLabels: { app: database } }
  ingress: [{ ports: [{ port: 5432 }] }]
`;

  test("a policy that takes the place of one opens what the tables both say it opens", async () => {
    const session = sessionOf(threeTierModel());
    const answer = await session.whatIf({ text: open, removed: [] });
    expect(answer).toMatchObject({ ok: true, equivalent: false, cut: [] });
    const change = answer.changes.find(({ from }) => from.includes("elsewhere/stranger"))!;
    expect(change).toMatchObject({ what: "opened", to: ["shop/database"] });
    expect(change.witness).toMatchObject({ before: "denied by ingress", after: "allowed" });
  });

  test("the policy as it is changes nothing", async () => {
    const session = sessionOf(threeTierModel());
    const place = session.map().policies.findIndex(({ name }) => name === "database");
    const { text } = session.policyText(place);
    expect(text).toContain("name: database");
    expect(await session.whatIf({ text, removed: [] })).toMatchObject({
      ok: true,
      equivalent: true,
    });
  });

  test("a policy that goes cuts the traffic that only it allows", async () => {
    const session = sessionOf(threeTierModel());
    session.see(flowLine(payment, database, 5432));
    session.see(flowLine(stranger, database, 5432, "DROPPED"));
    const removed = ["NetworkPolicy shop/database"];
    const answer = await session.whatIf({ text: "", removed });
    expect(answer.changes.every(({ what }) => what === "closed")).toBe(true);
    expect(answer.cut).toEqual([
      {
        source: "shop/payment (10.1.2.20)",
        destination: "shop/database (10.1.2.30)",
        service: "5432/tcp",
        connections: 1,
        deniedBy: ["ingress"],
      },
    ]);
  });

  test("manifests with errors are findings with a place", async () => {
    const text = open.replace("port: 5432", "port: 99999");
    const answer = await sessionOf(threeTierModel()).whatIf({ text, removed: [] });
    expect(answer).toMatchObject({ ok: false, changes: [], findings: [{ severity: "error" }] });
    expect(answer.findings[0]!.place).toMatch(/^edited:6:\d+$/);
  });
});

/** An Ethernet frame with IPv4 and TCP, with right checksums. */
function tcpFrame(
  from: string,
  to: string,
  sourcePort: number,
  port: number,
  flags: number,
): Buffer {
  const frame = Buffer.alloc(54);
  frame.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
  const ip = frame.subarray(14, 34);
  ip.set([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6]);
  ip.set(from.split(".").map(Number), 12);
  ip.set(to.split(".").map(Number), 16);
  ip.writeUInt16BE(checksum(ip), 10);
  const tcp = frame.subarray(34);
  tcp.writeUInt16BE(sourcePort, 0);
  tcp.writeUInt16BE(port, 2);
  tcp.writeUInt32BE(flags === 0x02 ? 100 : 900, 4);
  if (flags !== 0x02) tcp.writeUInt32BE(101, 8);
  tcp.set([0x50, flags, 0x20, 0], 12);
  const pseudo = Buffer.concat([ip.subarray(12, 20), Buffer.from([0, 6, 0, 20]), tcp]);
  tcp.writeUInt16BE(checksum(pseudo), 16);
  return frame;
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function pcapOf(frames: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(24);
  head.writeUInt32LE(0xa1b2c3d4, 0);
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(4, 6);
  head.writeUInt32LE(65_535, 16);
  head.writeUInt32LE(1, 20);
  const records = frames.flatMap((frame, at) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(1_800_000_000 + at, 0);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return [record, frame];
  });
  return Buffer.concat([head, ...records]);
}
