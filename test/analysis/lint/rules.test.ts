import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { assert, describe, test } from "vitest";
import { lintPage, lintRuleIds, lintRules } from "../../../src/analysis/lint/rules.js";
import { catalogue } from "../../../src/diagnostics/catalogue.js";
import { briefly, join, lintText, pod, policy } from "./lint-manifests.js";
import { serviceCases } from "./service-cases.js";

interface Case {
  readonly name: string;
  readonly code: string;
  readonly manifests: string;
  /** What `briefly` gives for the code; empty in a negative case. */
  readonly want: readonly string[];
}

const web = pod("shop/web", "10.0.0.1", { app: "web" }, { ports: ["http:8080/TCP"] });
const db = pod("shop/db", "10.0.0.2", { app: "db" }, { ports: ["sql:5432/TCP"] });
const monitor = pod("ops/monitor", "10.0.1.1", { app: "monitor" });
const dns = pod("kube-system/dns", "10.0.2.1", { "k8s-app": "kube-dns" });
const ops = JSON.stringify({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "ops", labels: { team: "ops" } },
});
const fromWeb = { podSelector: { matchLabels: { app: "web" } } };
const toDb = { podSelector: { matchLabels: { app: "db" } } };
const onDb = { podSelector: { matchLabels: { app: "db" } } };
const tcp = (port: number | string, endPort?: number) => ({
  protocol: "TCP",
  port,
  ...(endPort === undefined ? {} : { endPort }),
});

function clusterPolicy(
  name: string,
  priority: number,
  tier: string,
  ingress: readonly object[],
  pods: { readonly podSelector: object } = onDb,
) {
  return JSON.stringify({
    apiVersion: "policy.networking.k8s.io/v1alpha2",
    kind: "ClusterNetworkPolicy",
    metadata: { name },
    spec: { tier, priority, subject: { pods: onAll(pods) }, ingress },
  });
}

function onAll(pods: { readonly podSelector: object }) {
  return { namespaceSelector: {}, ...pods };
}

const cases: readonly Case[] = [
  {
    name: "policies without pods",
    code: "SL3000",
    manifests: policy("deny", { podSelector: {} }),
    want: ["SL3000 deny"],
  },
  {
    name: "policies with pods",
    code: "SL3000",
    manifests: join(web, policy("deny", { podSelector: {} })),
    want: [],
  },
  {
    name: "a narrower port range beside a wider one",
    code: "SL3001",
    manifests: join(
      web,
      db,
      policy("p", {
        ...onDb,
        ingress: [
          { from: [fromWeb], ports: [tcp(5432)] },
          { from: [fromWeb], ports: [tcp(5000, 6000)] },
        ],
      }),
    ),
    want: ["SL3001 p spec.ingress[0]"],
  },
  {
    name: "a selector that others cover together",
    code: "SL3001",
    manifests: join(
      web,
      db,
      monitor,
      policy("a", { ...onDb, ingress: [{ from: [fromWeb] }] }),
      policy("b", { ...onDb, ingress: [{ from: [{ namespaceSelector: {} }], ports: [tcp(1)] }] }),
      policy("c", { ...onDb, ingress: [{ from: [{ ...fromWeb, namespaceSelector: {} }] }] }),
    ),
    want: ["SL3001 a spec.ingress[0]", "SL3001 c spec.ingress[0]"],
  },
  {
    name: "every address, said as blocks and as nothing",
    code: "SL3001",
    manifests: join(
      db,
      policy("blocks", {
        ...onDb,
        ingress: [
          {
            from: [{ ipBlock: { cidr: "0.0.0.0/0" } }, { ipBlock: { cidr: "::/0" } }],
            ports: [tcp(5432)],
          },
        ],
      }),
      policy("nothing", { ...onDb, ingress: [{ ports: [tcp(5432), tcp(1)] }] }),
    ),
    want: ["SL3001 blocks spec.ingress[0]"],
  },
  {
    name: "rules that each add a port",
    code: "SL3001",
    manifests: join(
      web,
      db,
      policy("p", {
        ...onDb,
        ingress: [
          { from: [fromWeb], ports: [tcp(5432, 5433)] },
          { from: [fromWeb], ports: [tcp(5433, 5434)] },
        ],
      }),
    ),
    want: [],
  },
  {
    name: "a cluster rule that accepts what is allowed anyway",
    code: "SL3001",
    manifests: join(
      web,
      db,
      clusterPolicy("open", 1, "Admin", [{ action: "Accept", from: [{ namespaces: {} }] }]),
    ),
    want: ["SL3001 open spec.ingress[0]"],
  },
  {
    name: "no such label",
    code: "SL3002",
    manifests: join(web, policy("p", { podSelector: { matchLabels: { app: "wbe" } } })),
    want: ["SL3002 p spec.podSelector"],
  },
  {
    name: "every pod of the namespace",
    code: "SL3002",
    manifests: join(web, policy("p", { podSelector: {} })),
    want: [],
  },
  {
    name: "peers of another namespace, no such namespace, and excepts that take all",
    code: "SL3003",
    manifests: join(
      web,
      ops,
      monitor,
      policy("p", {
        podSelector: {},
        ingress: [
          {
            from: [
              { podSelector: { matchLabels: { app: "monitor" } } },
              { namespaceSelector: { matchLabels: { team: "op" } } },
              { ipBlock: { cidr: "10.0.0.0/8", except: ["10.0.0.0/9", "10.128.0.0/9"] } },
            ],
          },
        ],
      }),
    ),
    want: [
      "SL3003 p spec.ingress[0].from[0]",
      "SL3003 p spec.ingress[0].from[1]",
      "SL3003 p spec.ingress[0].from[2].ipBlock",
    ],
  },
  {
    name: "peers that are there",
    code: "SL3003",
    manifests: join(
      web,
      ops,
      monitor,
      policy("p", {
        podSelector: {},
        ingress: [
          {
            from: [
              { namespaceSelector: { matchLabels: { team: "ops" } } },
              { ipBlock: { cidr: "10.0.0.0/8", except: ["10.0.0.0/9", "10.128.0.0/10"] } },
            ],
          },
        ],
      }),
    ),
    want: [],
  },
  {
    name: "a pod that only ingress policies are for, and one that none is for",
    code: "SL3004",
    manifests: join(web, monitor, policy("p", { podSelector: {}, policyTypes: ["Ingress"] })),
    want: ["SL3004 monitor", "SL3004 web"],
  },
  {
    name: "pods with both directions",
    code: "SL3004",
    manifests: join(web, db, policy("p", { podSelector: {}, policyTypes: ["Ingress", "Egress"] })),
    want: [],
  },
  {
    name: "egress to a database alone, on every port",
    code: "SL3005",
    manifests: join(
      web,
      db,
      dns,
      policy("p", {
        podSelector: { matchLabels: { app: "web" } },
        policyTypes: ["Egress"],
        egress: [{ to: [toDb] }],
      }),
    ),
    want: ["SL3005 p"],
  },
  {
    name: "egress to the name server",
    code: "SL3005",
    manifests: join(
      web,
      dns,
      policy("p", {
        podSelector: { matchLabels: { app: "web" } },
        policyTypes: ["Egress"],
        egress: [{ to: [{ namespaceSelector: {} }], ports: [{ protocol: "UDP", port: 53 }] }],
      }),
    ),
    want: [],
  },
  {
    name: "the whole of IPv4",
    code: "SL3006",
    manifests: join(
      web,
      policy("p", {
        podSelector: {},
        policyTypes: ["Egress"],
        egress: [{ to: [{ ipBlock: { cidr: "0.0.0.0/0", except: ["10.0.0.0/8"] } }] }],
      }),
    ),
    want: ["SL3006 p spec.egress[0].to[0].ipBlock"],
  },
  {
    name: "a block of ordinary size",
    code: "SL3006",
    manifests: join(
      web,
      policy("p", { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8" } }] }] }),
    ),
    want: [],
  },
  {
    name: "two list items",
    code: "SL3007",
    manifests: join(
      web,
      ops,
      monitor,
      policy("p", {
        podSelector: {},
        ingress: [
          {
            from: [
              { namespaceSelector: { matchLabels: { team: "ops" } } },
              { podSelector: { matchLabels: { app: "web" } } },
            ],
          },
        ],
      }),
    ),
    want: ["SL3007 p spec.ingress[0].from[1]"],
  },
  {
    name: "one list item, and the own namespace beside another",
    code: "SL3007",
    manifests: join(
      web,
      ops,
      monitor,
      policy("p", {
        podSelector: {},
        ingress: [
          {
            from: [
              {
                namespaceSelector: { matchLabels: { team: "ops" } },
                podSelector: { matchLabels: { app: "monitor" } },
              },
            ],
          },
          {
            from: [{ namespaceSelector: { matchLabels: { team: "ops" } } }, { podSelector: {} }],
          },
        ],
      }),
    ),
    want: [],
  },
  {
    name: "a block around a pod",
    code: "SL3008",
    manifests: join(
      web,
      policy("p", { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/24" } }] }] }),
    ),
    want: ["SL3008 p spec.ingress[0].from[0].ipBlock"],
  },
  {
    name: "a block that excepts the pods",
    code: "SL3008",
    manifests: join(
      web,
      policy("p", {
        podSelector: {},
        ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.0.0.0/16"] } }] }],
      }),
    ),
    want: [],
  },
  {
    name: "egress rules without policyTypes",
    code: "SL3009",
    manifests: policy("p", { podSelector: {}, egress: [{ to: [toDb] }] }),
    want: ["SL3009 p spec.policyTypes"],
  },
  {
    name: "egress rules with policyTypes, ingress rules without",
    code: "SL3009",
    manifests: join(
      policy("a", { podSelector: {}, policyTypes: ["Egress"], egress: [{ to: [toDb] }] }),
      policy("b", { podSelector: {}, ingress: [{ from: [fromWeb] }] }),
    ),
    want: [],
  },
  {
    name: "names that the receiving side does not have",
    code: "SL3010",
    manifests: join(
      web,
      db,
      policy("in", { ...onDb, ingress: [{ ports: [tcp("http"), tcp("sql")] }] }),
      policy("out", {
        podSelector: { matchLabels: { app: "web" } },
        policyTypes: ["Egress"],
        egress: [
          { to: [toDb], ports: [{ protocol: "UDP", port: "sql" }] },
          { to: [{ ipBlock: { cidr: "192.0.2.0/24" } }], ports: [tcp("sql")] },
        ],
      }),
    ),
    want: [
      "SL3010 in spec.ingress[0].ports[0].port",
      "SL3010 out spec.egress[0].ports[0].port",
      "SL3010 out spec.egress[1].ports[0].port",
    ],
  },
  {
    name: "names that it has",
    code: "SL3010",
    manifests: join(
      web,
      db,
      policy("in", { ...onDb, ingress: [{ ports: [tcp("sql")] }] }),
      policy("out", {
        podSelector: {},
        policyTypes: ["Egress"],
        egress: [{ ports: [tcp("sql")] }],
      }),
    ),
    want: [],
  },
  {
    name: "ingress rules in a policy for egress",
    code: "SL3011",
    manifests: policy("p", {
      podSelector: {},
      policyTypes: ["Egress"],
      ingress: [{ from: [fromWeb] }],
    }),
    want: ["SL3011 p spec.ingress"],
  },
  {
    name: "an empty list of the other direction",
    code: "SL3011",
    manifests: policy("p", { podSelector: {}, policyTypes: ["Egress"], ingress: [] }),
    want: [],
  },
  {
    name: "a policy and a peer for pods on the host's network",
    code: "SL3012",
    manifests: join(
      web,
      pod("shop/agent", "192.168.0.1", { app: "agent" }, { hostNetwork: true }),
      policy("for", { podSelector: { matchLabels: { app: "agent" } } }),
      policy("from", {
        podSelector: {},
        ingress: [{ from: [{ podSelector: { matchLabels: { app: "agent" } } }] }],
      }),
    ),
    want: ["SL3012 for spec.podSelector", "SL3012 from spec.ingress[0].from[0]"],
  },
  {
    name: "a policy for one of them and another pod",
    code: "SL3012",
    manifests: join(
      web,
      pod("shop/agent", "192.168.0.1", { app: "web" }, { hostNetwork: true }),
      policy("p", { podSelector: { matchLabels: { app: "web" } } }),
    ),
    want: [],
  },
  {
    name: "a cluster rule behind a wider one, and a baseline behind isolation",
    code: "SL3013",
    manifests: join(
      web,
      db,
      clusterPolicy("first", 1, "Admin", [{ action: "Deny", from: [{ namespaces: {} }] }]),
      clusterPolicy("second", 2, "Admin", [{ action: "Accept", from: [{ pods: onAll(fromWeb) }] }]),
      policy("p", { ...onDb, ingress: [] }),
      clusterPolicy("last", 3, "Baseline", [{ action: "Deny", from: [{ namespaces: {} }] }]),
    ),
    want: ["SL3013 last spec.ingress[0]", "SL3013 second spec.ingress[0]"],
  },
  {
    name: "a baseline behind isolation, on the only pods that have its port by name",
    code: "SL3013",
    manifests: join(
      web,
      db,
      policy("p", { ...onDb, ingress: [] }),
      clusterPolicy(
        "last",
        3,
        "Baseline",
        [
          {
            action: "Deny",
            from: [{ namespaces: {} }],
            protocols: [{ destinationNamedPort: "sql" }],
          },
          {
            action: "Deny",
            from: [{ namespaces: {} }],
            protocols: [{ destinationNamedPort: "http" }],
          },
        ],
        { podSelector: {} },
      ),
    ),
    want: ["SL3013 last spec.ingress[0]"],
  },
  {
    name: "a cluster rule before a wider one",
    code: "SL3013",
    manifests: join(
      web,
      db,
      clusterPolicy("first", 1, "Admin", [{ action: "Accept", from: [{ pods: onAll(fromWeb) }] }]),
      clusterPolicy("second", 2, "Admin", [{ action: "Deny", from: [{ namespaces: {} }] }]),
    ),
    want: [],
  },
];

const denyAll = { action: "Deny", from: [{ namespaces: {} }] };
const acceptOps = {
  action: "Accept",
  from: [{ namespaces: { matchLabels: { team: "ops" } } }],
  protocols: [{ tcp: { destinationPort: { number: 443 } } }],
};

const ties: readonly Case[] = [
  {
    name: "one priority, and a packet that the one denies and the other accepts",
    code: "SL3014",
    manifests: join(
      db,
      monitor,
      ops,
      clusterPolicy("a", 5, "Admin", [denyAll]),
      clusterPolicy("b", 5, "Admin", [acceptOps]),
    ),
    want: ["SL3014 b spec.ingress[0]"],
  },
  {
    // Its addresses are the first two of their class; a packet to the pod has to come from another's.
    name: "a subject of two addresses of one family",
    code: "SL3014",
    manifests: join(
      db.replace('[{"ip":"10.0.0.2"}]', '[{"ip":"10.0.0.2"},{"ip":"10.0.0.3"}]'),
      pod("shop/other", "10.0.0.9", { app: "other" }),
      clusterPolicy("a", 5, "Admin", [denyAll], onDb),
      clusterPolicy("b", 5, "Admin", [{ ...denyAll, action: "Accept" }], onDb),
    ),
    want: ["SL3014 b spec.ingress[0]"],
  },
  {
    name: "the pairs of three, each once",
    code: "SL3014",
    manifests: join(
      db,
      monitor,
      ops,
      clusterPolicy("a", 5, "Baseline", [acceptOps]),
      clusterPolicy("b", 5, "Baseline", [denyAll]),
      clusterPolicy("c", 5, "Baseline", [acceptOps, denyAll]),
    ),
    want: ["SL3014 b spec.ingress[0]", "SL3014 c spec.ingress[0]"],
  },
  {
    name: "two priorities, two tiers, one verdict, packets that another decides, and no packet of both",
    code: "SL3014",
    manifests: join(
      db,
      monitor,
      ops,
      clusterPolicy("a", 5, "Admin", [denyAll]),
      clusterPolicy("b", 6, "Admin", [acceptOps]),
      clusterPolicy("c", 5, "Baseline", [acceptOps]),
      clusterPolicy("d", 5, "Admin", [{ ...denyAll, action: "Deny" }]),
      clusterPolicy("e", 7, "Admin", [denyAll]),
      clusterPolicy("f", 7, "Admin", [acceptOps]),
    ),
    want: [],
  },
  {
    name: "rules that pass what would be allowed anyway",
    code: "SL3014",
    manifests: join(
      db,
      monitor,
      ops,
      clusterPolicy("a", 5, "Admin", [{ ...acceptOps, action: "Pass" }]),
      clusterPolicy("b", 5, "Admin", [acceptOps]),
    ),
    want: [],
  },
  {
    name: "the baseline of pods that NetworkPolicies isolate",
    code: "SL3014",
    manifests: join(
      db,
      monitor,
      ops,
      policy("p", { ...onDb, policyTypes: ["Ingress"] }),
      clusterPolicy("a", 5, "Baseline", [denyAll]),
      clusterPolicy("b", 5, "Baseline", [acceptOps]),
    ),
    want: [],
  },
];

describe("lint rules", () => {
  for (const { name, code, manifests, want } of [...cases, ...ties, ...serviceCases]) {
    test(`${code} ${want.length > 0 ? "finds" : "is silent about"} ${name}`, () => {
      assert.deepEqual(briefly(lintText(manifests), code).sort(), [...want]);
    });
  }

  test("every rule has a case that it finds and one that it does not", () => {
    for (const id of lintRuleIds.filter((each) => !lintRules[each].isLive)) {
      const own = [...cases, ...ties, ...serviceCases].filter((each) => each.code === id);
      assert(
        own.some((each) => each.want.length > 0) && own.some((each) => each.want.length === 0),
        id,
      );
    }
  });

  test("every rule has a page, and the index names it", () => {
    const root = new URL("../../../", import.meta.url);
    const index = readFileSync(new URL("docs/lint/README.md", root), "utf8");
    for (const id of lintRuleIds) {
      const page = fileURLToPath(new URL(lintPage(id), root));
      assert(existsSync(page), `${lintPage(id)} exists`);
      const [severity, title] = catalogue[id];
      const first = readFileSync(page, "utf8").split("\n", 1)[0];
      assert.equal(first, `# ${id} ${lintRules[id].name}: ${title}`);
      assert.include(
        index,
        `| [${id}](${id}.md) | ${lintRules[id].name} | ${severity} | ${title} |`,
      );
    }
  });

  test("a contradiction is told with a packet, which the table judges by the order of names", () => {
    const [found] = lintText(ties[0]!.manifests).filter(({ code }) => code === "SL3014");
    assert.include(
      found!.message,
      "a ingress[0] has, which denies ops/monitor (10.0.1.1) -> shop/db (10.0.0.2) 443/tcp, and this rule allows it",
    );
    assert.equal(found!.related.length, 1);
  });

  test("disabled rules are silent, and what is wide can be chosen", () => {
    const manifests = join(
      web,
      policy("p", { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8" } }] }] }),
    );
    const widest = { v4: 9, v6: 16 };
    assert.lengthOf(briefly(lintText(manifests, { widest }), "SL3006"), 1);
    const disabled = new Set(["SL3006"] as const);
    assert.lengthOf(briefly(lintText(manifests, { widest, disabled }), "SL3006"), 0);
  });

  test("two equal rules name each other", () => {
    const rule = { from: [fromWeb] };
    const found = lintText(join(web, db, policy("p", { ...onDb, ingress: [rule, rule] })));
    const texts = found.filter((each) => each.code === "SL3001").map((each) => each.message);
    assert.lengthOf(texts, 2);
    for (const text of texts) assert.include(text, "keep one of the two");
  });

  test("a finding points at the place in the file", () => {
    const text = [
      "apiVersion: networking.k8s.io/v1",
      "kind: NetworkPolicy",
      "metadata: {name: p, namespace: shop}",
      "spec:",
      "  podSelector: {matchLabels: {app: web}}",
      "  ingress:",
      "    - from:",
      "        - podSelector: {matchLabels: {app: nobody}}",
    ].join("\n");
    const found = lintText(join(text, web)).find((each) => each.code === "SL3003");
    assert.deepEqual(
      [found?.span.file, found?.span.line, found?.span.column],
      ["lint.yaml", 8, 11],
    );
  });
});
