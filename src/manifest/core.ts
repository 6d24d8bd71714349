import { type Address, addressInTodaysForm, isIpv4Mapped, parseAddress } from "../net/address.js";
import { comparePrefixes, type Prefix, readPrefix } from "../net/prefix.js";
import { transportProtocols } from "../net/protocol.js";
import { type Cursor, quoted } from "./cursor.js";
import { readMetadata } from "./metadata.js";
import { wantDnsLabel, wantDnsSubdomain } from "./names.js";
import { checkPortName, checkPortNumber } from "./network-policy.js";
import type { ContainerPort, Namespace, Node, Pod } from "./objects.js";

/*
 * Objects of which we use a part. That part is read as strictly as the API server does; fields of
 * which we know nothing are let pass, since their schemas are large and change with each release.
 */

const topFields = ["apiVersion", "kind", "metadata", "spec", "status"];

/** Reads a Namespace. */
export function readNamespace(root: Cursor): Namespace {
  root.onlyFields(topFields);
  return {
    kind: "Namespace",
    meta: readMetadata(root, { namespaced: false, wantName: wantDnsLabel }),
  };
}

/** Reads a Node, for its labels, its addresses and the ranges of its pods. */
export function readNode(root: Cursor): Node {
  root.onlyFields(topFields);
  const meta = readMetadata(root, { namespaced: false, wantName: wantDnsSubdomain });
  const addresses: Address[] = [];
  for (const item of mapField(root, "status").field("addresses").items() ?? []) {
    if (!item.isMap()) continue;
    const type = item.field("type").string();
    if (type !== "InternalIP" && type !== "ExternalIP") continue;
    // The server takes any text here: one that is no address costs no other.
    const address = readAddress(item.field("address"), "SL1310");
    if (address !== undefined) addresses.push(address);
  }
  return { kind: "Node", meta, addresses, podCidrs: readPodCidrs(mapField(root, "spec")) };
}

/** Where the two fields differ, servers heed the older one. */
function readPodCidrs(spec: Cursor): readonly Prefix[] {
  const given = readPodCidr(spec.field("podCIDR"));
  const [first, ...others] = (spec.field("podCIDRs").items() ?? []).map(readPodCidr);
  const differs = given !== undefined && first !== undefined && comparePrefixes(given, first) !== 0;
  return [given ?? first, ...(differs ? [] : others)].filter((each) => each !== undefined);
}

function readPodCidr(cursor: Cursor): Prefix | undefined {
  const text = cursor.string() ?? "";
  if (text === "") return undefined;
  const read = readPrefix(text, "stored");
  if ("prefix" in read) return read.prefix;
  cursor.report("SL1310", `got ${read.fault.got}, want ${read.fault.want}`);
  return undefined;
}

/** Reads a Pod, for its labels, addresses and named ports. */
export function readPod(root: Cursor): Pod {
  root.onlyFields(topFields);
  const meta = readMetadata(root, { namespaced: true, wantName: wantDnsSubdomain });
  const spec = mapField(root, "spec");
  const status = mapField(root, "status");
  return {
    kind: "Pod",
    meta,
    nodeName: spec.field("nodeName").string() ?? "",
    hostNetwork: spec.field("hostNetwork").boolean() ?? false,
    phase: status.field("phase").string() || "Running",
    addresses: readPodAddresses(status),
    ports: readPorts(spec),
    ...readHostname(spec),
    created: root.field("metadata").field("creationTimestamp").string() ?? "",
  };
}

/** Returns a field that has to be a map if it is there, having reported it if it is not. */
export function mapField(root: Cursor, name: string): Cursor {
  const cursor = root.field(name);
  cursor.isMap();
  return cursor;
}

/** Reads the ports of all containers of a pod's `spec` that keep running. */
export function readPorts(spec: Cursor): readonly ContainerPort[] {
  return [
    ...readContainerPorts(spec.field("containers"), () => true),
    ...readContainerPorts(spec.field("initContainers"), keepsRunning),
  ];
}

/** Reads the names that a pod's `spec` asks for beside its own. */
export function readHostname(spec: Cursor): Pick<Pod, "hostname" | "subdomain"> {
  const hostname = spec.field("hostname").textOrNothing() ?? "";
  const subdomain = spec.field("subdomain").textOrNothing() ?? "";
  return {
    ...(hostname === "" ? {} : { hostname }),
    ...(subdomain === "" ? {} : { subdomain }),
  };
}

/** Reports whether an init container stays beside the others, and serves its ports as they do. */
function keepsRunning(container: Cursor): boolean {
  return container.field("restartPolicy").string() === "Always";
}

function readContainerPorts(
  cursor: Cursor,
  counts: (container: Cursor) => boolean,
): ContainerPort[] {
  const ports: ContainerPort[] = [];
  for (const container of cursor.items() ?? []) {
    if (!container.isMap() || !counts(container)) continue;
    const names = new Set<string>();
    for (const item of container.field("ports").items() ?? []) {
      const port = item.isMap() ? readContainerPort(item, names) : undefined;
      if (port !== undefined) ports.push(port);
    }
  }
  return ports;
}

/** Reads a port of a container; `names` are those that its ports have so far. */
function readContainerPort(cursor: Cursor, names: Set<string>): ContainerPort | undefined {
  cursor.onlyFields(["name", "containerPort", "protocol", "hostPort", "hostIP"]);
  const nameField = cursor.field("name");
  const name = nameField.string() ?? "";
  if (name !== "") checkPortName(nameField, name);
  if (names.has(name)) nameField.report("SL1221", `got port name ${quoted(name)} twice`);
  if (name !== "") names.add(name);
  const protocol = cursor.field("protocol").oneOf(transportProtocols) ?? "TCP";
  const portField = cursor.field("containerPort");
  if (portField.absent) portField.missing("a port number");
  const port = portField.integer();
  if (port === undefined || !checkPortNumber(portField, port)) return undefined;
  return { name, port, protocol };
}

function readPodAddresses(status: Cursor): Address[] {
  const addresses: Address[] = [];
  for (const item of status.field("podIPs").items() ?? []) {
    if (!item.isMap()) continue;
    const address = readAddress(item.field("ip"), faultOf(item));
    if (address !== undefined) addresses.push(address);
  }
  const first = readAddress(status.field("podIP"), faultOf(status));
  return addresses.length === 0 && first !== undefined ? [first] : addresses;
}

function faultOf(cursor: Cursor): "SL1216" | "SL1310" {
  return cursor.isStored ? "SL1310" : "SL1216";
}

/** Reads an address; undefined, having reported `fault`, for a text that is none. The empty text is nothing. */
export function readAddress(cursor: Cursor, fault: "SL1216" | "SL1310"): Address | undefined {
  const text = cursor.string() ?? "";
  if (text === "") return undefined;
  const address = parseAddress(cursor.isStored ? addressInTodaysForm(text) : text);
  if (address !== undefined && !isIpv4Mapped(address)) return address;
  if (address !== undefined && cursor.isStored) {
    return { family: 4, bytes: address.bytes.slice(12) };
  }
  const want =
    address === undefined ? "an IPv4 or IPv6 address" : "an IPv4 address in its IPv4 form";
  cursor.report(fault, `got ${quoted(text)}, want ${want}`);
  return undefined;
}
