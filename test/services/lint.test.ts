import { assert, describe, test } from "vitest";
import { runCli } from "../../src/cli/frame.js";
import { ownFiles } from "../cli/command-bench.js";
import { fakeIo } from "../cli/fake-io.js";

const file = ownFiles();

/** Findings as `severity rule object message`; infos about pods without a policy left out. */
async function lint(...words: string[]): Promise<string[]> {
  const io = fakeIo();
  const code = await runCli(["lint", ...words, "-o", "json", "--disable", "SL3004"], io);
  assert.oneOf(code, [0, 1], io.err());
  type Told = Record<"severity" | "rule" | "kind" | "name" | "message", string>;
  return JSON.parse(io.out()).findings.map(
    ({ severity, rule, kind, name, message }: Told) =>
      `${severity} ${rule} ${kind} ${name}: ${message}`,
  );
}

const web = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: x, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.104.7.7, selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
`;
const policy = (spec: string) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec: ${spec}
---
`;
const onWeb = (rest: string) => policy(`{podSelector: {matchLabels: {app: web}}, ${rest}}`);
const edge = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: edge}}}";
const controller = file(`apiVersion: v1
kind: Pod
metadata: {name: controller, namespace: edge, labels: {app.kubernetes.io/name: traefik}}
---
apiVersion: v1
kind: Service
metadata: {name: lost, namespace: edge}
spec: {selector: {app: lost}, ports: [{port: 80}]}
`);

describe("what findings say", () => {
  test("a Service's port, with a connection that the rule meant", async () => {
    const path = file(`${web}${onWeb(`ingress: [{from: [${edge}], ports: [{port: 80}]}]`)}`);
    const message =
      "port 80 is Service web's; policies see the pod's port, 8080 (http); no selected pod declares 80";
    assert.deepEqual(await lint("-f", path), [
      "info SL3019 NetworkPolicy p: got a peer that is not here: no namespace has kubernetes.io/metadata.name=edge",
      `warning SL3015 NetworkPolicy p: ${message}`,
    ]);
    assert.deepEqual(await lint("-f", path, "--stand-ins", controller), [
      `warning SL3015 NetworkPolicy p: ${message}: edge/controller -> shop/web:8080 is denied`,
    ]);
  });

  test("a name that the Service's port has, and not the pod's", async () => {
    const named = web.replace("ports: [{port: 80,", "ports: [{name: edge, port: 80,");
    assert.deepEqual(
      await lint("-f", file(`${named}${onWeb("ingress: [{ports: [{port: edge}]}]")}`)),
      [
        'warning SL3010 NetworkPolicy p: got port "edge" (TCP), which matches nothing: none of 1 selected pod has it; Service shop/web has it, and policies see the pod\'s port, 8080 (http)',
      ],
    );
  });

  test("a Service's address, with the pod that policies see", async () => {
    const path = file(
      `${web}${onWeb("egress: [{to: [{ipBlock: {cidr: 10.104.7.7/32}}], ports: [{port: 80}]}, {ports: [{port: 53, protocol: UDP}]}], policyTypes: [Egress]")}`,
    );
    const [found, ...more] = await lint("-f", path);
    assert.deepEqual(more, []);
    assert.match(
      found!,
      /got 10.104.7.7\/32, the address of Service shop\/web: policies see the pods behind it, such as shop\/web-/,
    );
  });

  test("ranges of Services that the user knows", async () => {
    const path = file(
      `${web}${onWeb("egress: [{to: [{ipBlock: {cidr: 172.20.0.0/24}}, {ipBlock: {cidr: 10.96.0.0/24}}]}, {ports: [{port: 53}]}], policyTypes: [Egress]")}`,
    );
    const told = (found: string[]) => found.map((each) => /got (\S+),/.exec(each)?.[1]);
    assert.deepEqual(told(await lint("-f", path)), ["10.96.0.0/24"]);
    assert.deepEqual(told(await lint("-f", path, "--service-cidr", "172.20.0.0/16")), [
      "172.20.0.0/24",
    ]);
  });

  test("an Ingress: whom it is closed to", async () => {
    const ingress = `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front, namespace: shop}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
---
`;
    const closed = file(`${web}${ingress}${onWeb("ingress: [{from: [{podSelector: {}}]}]")}`);
    assert.deepEqual(await lint("-f", closed), [
      "warning SL3018 Ingress front: got backend web 80: shop/web:8080 is closed to everyone outside namespace shop, so to its controller",
    ]);
    assert.deepEqual(await lint("-f", closed, "--stand-ins", controller), [
      "warning SL3018 Ingress front: got backend web 80: edge/controller -> shop/web:8080, which ingress denies",
    ]);
    const open = file(`${web}${ingress}${onWeb(`ingress: [{from: [${edge}]}]`)}`);
    assert.deepEqual(await lint("-f", open, "--stand-ins", controller), []);
  });

  test("a Service that selects nobody: a warning only where its pods have to be here", async () => {
    const lost = web.replace("selector: {app: web}", "selector: {app: gone, tier: a}");
    assert.deepEqual(await lint("-f", file(lost)), [
      "warning SL3017 Service web: got a Service that selects no pod: no pod of namespace shop has app=gone,tier=a",
    ]);
    const operated = `${lost}apiVersion: monitoring.example.com/v1\nkind: Prometheus\nmetadata: {name: p}\n`;
    assert.deepEqual(await lint("-f", file(operated)), [
      "info SL3020 Service web: got a Service that selects no pod: no pod of namespace shop has app=gone,tier=a",
    ]);
    const near = operated.replace("app: gone, tier: a", "app: wbe");
    assert.deepEqual(await lint("-f", file(near)), [
      "warning SL3017 Service web: got a Service that selects no pod: no pod of namespace shop has app=wbe, shop/web has app=web",
    ]);
  });
});

test("a Service for one pod of a StatefulSet, of which two stand here", async () => {
  const set = web.replace("Deployment", "StatefulSet").replace("spec:\n", "spec:\n  replicas: 3\n");
  const third = set.replace(
    "selector: {",
    "selector: {statefulset.kubernetes.io/pod-name: web-2, ",
  );
  assert.deepEqual(await lint("-f", file(third)), []);
  assert.match(
    (await lint("-f", file(third.replace("selector: {", "selector: {tier: x, ")))).join(),
    /^warning SL3017/,
  );
});

describe("what is somewhere else", () => {
  const toDns = (namespace: string, labels: string, port = 53) =>
    onWeb(
      `policyTypes: [Egress], egress: [{to: [{namespaceSelector: {${namespace}}, podSelector: {${labels}}}], ports: [{port: ${port}, protocol: UDP}]}]`,
    );

  test("the name server is built in", async () => {
    for (const namespace of ["", "matchLabels: {kubernetes.io/metadata.name: kube-system}"]) {
      const path = file(`${web}${toDns(namespace, "matchLabels: {k8s-app: kube-dns}")}`);
      assert.deepEqual(await lint("-f", path), []);
    }
    const wrong = file(`${web}${toDns("", "matchLabels: {k8s-app: kube-dns}", 54)}`);
    assert.match((await lint("-f", wrong)).join(), /^warning SL3005/);
  });

  test("a name server in a namespace that is not here is believed", async () => {
    const openshift = toDns("matchLabels: {kubernetes.io/metadata.name: openshift-dns}", "", 5353);
    assert.deepEqual(
      (await lint("-f", file(`${web}${openshift}`))).map((each) => each.slice(0, 11)),
      ["info SL3019"],
    );
  });

  test("a stand-in does not make its namespace known", async () => {
    // The label is one that people used to give, and only a Namespace of the manifests could say.
    const dns = "podSelector: {matchLabels: {k8s-app: kube-dns}}";
    const egress = (peer: string) =>
      onWeb(`policyTypes: [Egress], egress: [{to: [${peer}], ports: [{port: 53, protocol: UDP}]}]`);
    for (const peer of [
      `{namespaceSelector: {matchLabels: {name: kube-system}}, ${dns}}`,
      `{namespaceSelector: {}, ${dns}}, {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: node-local-dns}}}`,
    ]) {
      const found = await lint("-f", file(`${web}${egress(peer)}`));
      assert.deepEqual(
        found.map((each) => each.slice(0, 11)),
        ["info SL3019"],
      );
    }
  });

  test("a label that is nearly a namespace's is a mistake", async () => {
    const ops =
      "apiVersion: v1\nkind: Namespace\nmetadata: {name: harbour, labels: {team: operations}}\n---\n";
    const peer = (team: string) =>
      onWeb(`ingress: [{from: [{namespaceSelector: {matchLabels: {team: ${team}}}}]}]`);
    const rules = async (team: string) =>
      (await lint("-f", file(`${ops}${web}${peer(team)}`))).map((each) => each.split(" ")[1]);
    assert.deepEqual(await rules("operatoins"), ["SL3003"]);
    assert.deepEqual(await rules("o"), ["SL3019"]);
  });

  test("stand-ins alone are nothing to lint", async () => {
    const io = fakeIo();
    const empty = file("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
    assert.equal(await runCli(["lint", "-f", empty, "--stand-ins", controller], io), 3);
    assert.include(io.err(), "nothing to lint");
  });

  test("nothing is found in stand-ins, and what is here is not stood in for", async () => {
    assert.deepEqual(await lint("-f", file(web), "--stand-ins", controller), []);
    const other = file(web.replace("app: web", "app: other"));
    assert.deepEqual(await lint("-f", file(web), "--stand-ins", other), []);
  });

  test("a stand-in is no pod to lint", async () => {
    const found = await lint("-f", file(onWeb("ingress: []")), "--stand-ins", controller);
    assert.match(found.join(), /^info SL3000/);
  });

  test("a stand-in file with errors is refused with its place", async () => {
    const io = fakeIo();
    const bad = file("apiVersion: v1\nkind: Pod\nmetadata: {name: A_, namespace: edge}\n");
    assert.equal(await runCli(["lint", "-f", file(web), "--stand-ins", bad], io), 3);
    assert.include(io.err(), `${bad}:3:18: error`);
  });
});
