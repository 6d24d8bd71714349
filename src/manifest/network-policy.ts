import { formatPrefix, type Prefix, prefixCovers, readPrefix } from "../net/prefix.js";
import { type TransportProtocol, transportProtocols } from "../net/protocol.js";
import { type Cursor, quoted } from "./cursor.js";
import { readMetadata } from "./metadata.js";
import { wantDnsSubdomain, wantPortName } from "./names.js";
import type { IpBlock, NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from "./objects.js";
import { readSelector } from "./selector.js";

/**
 * Reads a NetworkPolicy of networking.k8s.io/v1.
 *
 * Null and missing are one, and so are they and the empty list, but for lists of rules, whose empty
 * entries are rules that allow everything.
 *
 * Source: conformance rules 2 to 6 and 19, after the API's own validation.
 */
export function readNetworkPolicy(root: Cursor): NetworkPolicy {
  // Servers of Kubernetes 1.24 to 1.27 print a status, which says nothing of policy.
  root.onlyFields(["apiVersion", "kind", "metadata", "spec", "status"]);
  const meta = readMetadata(root, { namespaced: true, wantName: wantDnsSubdomain });
  const spec = root.field("spec");
  if (spec.isMap()) spec.onlyFields(["podSelector", "policyTypes", "ingress", "egress"]);

  const podSelector = readSelector(spec.field("podSelector"));
  const ingress = readRules(spec.field("ingress"), "from");
  const egress = readRules(spec.field("egress"), "to");
  const given = readPolicyTypes(spec.field("policyTypes"));
  const policyTypes = new Set(given);
  if (given.length === 0) {
    policyTypes.add("Ingress");
    if (egress.length > 0) policyTypes.add("Egress");
  }
  return {
    kind: "NetworkPolicy",
    meta,
    podSelector,
    policyTypes,
    policyTypesGiven: given.length > 0,
    ingress,
    egress,
  };
}

function readPolicyTypes(cursor: Cursor): ("Ingress" | "Egress")[] {
  const items = cursor.items() ?? [];
  if (items.length > 2) {
    cursor.report("SL1215", `got ${items.length} policy types, want no more than two`);
    return [];
  }
  return items.flatMap((item) => {
    if (item.absent) item.report("SL1210", "got nothing, want Ingress or Egress");
    const type = item.oneOf(["Ingress", "Egress"] as const);
    return type === undefined ? [] : [type];
  });
}

function readRules(cursor: Cursor, peersName: "from" | "to"): PolicyRule[] {
  return (cursor.items() ?? []).map((rule) => {
    if (rule.isMap()) rule.onlyFields([peersName, "ports"]);
    return {
      peers: (rule.field(peersName).items() ?? []).map(readPeer),
      ports: (rule.field("ports").items() ?? []).map(readPort),
      span: rule.span,
    };
  });
}

function readPeer(cursor: Cursor): PolicyPeer {
  if (!cursor.absent && !cursor.isMap()) return { span: cursor.span };
  cursor.onlyFields(["podSelector", "namespaceSelector", "ipBlock"]);
  const podSelector = cursor.field("podSelector");
  const namespaceSelector = cursor.field("namespaceSelector");
  const ipBlock = cursor.field("ipBlock");
  const selectors = !podSelector.absent || !namespaceSelector.absent;
  if (ipBlock.absent && !selectors) {
    const message =
      "got an empty peer, must specify a peer: podSelector, namespaceSelector or ipBlock";
    cursor.report("SL1213", message);
  } else if (!ipBlock.absent && selectors) {
    cursor.report("SL1214", "got both ipBlock and another peer in one item, want two items");
  }
  const block = ipBlock.absent ? undefined : readIpBlock(ipBlock);
  return {
    ...(podSelector.absent ? {} : { podSelector: readSelector(podSelector) }),
    ...(namespaceSelector.absent ? {} : { namespaceSelector: readSelector(namespaceSelector) }),
    ...(block === undefined ? {} : { ipBlock: block }),
    span: cursor.span,
  };
}

function readIpBlock(cursor: Cursor): IpBlock | undefined {
  if (!cursor.isMap()) return undefined;
  cursor.onlyFields(["cidr", "except"]);
  const cidrField = cursor.field("cidr");
  const cidrText = cidrField.requiredString("a block such as 10.0.0.0/8");
  const cidr = cidrText === undefined ? undefined : readCidr(cidrField, cidrText);
  const except: Prefix[] = [];
  for (const item of cursor.field("except").items() ?? []) {
    const text = item.absent ? "" : item.string();
    const prefix = text === undefined ? undefined : readCidr(item, text);
    if (prefix === undefined) continue;
    except.push(prefix);
    if (cidr !== undefined && (!prefixCovers(cidr, prefix) || prefix.length === cidr.length)) {
      item.report("SL1212", `got ${quoted(text!)}, must be a strict subset of cidr ${cidrText}`);
    }
  }
  return cidr === undefined ? undefined : { cidr, except, span: cursor.span };
}

function readCidr(cursor: Cursor, text: string): Prefix | undefined {
  const read = readPrefix(text, cursor.isStored ? "stored" : "refuse");
  if ("fault" in read) {
    cursor.report("SL1211", `got ${read.fault.got}, want ${read.fault.want}`);
    return undefined;
  }
  if (cursor.isStored && "fault" in readPrefix(text)) {
    const message = `got ${quoted(text)}, which servers of today refuse, read as ${formatPrefix(read.prefix)}`;
    cursor.report("SL1304", message);
  }
  return read.prefix;
}

function readPort(cursor: Cursor): PolicyPort {
  const { span } = cursor;
  if (!cursor.absent && !cursor.isMap()) return { protocol: "TCP", span };
  cursor.onlyFields(["protocol", "port", "endPort"]);
  const protocol: TransportProtocol = cursor.field("protocol").oneOf(transportProtocols) ?? "TCP";
  const portField = cursor.field("port");
  const endPortField = cursor.field("endPort");
  const port = portField.integerOrString();
  const endPort = endPortField.integer();

  if (typeof port === "number") checkPortNumber(portField, port);
  if (typeof port === "string") checkPortName(portField, port);
  if (endPort !== undefined) {
    if (typeof port === "number") {
      if (endPort < port) {
        const message = `got port ${port} to endPort ${endPort}, want endPort greater than or equal to port`;
        endPortField.report("SL1004", message);
      }
      checkPortNumber(endPortField, endPort);
    } else if (typeof port === "string") {
      endPortField.report(
        "SL1209",
        `got endPort beside non-numeric port ${quoted(port)}, want a number`,
      );
    } else if (portField.absent) {
      endPortField.report("SL1209", "got endPort, but `port` is not specified, want both");
    }
  }
  return {
    protocol,
    ...(port === undefined ? {} : { port }),
    ...(endPort === undefined ? {} : { endPort }),
    span,
  };
}

/** Returns whether the number is that of a port; reports one that is not. */
export function checkPortNumber(cursor: Cursor, port: number): boolean {
  if (port >= 1 && port <= 65535) return true;
  cursor.report("SL1207", `got port ${port}, want a number between 1 and 65535`);
  return false;
}

export function checkPortName(cursor: Cursor, name: string): void {
  const want = wantPortName(name);
  if (want !== undefined) cursor.report("SL1208", `got port name ${quoted(name)}, want ${want}`);
}
