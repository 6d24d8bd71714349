import { assert, describe, test } from "vitest";
import { ownFiles, sluice } from "../cli/command-bench.js";

const file = ownFiles();

const pod = (name: string, role: string, ip: string, rest = "") => `apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: quay, labels: {role: ${role}}}
spec: {${rest}containers: [{name: c, image: x, ports: [{name: http, containerPort: 8080}]}]}
status: {podIPs: [{ip: ${ip}}]}
---
`;
const service = (name: string, spec: string) => `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: quay}
spec: ${spec}
---
`;
const policy = (select: string, port: number) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ledger, namespace: quay}
spec:
  podSelector: ${select}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {role: crane}}}], ports: [{port: ${port}}]}]
`;
const pods = [
  pod("crane", "crane", "10.7.0.2"),
  pod("ledger-a", "ledger", "10.7.0.11"),
  pod("ledger-b", "ledger", "10.7.0.12").replace("role: ledger", "role: ledger, canary: yes-it-is"),
].join("");
const services = [
  service(
    "ledger",
    "{clusterIP: 10.96.0.7, selector: {role: ledger}, ports: [{name: web, port: 80, targetPort: http}, {name: admin, port: 81, targetPort: admin}]}",
  ),
  service(
    "heads",
    "{clusterIP: None, selector: {role: ledger}, ports: [{name: web, port: 80, targetPort: http}]}",
  ),
  service("outside", "{type: ExternalName, externalName: db.example.com}"),
  service("nobody", "{selector: {role: gone}, ports: [{port: 80}]}"),
].join("");
const rest = `${pods}${services}`;
const wrong = file(rest + policy("{matchLabels: {role: ledger}}", 80));
const right = file(rest + policy("{matchLabels: {role: ledger}}", 8080));
const half = file(rest + policy("{matchLabels: {canary: yes-it-is}}", 80));

const explain = (path: string, to: string, ...more: string[]) =>
  sluice("explain", "-f", path, "--from", "quay/crane", "--to", to, ...more);

describe("explain --to svc/…: the pods behind it, at their own ports", () => {
  test.each([
    [
      wrong,
      1,
      "DENIED: Service quay/ledger 80 -> quay/ledger-a:8080, quay/ledger-b:8080, which ingress denies",
    ],
    [right, 0, "ALLOWED: Service quay/ledger 80 -> quay/ledger-a:8080, quay/ledger-b:8080"],
    [
      half,
      1,
      "ALLOWED TO SOME: Service quay/ledger 80 -> quay/ledger-a:8080; not quay/ledger-b:8080, which ingress denies",
    ],
  ])("%s", async (path, want, line) => {
    for (const to of ["svc/quay/ledger", "svc/ledger", "service/quay/ledger", "10.96.0.7"]) {
      for (const port of ["80", "80/tcp", "web"]) {
        const { code, out } = await explain(path, to, "--port", port, "--exit-code");
        assert.equal(out.split("\n")[0], line);
        assert.equal(code, want);
      }
    }
  });

  test("pods of which the same is to be said are explained once", async () => {
    const { out } = await explain(wrong, "svc/ledger", "--port", "80");
    assert.equal(out.match(/^ ingress /gm)?.length, 1);
    assert.match(out, /^ likewise quay\/ledger-b:8080$/m);
    const { out: two } = await explain(half, "svc/ledger", "--port", "80", "-o", "tree");
    assert.equal(two.match(/^[├└]─ ingress /gm)?.length, 2);
  });

  test("JSON has the answer of each pod", async () => {
    const { out } = await explain(half, "svc/ledger", "--port", "80", "-o", "json");
    const document = JSON.parse(out);
    assert.equal(document.verdict, "some");
    assert.deepEqual(document.service, {
      namespace: "quay",
      name: "ledger",
      type: "ClusterIP",
      headless: false,
      clusterIPs: ["10.96.0.7"],
      portName: "web",
      port: 80,
      protocol: "tcp",
      targetPort: "http",
    });
    assert.deepEqual(
      document.backends.map(
        (each: { ref: string; port: number; explanation: { verdict: string } }) => [
          each.ref,
          each.port,
          each.explanation.verdict,
        ],
      ),
      [
        ["quay/ledger-a", 8080, "allow"],
        ["quay/ledger-b", 8080, "deny"],
      ],
    );
  });

  test("without a port, a line for each of the Service's", async () => {
    const { code, out } = await explain(right, "svc/ledger");
    assert.equal(code, 0);
    assert.deepEqual(out.trimEnd().split("\n"), [
      "ALLOWED: Service quay/ledger 80 -> quay/ledger-a:8080, quay/ledger-b:8080",
      'Service quay/ledger 81 leads nowhere: no port of quay/ledger-a, quay/ledger-b is called "admin"',
      "--port says why, for one port",
    ]);
    const { out: json } = await explain(right, "svc/ledger", "-o", "json");
    const { ports, nowhere } = JSON.parse(json);
    assert.equal(ports.length, 1);
    assert.deepEqual(nowhere, [
      {
        portName: "admin",
        port: 81,
        protocol: "tcp",
        reason:
          'Service quay/ledger 81 leads nowhere: no port of quay/ledger-a, quay/ledger-b is called "admin"',
      },
    ]);
    assert.equal((await explain(right, "svc/ledger", "--exit-code")).code, 1);
  });

  test("a headless one translates no number; its port's name tells the target", async () => {
    const { out: dialled } = await explain(right, "svc/heads", "--port", "80");
    assert.match(
      dialled,
      /^DENIED: Service quay\/heads 80 -> quay\/ledger-a:80, quay\/ledger-b:80,/,
    );
    assert.match(dialled, /^ headless: .* no port is translated$/m);
    const { out: every } = await explain(right, "svc/heads");
    assert.match(every, /^DENIED: Service quay\/heads 80 -> quay\/ledger-a:80, /);
    const { out: named } = await explain(right, "svc/heads", "--port", "web");
    assert.match(named, /^ALLOWED: Service quay\/heads 80 -> quay\/ledger-a:8080,/);
  });

  test.each([
    [
      "svc/quay/ledger",
      "8080",
      "Service quay/ledger has no port 8080, it has 80 (web), 81 (admin)",
    ],
    [
      "svc/quay/ledger",
      "80/udp",
      "Service quay/ledger has no port 80/udp, it has 80 (web), 81 (admin)",
    ],
    [
      "svc/quay/ledger",
      "grpc",
      "Service quay/ledger has no port grpc, it has 80 (web), 81 (admin)",
    ],
    [
      "svc/quay/ledger",
      "81",
      'Service quay/ledger 81 leads nowhere: no port of quay/ledger-a, quay/ledger-b is called "admin"',
    ],
    [
      "svc/quay/ledger",
      "icmp",
      "got a Service and icmp, want a port: a Service takes TCP, UDP and SCTP",
    ],
    [
      "svc/quay/nobody",
      "80",
      "Service quay/nobody 80 leads nowhere: no pod of namespace quay has role=gone",
    ],
    [
      "svc/quay/outside",
      "80",
      "Service quay/outside is another name for db.example.com, which is outside: want its address",
    ],
    [
      "svc/quay/legder",
      "80",
      'got "svc/quay/legder", want svc/namespace/name of a Service in the manifests: did you mean svc/quay/ledger?',
    ],
  ])("%s %s", async (to, port, want) => {
    const { code, out, err } = await explain(right, to, "--port", port);
    assert.equal(code, 3);
    assert.equal(out, "");
    assert.include(err, `--to: ${want}`);
  });

  test("a name that two namespaces have is not guessed", async () => {
    const two = file(rest + service("ledger", "{ports: [{port: 1}]}").replace("quay", "mill"));
    const { code, err } = await explain(two, "svc/ledger", "--port", "80");
    assert.equal(code, 3);
    assert.include(err, "want svc/namespace/name: svc/mill/ledger or svc/quay/ledger");
  });

  test("a pod in a namespace called svc is that pod", async () => {
    const path = file(rest + pod("ledger", "x", "10.8.0.1").replace("quay", "svc"));
    const { out } = await explain(path, "svc/ledger", "--port", "80");
    assert.match(out, /^ALLOWED {2}quay\/crane \(10.7.0.2\) -> svc\/ledger \(10.8.0.1\)/);
  });

  test("from a Service comes no connection", async () => {
    const { code, err } = await sluice(
      "explain",
      "-f",
      right,
      "--from",
      "svc/ledger",
      "--to",
      "quay/crane",
    );
    assert.equal(code, 3);
    assert.include(err, '--from: got "svc/ledger", want who opens the connection');
  });

  test("a pod on its host's network at no known address is not asked, and that is said", async () => {
    const host = pod("ledger-h", "ledger", "10.0.0.1", "hostNetwork: true, ").replace(
      /status.*\n/,
      "",
    );
    const { out } = await explain(file(rest + host), "svc/ledger", "--port", "80");
    assert.match(out, /^ not asked: quay\/ledger-h, on its host's network/m);
    const { code, err } = await explain(
      file(pod("crane", "crane", "10.7.0.2") + host + services),
      "svc/ledger",
      "--port",
      "80",
    );
    assert.equal(code, 3);
    assert.include(err, "only pods on their hosts' network");
  });
});

describe("query: a probe to a Service", () => {
  async function ask(path: string, probe: object) {
    const probes = file(
      JSON.stringify({ probes: [{ id: 1, src: "quay/crane", ...probe }] }),
      "json",
    );
    const { code, out, err } = await sluice("query", "-f", path, "--probes", probes, "-o", "json");
    return code === 0 ? JSON.parse(out).verdicts[0] : err;
  }

  test("is denied where any pod behind it is", async () => {
    const backend = (name: string, verdict: string, deniedBy: string[]) => ({
      ref: `quay/${name}`,
      port: 8080,
      verdict,
      deniedBy,
    });
    for (const port of [80, "web"]) {
      assert.deepEqual(await ask(half, { dst: "svc/quay/ledger", port }), {
        id: 1,
        verdict: "deny",
        deniedBy: ["ingress"],
        backends: [backend("ledger-a", "allow", []), backend("ledger-b", "deny", ["ingress"])],
      });
    }
    const allowed = await ask(right, { dst: "svc/quay/ledger", port: 80 });
    assert.equal(allowed.verdict, "allow");
  });

  test("a probe to its address is to the address: that is what a packet has", async () => {
    const answer = await ask(wrong, { dst: "svc/quay/ledger", dstIP: "10.96.0.7", port: 80 });
    assert.deepEqual(answer, { id: 1, verdict: "allow", deniedBy: [] });
  });

  test.each([
    [
      { dst: "svc/quay/ledger", port: 8080 },
      "probes[0]: dst: Service quay/ledger has no port 8080",
    ],
    [
      { dst: "svc/quay/ledger", protocol: "ICMP" },
      'probes[0]: protocol: got "ICMP", want TCP, UDP or SCTP',
    ],
    [{ dst: "svc/quay/nobody", port: 80 }, "probes[0]: dst: svc/quay/nobody leads nowhere: no pod"],
    [{ dst: "svc/quay/leger", port: 80 }, "did you mean svc/quay/ledger?"],
  ])("%j", async (probe, want) => {
    assert.include(await ask(right, probe), want);
  });
});

describe("test: to a Service", () => {
  const tests = (to: string, expect = "allow", rest = "") =>
    file(`apiVersion: sluice/v1
kind: PolicyTest
tests:
  - {name: one, from: {pod: quay/crane}, to: ${to}, expect: ${expect}${rest}}
`);
  const run = (path: string, ...files: string[]) => sluice("test", ...files, "-f", path);

  test.each([
    ["{service: quay/ledger, port: 80}"],
    ["{service: quay/ledger, port: web}"],
    ["{namespace: quay, service: ledger, port: 80, protocol: TCP}"],
    ["{service: quay/heads, port: web}"],
  ])("%s is of the pods' ports", async (to) => {
    assert.equal((await run(right, tests(to))).code, 0);
    assert.equal((await run(wrong, tests(to, "deny"))).code, 0);
    for (const expect of ["allow", "deny"]) {
      const { code, out } = await run(half, tests(to, expect));
      assert.equal(code, 1);
      assert.match(out, /quay\/ledger-[ab] \(10.7.0.1[12]\) 8080\/tcp: expected/);
    }
  });

  test("other tests may except it, at the pods' ports", async () => {
    const both = file(`apiVersion: sluice/v1
kind: PolicyTest
tests:
  - {name: crane, from: {pod: quay/crane}, to: {service: quay/ledger, port: 80}, expect: allow}
  - {name: others, from: {any: true}, to: {workload: quay/ledger, protocol: TCP}, expect: deny, except: [crane]}
`);
    const path = file(
      `${rest}${policy("{matchLabels: {role: ledger}}", 8080)}`.replaceAll(
        "labels: {role: ledger",
        "ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: ledger, uid: a, controller: true}], labels: {role: ledger",
      ),
    );
    const { code, out } = await run(path, both);
    assert.equal(code, 0, out);
  });

  test.each([
    [
      "{service: quay/ledger, port: 8080}",
      "Service quay/ledger has no port 8080, it has 80 (web), 81 (admin)",
    ],
    ["{service: quay/ledger, port: 90-99}", "Service quay/ledger has no such port"],
    ["{service: quay/ledger, protocol: ICMP}", "Service quay/ledger takes no ICMP"],
    [
      "{service: quay/nobody, port: 80}",
      "Service quay/nobody leads nowhere: no pod of namespace quay has role=gone",
    ],
    ["{service: quay/outside}", "Service quay/outside is another name for db.example.com"],
    ["{service: quay/legder, port: 80}", "did you mean svc/quay/ledger?"],
  ])("%s proves nothing, and fails", async (to, want) => {
    const { code, out } = await run(right, tests(to, "deny"));
    assert.equal(code, 1);
    assert.match(out, /to selects nothing: /);
    assert.include(out, want);
  });

  test("a Service opens no connection", async () => {
    const { code, err } = await run(
      right,
      file(
        `apiVersion: sluice/v1\nkind: PolicyTest\ntests:\n  - {name: a, from: {service: quay/ledger}, to: {any: true}, expect: deny}\n`,
      ),
    );
    assert.equal(code, 3);
    assert.include(err, 'unknown field "service"');
  });
});
