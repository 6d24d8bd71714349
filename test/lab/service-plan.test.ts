import { describe, expect, test } from "vitest";
import { type LabPlan, planLab } from "../../src/lab/plan.js";
import { podFiles } from "../../src/lab/pod-files.js";
import { headOf } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { formatAddress } from "../../src/net/address.js";
import { expandWorkloads } from "../../src/workloads/expand.js";

function plan(text: string, before?: LabPlan): LabPlan {
  const read = parseManifests(text, "a.yaml");
  expect(read.diagnostics.filter(({ severity }) => severity === "error")).toEqual([]);
  const objects = expandWorkloads(read.objects, read.workloads).objects.map(headOf);
  const names = { services: read.services, before: before?.services };
  return planLab(objects, before?.pods ?? [], undefined, names);
}

const pod = (name: string, rest = "", ip = "") => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: quay, labels: { role: ledger } }
spec: { containers: [{ name: c, image: x${rest} }] }
status: { podIPs: [${ip}] }
---`;

const service = (spec: string, name = "ledger", namespace = "quay") => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${namespace} }
spec: ${spec}
---`;

/** Each frontend as `place protocol -> backends`, without those of DNS. */
function frontends({ services }: LabPlan): string[] {
  return services!.translation.frontends
    .filter(({ port }) => port !== 53)
    .map(({ family, address, port, protocol, backends, isSticky }) => {
      const behind = backends.map((each) => `${formatAddress(each.address)} ${each.port}`);
      const place = address === undefined ? `node IPv${family}` : formatAddress(address);
      return `${place} ${port} ${protocol}${isSticky ? " sticky" : ""} -> ${behind.join(", ")}`;
    });
}

describe("Services of a lab", () => {
  test("a named target port is looked up in each pod; addresses keep to their family", () => {
    const port = (number: number) => `, ports: [{ name: web, containerPort: ${number} }]`;
    const made = plan(
      [
        pod("a", port(8080), '{ ip: 10.1.0.1 }, { ip: "fd01::1" }'),
        pod("b", port(9090), "{ ip: 10.1.0.2 }"),
        pod("c", "", "{ ip: 10.1.0.3 }"),
        service(
          '{ clusterIPs: [10.96.9.9, "fd96::99"], selector: { role: ledger }, ports: [{ port: 80, targetPort: web }] }',
        ),
      ].join("\n"),
    );
    expect(frontends(made)).toEqual([
      "10.96.9.9 80 TCP -> 10.1.0.1 8080, 10.1.0.2 9090",
      "fd96::99 80 TCP -> fd01::1 8080",
    ]);
  });

  test("nodes' ports, outer addresses and a client's own backend; a headless Service has none", () => {
    const made = plan(
      [
        pod("a", "", "{ ip: 10.1.0.1 }"),
        "{apiVersion: v1, kind: Node, metadata: {name: node-1}, status: {addresses: [{type: InternalIP, address: 172.30.0.1}]}}\n---",
        service(
          "{ type: NodePort, clusterIP: 10.96.9.9, externalIPs: [203.0.113.7], sessionAffinity: ClientIP, selector: { role: ledger }, ports: [{ port: 80, nodePort: 30080, protocol: SCTP }] }",
        ),
        service("{ clusterIP: None, selector: { role: ledger }, ports: [{ port: 80 }] }", "bare"),
      ].join("\n"),
    );
    expect(frontends(made)).toEqual([
      "10.96.9.9 80 SCTP sticky -> 10.1.0.1 80",
      "203.0.113.7 80 SCTP sticky -> 10.1.0.1 80",
      "node IPv4 30080 SCTP sticky -> 10.1.0.1 80",
      "node IPv6 30080 SCTP sticky -> ",
    ]);
    expect(made.services!.translation.nodes.map(formatAddress)).toEqual(["172.30.0.1"]);
    expect(made.services!.translation.addresses.map(formatAddress)).toContain("10.96.9.9");
    expect(made.services!.translation.addresses.map(formatAddress)).not.toContain("203.0.113.7");
  });

  test("a Service keeps its address when others come", () => {
    const first = plan(`${pod("a")}${service("{ ports: [{ port: 80 }] }")}`);
    const again = plan(
      `${pod("a")}${service("{ ports: [{ port: 80 }] }")}${service("{ ports: [{ port: 80 }] }", "other")}`,
      first,
    );
    expect(frontends(again)).toContain(frontends(first)[0]);
  });
});

describe("the pod that answers for names", () => {
  test("is added with its labels and ports, and takes no address that another command gives", () => {
    const own = plan(pod("a"));
    const dns = own.pods.find(({ isOwn }) => isOwn)!;
    expect(dns).toMatchObject({ ref: "kube-system/kube-dns", assigned: true });
    expect(dns.ports.map(({ port, protocol }) => `${port}/${protocol}`)).toEqual([
      "53/UDP",
      "53/TCP",
    ]);
    const object = own.objects.find(({ meta }) => meta.name === "kube-dns")!;
    expect(object.meta.labels.get("k8s-app")).toBe("kube-dns");
    // A pod of the manifests that wants the same address has it, whoever comes later in the alphabet.
    const [taken] = dns.addresses;
    const given = `{ ip: ${formatAddress(taken!)} }`;
    const both = plan(pod("z", "", given), own);
    expect(both.pods.find(({ isOwn }) => isOwn)!.addresses).not.toContainEqual(taken);
    const without = planLab(own.objects.filter(({ meta }) => meta.name === "a"));
    expect(own.pods.find(({ name }) => name === "a")!.addresses).toEqual(
      without.pods[0]!.addresses,
    );
  });

  test("is not added where the manifests have one, which then answers", () => {
    const given = pod("coredns", "", "{ ip: 10.1.0.53 }")
      .replace("namespace: quay", "namespace: kube-system")
      .replace("role: ledger", "k8s-app: kube-dns");
    const made = plan(given);
    expect(made.pods.map(({ ref }) => ref)).toEqual(["kube-system/coredns"]);
    expect(made.services!.dnsListeners.map(({ ref, port }) => `${ref} ${port}`)).toEqual([
      "kube-system/coredns 53",
      "kube-system/coredns 53",
    ]);
  });

  test("leaves its name to another pod that has it", () => {
    const other = pod("kube-dns").replace("namespace: quay", "namespace: kube-system");
    const made = plan(other);
    expect(made.pods.map(({ ref, isOwn }) => [ref, isOwn])).toEqual([
      ["kube-system/kube-dns", false],
      ["kube-system/kube-dns-1", true],
    ]);
  });

  test("follows the Service that the manifests have for it", () => {
    const given = service(
      "{ clusterIP: 10.43.0.10, selector: { app: names }, ports: [{ name: dns, port: 53, protocol: UDP, targetPort: 1053 }, { name: tcp, port: 53, targetPort: talk }] }",
      "kube-dns",
      "kube-system",
    );
    const made = plan(`${pod("a")}${given}`);
    expect(made.services!.nameservers(true).map(formatAddress)).toEqual(["10.43.0.10"]);
    expect(made.services!.dnsListeners.map(({ port, serving }) => `${port} ${serving}`)).toEqual([
      "1053 dns-udp",
      "53 dns-tcp",
    ]);
    const dns = made.pods.find(({ isOwn }) => isOwn)!;
    const [first] = made.services!.nameservers(false);
    expect(dns.addresses).toContainEqual(first);
  });
});

test("a pod's files: its own name, the Services of its namespace first, one name server of its family", () => {
  const files = podFiles(
    {
      ref: "quay/ledger-0",
      hostname: "ledger-0",
      subdomain: "ledgers",
      addresses: ["10.1.0.1", "fd01::1"],
    },
    ["fd96::a", "10.96.0.10"].reverse(),
  );
  expect(files["/etc/resolv.conf"]).toBe(
    "nameserver 10.96.0.10\nsearch quay.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
  );
  expect(files["/etc/hosts"]).toContain(
    "10.1.0.1\tledger-0.ledgers.quay.svc.cluster.local\tledger-0\n",
  );
  const six = { ref: "quay/six", hostname: "six", subdomain: "", addresses: ["fd01::2"] };
  expect(podFiles(six, ["10.96.0.10", "fd96::a"])["/etc/resolv.conf"]).toMatch(
    /^nameserver fd96::a\n/,
  );
});
