import { type Address, addressKey } from "../net/address.js";
import { type TransportProtocol, transportProtocols } from "../net/protocol.js";
import { mapField, readAddress } from "./core.js";
import { type Cursor, quoted } from "./cursor.js";
import { readMetadata, readStrings } from "./metadata.js";
import { wantDnsLabel, wantDnsSubdomain } from "./names.js";
import { checkPortName, checkPortNumber } from "./network-policy.js";
import {
  type EndpointSubset,
  type Ingress,
  type IngressBackend,
  type Service,
  type ServiceEndpoint,
  type ServiceEndpoints,
  type ServiceObject,
  type ServicePort,
  serviceTypes,
} from "./objects.js";

/** The kinds that say what stands behind a name, with the API version of each. */
export const serviceKinds: ReadonlyMap<string, string> = new Map<ServiceObject["kind"], string>([
  ["EndpointSlice", "discovery.k8s.io/v1"],
  ["Endpoints", "v1"],
  ["Ingress", "networking.k8s.io/v1"],
  ["Service", "v1"],
]);

/**
 * Reads an object of such a kind.
 *
 * Source: the defaults are those of the API server.
 */
export function readServiceObject(kind: ServiceObject["kind"], root: Cursor): ServiceObject {
  return readers[kind](root);
}

const readers: Readonly<Record<ServiceObject["kind"], (root: Cursor) => ServiceObject>> = {
  EndpointSlice: readEndpointSlice,
  Endpoints: readEndpoints,
  Ingress: readIngress,
  Service: readService,
};

function readService(root: Cursor): Service {
  const meta = readMetadata(root, { namespaced: true, wantName: wantDnsLabel });
  const spec = mapField(root, "spec");
  const type = spec.field("type").oneOf(serviceTypes) ?? "ClusterIP";
  const isHeadless = spec.field("clusterIP").textOrNothing() === "None";
  const selector = readStrings(spec.field("selector"));
  return {
    kind: "Service",
    meta,
    type,
    isHeadless,
    clusterIPs: isHeadless ? [] : readClusterIPs(spec),
    families: (spec.field("ipFamilies").items() ?? []).flatMap((item) => {
      const family = item.oneOf(["IPv4", "IPv6"] as const);
      return family === undefined ? [] : [family === "IPv4" ? (4 as const) : (6 as const)];
    }),
    externalIPs: [
      ...readAddresses(spec.field("externalIPs")),
      ...readOneAddress(spec.field("loadBalancerIP")),
      ...(
        mapField(mapField(root, "status"), "loadBalancer").field("ingress").items() ?? []
      ).flatMap((item) => (item.isMap() ? readOneAddress(item.field("ip")) : [])),
    ],
    externalName: type === "ExternalName" ? readExternalName(spec.field("externalName")) : "",
    ...(selector.size === 0 || type === "ExternalName" ? {} : { selector }),
    ports: readServicePorts(spec.field("ports")),
    publishNotReadyAddresses: spec.field("publishNotReadyAddresses").boolean() ?? false,
    sessionAffinity: spec.field("sessionAffinity").oneOf(["None", "ClientIP"] as const) ?? "None",
  };
}

function readExternalName(cursor: Cursor): string {
  const name = (cursor.requiredString("the name that it stands for") ?? "").replace(/\.$/, "");
  const want = name === "" ? undefined : wantDnsSubdomain(name);
  if (want !== undefined) cursor.report("SL1202", `got name ${quoted(name)}, want ${want}`);
  return name;
}

/** `clusterIPs` repeats `clusterIP` as its first; either may stand alone. */
function readClusterIPs(spec: Cursor): readonly Address[] {
  const all = [
    ...readOneAddress(spec.field("clusterIP")),
    ...readAddresses(spec.field("clusterIPs")),
  ];
  return [...new Map(all.map((address) => [addressKey(address), address])).values()];
}

function readAddresses(cursor: Cursor): readonly Address[] {
  return (cursor.items() ?? []).flatMap(readOneAddress);
}

function readOneAddress(cursor: Cursor): readonly Address[] {
  const address = readAddress(cursor, "SL1310");
  return address === undefined ? [] : [address];
}

function readServicePorts(cursor: Cursor): readonly ServicePort[] {
  const items = cursor.items() ?? [];
  const seen = new Set<string>();
  const once = (field: Cursor, key: string, what: string) => {
    if (seen.has(key)) field.report("SL1221", `got ${what} twice`);
    seen.add(key);
  };
  return items.flatMap((item) => {
    const port = item.isMap() ? readServicePort(item) : undefined;
    if (port === undefined) return [];
    const { name, protocol } = port;
    if (name !== "") once(item.field("name"), `name ${name}`, `port name ${quoted(name)}`);
    else if (items.length > 1) item.field("name").missing("a name, as there are several ports");
    once(item.field("port"), `${protocol} ${port.port}`, `port ${port.port} of ${protocol}`);
    return [port];
  });
}

function readServicePort(cursor: Cursor): ServicePort | undefined {
  cursor.onlyFields(["name", "protocol", "appProtocol", "port", "targetPort", "nodePort"]);
  const nameField = cursor.field("name");
  const name = nameField.string() ?? "";
  const want = name === "" ? undefined : wantDnsLabel(name);
  if (want !== undefined) nameField.report("SL1202", `got name ${quoted(name)}, want ${want}`);
  const protocol = readProtocol(cursor);
  const port = readPort(cursor.field("port"));
  const targetPort = readTargetPort(cursor.field("targetPort"), port);
  const nodePort = cursor.field("nodePort").integer() ?? 0;
  if (port === undefined || targetPort === undefined) return undefined;
  const { span } = cursor;
  return { name, protocol, port, targetPort, ...(nodePort === 0 ? {} : { nodePort }), span };
}

function readProtocol(cursor: Cursor): TransportProtocol {
  return cursor.field("protocol").oneOf(transportProtocols) ?? "TCP";
}

function readPort(cursor: Cursor): number | undefined {
  if (cursor.absent) cursor.missing("a port number");
  const port = cursor.integer();
  return port !== undefined && checkPortNumber(cursor, port) ? port : undefined;
}

/** Left out, 0 and the empty text are the Service's own port. */
function readTargetPort(cursor: Cursor, port: number | undefined): number | string | undefined {
  const target = cursor.integerOrString();
  if (target === undefined) return cursor.absent ? port : undefined;
  if (target === 0 || target === "") return port;
  if (typeof target === "number") return checkPortNumber(cursor, target) ? target : undefined;
  checkPortName(cursor, target);
  return target;
}

function readEndpointSlice(root: Cursor): ServiceEndpoints {
  const meta = readMetadata(root, { namespaced: true, wantName: wantDnsSubdomain });
  // A name is no address, and this kind has them no longer.
  const isNames = root.field("addressType").string() === "FQDN";
  const endpoints = (root.field("endpoints").items() ?? []).flatMap((item): ServiceEndpoint[] => {
    if (!item.isMap() || isNames) return [];
    const isReady = mapField(item, "conditions").field("ready").boolean() ?? true;
    return [{ addresses: readAddresses(item.field("addresses")), isReady }];
  });
  return {
    kind: "EndpointSlice",
    meta,
    service: meta.labels.get("kubernetes.io/service-name") ?? "",
    subsets: [{ endpoints, ports: readEndpointPorts(root) }],
  };
}

/** An Endpoints object has its Service's name. */
function readEndpoints(root: Cursor): ServiceEndpoints {
  const meta = readMetadata(root, { namespaced: true, wantName: wantDnsSubdomain });
  const addressesOf = (subset: Cursor, field: string, isReady: boolean) =>
    (subset.field(field).items() ?? []).flatMap((item): ServiceEndpoint[] =>
      item.isMap() ? [{ addresses: readOneAddress(item.field("ip")), isReady }] : [],
    );
  const subsets = (root.field("subsets").items() ?? []).flatMap((subset): EndpointSubset[] => {
    if (!subset.isMap()) return [];
    const endpoints = [
      ...addressesOf(subset, "addresses", true),
      ...addressesOf(subset, "notReadyAddresses", false),
    ];
    return [{ endpoints, ports: readEndpointPorts(subset) }];
  });
  return { kind: "Endpoints", meta, service: meta.name, subsets };
}

function readEndpointPorts(cursor: Cursor): EndpointSubset["ports"] {
  return (cursor.field("ports").items() ?? []).flatMap((item) => {
    if (!item.isMap()) return [];
    const port = item.field("port").integer();
    return [
      {
        name: item.field("name").string() ?? "",
        protocol: readProtocol(item),
        ...(port === undefined ? {} : { port }),
      },
    ];
  });
}

function readIngress(root: Cursor): Ingress {
  const meta = readMetadata(root, { namespaced: true, wantName: wantDnsSubdomain });
  const spec = mapField(root, "spec");
  const rules = (spec.field("rules").items() ?? []).filter((rule) => rule.isMap());
  const paths = rules.flatMap((rule) => mapField(rule, "http").field("paths").items() ?? []);
  const backends = [
    spec.field("defaultBackend"),
    ...paths.flatMap((path) => (path.isMap() ? [path.field("backend")] : [])),
  ];
  return {
    kind: "Ingress",
    meta,
    className:
      spec.field("ingressClassName").string() ??
      meta.annotations.get("kubernetes.io/ingress.class") ??
      "",
    backends: backends.flatMap(readBackend),
  };
}

/** A backend may be a resource of another kind, of which nothing is known. */
function readBackend(cursor: Cursor): readonly IngressBackend[] {
  const service = cursor.isMap() ? mapField(cursor, "service") : undefined;
  if (service === undefined || service.absent) return [];
  const name = service.field("name").requiredString("the name of a Service");
  const portField = mapField(service, "port");
  const port = portField.field("name").string() ?? portField.field("number").integer();
  if (port === undefined) portField.missing("the number or the name of a port");
  if (name === undefined || port === undefined) return [];
  return [{ service: name, port, field: cursor.path(), span: cursor.span }];
}
