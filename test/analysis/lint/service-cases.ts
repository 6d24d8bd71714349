import { join, pod, policy } from "./lint-manifests.js";

/** Manifests of namespace `shop`, for the rules that speak of Services. */

export interface ServiceCase {
  readonly name: string;
  readonly code: string;
  readonly manifests: string;
  readonly want: readonly string[];
}

export function service(name: string, spec: object, namespace = "shop"): string {
  return JSON.stringify({ apiVersion: "v1", kind: "Service", metadata: { name, namespace }, spec });
}

export function ingress(service: string, port: object): string {
  return JSON.stringify({
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    metadata: { name: "front", namespace: "shop" },
    spec: {
      rules: [
        {
          http: {
            paths: [
              { path: "/", pathType: "Prefix", backend: { service: { name: service, port } } },
            ],
          },
        },
      ],
    },
  });
}

const labelled = (app: string) => ({ podSelector: { matchLabels: { app } } });
const web = pod("shop/web", "10.0.0.1", { app: "web" }, { ports: ["http:8080/TCP"] });
const db = pod("shop/db", "10.0.0.2", { app: "db" }, { ports: ["sql:5432/TCP"] });
const controller = pod("edge/nginx", "10.0.3.1", { "app.kubernetes.io/name": "ingress-nginx" });
const other = pod("ops/monitor", "10.0.1.1", { app: "monitor" });
const toWeb = { selector: { app: "web" }, ports: [{ port: 80, targetPort: "http" }] };
const webService = service("web", toWeb);

const allow = (port: number | string, from: object = labelled("db"), select = "web") =>
  policy("p", { ...labelled(select), ingress: [{ from: [from], ports: [{ port }] }] });
const inNamespace = (name: string) => ({
  namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": name } },
});

const ports: readonly ServiceCase[] = [
  ...[
    ["the Service's port", allow(80)],
    [
      "it, of whoever connects",
      policy("p", { ...labelled("web"), ingress: [{ ports: [{ port: 80 }] }] }),
    ],
    ["it, from a block", allow(80, { ipBlock: { cidr: "192.0.2.0/24" } })],
    [
      "it, for every pod of the namespace",
      allow(80, labelled("db")).replace(
        /"podSelector":\{"matchLabels":\{"app":"web"\}\}/,
        '"podSelector":{}',
      ),
    ],
    ["it, from a namespace that is not here", allow(80, inNamespace("elsewhere"))],
    [
      "it beside another that is no better",
      policy("p", {
        ...labelled("web"),
        ingress: [{ from: [labelled("db")], ports: [{ port: 443 }, { port: 80 }] }],
      }),
    ],
  ].map(([name, own]) => ({
    name: name!,
    code: "SL3015",
    manifests: join(web, db, webService, own!),
    want: [
      name!.includes("beside")
        ? "SL3015 p spec.ingress[0].ports[1].port"
        : "SL3015 p spec.ingress[0].ports[0].port",
    ],
  })),
  {
    name: "it, for egress",
    code: "SL3015",
    manifests: join(
      web,
      db,
      webService,
      policy("p", {
        ...labelled("db"),
        policyTypes: ["Egress"],
        egress: [{ to: [labelled("web")], ports: [{ port: 80 }] }],
      }),
    ),
    want: ["SL3015 p spec.egress[0].ports[0].port"],
  },
  ...[
    ["the pod's port", join(webService, allow(8080))],
    ["the pod's port by name", join(webService, allow("http"))],
    [
      "both",
      join(
        webService,
        policy("p", {
          ...labelled("web"),
          ingress: [{ from: [labelled("db")], ports: [{ port: 80 }, { port: 8080 }] }],
        }),
      ),
    ],
    [
      "both, in two rules",
      join(
        webService,
        policy("p", {
          ...labelled("web"),
          ingress: [{ from: [labelled("db")], ports: [{ port: 80 }] }, { from: [labelled("db")] }],
        }),
      ),
    ],
    [
      "both, of a namespace that is not here",
      join(
        webService,
        policy("p", {
          ...labelled("web"),
          ingress: [{ from: [inNamespace("elsewhere")], ports: [{ port: 80 }, { port: "http" }] }],
        }),
      ),
    ],
    [
      "a port that a selected pod declares",
      join(
        webService,
        pod("shop/old", "10.0.0.9", { app: "web" }, { ports: ["p:80/TCP"] }),
        allow(80),
      ),
    ],
    [
      "a port that another Service translates to",
      join(
        webService,
        service("plain", { ...toWeb, ports: [{ port: 8000, targetPort: 80 }] }),
        allow(80),
      ),
    ],
    [
      "a Service that translates nothing",
      join(service("web", { ...toWeb, ports: [{ port: 80 }] }), allow(80)),
    ],
    ["a headless Service", join(service("web", { ...toWeb, clusterIP: "None" }), allow(80))],
    [
      "a port of another protocol",
      join(
        service("web", { ...toWeb, ports: [{ port: 80, protocol: "UDP", targetPort: 8080 }] }),
        allow(80),
      ),
    ],
    [
      "a Service of other pods",
      join(
        service("db", { selector: { app: "db" }, ports: [{ port: 80, targetPort: "sql" }] }),
        allow(80),
      ),
    ],
    [
      "egress to a block as well",
      join(
        webService,
        policy("p", {
          ...labelled("db"),
          policyTypes: ["Egress"],
          egress: [
            { to: [labelled("web"), { ipBlock: { cidr: "192.0.2.0/24" } }], ports: [{ port: 80 }] },
          ],
        }),
      ),
    ],
    [
      "egress to every pod of the cluster",
      join(
        webService,
        policy("p", {
          ...labelled("db"),
          policyTypes: ["Egress"],
          egress: [{ to: [{ namespaceSelector: {} }], ports: [{ port: 80 }] }],
        }),
      ),
    ],
    [
      "a range of ports",
      join(
        webService,
        policy("p", {
          ...labelled("web"),
          ingress: [{ from: [labelled("db")], ports: [{ port: 1, endPort: 65535 }] }],
        }),
      ),
    ],
  ].map(([name, own]) => ({
    name: name!,
    code: "SL3015",
    manifests: join(web, db, own!),
    want: [],
  })),
];

const egressTo = (cidr: string, except: readonly string[] = []) =>
  policy("p", { podSelector: {}, egress: [{ to: [{ ipBlock: { cidr, except } }] }] });
const addressed = service("web", { ...toWeb, clusterIP: "172.20.3.4" });

const blocks: readonly ServiceCase[] = [
  ...["172.20.3.4/32", "172.20.0.0/16", "10.96.0.0/12", "10.96.0.1/32"].map((cidr) => ({
    name: cidr,
    code: "SL3016",
    manifests: join(web, addressed, egressTo(cidr)),
    want: ["SL3016 p spec.egress[0].to[0].ipBlock"],
  })),
  ...[
    ["a network that is no Service's", egressTo("172.21.0.0/16")],
    ["a network of the usual range that may be another's", egressTo("10.100.0.0/16")],
    ["a Service's address excepted", egressTo("172.20.0.0/16", ["172.20.3.0/24"])],
    ["a block as wide as a private network", egressTo("172.0.0.0/11")],
    ["all addresses", egressTo("0.0.0.0/0")],
    ["a block that holds a pod", join(pod("shop/x", "172.20.9.9"), egressTo("172.20.0.0/16"))],
    [
      "a block that holds a node",
      join(
        JSON.stringify({
          apiVersion: "v1",
          kind: "Node",
          metadata: { name: "n" },
          status: { addresses: [{ type: "InternalIP", address: "10.96.0.5" }] },
        }),
        egressTo("10.96.0.0/24"),
      ),
    ],
  ].map(([name, own]) => ({
    name: name!,
    code: "SL3016",
    manifests: join(web, addressed, own!),
    want: [],
  })),
  {
    name: "a Service's address, where there are no pods",
    code: "SL3016",
    manifests: join(addressed, egressTo("172.20.3.4/32")),
    want: ["SL3016 p spec.egress[0].to[0].ipBlock"],
  },
];

const nowhere: readonly ServiceCase[] = [
  {
    name: "a selector of no pod, and a target port of no name",
    code: "SL3017",
    manifests: join(
      web,
      service("a", { ...toWeb, selector: { app: "wbe" } }),
      service("b", { ...toWeb, selector: { team: "sales" } }),
      service("c", {
        ...toWeb,
        ports: [
          { name: "x", port: 80, targetPort: "http" },
          { name: "y", port: 81, targetPort: "htpp" },
        ],
      }),
    ),
    want: ["SL3017 a spec.selector", "SL3017 b spec.selector", "SL3017 c spec.ports[1]"],
  },
  {
    name: "Services that lead to pods, have no selector, are names, or lead to the host's network",
    code: "SL3017",
    manifests: join(
      web,
      pod("shop/agent", "10.9.9.9", { app: "agent" }, { hostNetwork: true }),
      webService,
      service("a", { ports: [{ port: 80 }] }),
      service("b", { type: "ExternalName", externalName: "x.example" }),
      service("c", { selector: { app: "agent" }, ports: [{ port: 80 }] }),
    ),
    want: [],
  },
  {
    name: "Services of a namespace that has no pod here",
    code: "SL3017",
    manifests: join(web, service("a", toWeb, "monitoring")),
    want: [],
  },
  {
    name: "Services of a namespace that has no pod here",
    code: "SL3020",
    manifests: join(web, service("a", toWeb, "monitoring")),
    want: ["SL3020 a spec.selector"],
  },
  {
    name: "a Service whose pods are here",
    code: "SL3020",
    manifests: join(web, webService),
    want: [],
  },
];

const backend = ingress("web", { number: 80 });
const onlyOwn = policy("p", { ...labelled("web"), ingress: [{ from: [{ podSelector: {} }] }] });

const ingresses: readonly ServiceCase[] = [
  ...[
    ["a backend open to its own namespace alone", join(webService, backend, onlyOwn)],
    [
      "one open to no controller that is here",
      join(webService, controller, backend, allow("http", inNamespace("ops")), other),
    ],
    [
      "one open to its controller by the Service's port",
      join(webService, controller, backend, allow(80, inNamespace("edge"))),
    ],
    [
      "one open by another port to a controller elsewhere",
      join(webService, backend, allow(80, inNamespace("elsewhere"))),
    ],
    [
      "one of a headless Service",
      join(service("web", { ...toWeb, clusterIP: "None" }), backend, onlyOwn),
    ],
    ["a port that the Service has not", join(webService, ingress("web", { number: 8080 }))],
  ].map(([name, own]) => ({
    name: name!,
    code: "SL3018",
    manifests: join(web, db, own!),
    want: ["SL3018 front spec.rules[0].http.paths[0].backend"],
  })),
  ...[
    ["an open backend", join(webService, backend)],
    [
      "a backend open to the controller that is here",
      join(webService, controller, backend, allow("http", inNamespace("edge"))),
    ],
    [
      "one open to a controller elsewhere",
      join(webService, backend, allow(8080, inNamespace("elsewhere"))),
    ],
    [
      "one open to a block",
      join(webService, backend, allow(8080, { ipBlock: { cidr: "192.0.2.0/24" } })),
    ],
    [
      "one open to another namespace",
      join(webService, other, backend, allow(8080, { namespaceSelector: {} })),
    ],
    ["a Service that is not here", backend],
    [
      "a Service behind which nobody is",
      join(service("web", { ...toWeb, selector: { app: "gone" } }), backend),
    ],
    [
      "a Service that is a name",
      join(service("web", { type: "ExternalName", externalName: "x.example" }), backend),
    ],
  ].map(([name, own]) => ({
    name: name!,
    code: "SL3018",
    manifests: join(web, db, own!),
    want: [],
  })),
];

const elsewhere: readonly ServiceCase[] = [
  {
    name: "namespaces of which nothing is here",
    code: "SL3019",
    manifests: join(
      web,
      policy("p", {
        podSelector: {},
        ingress: [
          {
            from: [
              inNamespace("ingress-nginx"),
              { namespaceSelector: { matchLabels: { purpose: "monitoring" } } },
            ],
          },
        ],
      }),
    ),
    want: ["SL3019 p spec.ingress[0].from[0]", "SL3019 p spec.ingress[0].from[1]"],
  },
  {
    name: "pods of its own namespace, and namespaces that are here by another key or nearly",
    code: "SL3019",
    manifests: join(
      web,
      other,
      policy("p", {
        podSelector: {},
        ingress: [
          {
            from: [
              labelled("gone"),
              { namespaceSelector: { matchLabels: { name: "ops" } } },
              inNamespace("shpo"),
              inNamespace("ops"),
            ],
          },
        ],
      }),
    ),
    want: [],
  },
];

export const serviceCases: readonly ServiceCase[] = [
  ...ports,
  ...blocks,
  ...nowhere,
  ...ingresses,
  ...elsewhere,
];
