import { expect, test } from "vitest";
import { type Description, describe as describeObject } from "../../src/analysis/describe.js";
import { descriptionText } from "../../src/analysis/describe-text.js";
import { compile } from "../../src/compiler/compile.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { ServiceIndex } from "../../src/services/service-index.js";

const pod = (namespace: string, name: string, ip: string, owner = "") => `
apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  namespace: ${namespace}
  labels: { app: ${name.split("-")[0]} }
${owner === "" ? "" : `  ownerReferences: [{ apiVersion: apps/v1, kind: StatefulSet, name: ${owner}, uid: u, controller: true }]`}
spec: { containers: [{ name: c, image: i }] }
status: { podIPs: [{ ip: ${ip} }] }
---`;
const manifests = `${pod("shop", "web", "10.0.0.1")}${pod("shop", "db-0", "10.0.0.2", "db")}
${pod("shop", "db-1", "10.0.0.3", "db")}${pod("other", "stranger", "10.0.0.4")}
apiVersion: v1
kind: Service
metadata: { name: data, namespace: shop }
spec: { selector: { app: db }, ports: [{ port: 80, targetPort: 5432 }] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress:
  - from: [{ podSelector: { matchLabels: { app: web } } }]
    ports: [{ port: 5432 }]
  - from: [{ ipBlock: { cidr: 192.0.2.0/24, except: [192.0.2.128/25] } }]
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: { name: no-strangers }
spec:
  tier: Admin
  priority: 5
  subject: { namespaces: { matchLabels: { kubernetes.io/metadata.name: other } } }
  egress: [{ action: Deny, to: [{ networks: [198.51.100.0/24] }] }]
`;

const { objects, services } = parseManifests(manifests, "shop.yaml");
const compiled = compile({ objects });
if (!compiled.ok) throw new Error(JSON.stringify(compiled.diagnostics));
const state = { objects, compiled, services: new ServiceIndex(objects, services) };

function of(kind: Description["kind"], name: string): Description {
  const about = describeObject(state, kind, name);
  if (typeof about === "string") throw new Error(about);
  return about;
}

test("a pod: what holds it, who may reach it, and whom it may", () => {
  const about = of("pod", "shop/db-0");
  expect(about.pods).toMatchObject([
    { pod: "shop/db-0", addresses: ["10.0.0.2"], isolated: ["ingress"] },
  ]);
  expect(about.policies).toMatchObject([
    { name: "db", tier: "NetworkPolicy", isolates: ["ingress"] },
  ]);
  expect(about.reachedBy).toEqual([
    { who: "shop/web", ports: "tcp 5432" },
    expect.objectContaining({ who: expect.stringContaining("192.0.2.0/2"), ports: "all" }),
  ]);
  expect(about.reaches.map(({ who }) => who)).toContain("other/stranger");
  // The other of its kind cannot reach it, and it can not be reached by strangers.
  expect(about.reachedBy.map(({ who }) => who)).not.toContain("shop/db-1");
});

test("a workload and a Service have the same pods, each of its kind", () => {
  const workload = of("workload", "shop/db");
  expect(workload.pods.map(({ pod: name }) => name)).toEqual(["shop/db-0", "shop/db-1"]);
  expect(workload.reachedBy[0]).toEqual({ who: "shop/web", ports: "tcp 5432" });
  const service = of("service", "shop/data");
  expect(service.ports).toEqual([
    { port: "80/tcp", backends: ["shop/db-0:5432", "shop/db-1:5432"] },
  ]);
  expect(service.reachedBy).toEqual(workload.reachedBy);
});

test("a policy: whom it is for, and what its rules open to whom", () => {
  const about = of("policy", "shop/db");
  expect(about.policy).toMatchObject({ file: "shop.yaml", isolates: ["ingress"] });
  expect(about.pods.map(({ pod: name }) => name)).toEqual(["shop/db-0", "shop/db-1"]);
  expect(about.rules).toMatchObject([
    { field: "spec.ingress[0]", action: "Accept", peers: ["shop/web"], ports: "tcp 5432" },
    { field: "spec.ingress[1]", peers: ["192.0.2.0/24 without 192.0.2.128/25"], ports: "all" },
  ]);
  const admin = of("policy", "no-strangers");
  expect(admin.policy).toMatchObject({ tier: "Admin", isolates: [] });
  expect(admin.rules).toMatchObject([{ action: "Deny", peers: ["198.51.100.0/24"] }]);
  expect(of("pod", "other/stranger").policies).toMatchObject([{ name: "no-strangers" }]);
});

test("a namespace: its pods, and what crosses its border", () => {
  const about = of("namespace", "shop");
  expect(about.pods).toHaveLength(3);
  // web is not isolated, so that some may be reached.
  expect(about.reachedBy).toContainEqual({ who: "other/stranger", ports: "all", partly: true });
  expect(about.reachedBy.map(({ who }) => who)).not.toContain("shop/web");
});

test("a name that nothing has: what was likely meant", () => {
  expect(describeObject(state, "pod", "shop/bd-0")).toBe(
    'got pod "shop/bd-0", want one that there is: did you mean shop/db-0?',
  );
  expect(describeObject(state, "pod", "default/web")).toBe(
    'got pod "default/web", want one that there is: did you mean shop/web?',
  );
});

test("the text has every part, in whole lines", () => {
  const text = descriptionText(of("pod", "shop/db-0"));
  expect(text).toContain("held by\n  NetworkPolicy  shop/db  shop.yaml:");
  expect(text).toContain("may be reached by\n  shop/web  tcp 5432\n");
  expect(descriptionText(of("policy", "shop/db"))).toContain("is for\n  shop/db-0  10.0.0.2");
  expect(descriptionText(of("pod", "shop/web"))).toContain("no policy: everything passes");
});
