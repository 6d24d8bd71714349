import { formatPrefix, type Prefix, readPrefix } from "../net/prefix.js";
import { type TransportProtocol, transportProtocols } from "../net/protocol.js";
import { type Cursor, quoted } from "./cursor.js";
import { readMetadata } from "./metadata.js";
import { wantDnsSubdomain, wantDomainName } from "./names.js";
import { checkPortName, checkPortNumber } from "./network-policy.js";
import type {
  ClusterPeer,
  ClusterPolicy,
  ClusterPort,
  ClusterRule,
  ClusterSubject,
} from "./objects.js";
import { readSelector } from "./selector.js";

type Kind = ClusterPolicy["kind"];

/** In what the three kinds of cluster-wide policies differ. */
interface Dialect {
  readonly specFields: readonly string[];
  readonly rulesMax: number;
  readonly listMax: number;
  /** Whether pods need a namespaceSelector beside their podSelector. */
  readonly wantsNamespaces: boolean;
  /** Whether egress peers may be domain names. */
  readonly hasDomainNames: boolean;
  /** The name of a rule's list of ports. */
  readonly ports: "protocols" | "ports";
  readonly actions: Readonly<Record<string, ClusterRule["action"]>>;
  readonly readPort: (cursor: Cursor) => ClusterPort | undefined;
}

const older = {
  rulesMax: 100,
  listMax: 100,
  wantsNamespaces: true,
  hasDomainNames: true,
  ports: "ports",
  readPort: readOlderPort,
} as const;

const dialects: Readonly<Record<Kind, Dialect>> = {
  ClusterNetworkPolicy: {
    specFields: ["tier", "priority", "subject", "ingress", "egress"],
    rulesMax: 25,
    listMax: 25,
    wantsNamespaces: false,
    hasDomainNames: true,
    ports: "protocols",
    actions: { Accept: "Accept", Deny: "Deny", Pass: "Pass" },
    readPort: readProtocol,
  },
  AdminNetworkPolicy: {
    ...older,
    specFields: ["priority", "subject", "ingress", "egress"],
    actions: { Allow: "Accept", Deny: "Deny", Pass: "Pass" },
  },
  BaselineAdminNetworkPolicy: {
    ...older,
    specFields: ["subject", "ingress", "egress"],
    hasDomainNames: false,
    actions: { Allow: "Accept", Deny: "Deny" },
  },
};

/**
 * Reads a ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2), or one of the two kinds of
 * v1alpha1 that it replaces, which is answered with a warning.
 *
 * Source: the schemas of the network-policy-api custom resources, v0.1.7 for v1alpha1 and v0.2.0 for v1alpha2, which
 *         is that of v1beta1. Fields of the experimental channel are read; what that channel alone forbids is not.
 */
export function readClusterPolicy(kind: Kind, root: Cursor): ClusterPolicy | undefined {
  const dialect = dialects[kind];
  root.onlyFields(["apiVersion", "kind", "metadata", "spec", "status"]);
  const meta = readMetadata(root, { namespaced: false, wantName: wantDnsSubdomain });
  if (kind !== "ClusterNetworkPolicy") {
    root
      .field("kind")
      .report("SL1302", `got ${kind}, want ClusterNetworkPolicy, which replaces it`);
  }
  if (kind === "BaselineAdminNetworkPolicy" && meta.name !== "default" && meta.name !== "") {
    const message = `got name ${quoted(meta.name)}, want "default": there is one in a cluster`;
    root.field("metadata").field("name").report("SL1202", message);
  }
  const spec = root.field("spec");
  if (spec.absent) spec.missing("a policy");
  if (!spec.isMap()) return undefined;
  spec.onlyFields(dialect.specFields);

  const tier = readTier(kind, spec.field("tier"));
  const priority = kind === "BaselineAdminNetworkPolicy" ? 0 : readPriority(spec.field("priority"));
  const subject = readSubject(spec.field("subject"), dialect);
  const ingress = readRules(spec.field("ingress"), "from", dialect);
  const egress = readRules(spec.field("egress"), "to", dialect);
  if (tier === undefined || priority === undefined || subject === undefined) return undefined;
  return { kind, meta, tier, priority, subject, ingress, egress };
}

function readTier(kind: Kind, cursor: Cursor): ClusterPolicy["tier"] | undefined {
  if (kind === "AdminNetworkPolicy") return "Admin";
  if (kind === "BaselineAdminNetworkPolicy") return "Baseline";
  if (cursor.absent) cursor.missing("Admin or Baseline");
  return cursor.oneOf(["Admin", "Baseline"]);
}

function readPriority(cursor: Cursor): number | undefined {
  if (cursor.absent) cursor.missing("a number from 0 to 1000");
  const priority = cursor.integer();
  if (priority !== undefined && (priority < 0 || priority > 1000)) {
    cursor.report("SL1218", `got priority ${priority}, want a number from 0 to 1000`);
  }
  return priority;
}

function readSubject(cursor: Cursor, dialect: Dialect): ClusterSubject | undefined {
  if (cursor.absent) cursor.missing("namespaces or pods");
  const chosen = readChoice(cursor, ["namespaces", "pods"]);
  return chosen === undefined ? undefined : readPods(chosen.by, chosen.value, cursor, dialect);
}

function readPods(
  by: "namespaces" | "pods",
  value: Cursor,
  whole: Cursor,
  dialect: Dialect,
): ClusterSubject {
  const { span } = whole;
  if (by === "namespaces") return { by, selector: readSelector(value), span };
  if (value.isMap()) value.onlyFields(["namespaceSelector", "podSelector"]);
  const namespaceSelector = value.field("namespaceSelector");
  if (dialect.wantsNamespaces && namespaceSelector.absent) {
    namespaceSelector.missing("a selector, {} for every namespace");
  }
  const podSelector = value.field("podSelector");
  if (podSelector.absent) podSelector.missing("a selector, {} for every pod");
  return {
    by,
    namespaceSelector: readSelector(namespaceSelector),
    podSelector: readSelector(podSelector),
    span,
  };
}

/** Returns the one member of a map that stands for a choice; reports none and several. */
function readChoice<Name extends string>(
  cursor: Cursor,
  names: readonly Name[],
): { readonly by: Name; readonly value: Cursor } | undefined {
  if (!cursor.isMap()) return undefined;
  cursor.onlyFields(names);
  const given = names.filter((name) => !cursor.field(name).absent);
  const by = given[0];
  if (by === undefined || given.length > 1) {
    const got = by === undefined ? "none" : given.join(" and ");
    cursor.report("SL1217", `got ${got}, want exactly one of ${names.join(", ")}`);
    return undefined;
  }
  return { by, value: cursor.field(by) };
}

/** Returns the items of a list, after its length has been checked. */
function readItems(cursor: Cursor, min: number, max: number): readonly Cursor[] {
  const items = cursor.items() ?? [];
  if (!cursor.absent && items.length < min) {
    cursor.report("SL1215", `got ${items.length} items, want ${min} at least`);
  }
  // A longer list says what it says: some server has taken it.
  if (items.length > max && !cursor.isStored)
    cursor.report("SL1215", `got ${items.length} items, want at most ${max}`);
  return items;
}

function readRules(cursor: Cursor, peersName: "from" | "to", dialect: Dialect): ClusterRule[] {
  return readItems(cursor, 0, dialect.rulesMax).flatMap((rule) => {
    if (rule.absent) rule.missing("a rule");
    return rule.isMap() ? (readRule(rule, peersName, dialect) ?? []) : [];
  });
}

function readRule(
  cursor: Cursor,
  peersName: "from" | "to",
  dialect: Dialect,
): ClusterRule | undefined {
  cursor.onlyFields(["name", "action", peersName, dialect.ports]);
  const nameField = cursor.field("name");
  const name = nameField.string() ?? "";
  if (name.length > 100) {
    nameField.report("SL1219", `got a name of ${name.length} characters, want at most 100`);
  }

  const actionField = cursor.field("action");
  const words = Object.keys(dialect.actions);
  if (actionField.absent) actionField.missing(`one of ${words.join(", ")}`);
  const word = actionField.oneOf(words);
  const action = word === undefined ? undefined : dialect.actions[word];

  const peersField = cursor.field(peersName);
  if (peersField.absent) peersField.missing("one peer at least");
  const peers = readItems(peersField, 1, dialect.listMax).flatMap(
    (item) => readPeer(item, peersName, dialect) ?? [],
  );

  const ports = readItems(cursor.field(dialect.ports), 1, dialect.listMax).flatMap(
    (item) => dialect.readPort(item) ?? [],
  );

  if (action !== undefined) checkRule(cursor, action, peers, ports);
  return action === undefined ? undefined : { name, action, peers, ports, span: cursor.span };
}

function checkRule(
  cursor: Cursor,
  action: ClusterRule["action"],
  peers: readonly ClusterPeer[],
  ports: readonly ClusterPort[],
): void {
  if (action !== "Accept" && peers.some((peer) => peer.by === "domainNames")) {
    cursor.report("SL1220", `got domainNames in a rule of ${action}, want them beside Accept only`);
  }
  if (!ports.some((port) => port.by === "name")) return;
  for (const by of ["networks", "nodes", "domainNames"] as const) {
    if (!peers.some((peer) => peer.by === by)) continue;
    const message = `got a named port beside ${by}, want port numbers: ${by} have no port names`;
    // Of these the standard channel has networks alone, and does not forbid it.
    cursor.report(by === "networks" || cursor.isStored ? "SL1311" : "SL1220", message);
    return;
  }
}

function readPeer(
  cursor: Cursor,
  peersName: "from" | "to",
  dialect: Dialect,
): ClusterPeer | undefined {
  const { span } = cursor;
  if (cursor.absent) cursor.missing("a peer");
  const inside = ["namespaces", "pods"] as const;
  const domainNames = dialect.hasDomainNames ? (["domainNames"] as const) : [];
  const anywhere = [...inside, "nodes", "networks", ...domainNames] as const;
  const chosen = readChoice<(typeof anywhere)[number]>(
    cursor,
    peersName === "from" ? inside : anywhere,
  );
  if (chosen === undefined) return undefined;
  const { by, value } = chosen;
  switch (by) {
    case "namespaces":
    case "pods":
      return readPods(by, value, cursor, dialect);
    case "nodes":
      return { by, selector: readSelector(value), span };
    case "networks":
      return { by, networks: readSet(value, readNetwork), span };
    case "domainNames":
      return { by, domainNames: readSet(value, readDomainName), span };
  }
}

/** Reads a list of 1 to 25 texts, none of them twice. */
function readSet<Item>(
  cursor: Cursor,
  read: (item: Cursor, text: string) => Item | undefined,
): Item[] {
  const seen = new Set<string>();
  return readItems(cursor, 1, 25).flatMap((item) => {
    if (item.absent) item.missing("text");
    const text = item.string();
    if (text === undefined) return [];
    if (seen.has(text)) item.report("SL1221", `got ${quoted(text)} twice, want it once`);
    seen.add(text);
    return read(item, text) ?? [];
  });
}

function readNetwork(cursor: Cursor, text: string): Prefix | undefined {
  const read = readPrefix(text, "mask");
  if ("fault" in read) {
    cursor.report("SL1211", `got ${read.fault.got}, want ${read.fault.want}`);
    return undefined;
  }
  if ("fault" in readPrefix(text)) {
    const message = `got ${quoted(text)} with bits set beyond the prefix length, read as ${formatPrefix(read.prefix)}`;
    cursor.report("SL1304", message);
  }
  return read.prefix;
}

function readDomainName(cursor: Cursor, text: string): string {
  const want = wantDomainName(text);
  if (want !== undefined) cursor.report("SL1219", `got ${quoted(text)}, want ${want}`);
  return text;
}

function readProtocol(cursor: Cursor): ClusterPort | undefined {
  const { span } = cursor;
  if (cursor.absent) cursor.missing("a protocol");
  const chosen = readChoice(cursor, ["tcp", "udp", "sctp", "destinationNamedPort"]);
  if (chosen === undefined) return undefined;
  if (chosen.by === "destinationNamedPort") return readNamedPort(chosen.value, span);

  const protocol = chosen.by.toUpperCase() as TransportProtocol;
  const match = readChoice(chosen.value, ["destinationPort"]);
  const port = match === undefined ? undefined : readChoice(match.value, ["number", "range"]);
  if (port === undefined) return undefined;
  if (port.by === "range") {
    const range = readRange(port.value, protocol, ["start", "end"], span);
    if (range !== undefined && range.start >= range.end) {
      const message = `got range ${range.start} to ${range.end}, want start to be less than end`;
      port.value.report("SL1004", message);
    }
    return range;
  }
  const number = port.value.integer();
  if (number === undefined) return undefined;
  checkPortNumber(port.value, number);
  return { by: "number", protocol, start: number, end: number, span };
}

function readOlderPort(cursor: Cursor): ClusterPort | undefined {
  const { span } = cursor;
  if (cursor.absent) cursor.missing("a port");
  const chosen = readChoice(cursor, ["portNumber", "portRange", "namedPort"]);
  if (chosen === undefined) return undefined;
  const { by, value } = chosen;
  if (by === "namedPort") return readNamedPort(value, span);
  if (!value.isMap()) return undefined;
  const protocol = value.field("protocol").oneOf(transportProtocols) ?? "TCP";
  if (by === "portRange") {
    // The schema of v1alpha1 compares the two with nothing.
    const range = readRange(value, protocol, ["protocol", "start", "end"], span);
    if (range !== undefined && range.start > range.end) {
      const message = `got range ${range.start} to ${range.end}, want start not to be above end: it has no port`;
      value.report("SL1309", message);
    }
    return range;
  }
  value.onlyFields(["protocol", "port"]);
  const number = readPortNumber(value.field("port"));
  if (number === undefined) return undefined;
  return { by: "number", protocol, start: number, end: number, span };
}

function readNamedPort(cursor: Cursor, span: ClusterPort["span"]): ClusterPort | undefined {
  const name = cursor.string();
  if (name === undefined) return undefined;
  checkPortName(cursor, name);
  return { by: "name", name, span };
}

function readPortNumber(cursor: Cursor): number | undefined {
  if (cursor.absent) cursor.missing("a port number");
  const number = cursor.integer();
  if (number !== undefined) checkPortNumber(cursor, number);
  return number;
}

function readRange(
  cursor: Cursor,
  protocol: TransportProtocol,
  fields: readonly string[],
  span: ClusterPort["span"],
): Extract<ClusterPort, { by: "number" }> | undefined {
  if (!cursor.isMap()) return undefined;
  cursor.onlyFields(fields);
  const start = readPortNumber(cursor.field("start"));
  const end = readPortNumber(cursor.field("end"));
  if (start === undefined || end === undefined) return undefined;
  return { by: "number", protocol, start, end, span };
}
