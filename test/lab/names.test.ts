import { decode, encode, type Packet, RECURSION_DESIRED } from "dns-packet";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { answerQuery } from "../../src/lab/names/answer.js";
import { type Found, Zone } from "../../src/lab/names/zone.js";
import { planLab } from "../../src/lab/plan.js";
import { headOf } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { expandWorkloads } from "../../src/workloads/expand.js";

const manifests = `
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: ledger, namespace: quay }
spec:
  replicas: 2
  serviceName: ledgers
  template:
    metadata: { labels: { role: ledger } }
    spec: { containers: [{ name: c, image: x, ports: [{ name: db, containerPort: 5432 }] }] }
---
apiVersion: v1
kind: Service
metadata: { name: ledgers, namespace: quay }
spec: { clusterIP: None, selector: { role: ledger }, ports: [{ name: db, port: 5432, targetPort: db }] }
---
apiVersion: v1
kind: Service
metadata: { name: ledger, namespace: quay }
spec:
  clusterIPs: [10.96.7.7, "fd96::7"]
  selector: { role: ledger }
  ports: [{ name: sql, port: 80, targetPort: db }, { name: old, port: 81, protocol: UDP }]
---
apiVersion: v1
kind: Service
metadata: { name: four, namespace: quay }
spec: { clusterIP: 10.96.7.8, ipFamilies: [IPv4], selector: { role: none }, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: elsewhere, namespace: quay }
spec: { type: ExternalName, externalName: Mirror.example.org }
---
apiVersion: v1
kind: Service
metadata: { name: alias, namespace: quay }
spec: { type: ExternalName, externalName: ledger.quay.svc.cluster.local }
---
apiVersion: v1
kind: Service
metadata: { name: ring, namespace: quay }
spec: { type: ExternalName, externalName: ring.quay.svc.cluster.local }
---
apiVersion: v1
kind: Pod
metadata: { name: crane, namespace: quay }
spec: { containers: [{ name: c, image: x }] }
status: { podIPs: [{ ip: 10.1.0.9 }, { ip: "fd01::9" }] }
`;

function zoneOf(text: string, isTranslated = true): Zone {
  const read = parseManifests(text, "a.yaml");
  expect(read.diagnostics.filter(({ severity }) => severity === "error")).toEqual([]);
  const objects = expandWorkloads(read.objects, read.workloads).objects.map(headOf);
  const plan = planLab(objects, [], undefined, { services: read.services });
  return new Zone({ services: plan.services!.names(isTranslated), pods: plan.pods });
}

const zone = zoneOf(manifests);

/** Each answer as `TYPE data`, sorted; `none` where the name does not exist. */
function ask(name: string, type: string, within = zone): string[] | "none" {
  const found = within.find(name, type);
  return found.exists || found.answers.length > 0 ? textOf(found.answers) : "none";
}

function textOf(records: Found["answers"]): string[] {
  return records
    .map((each) =>
      each.type === "SRV"
        ? `SRV ${each.data.port} ${each.data.target}`
        : `${each.type} ${JSON.stringify(each.data).replace(/"/g, "")}`,
    )
    .sort();
}

describe("names of a cluster", () => {
  test("a Service's name is its own addresses, of each family that it has", () => {
    expect(ask("ledger.quay.svc.cluster.local", "A")).toEqual(["A 10.96.7.7"]);
    expect(ask("ledger.quay.svc.cluster.local", "AAAA")).toEqual(["AAAA fd96::7"]);
    expect(ask("four.quay.svc.cluster.local", "AAAA")).toEqual([]);
    expect(ask("LEDGER.Quay.svc.Cluster.local.", "A")).toEqual(["A 10.96.7.7"]);
  });

  test("a headless Service's name is its pods' addresses, and each pod has a name below it", () => {
    const all = ask("ledgers.quay.svc.cluster.local", "A");
    const each = [0, 1].flatMap((n) => ask(`ledger-${n}.ledgers.quay.svc.cluster.local`, "A"));
    expect(all).toHaveLength(2);
    expect(all).toEqual([...each].sort());
    // Below the other Service they have none, since they do not name it.
    expect(ask("ledger-0.ledger.quay.svc.cluster.local", "A")).toBe("none");
    const dashed = `${each[0]!.slice(2).replaceAll(".", "-")}.ledger.quay.svc.cluster.local`;
    expect(ask(dashed, "A")).toEqual([each[0]]);
  });

  test("ports have names: a Service's own ports, or those of the pods of a headless one", () => {
    expect(ask("_sql._tcp.ledger.quay.svc.cluster.local", "SRV")).toEqual([
      "SRV 80 ledger.quay.svc.cluster.local",
    ]);
    expect(ask("_sql._udp.ledger.quay.svc.cluster.local", "SRV")).toBe("none");
    expect(ask("_old._udp.ledger.quay.svc.cluster.local", "SRV")).toHaveLength(1);
    expect(ask("_db._tcp.ledgers.quay.svc.cluster.local", "SRV")).toEqual([
      "SRV 5432 ledger-0.ledgers.quay.svc.cluster.local",
      "SRV 5432 ledger-1.ledgers.quay.svc.cluster.local",
    ]);
    const { additionals } = zone.find("_db._tcp.ledgers.quay.svc.cluster.local", "SRV");
    expect(new Set(additionals.map(({ type }) => type))).toEqual(new Set(["A", "AAAA"]));
    expect(additionals).toHaveLength(4);
  });

  test("an ExternalName leads on, within the cluster to the end", () => {
    expect(ask("elsewhere.quay.svc.cluster.local", "A")).toEqual(["CNAME mirror.example.org"]);
    expect(ask("alias.quay.svc.cluster.local", "A")).toEqual([
      "A 10.96.7.7",
      "CNAME ledger.quay.svc.cluster.local",
    ]);
    expect(ask("ring.quay.svc.cluster.local", "A").length).toBeLessThan(20);
  });

  test("addresses have names: of a Service, of a pod behind one; a pod's dashed name is its own", () => {
    expect(ask("7.7.96.10.in-addr.arpa", "PTR")).toEqual(["PTR ledger.quay.svc.cluster.local"]);
    const six = `7${".0".repeat(27)}.6.9.d.f.ip6.arpa`;
    expect(ask(six, "PTR")).toEqual(["PTR ledger.quay.svc.cluster.local"]);
    expect(ask("10-1-0-9.quay.pod.cluster.local", "A")).toEqual(["A 10.1.0.9"]);
    expect(ask("fd01--9.quay.pod.cluster.local", "AAAA")).toEqual(["AAAA fd01::9"]);
    expect(ask("10-1-0-9.other.pod.cluster.local", "A")).toBe("none");
    expect(ask("9.0.1.10.in-addr.arpa", "PTR")).toBe("none");
  });

  test("what is not there does not exist, and what is above a name does", () => {
    expect(ask("nobody.quay.svc.cluster.local", "A")).toBe("none");
    expect(ask("ledger.other.svc.cluster.local", "A")).toBe("none");
    expect(ask("example.org", "A")).toBe("none");
    expect(ask("quay.svc.cluster.local", "A")).toEqual([]);
    expect(ask("_tcp.ledger.quay.svc.cluster.local", "A")).toEqual([]);
    expect(ask("cluster.local", "SOA")).toHaveLength(1);
  });

  test("the cluster's DNS has a name too; without translation names lead to pods", () => {
    expect(ask("kube-dns.kube-system.svc.cluster.local", "A")).toEqual(["A 10.96.0.10"]);
    const plain = zoneOf(manifests, false);
    expect(ask("ledger.quay.svc.cluster.local", "A", plain)).toEqual(
      ask("ledgers.quay.svc.cluster.local", "A"),
    );
    // Each pod has a name for each of its addresses.
    expect(ask("_sql._tcp.ledger.quay.svc.cluster.local", "SRV", plain)).toHaveLength(4);
  });
});

const name = "ledger.quay.svc.cluster.local";

function query(packet: Packet): Buffer {
  return encode({ type: "query", id: 77, flags: RECURSION_DESIRED, ...packet });
}

function reply(bytes: Buffer, way: "udp" | "tcp" = "udp", within = zone) {
  const answer = answerQuery(bytes, within, way);
  if (answer === undefined) return undefined;
  const packet = decode(answer) as ReturnType<typeof decode> & { readonly rcode: string };
  return { ...packet, bytes: answer.length };
}

describe("DNS on the wire", () => {
  test("an answer has the query's number, question and case, and says who knows", () => {
    const mixed = "LedGer.quay.SVC.cluster.local";
    const found = reply(query({ questions: [{ type: "A", name: mixed }] }));
    expect(found).toMatchObject({
      id: 77,
      type: "response",
      flag_aa: true,
      flag_rd: true,
      flag_tc: false,
      rcode: "NOERROR",
      questions: [{ name: mixed, type: "A" }],
      answers: [{ name: mixed, type: "A", data: "10.96.7.7", ttl: 5 }],
    });
  });

  test("NXDOMAIN and no data say how long that holds; of others' names nothing is claimed", () => {
    const none = reply(query({ questions: [{ type: "A", name: `no.${name}` }] }));
    expect(none).toMatchObject({
      rcode: "NXDOMAIN",
      flag_aa: true,
      authorities: [{ type: "SOA" }],
    });
    const empty = reply(query({ questions: [{ type: "TXT", name }] }));
    expect(empty).toMatchObject({ rcode: "NOERROR", answers: [], authorities: [{ type: "SOA" }] });
    const foreign = reply(query({ questions: [{ type: "A", name: "example.org" }] }));
    expect(foreign).toMatchObject({ rcode: "NXDOMAIN", flag_aa: false, authorities: [] });
    const chaos = reply(query({ questions: [{ type: "A", name, class: "CH" }] }));
    expect(chaos).toMatchObject({ rcode: "REFUSED" });
  });

  // Goal: what does not fit into a datagram is asked for again by TCP, and then all is there.
  // Method: a headless Service of 40 pods; without EDNS, with it, and by TCP.
  test("an answer that is too long is cut off whole, unless the client takes more", () => {
    const pods = Array.from(
      { length: 40 },
      (_, at) =>
        `{apiVersion: v1, kind: Pod, metadata: {name: p${at}, namespace: quay, labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}`,
    );
    const service =
      "{apiVersion: v1, kind: Service, metadata: {name: many, namespace: quay}, spec: {clusterIP: None, selector: {a: b}}}";
    const large = zoneOf([...pods, service].join("\n---\n"));
    const question = { questions: [{ type: "A", name: "many.quay.svc.cluster.local" }] } as const;
    const opt = (udpPayloadSize: number) =>
      ({ type: "OPT", name: ".", udpPayloadSize, flags: 0, options: [] }) as never;
    const short = reply(query({ ...question, questions: [...question.questions] }), "udp", large)!;
    expect(short).toMatchObject({ flag_tc: true, answers: [] });
    for (const size of [0, 512, 1232, 65_535]) {
      const bytes = query({ questions: [...question.questions], additionals: [opt(size)] });
      const cut = reply(bytes, "udp", large)!;
      expect(cut.bytes).toBeLessThanOrEqual(Math.max(512, Math.min(1232, size)));
      expect(cut).toMatchObject({ flag_tc: true, additionals: [{ type: "OPT" }] });
    }
    const whole = reply(query({ questions: [...question.questions] }), "tcp", large)!;
    expect(whole.flag_tc).toBe(false);
    expect(whole.answers).toHaveLength(40);
  });

  test("a version of EDNS that is unknown is refused by its number", () => {
    const opt = {
      type: "OPT",
      name: ".",
      udpPayloadSize: 1232,
      ednsVersion: 1,
      flags: 0,
      options: [],
    };
    const bytes = query({ questions: [{ type: "A", name }], additionals: [opt as never] });
    expect(reply(bytes)).toMatchObject({
      rcode: "NOERROR",
      answers: [],
      additionals: [{ extendedRcode: 1, ednsVersion: 0 }],
    });
  });

  test("answers and other operations get no answer, so that none goes on for ever", () => {
    const bytes = query({ questions: [{ type: "A", name }] });
    const own = answerQuery(bytes, zone, "udp")!;
    expect(answerQuery(own, zone, "udp")).toBeUndefined();
    const status = Buffer.from(bytes);
    status[2] = 0x10;
    expect(answerQuery(status, zone, "udp")).toBeUndefined();
    expect(answerQuery(bytes.subarray(0, 11), zone, "udp")).toBeUndefined();
  });

  test("what is no query with one question is a format error, however it is written", () => {
    const bytes = query({ questions: [{ type: "A", name }] });
    const two = query({
      questions: [
        { type: "A", name },
        { type: "AAAA", name },
      ],
    });
    const long = Buffer.concat([bytes, Buffer.alloc(2000)]);
    const pointer = Buffer.from(bytes);
    pointer[12] = 0xc0;
    pointer[13] = 0x0c;
    const dotted = Buffer.from(bytes);
    dotted[15] = 0x2e;
    for (const each of [two, long, pointer, dotted, bytes.subarray(0, 20)]) {
      const answer = answerQuery(each, zone, "udp")!;
      expect(answer).toHaveLength(12);
      expect([answer.readUInt16BE(0), answer[2]! & 0x80, answer[3]]).toEqual([77, 0x80, 1]);
    }
  });

  test("no bytes whatever make it throw, or answer with more than is allowed", () => {
    const good = query({
      questions: [{ type: "SRV", name: "_db._tcp.ledgers.quay.svc.cluster.local" }],
    });
    const damaged = fc
      .array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 })
      .map((changes) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        return new Uint8Array(bytes);
      });
    fc.assert(
      fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 1500 })), (bytes) => {
        const answer = answerQuery(bytes, zone, "udp");
        if (answer !== undefined) expect(answer.length).toBeLessThanOrEqual(1232);
      }),
      { numRuns: 3_000 },
    );
  });
});
