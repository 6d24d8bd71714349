import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, assert, beforeAll, describe, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { PcapngWriter } from "../../src/capture/pcapng.js";
import { readCapture } from "../../src/capture/read-capture.js";
import { runCli } from "../../src/cli/frame.js";
import { compile } from "../../src/compiler/compile.js";
import { takeCapture } from "../../src/recommend/captured.js";
import { Seen } from "../../src/recommend/seen.js";
import { fakeIo } from "../cli/fake-io.js";
import { type Host, icmp, tcp, tcpFlags, udp } from "../dataplane/frames.js";

// Goal: sluice recommend, from the files that a user has to the policies, for each thing that flows can be about.

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-recommend-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v7}}
    spec:
      containers: [{name: web, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, labels: {app: db}}
spec:
  nodeName: n1
  containers: [{name: db, ports: [{name: sql, containerPort: 5432}]}]
status: {podIPs: [{ip: 10.0.0.5}]}
---
apiVersion: v1
kind: Pod
metadata: {name: dns-1, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  containers: [{name: dns, ports: [{name: dns, containerPort: 53, protocol: UDP}]}]
status: {podIPs: [{ip: 10.0.0.53}]}
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: 10.96.0.10
  selector: {k8s-app: kube-dns}
  ports: [{name: dns, port: 53, protocol: UDP, targetPort: dns}]
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.80
  externalIPs: [198.51.100.7]
  selector: {app: web}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.8}]}}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: shop, labels: {app: agent}}
spec: {nodeName: n2, hostNetwork: true, containers: [{name: a}]}
status: {podIPs: [{ip: 192.168.0.2}]}
`;

type End = { readonly ip: string; readonly pod?: string; readonly labels?: readonly string[] };
const web: End = {
  ip: "10.9.9.1",
  pod: "shop/web-7d9f-abcde",
  labels: ["k8s:app=web", "k8s:version=v7", "k8s:pod-template-hash=7d9f"],
};
const db: End = { ip: "10.0.0.5", pod: "shop/db-0", labels: ["k8s:app=db"] };
const world = (ip: string): End => ({ ip, labels: ["reserved:world"] });
const host = (ip: string): End => ({ ip, labels: ["reserved:host"] });

function flow(source: End, destination: End, l4: object, more: object = {}): string {
  const end = ({ pod, labels = [] }: End) => {
    const [namespace, name] = pod?.split("/") ?? [];
    return pod === undefined ? { labels } : { namespace, pod_name: name, labels };
  };
  return JSON.stringify({
    flow: {
      verdict: "FORWARDED",
      IP: { source: source.ip, destination: destination.ip },
      l4,
      source: end(source),
      destination: end(destination),
      is_reply: false,
      ...more,
    },
  });
}
const to = (port: number, protocol = "TCP") => ({
  [protocol]: { source_port: 40_000, destination_port: port },
});

async function recommended(
  lines: readonly string[],
  words: readonly string[] = [],
  yaml: string | null = manifests,
) {
  writeFileSync(join(folder, "manifests.yaml"), yaml ?? "");
  const given = yaml === null ? [] : ["-f", join(folder, "manifests.yaml")];
  const io = fakeIo({ stdin: lines.join("\n") + (lines.length === 0 ? "" : "\n") });
  const code = await runCli(["recommend", "--flows", "-", ...given, ...words], io);
  return { code, out: io.out(), err: io.err() };
}

/** The policies of a text by namespace and name. */
function policiesOf(text: string) {
  const all = parseAllDocuments(text).map((each) => each.toJS());
  return new Map(all.map((each) => [`${each.metadata.namespace}/${each.metadata.name}`, each]));
}

describe("policies", () => {
  test("are by the workload's own selector, with ports by name, and deny the rest", async () => {
    const { code, out, err } = await recommended([flow(web, db, to(5432))]);
    assert.equal(code, 0);
    const policies = policiesOf(out);
    assert.deepEqual(
      [...policies.keys()],
      ["shop/default-deny", "shop/allow-db", "shop/allow-web"],
    );
    assert.deepEqual(policies.get("shop/default-deny").spec, {
      podSelector: {},
      policyTypes: ["Ingress", "Egress"],
    });
    assert.deepEqual(policies.get("shop/allow-web").spec, {
      podSelector: { matchLabels: { app: "web" } },
      policyTypes: ["Ingress", "Egress"],
      egress: [
        {
          to: [{ podSelector: { matchLabels: { app: "db" } } }],
          ports: [{ protocol: "TCP", port: "sql" }],
        },
      ],
    });
    assert.include(err, "replayed, 1 of 1 allowed");
  });

  test("a Service is its pods by their own port, and kube-dns one of them", async () => {
    const { out } = await recommended([
      flow(db, world("10.96.0.80"), to(80)),
      flow(db, world("10.96.0.10"), to(53, "UDP")),
    ]);
    assert.deepEqual(policiesOf(out).get("shop/allow-db").spec.egress, [
      {
        to: [{ podSelector: { matchLabels: { app: "web" } } }],
        ports: [{ protocol: "TCP", port: "http" }],
      },
      {
        to: [
          {
            namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } },
            podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
          },
        ],
        ports: [{ protocol: "UDP", port: "dns" }],
      },
    ]);
    assert.isFalse(
      policiesOf(out).has("kube-system/default-deny"),
      "the cluster's own is left alone",
    );
  });

  test("an external address, a load balancer and a nodePort lead to the pods behind them", async () => {
    const { out, err } = await recommended([
      flow(db, world("198.51.100.7"), to(80)),
      flow(db, world("198.51.100.8"), to(80)),
      flow(world("203.0.113.5"), world("192.168.0.2"), to(30080)),
      // No port of the Service: another program's.
      flow(db, world("198.51.100.8"), to(81)),
    ]);
    const { spec } = policiesOf(out).get("shop/allow-db");
    assert.deepEqual(spec.egress, [
      { to: [{ ipBlock: { cidr: "198.51.100.8/32" } }], ports: [{ protocol: "TCP", port: 81 }] },
      {
        to: [{ podSelector: { matchLabels: { app: "web" } } }],
        ports: [{ protocol: "TCP", port: "http" }],
      },
    ]);
    assert.deepEqual(policiesOf(out).get("shop/allow-web").spec.ingress, [
      {
        from: [
          { podSelector: { matchLabels: { app: "db" } } },
          { ipBlock: { cidr: "203.0.113.5/32" } },
        ],
        ports: [{ protocol: "TCP", port: "http" }],
      },
    ]);
    assert.notInclude(err, "neither end is a pod");
  });

  test("a name server that no manifest has is an address, and said to be", async () => {
    const asked = flow(web, world("10.96.0.10"), to(53, "UDP"));
    const { out, err } = await recommended([asked], [], null);
    assert.include(out, "cidr: 10.96.0.10/32");
    assert.include(err, "10.96.0.10 answers DNS, and no known pod or Service has it");
    const known = await recommended([asked]);
    assert.notInclude(known.err, "answers DNS");
  });

  test("a Service that nobody knows is left out by name", async () => {
    const { code, err } = await recommended([
      flow(db, world("10.96.0.99"), to(80), { destination_service: { namespace: "a", name: "b" } }),
    ]);
    assert.equal(code, 3);
    assert.include(err, "to a Service of which no pod is known");
  });

  test("outside is single addresses, joined where they are whole, and wider when asked", async () => {
    const lines = ["203.0.113.8", "203.0.113.9", "203.0.113.77", "10.0.0.200"].map((ip) =>
      flow(world(ip), db, to(5432)),
    );
    const blocks = async (...words: string[]) => {
      const { out } = await recommended(lines, words);
      return policiesOf(out)
        .get("shop/allow-db")
        .spec.ingress[0].from.map((peer: { ipBlock: { cidr: string } }) => peer.ipBlock.cidr);
    };
    assert.deepEqual(await blocks(), ["10.0.0.200/32", "203.0.113.8/31", "203.0.113.77/32"]);
    // Pods have addresses in 10.0.0.0/24, the nearest 10.0.0.53: the block keeps clear of them.
    assert.deepEqual(await blocks("--outside-prefix", "24"), ["10.0.0.128/25", "203.0.113.0/24"]);
  });

  test("kubelet probes need no rule; another node and pods on its network are addresses", async () => {
    const { out, err } = await recommended([
      flow(host("192.168.0.1"), db, to(8081), { ext: { rules: [{ tier: "Node" }] } }),
      flow(world("192.168.0.1"), db, to(8082)),
      flow(world("192.168.0.2"), db, to(8083)),
    ]);
    assert.deepEqual(policiesOf(out).get("shop/allow-db").spec.ingress, [
      { from: [{ ipBlock: { cidr: "192.168.0.2/32" } }], ports: [{ protocol: "TCP", port: 8083 }] },
    ]);
    assert.include(err, "left out 2: between a pod and its own node");
    assert.include(err, "a pod on its node's network");
    assert.include(out, "# node n2");
  });

  test("replies, refused flows, ICMP and flows without ends give no rule, and are told", async () => {
    const { out, err } = await recommended([
      flow(web, db, to(5432)),
      flow(db, web, to(40_000), { is_reply: true }),
      flow(web, db, to(22), { verdict: "DROPPED" }),
      flow(web, db, { ICMPv4: { type: 8 } }),
      flow(web, db, to(23), { is_reply: undefined }),
      flow(
        web,
        db,
        { TCP: { destination_port: 24, flags: { SYN: true, ACK: true } } },
        { is_reply: undefined },
      ),
      JSON.stringify({ flow: { verdict: "FORWARDED", IP: {}, l4: to(25), is_reply: false } }),
      JSON.stringify({ node_status: { state_change: 1 } }),
      JSON.stringify({ lost_events: { num_events_lost: "7" } }),
    ]);
    const rules = JSON.stringify([...policiesOf(out).values()].map(({ spec }) => spec));
    for (const port of [22, 23, 24, 25, 40_000]) assert.notInclude(rules, `${port}`);
    assert.include(
      err,
      "left out 1: refused, so it was not needed (shop/web-7d9f-abcde -> shop/db-0 22/tcp)",
    );
    assert.include(err, "left out 2: a reply");
    assert.include(err, "left out 1: neither TCP, UDP nor SCTP");
    assert.include(err, "left out 1: the record does not say who opened the connection");
    assert.include(err, "left out 1: the record names no addresses");
    assert.include(err, "7 records were lost");
  });

  test("a connection that its other end refused was not let through", async () => {
    const told = (port: number, client: number, verdict: string, more: object = {}) =>
      flow(web, db, { TCP: { source_port: client, destination_port: port } }, { verdict, ...more });
    const { out, err } = await recommended([
      // One end lets it go, the other does not; in either order, and with another connection that did get through.
      ...[told(1, 40_001, "FORWARDED"), told(1, 40_001, "DROPPED")],
      ...[told(2, 40_002, "DROPPED"), told(2, 40_002, "FORWARDED")],
      ...[told(3, 40_003, "FORWARDED"), told(3, 40_003, "DROPPED"), told(3, 40_004, "FORWARDED")],
      // A new table cut one that had passed.
      ...[told(4, 40_005, "FORWARDED"), told(4, 40_005, "DROPPED", { ext: { event: "cut" } })],
    ]);
    const { ports } = policiesOf(out).get("shop/allow-db").spec.ingress[0];
    assert.deepEqual(ports, [
      { protocol: "TCP", port: 3 },
      { protocol: "TCP", port: 4 },
    ]);
    assert.include(err, "left out 4: refused");
  });

  test("workloads whose names are as long as a name may be have a policy each", async () => {
    const long = (end: string) => `${"a".repeat(253 - end.length)}${end}`;
    const pods = ["x", "y", "z"].map(
      (each, at): End => ({
        ip: `10.0.1.${at + 1}`,
        pod: `shop/${long(each)}`,
        labels: [`k8s:app=${each}`],
      }),
    );
    const { code, out } = await recommended(
      pods.map((each) => flow(each, db, to(5432))),
      ["--default-deny", "workload"],
    );
    assert.equal(code, 0);
    const names = [...policiesOf(out).keys()].map((each) => each.split("/")[1]!);
    assert.equal(new Set(names).size, 4);
    for (const name of names) assert.isAtMost(name.length, 253);
  });

  test("labels that are another's and more are told apart; equal ones are said to be", async () => {
    const ends = [
      { ip: "10.0.0.1", pod: "a/plain", labels: ["k8s:app=x"] },
      { ip: "10.0.0.2", pod: "a/more", labels: ["k8s:app=x", "k8s:track=canary"] },
    ] as const;
    const told = await recommended([flow(ends[0], ends[1], to(1))], [], null);
    assert.deepEqual(policiesOf(told.out).get("a/allow-plain").spec.podSelector, {
      matchLabels: { app: "x" },
      matchExpressions: [{ key: "track", operator: "DoesNotExist" }],
    });
    const twins = manifests.concat(`---
apiVersion: apps/v1
kind: Deployment
metadata: {name: twin, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web, version: v7}}, spec: {containers: [{name: w}]}}
`);
    const same = await recommended([flow(web, db, to(5432))], [], twins);
    assert.include(
      same.err,
      "no labels tell apart in shop: Deployment twin, Deployment web; they share one policy",
    );
  });

  test("labels that YAML 1.1 takes for something else are quoted, and names that are none are left out", async () => {
    const labels = ["k8s:app=on", "k8s:y=1_000", "k8s:role=0o7", "k8s:track=", "k8s:bad key=x"];
    const ends = [
      { ip: "10.0.0.1", pod: "a/one", labels },
      { ip: "10.0.0.2", pod: "a/two", labels: ["k8s:app=1.5"] },
    ] as const;
    const evil = { ip: "10.0.0.3", pod: "..\n/x", labels: [] };
    const { out, err } = await recommended(
      [flow(ends[0], ends[1], to(1)), flow(evil, ends[1], to(2))],
      [],
      null,
    );
    for (const text of ['app: "on"', 'app: "1.5"', 'role: "0o7"']) assert.include(out, text);
    assert.notInclude(out, "port: 2");
    assert.include(err, "left out 1: the record names no addresses");
  });

  test("one that an admin's policy refuses now is left out, with that policy", async () => {
    const admin = `---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: never}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  ingress: [{action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 5432}}}]}]
`;
    const { code, err } = await recommended([flow(web, db, to(5432))], [], manifests + admin);
    assert.equal(code, 0, err);
    assert.include(err, "a policy that stays refuses it");
    assert.include(err, "ClusterNetworkPolicy never");
  });
});

describe("the command", () => {
  const lines = [flow(web, db, to(5432))];

  test("--audit annotates, --only chooses, --default-deny workload leaves the rest open", async () => {
    const audited = await recommended(lines, ["--audit"]);
    for (const { metadata } of policiesOf(audited.out).values()) {
      assert.deepEqual(metadata.annotations, { "sluice/mode": "audit" });
    }
    const only = await recommended(lines, ["--only", "shop/db-0"]);
    assert.deepEqual([...policiesOf(only.out).keys()], ["shop/allow-db"]);
    const workload = await recommended(lines, ["--default-deny", "workload"]);
    assert.deepEqual([...policiesOf(workload.out).keys()], ["shop/allow-db", "shop/allow-web"]);
  });

  test("-o json is one document, --out a file or a folder, --diff what closes", async () => {
    const out = join(folder, "policies", "/");
    const {
      code,
      out: text,
      err,
    } = await recommended(lines, ["-o", "json", "--out", out, "--diff"]);
    assert.equal(code, 0, err);
    const document = JSON.parse(text);
    assert.lengthOf(document.policies, 3);
    assert.deepEqual(document.proof, { asked: 1, allowed: 1 });
    assert.isFalse(document.diff.equivalent);
    for (const { opened } of document.diff.changes)
      assert.deepEqual(opened, { tcp: [], udp: [], sctp: [], other: false });
    const file = join(out, "shop", "allow-web.yaml");
    assert.deepEqual(parse(readFileSync(file, "utf8")), document.policies[2]);
    const single = join(folder, "all.yaml");
    await recommended(lines, ["--out", single]);
    assert.equal(policiesOf(readFileSync(single, "utf8")).size, 3);
    assert.isTrue(existsSync(single));
  });

  test("says which policies go, and what nothing was seen of", async () => {
    const old = `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: old, namespace: shop}
spec: {podSelector: {}}
---
apiVersion: v1
kind: Pod
metadata: {name: idle, namespace: shop, labels: {app: idle}}
spec: {containers: [{name: i}]}
`;
    const { err } = await recommended(lines, [], manifests + old);
    assert.match(err, /to be deleted.*: shop\/old \(.*manifests\.yaml:\d+:\d+\)/);
    assert.include(err, "nothing was seen of shop/idle: default-deny closes it");
  });

  const bad: readonly (readonly [
    name: string,
    lines: readonly string[],
    code: number,
    want: string,
  ])[] = [
    ["no JSON", [lines[0]!, "{oops}", lines[0]!], 3, "standard input:2:2: got"],
    ["no flow", [`{"a":1}`], 3, "standard input:1:1: want a flow"],
    ["no object", ["7"], 3, "standard input:1:1: want an object"],
    ["nothing", [], 3, "nothing to recommend: got 0 records"],
  ];
  test.each(bad)("refuses a log with %s", async (_name, given, wantCode, want) => {
    const { code, err, out } = await recommended(given);
    assert.equal(code, wantCode);
    assert.include(err, want);
    assert.equal(out, "");
  });

  test("passes over a last line that is cut off", async () => {
    const io = fakeIo({ stdin: `${lines[0]}\n{"flow":{"verd` });
    assert.equal(await runCli(["recommend", "--flows", "-"], io), 0);
    assert.include(io.err(), "standard input:2: the last line is cut off");
  });

  test("refuses flags that do not go together", async () => {
    for (const words of [
      ["--lab", "x"],
      ["--during", "1s"],
      ["--outside-prefix", "4"],
      ["--outside-prefix", "24,64,1"],
    ]) {
      const { code } = await recommended(lines, words);
      assert.equal(code, 2, words.join(" "));
    }
  });
});

describe("captures", () => {
  const hosts: Record<"web" | "db" | "dns" | "out", Host> = {
    web: { mac: "02:00:00:00:00:01", v4: "10.0.0.7", v6: "fd00::7" },
    db: { mac: "02:00:00:00:00:02", v4: "10.0.0.5", v6: "fd00::5" },
    dns: { mac: "02:00:00:00:00:03", v4: "10.96.0.10", v6: "fd00::53" },
    out: { mac: "02:00:00:00:00:04", v4: "203.0.113.9", v6: "2001:db8::9" },
  };
  const { web: client, db: server, dns, out } = hosts;
  const { syn, ack } = tcpFlags;
  const frames = [
    tcp(4, client, 40_000, server, 5432, { flags: syn, sequence: 1 }),
    tcp(4, server, 5432, client, 40_000, { flags: syn | ack, sequence: 9, acknowledgement: 2 }),
    tcp(4, client, 40_000, server, 5432, { flags: ack, sequence: 2, acknowledgement: 10 }),
    // Nobody answers, and one whose start is not in the capture.
    tcp(4, out, 40_001, server, 22, { flags: syn, sequence: 1 }),
    tcp(4, out, 40_002, server, 443, {
      flags: ack,
      sequence: 5,
      acknowledgement: 7,
      payloadBytes: 4,
    }),
    udp(4, client, 40_003, dns, 53),
    udp(4, dns, 53, client, 40_003),
    icmp(4, client, server, 8, new Uint8Array(8)),
  ];
  const yaml = manifests.replace(
    "status: {podIPs: [{ip: 10.0.0.5}]}",
    "status: {podIPs: [{ip: 10.0.0.5}]}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: cli, namespace: shop, labels: {app: cli}}\nstatus: {podIPs: [{ip: 10.0.0.7}]}",
  );

  async function captured(...words: string[]) {
    const blocks: Uint8Array[] = [];
    const writer = new PcapngWriter((block) => blocks.push(block));
    const id = writer.addInterface("eth0");
    for (const [at, frame] of frames.entries()) writer.addPacket(id, 1_000 * at + 1_000, frame);
    const [file, given] = ["seen.pcapng", "with.yaml"].map((name) => join(folder, name));
    writeFileSync(file!, Buffer.concat(blocks));
    writeFileSync(given!, yaml);
    const io = fakeIo();
    const code = await runCli(["recommend", "--flows", file!, "-f", given!, ...words], io);
    return { code, policies: policiesOf(io.out()), err: io.err() };
  }

  test("count what was answered, and say what was not", async () => {
    const { code, policies, err } = await captured();
    assert.equal(code, 0, err);
    assert.deepEqual(policies.get("shop/allow-db").spec.ingress, [
      {
        from: [{ podSelector: { matchLabels: { app: "cli" } } }],
        ports: [{ protocol: "TCP", port: "sql" }],
      },
    ]);
    assert.lengthOf(policies.get("shop/allow-cli").spec.egress, 2);
    assert.include(
      err,
      "left out 1: no answer was seen: --unanswered counts it (203.0.113.9 -> 10.0.0.5 22/tcp)",
    );
    assert.include(err, "left out 1: the capture does not show its start");
    assert.include(err, "left out 1: neither TCP, UDP nor SCTP");
  });

  // A capture of SYNs alone may have millions of connections.
  test("of more connections than are kept, the one that waits longest has had no answer", () => {
    const blocks: Uint8Array[] = [];
    const writer = new PcapngWriter((block) => blocks.push(block));
    const id = writer.addInterface("eth0");
    for (let port = 1; port <= 5; port++) {
      writer.addPacket(id, port, tcp(4, client, 40_000, server, port, { flags: syn }));
    }
    const empty = compile({ objects: [] });
    assert(empty.ok);
    for (const isTaken of [false, true]) {
      const seen = new Seen();
      takeCapture(readCapture(Buffer.concat(blocks)), empty.blob, isTaken, seen, 2);
      const got = [seen.flows.length, seen.leftOut.all.map(({ why, count }) => [why, count])];
      assert.deepEqual(got, isTaken ? [5, []] : [0, [["unanswered", 5]]]);
    }
  });

  test("--unanswered counts the others too", async () => {
    const { policies } = await captured("--unanswered");
    assert.include(JSON.stringify(policies.get("shop/allow-db").spec.ingress), "203.0.113.9/32");
  });
});
