import { assert, describe, test } from "vitest";
import type { Service, ServiceObject } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { formatAddress } from "../../src/net/address.js";

function read(text: string): { found: string[]; services: readonly ServiceObject[] } {
  const { services, diagnostics } = parseManifests(text, "a.yaml");
  const found = diagnostics.map(
    ({ severity, code, span, field, message }) =>
      `${span.line}:${span.column} ${severity} ${code} ${field} ${message}`,
  );
  return { found, services };
}

function service(spec: string, rest = ""): { found: string[]; service: Service } {
  const { found, services } = read(
    `apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: quay}\nspec: ${spec}\n${rest}`,
  );
  const [first] = services;
  assert(first?.kind === "Service", found.join("\n"));
  return { found, service: first };
}

describe("Services are read as the API server defaults them", () => {
  test("all that bears on who is behind", () => {
    const { found, service: read } = service(
      `{type: LoadBalancer, clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, "fd00::7"], selector: {role: a},
  ipFamilies: [IPv4, IPv6], externalIPs: [192.0.2.1], sessionAffinity: ClientIP, publishNotReadyAddresses: true,
  internalTrafficPolicy: Cluster, ports: [{name: web, port: 80, targetPort: http, nodePort: 30080}, {name: dns, port: 53, protocol: UDP}]}`,
      "status: {loadBalancer: {ingress: [{ip: 192.0.2.9}, {hostname: x.example}]}}",
    );
    assert.deepEqual(found, []);
    const { meta: _meta, ports, clusterIPs, externalIPs, selector, ...others } = read;
    assert.deepEqual(clusterIPs.map(formatAddress), ["10.96.0.7", "fd00::7"]);
    assert.deepEqual(externalIPs.map(formatAddress), ["192.0.2.1", "192.0.2.9"]);
    assert.deepEqual([...(selector ?? [])], [["role", "a"]]);
    assert.deepEqual(
      ports.map(({ span: _, ...port }) => port),
      [
        { name: "web", protocol: "TCP", port: 80, targetPort: "http", nodePort: 30080 },
        { name: "dns", protocol: "UDP", port: 53, targetPort: 53 },
      ],
    );
    assert.deepEqual(others, {
      kind: "Service",
      type: "LoadBalancer",
      isHeadless: false,
      families: [4, 6],
      externalName: "",
      publishNotReadyAddresses: true,
      sessionAffinity: "ClientIP",
    });
  });

  test("headless, of another name, without a selector", () => {
    assert(service("{clusterIP: None, clusterIPs: [None], selector: {a: b}}").service.isHeadless);
    const { service: outside } = service(
      "{type: ExternalName, externalName: db.example., selector: {a: b}}",
    );
    assert.equal(outside.externalName, "db.example");
    assert.equal(outside.selector, undefined);
    assert.equal(service("{selector: {}, ports: [{port: 1}]}").service.selector, undefined);
  });
});

// Goal: no fault of a Service keeps manifests from being used, and each is told with its place.
describe("what a server would refuse of a Service is a warning", () => {
  test.each([
    [
      "a port in quotes",
      '{ports: [{port: "80"}]}',
      '4:23 warning SL1313 spec.ports.port got text "80", want a whole number',
    ],
    [
      "a port out of range",
      "{ports: [{port: 0}]}",
      "4:23 warning SL1313 spec.ports[0].port got port 0, want a number between 1 and 65535",
    ],
    [
      "a target port in quotes",
      '{ports: [{port: 80, targetPort: "8080"}]}',
      '4:39 warning SL1313 spec.ports[0].targetPort got port name "8080", want a name with at least one letter; a number has no quotes',
    ],
    [
      "a misspelt field",
      "{ports: [{port: 80, targetport: 8080}]}",
      '4:27 warning SL1313 spec.ports[0].targetport unknown field "targetport", did you mean "targetPort"?',
    ],
    [
      "two ports without names",
      "{ports: [{port: 80}, {name: b, port: 81}]}",
      "4:16 warning SL1313 spec.ports[0].name got nothing, want a name, as there are several ports",
    ],
    [
      "a port twice",
      "{ports: [{name: a, port: 80}, {name: b, port: 80}]}",
      "4:53 warning SL1313 spec.ports[1].port got port 80 of TCP twice",
    ],
    [
      "a type of no Service",
      "{type: Clusterip}",
      '4:14 warning SL1313 spec.type got "Clusterip", want one of ClusterIP, NodePort, LoadBalancer, ExternalName, did you mean ClusterIP?',
    ],
    [
      "an address that is none",
      "{clusterIP: 10.0.0.300}",
      '4:19 warning SL1310 spec.clusterIP got "10.0.0.300", want an IPv4 or IPv6 address',
    ],
  ])("%s", (_, spec, want) => {
    assert.deepEqual(service(spec).found, [want]);
  });

  test("a key set twice, in a Service and in an Ingress", () => {
    const { found, services } = read(
      `apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80, port: 81}]}\n---
apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\nspec: {}\nspec: {}\n`,
    );
    assert.deepEqual(
      found.map((each) => each.split(" ").slice(1, 3).join(" ")),
      ["warning SL1308", "warning SL1308"],
    );
    assert.equal(services.length, 2);
  });

  test("kinds of other groups and versions stay of no concern", () => {
    const { found, services } = read(
      `apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\nspec: 5\n---
apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: a}\nspec: 5\n`,
    );
    assert.deepEqual(
      found.map((each) => each.split(" ").slice(1, 3).join(" ")),
      ["info SL1303", "info SL1303"],
    );
    assert.deepEqual(services, []);
  });
});

test("endpoints: slices, and the older kind", () => {
  const { found, services } = read(`apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2], conditions: {ready: false}}]
ports: [{name: web, port: 8080}, {name: any}]
---
apiVersion: v1
kind: Endpoints
metadata: {name: b}
subsets: [{addresses: [{ip: 10.0.0.3}], notReadyAddresses: [{ip: 10.0.0.4}], ports: [{port: 53, protocol: UDP}]}]
`);
  assert.deepEqual(found, []);
  const shown = services.map((each) => {
    assert("service" in each);
    const subsets = each.subsets.map(({ endpoints, ports }) => ({
      endpoints: endpoints.map(({ addresses, isReady }) => [
        ...addresses.map(formatAddress),
        isReady,
      ]),
      ports,
    }));
    return { service: each.service, subsets };
  });
  assert.deepEqual(shown, [
    {
      service: "a",
      subsets: [
        {
          endpoints: [
            ["10.0.0.1", true],
            ["10.0.0.2", false],
          ],
          ports: [
            { name: "web", protocol: "TCP", port: 8080 },
            { name: "any", protocol: "TCP" },
          ],
        },
      ],
    },
    {
      service: "b",
      subsets: [
        {
          endpoints: [
            ["10.0.0.3", true],
            ["10.0.0.4", false],
          ],
          ports: [{ name: "", protocol: "UDP", port: 53 }],
        },
      ],
    },
  ]);
});

test("an Ingress: its class and its backends, those of other kinds left out", () => {
  const { found, services } = read(`apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: a, annotations: {kubernetes.io/ingress.class: edge}}
spec:
  defaultBackend: {service: {name: front, port: {number: 80}}}
  rules:
    - host: a.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: api, port: {name: web}}}}
          - {path: /x, pathType: Prefix, backend: {resource: {kind: Bucket, name: x}}}
    - host: b.example
`);
  assert.deepEqual(found, []);
  const [ingress] = services;
  assert(ingress?.kind === "Ingress");
  assert.equal(ingress.className, "edge");
  assert.deepEqual(
    ingress.backends.map(({ service, port, field, span }) => [service, port, field, span.line]),
    [
      ["front", 80, "spec.defaultBackend", 5],
      ["api", "web", "spec.rules[0].http.paths[0].backend", 10],
    ],
  );
});
