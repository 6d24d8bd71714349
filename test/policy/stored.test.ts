import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, test } from "vitest";
import { compile } from "../../src/compiler/compile.js";
import { Table, TupleBatch } from "../../src/dataplane/table.js";
import { type ApiValue, readApiObject } from "../../src/manifest/api-object.js";
import type { KubernetesObject } from "../../src/manifest/objects.js";
import { parseManifests } from "../../src/manifest/parse.js";
import { parseYaml } from "../../src/manifest/yaml.js";
import type { YamlNode } from "../../src/manifest/yaml-node.js";
import { parseAddress } from "../../src/net/address.js";

// Goal: what an API server has stored is read for what it says, and what of it is not understood closes its rule alone.
// Method: objects as a server answers with them, compiled; packets are judged by the table.

const numbers: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

interface Packet {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol?: string;
}

function verdicts(objects: readonly KubernetesObject[], packets: readonly Packet[]): boolean[] {
  const result = compile({ objects });
  assert(result.ok);
  const batch = new TupleBatch(packets.length);
  for (const { from, to, port, protocol = "TCP" } of packets) {
    batch.push(parseAddress(from)!, parseAddress(to)!, numbers[protocol]!, port);
  }
  return Array.from(Table.open(result.blob).classify(batch), (verdict) => verdict === 0);
}

function stored(kind: KubernetesObject["kind"], value: ApiValue) {
  return readApiObject(kind, value);
}

const one = "10.7.0.1";
const two = "10.7.0.2";
const outside = "198.51.100.1";

function podValue(name: string, ip: string): ApiValue {
  return {
    metadata: { name, namespace: "bank", labels: { app: name } },
    spec: { nodeName: "n1", containers: [] },
    status: { phase: "Running", podIPs: [{ ip }] },
  };
}

const pods = [
  stored("Namespace", { metadata: { name: "bank" } }),
  stored("Pod", podValue("ledger", one)),
  stored("Pod", podValue("teller", two)),
].flatMap(({ object }) => object ?? []);

/** What passes of in (two to one), on 443 and on 22, and out (one to outside) on 443. */
function passing(kind: KubernetesObject["kind"], spec: ApiValue, name = "default"): string {
  const { object } = stored(kind, { metadata: { name, namespace: "bank" }, spec });
  const got = verdicts(
    [...pods, object!],
    [
      { from: two, to: one, port: 443 },
      { from: two, to: one, port: 22 },
      { from: one, to: outside, port: 443 },
    ],
  );
  return ["in:443", "in:22", "out:443"].filter((_, index) => got[index]).join(" ");
}

const ssh = {
  action: "Deny",
  from: [{ namespaces: {} }],
  protocols: [{ tcp: { destinationPort: { number: 22 } } }],
};
const subject = { namespaces: {} };
const clusterSpec = (rules: ApiValue) => ({ tier: "Admin", priority: 5, subject, ...rules });
/** Of the one pod alone: what the other sends is not theirs to deny. */
const ledger = { matchLabels: { app: "ledger" } };
const ofLedger = { subject: { pods: { namespaceSelector: {}, podSelector: ledger } } };
const unknown = { from: [{ everyone: {} }] };

describe("a rule of a cluster-wide policy that is not understood", () => {
  const cases: readonly [name: string, spec: ApiValue, want: string][] = [
    [
      "accepts nothing",
      clusterSpec({ ingress: [{ action: "Accept", ...unknown }, ssh] }),
      "in:443 out:443",
    ],
    [
      "denies everything of its direction",
      clusterSpec({ ingress: [{ action: "Deny", ...unknown }] }),
      "out:443",
    ],
    [
      "denies instead of passing",
      clusterSpec({ ingress: [{ action: "Pass", ...unknown }] }),
      "out:443",
    ],
    [
      "of an unknown action denies",
      clusterSpec({ ingress: [{ ...ssh, action: "Log" }] }),
      "out:443",
    ],
    [
      "after another one is not reached by what that accepts",
      clusterSpec({
        ingress: [
          { ...ssh, action: "Accept" },
          { action: "Deny", ...unknown },
        ],
      }),
      "in:22 out:443",
    ],
    ["with a field more", clusterSpec({ ingress: [{ ...ssh, unless: 1 }] }), "out:443"],
    [
      "with an unknown operator",
      clusterSpec({
        ingress: [
          {
            action: "Accept",
            from: [
              { namespaces: { matchExpressions: [{ key: "a", operator: "Like", values: ["b"] }] } },
            ],
          },
          ssh,
        ],
      }),
      "in:443 out:443",
    ],
    [
      "with a requirement of no key",
      clusterSpec({
        ingress: [
          {
            action: "Deny",
            from: [{ namespaces: { matchExpressions: [{ operator: "Exists" }] } }],
          },
        ],
      }),
      "out:443",
    ],
    [
      "to domain names, denied",
      clusterSpec({
        ...ofLedger,
        egress: [{ action: "Deny", to: [{ domainNames: ["a.example"] }] }],
      }),
      "in:443 in:22",
    ],
    ["rules that are no list", clusterSpec({ ingress: {} }), "out:443"],
    ["a field more of the policy", clusterSpec({ also: 1, ingress: [] }), ""],
    ["a tier that nobody knows", { ...clusterSpec({ ingress: [] }), tier: "Top" }, ""],
    [
      "a subject that is not understood: rules that deny hold for all",
      { ...clusterSpec({ ingress: [ssh] }), subject: { nodes: {} } },
      "in:443 out:443",
    ],
    [
      "a subject that is not understood: nothing is accepted or passed",
      { ...clusterSpec({ ingress: [{ ...ssh, action: "Pass" }] }), subject: {} },
      "out:443",
    ],
  ];
  test.each(cases)("%s", (_name, spec, want) => {
    assert.equal(passing("ClusterNetworkPolicy", spec), want);
  });

  test("of the older kinds, by their words", () => {
    const spec = (action: string) => ({ subject, ingress: [{ action, ...unknown }] });
    assert.equal(passing("BaselineAdminNetworkPolicy", spec("Allow")), "in:443 in:22 out:443");
    assert.equal(passing("BaselineAdminNetworkPolicy", spec("Deny")), "out:443");
    assert.equal(
      passing("AdminNetworkPolicy", { priority: 1, ...spec("Allow") }),
      "in:443 in:22 out:443",
    );
  });
});

describe("a rule of a NetworkPolicy that is not understood", () => {
  const cases: readonly [name: string, spec: ApiValue, want: string][] = [
    [
      "allows nothing, and the other holds",
      { podSelector: {}, ingress: [unknown, { ports: [{ port: 22 }] }] },
      "in:22 out:443",
    ],
    [
      "isolates as it would otherwise",
      { podSelector: {}, egress: [{ to: [{ everyone: {} }] }] },
      "",
    ],
    [
      "isolates no more than the types say",
      {
        podSelector: ledger,
        policyTypes: ["Egress"],
        egress: [{ ports: [{ port: 443, unless: 1 }] }],
      },
      "in:443 in:22",
    ],
    ["a field more of the policy allows nothing", { podSelector: {}, also: 1, ingress: [{}] }, ""],
    ["rules that are no list allow nothing", { podSelector: {}, ingress: {} }, "out:443"],
  ];
  test.each(cases)("%s", (_name, spec, want) => {
    assert.equal(passing("NetworkPolicy", spec), want);
  });
});

describe("what servers of another release have taken is what it says", () => {
  const block = (cidr: string) => ({ podSelector: {}, egress: [{ to: [{ ipBlock: { cidr } }] }] });
  test.each([
    ["host bits", "198.51.100.7/24", "out:443"],
    ["leading zeros", "198.051.100.000/024", "out:443"],
    ["an IPv4 block in its IPv6 form", "::ffff:198.51.100.0/120", "out:443"],
    ["host bits of another block", "198.51.101.7/24", ""],
    ["no block", "198.51.100.0", ""],
  ])("%s", (_name, cidr, want) => {
    assert.equal(passing("NetworkPolicy", block(cidr)), want);
  });

  test("a range of one port, and one of none, in v1alpha1", () => {
    const deny = (start: number, end: number) => ({
      priority: 1,
      subject,
      ingress: [{ action: "Deny", from: [subject], ports: [{ portRange: { start, end } }] }],
    });
    assert.equal(passing("AdminNetworkPolicy", deny(22, 22)), "in:443 out:443");
    assert.equal(passing("AdminNetworkPolicy", deny(443, 22)), "in:443 in:22 out:443");
  });

  test("a port name beside networks, which the experimental channel alone forbids", () => {
    const to = [{ networks: ["198.51.100.0/24"] }];
    const rule = { action: "Deny", to, protocols: [{ destinationNamedPort: "https" }] };
    assert.equal(
      passing("ClusterNetworkPolicy", clusterSpec({ egress: [rule] })),
      "in:443 in:22 out:443",
    );
  });

  test("names, labels and lists of any form", () => {
    const label = "A".repeat(80);
    const { object, diagnostics } = stored("Pod", {
      metadata: { name: "UPPER_case", namespace: "bank", labels: { "a b": label } },
    });
    assert.deepEqual(diagnostics, []);
    assert.equal(object?.meta.labels.get("a b"), label);
    const many = Array.from({ length: 200 }, () => ssh);
    assert.deepEqual(
      stored("ClusterNetworkPolicy", {
        metadata: { name: "p" },
        spec: clusterSpec({ ingress: many }),
      }).diagnostics,
      [],
    );
  });

  test("an address that is none costs no other, nor its object", () => {
    const addresses = [
      { type: "InternalIP", address: "fe80::1%eth0" },
      { type: "ExternalIP", address: "n1.example" },
      { type: "InternalIP", address: "192.168.009.1" },
    ];
    const node = stored("Node", { metadata: { name: "n1" }, status: { addresses } });
    assert.deepEqual(
      node.diagnostics.map(({ code }) => code),
      ["SL1310", "SL1310"],
    );
    const shut = { podSelector: {}, policyTypes: ["Ingress"] };
    const policy = stored("NetworkPolicy", {
      metadata: { name: "p", namespace: "bank" },
      spec: shut,
    });
    const objects = [...pods, node.object!, policy.object!];
    assert.deepEqual(verdicts(objects, [{ from: "192.168.9.1", to: one, port: 1 }]), [true]);
    const status = { podIPs: [{ ip: "x" }, { ip: "::ffff:10.7.0.9" }] };
    const pod = stored("Pod", { metadata: { name: "p" }, status }).object;
    assert.deepEqual(pod?.kind === "Pod" ? pod.addresses : [], [parseAddress("10.7.0.9")!]);
  });

  test("an object of another group is another kind", () => {
    const value = { apiVersion: "projectcalico.org/v3", metadata: { name: "p" }, spec: {} };
    const { object, diagnostics } = stored("NetworkPolicy", value);
    assert.equal(object, undefined);
    assert.deepEqual(
      diagnostics.map(({ code }) => code),
      ["SL1307"],
    );
  });

  test("a manifest that a server has printed is read as what it has stored", () => {
    const text = (version: string) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p${version}}
spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.7/24}}]}]}
`;
    const codes = (version: string) =>
      parseManifests(text(version), "m").diagnostics.map(({ code }) => code);
    assert.deepEqual(codes(""), ["SL1211"]);
    assert.deepEqual(codes(', resourceVersion: "7"'), ["SL1304"]);
  });
});

const shared = "../shared/cases/policy";

function plain(node: YamlNode): unknown {
  if (node.type === "scalar") return node.value;
  if (node.type === "sequence") return node.items.map(plain);
  return Object.fromEntries(node.entries.map(({ key, value }) => [key, plain(value)]));
}

interface Probe {
  readonly id: string;
  readonly srcIP: string;
  readonly dstIP: string;
  readonly protocol: string;
  readonly port: number;
  readonly expect: string;
}

/** Those of what a server has stored; the others have tests of their own. */
const sharedCases = existsSync(shared)
  ? readdirSync(shared).filter((each) => /^(01|02|04|05|09|10|11|14)-/.test(each))
  : [];

describe.skipIf(sharedCases.length === 0)("shared cases", () => {
  test.each(sharedCases)("%s", (name) => {
    const file = ["manifest.yaml", "manifest.json"].find((each) =>
      existsSync(join(shared, name, each)),
    )!;
    const documents = [...parseYaml(readFileSync(join(shared, name, file), "utf8"))];
    const objects = documents.flatMap(({ root }) => {
      const value = plain(root!) as ApiValue & { readonly kind: KubernetesObject["kind"] };
      return stored(value.kind, value).object ?? [];
    });
    const { probes } = JSON.parse(readFileSync(join(shared, name, "probes.json"), "utf8")) as {
      readonly probes: readonly Probe[];
    };
    const packets = probes.map(({ srcIP, dstIP, ...rest }) => ({
      from: srcIP,
      to: dstIP,
      ...rest,
    }));
    assert.deepEqual(
      verdicts(objects, packets).map((allowed) => (allowed ? "allow" : "deny")),
      probes.map((each) => each.expect),
    );
  });
});
