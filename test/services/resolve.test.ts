import { assert, describe, test } from "vitest";
import type { Service } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { addressKey, formatAddress } from "../../src/net/address.js";
import { formatPrefix, parsePrefix, prefixContains } from "../../src/net/prefix.js";
import { assignServiceAddresses, usualServiceRanges } from "../../src/services/assign-addresses.js";
import { resolveServices, serviceRef } from "../../src/services/resolve.js";
import { podRef, RangesFull, usualRanges } from "../../src/workloads/assign-addresses.js";
import { completePods } from "../../src/workloads/input-pods.js";

function manifests(...documents: readonly string[]) {
  const read = parseManifests(documents.join("\n---\n"), "a.yaml");
  assert.deepEqual(
    read.diagnostics.filter(({ severity }) => severity !== "info"),
    [],
  );
  return { objects: completePods(read).objects, services: read.services };
}

/** Each port with its backends, such as `web quay/a:8080`. */
function behind(...documents: readonly string[]): string[] {
  const { objects, services } = manifests(...documents);
  return resolveServices(objects, services).flatMap(({ ports }) =>
    ports.map(({ name, port, backends, without }) =>
      [
        name || port,
        ...backends.map(({ pod, addresses, port: own }) => {
          const who = pod === undefined ? addresses.map(formatAddress).join() : podRef(pod);
          return `${who}:${own}`;
        }),
        ...without.map((pod) => `not ${podRef(pod)}`),
      ].join(" "),
    ),
  );
}

const service = (spec: string, name = "ledger") =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: quay}\nspec: ${spec}`;
const pod = (name: string, rest = "", spec = "containers: [{name: c, image: x}]") =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: quay, labels: {role: ledger}}\nspec: {${spec}}\n${rest}`;
const at = (...addresses: string[]) =>
  `status: {podIPs: [${addresses.map((ip) => `{ip: "${ip}"}`).join()}]}`;

describe("the pods behind a Service", () => {
  test("a named target port is each pod's own; a pod without it is not behind", () => {
    const ports = (name: string, number: number) =>
      `containers: [{name: c, image: x, ports: [{name: ${name}, containerPort: ${number}}]}]`;
    assert.deepEqual(
      behind(
        service("{selector: {role: ledger}, ports: [{port: 80, targetPort: http}]}"),
        pod("b", "", ports("http", 8081)),
        pod("a", "", ports("http", 8080)),
        pod("c", "", ports("metrics", 9090)),
      ),
      ["80 quay/a:8080 quay/b:8081 not quay/c"],
    );
  });

  test("a name of another protocol is another port", () => {
    const both =
      "ports: [{name: dns, containerPort: 53, protocol: UDP}, {name: dns-tcp, containerPort: 5353}]";
    assert.deepEqual(
      behind(
        service(
          "{selector: {role: ledger}, ports: [{name: a, port: 53, protocol: UDP, targetPort: dns}, {name: b, port: 53, targetPort: dns}]}",
        ),
        pod("a", "", `containers: [{name: c, image: x, ${both}}]`),
      ),
      ["a quay/a:53", "b not quay/a"],
    );
  });

  test("pods of workloads are, pods that have ended and those of other namespaces are not", () => {
    const deployment = `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: ledger, namespace: quay}
spec:
  replicas: 3
  template:
    metadata: {labels: {role: ledger, tier: back}}
    spec: {containers: [{name: c, image: x, ports: [{name: sql, containerPort: 5432}]}]}`;
    assert.deepEqual(
      behind(
        service("{selector: {role: ledger, tier: back}, ports: [{port: 1, targetPort: sql}]}"),
        deployment,
        pod("done", "status: {phase: Succeeded}"),
        pod("gone", "status: {phase: Failed}"),
        pod("other").replace("quay", "mill"),
      ),
      ["1 quay/ledger-0:5432 quay/ledger-1:5432"],
    );
  });

  test("pods on the host's network are, at their node's address where that is known", () => {
    const { objects, services } = manifests(
      service("{selector: {role: ledger}, ports: [{port: 80}]}"),
      pod("a", at("192.0.2.7"), "hostNetwork: true, containers: [{name: c, image: x}]"),
      pod("b", "", "hostNetwork: true, containers: [{name: c, image: x}]"),
    );
    const [found] = resolveServices(objects, services);
    assert.deepEqual(
      found!.ports[0]!.backends.map(({ addresses }) => addresses.map(formatAddress)),
      [["192.0.2.7"], []],
    );
  });

  test("of a Service of one family, addresses of that family", () => {
    const { objects, services } = manifests(
      service("{selector: {role: ledger}, clusterIP: 10.96.0.9, ports: [{port: 80}]}"),
      service("{selector: {role: ledger}, ipFamilies: [IPv6], ports: [{port: 80}]}", "six"),
      pod("a", at("10.0.0.1", "fd00::1")),
      pod("b", at("fd00::2")),
    );
    const found = resolveServices(objects, services).map(({ ports }) =>
      ports[0]!.backends.map(({ addresses }) => addresses.map(formatAddress).join()),
    );
    assert.deepEqual(found, [["10.0.0.1"], ["fd00::1", "fd00::2"]]);
  });
});

describe("a Service without a selector", () => {
  const slice = (endpoints: string) => `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: l-1, namespace: quay, labels: {kubernetes.io/service-name: ledger}}
addressType: IPv4
endpoints: [${endpoints}]
ports: [{name: "", port: 8080}]`;

  test("has what its EndpointSlices and Endpoints list, once; pods by their addresses", () => {
    const endpoints = `apiVersion: v1
kind: Endpoints
metadata: {name: ledger, namespace: quay}
subsets: [{addresses: [{ip: 10.0.0.1}, {ip: 192.0.2.2}], ports: [{port: 8080}]}]`;
    assert.deepEqual(
      behind(
        service("{ports: [{port: 80}]}"),
        slice("{addresses: [192.0.2.1]}, {addresses: [10.0.0.1]}"),
        endpoints,
        pod("a", at("10.0.0.1", "fd00::1")),
      ),
      ["80 quay/a:8080 192.0.2.1:8080 192.0.2.2:8080"],
    );
  });

  test("has no endpoint that is not ready, unless it publishes such", () => {
    const listed = slice(
      "{addresses: [192.0.2.1], conditions: {ready: false}}, {addresses: [192.0.2.2]}",
    );
    assert.deepEqual(behind(service("{ports: [{port: 80}]}"), listed), ["80 192.0.2.2:8080"]);
    assert.deepEqual(
      behind(service("{publishNotReadyAddresses: true, ports: [{port: 80}]}"), listed),
      ["80 192.0.2.1:8080 192.0.2.2:8080"],
    );
  });

  test("with a selector, what is listed does not count", () => {
    assert.deepEqual(
      behind(
        service("{selector: {role: ledger}, ports: [{port: 80}]}"),
        slice("{addresses: [192.0.2.1]}"),
      ),
      ["80"],
    );
  });
});

describe("ClusterIPs for Services that have none", () => {
  const named = (names: readonly string[], spec = "{ports: [{port: 80}]}") =>
    names.map((name) => service(spec, name));
  const given = (...args: Parameters<typeof assignServiceAddresses>) =>
    new Map(
      assignServiceAddresses(...args)
        .filter((each): each is Service => each.kind === "Service")
        .map((each) => [serviceRef(each), each.clusterIPs.map(formatAddress)]),
    );

  test("one of each range, the same whoever else is there, and nobody else's", () => {
    const names = Array.from({ length: 300 }, (_, index) => `s${index}`);
    const { objects, services } = manifests(...named(names));
    const all = given(services, objects);
    assert.equal(new Set([...all.values()].flat()).size, 600);
    const { services: few } = manifests(...named(names.slice(40, 45)));
    for (const [ref, addresses] of given(few, [])) assert.deepEqual(addresses, all.get(ref));

    const [taken] = all.get("quay/s0")!;
    const { objects: others } = manifests(pod("a", at(taken!)));
    assert.notInclude(given(services, others).get("quay/s0")!, taken!);
  });

  test("none for headless Services, other names and those that have one; of the families asked for", () => {
    const { services } = manifests(
      service("{clusterIP: None}", "a"),
      service("{type: ExternalName, externalName: x.example}", "b"),
      service("{clusterIP: 10.96.3.4, ports: [{port: 80}]}", "c"),
      service("{ipFamilies: [IPv6], ports: [{port: 80}]}", "d"),
    );
    const found = given(services, []);
    assert.deepEqual(
      ["a", "b", "c"].map((name) => found.get(`quay/${name}`)),
      [[], [], ["10.96.3.4"]],
    );
    assert.lengthOf(found.get("quay/d")!, 1);
    assert.include(found.get("quay/d")![0]!, ":");
  });

  test("those from before are kept while they are free", () => {
    const { services } = manifests(...named(["a"]));
    const [kept] = manifests(pod("x", at("10.96.77.77"))).objects.flatMap((each) =>
      each.kind === "Pod" ? each.addresses : [],
    );
    const before = new Map([["quay/a", [kept!]]]);
    assert.deepEqual(given(services, [], usualServiceRanges, before).get("quay/a"), [
      "10.96.77.77",
    ]);
  });

  test("no more than a range has", () => {
    const { services } = manifests(...named(["a", "b", "c"]));
    const small = [parsePrefix("10.1.0.0/30")!];
    assert.throws(() => assignServiceAddresses(services, [], small), RangesFull, "10.1.0.0/30");
  });

  test("the ranges are not those of pods", () => {
    for (const range of usualServiceRanges) {
      for (const pods of usualRanges) {
        assert(!prefixContains(pods, range.address), formatPrefix(range));
        assert(!prefixContains(range, pods.address), formatPrefix(range));
      }
    }
    assert.equal(new Set(usualServiceRanges.map(({ address }) => addressKey(address))).size, 2);
  });
});
