import {
  AF_INET,
  AF_INET6,
  IFF_UP,
  IFLA_ADDRESS,
  IFLA_AF_SPEC,
  IFLA_ALT_IFNAME,
  IFLA_CARRIER,
  IFLA_GROUP,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  IFLA_INET_CONF,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_INFO_KIND,
  IFLA_LINK,
  IFLA_LINK_NETNSID,
  IFLA_LINKINFO,
  IFLA_MASTER,
  IFLA_MTU,
  IFLA_PROMISCUITY,
  IFLA_PROP_LIST,
  IFLA_TARGET_NETNSID,
  IFLA_TXQLEN,
  NLM_F_APPEND,
  NLM_F_CREATE,
  RTM_DELLINK,
  RTM_DELLINKPROP,
  RTM_GETLINK,
  RTM_NEWLINK,
  RTM_NEWLINKPROP,
} from "./constants.js";
import { indexAt } from "./entry.js";
import {
  ask,
  attribute,
  attributesOf,
  change,
  concatenate,
  dump,
  nestedAttribute,
  type Request,
  textAttribute,
  textOf,
  view,
  word,
  wordAttribute,
  wordOf,
} from "./messages.js";

export interface LinkState {
  readonly name: string;
  /** ARPHRD_…; 1 is Ethernet. */
  readonly type: number;
  /** Whether the link has a carrier. */
  readonly carrier: boolean;
  readonly mac: string;
  readonly mtu: number;
  readonly flags: number;
  /** How many users have made it promiscuous. */
  readonly promiscuity: number;
  readonly queueLength: number;
  readonly group: number;
  readonly alias: string;
  readonly altNames: readonly string[];
  /** Index of the interface that it is part of (bridge, bond, VRF); 0: none. */
  readonly master: number;
  /** Index of the interface that it is stacked on; 0: none. */
  readonly lower: number;
  /** The rtnetlink kind: `veth`, `macvlan`, `tun`; empty for a hardware device. */
  readonly kind: string;
  /** The `conf` sysctls of IPv4, in the kernel's order; empty without IPv4. */
  readonly ipv4Conf: readonly number[];
  /** How IPv6 link-local addresses are made; absent without IPv6. */
  readonly addressMode?: number;
}

export interface Link extends LinkState {
  readonly index: number;
  /** The kernel's number here of the network namespace that `lower` is in; absent: this one. */
  readonly lowerNamespace?: number;
}

export const linkBodyBytes = 16;

/** Reads an interface's link, by its name or its index; undefined when there is none. */
export function readLink(which: string | number): Link | undefined {
  const asked =
    typeof which === "number"
      ? linkBody(which)
      : concatenate([linkBody(0), textAttribute(IFLA_IFNAME, which)]);
  const answer = ask(RTM_GETLINK, asked, RTM_NEWLINK);
  return answer === undefined ? undefined : decodeLink(answer);
}

/**
 * Reads the link of an interface in another network namespace, by the number that the kernel has for that one here;
 * undefined when there is none. Source: rtnetlink, IFLA_TARGET_NETNSID (Linux 5.0).
 */
export function readLinkOf(namespace: number, index: number): Link | undefined {
  const asked = concatenate([linkBody(index), wordAttribute(IFLA_TARGET_NETNSID, namespace)]);
  const answer = ask(RTM_GETLINK, asked, RTM_NEWLINK);
  return answer === undefined ? undefined : decodeLink(answer);
}

/** Reads the links of all interfaces. */
export function readLinks(): Link[] {
  return dump(RTM_GETLINK, linkBody(0), RTM_NEWLINK).map(decodeLink);
}

/**
 * Whether this network namespace has a bridge.
 *
 * Cost: some microseconds, with hundreds of interfaces too: the kernel sends the links of bridges alone.
 */
export function hasBridge(): boolean {
  const kind = nestedAttribute(IFLA_LINKINFO, [textAttribute(IFLA_INFO_KIND, "bridge")]);
  const links = dump(RTM_GETLINK, concatenate([linkBody(0), kind]), RTM_NEWLINK);
  // A kernel that knows of no bridges sends all.
  return links.some((body) => decodeLink(body).kind === "bridge");
}

/** A request that sets the attributes, and the flags that `mask` selects. */
export function changeLink(
  index: number,
  what: string,
  attributes: readonly Uint8Array[],
  { flags, mask }: { readonly flags: number; readonly mask: number } = { flags: 0, mask: 0 },
): Request {
  const body = concatenate([linkBody(index, flags, mask), ...attributes]);
  return { type: RTM_NEWLINK, body, flags: 0, what };
}

export function setLinkUp(index: number, isUp: boolean, what: string): Request {
  return changeLink(index, what, [], { flags: isUp ? IFF_UP : 0, mask: IFF_UP });
}

/** Requests that add or remove alternative names; a name that is already so is no error. */
export function changeAltNames(
  step: "add" | "remove",
  index: number,
  names: readonly string[],
  what: string,
): Request[] {
  if (names.length === 0) return [];
  const list = names.map((name) => textAttribute(IFLA_ALT_IFNAME, name));
  return [
    {
      type: step === "add" ? RTM_NEWLINKPROP : RTM_DELLINKPROP,
      body: concatenate([linkBody(index), nestedAttribute(IFLA_PROP_LIST, list)]),
      flags: step === "add" ? NLM_F_CREATE | NLM_F_APPEND : 0,
      what,
      allows: ["EEXIST", "EINVAL"],
    },
  ];
}

/**
 * Sets how an interface's IPv6 link-local address will be made; makes none now. Errors: NetlinkError.
 */
export function setAddressMode(index: number, addressMode: number | undefined): void {
  const attributes = familyAttributes({ addressMode });
  if (attributes.length > 0) change([changeLink(index, "set its address mode", attributes)]);
}

/** Deletes an interface. Errors: NetlinkError. */
export function deleteLink(index: number): void {
  change([
    {
      type: RTM_DELLINK,
      body: linkBody(index),
      flags: 0,
      what: `delete the interface ${index}`,
      allows: ["ENODEV"],
    },
  ]);
}

/** Encodes the IPv4 sysctls and the IPv6 address mode as attributes of a link change. */
export function familyAttributes(change: {
  readonly ipv4Conf?: ReadonlyMap<number, number>;
  readonly addressMode?: number | undefined;
}): Uint8Array[] {
  const families: Uint8Array[] = [];
  if (change.ipv4Conf !== undefined && change.ipv4Conf.size > 0) {
    const values = [...change.ipv4Conf].map(([index, value]) => attribute(index, word(value)));
    families.push(nestedAttribute(AF_INET, [nestedAttribute(IFLA_INET_CONF, values)]));
  }
  if (change.addressMode !== undefined) {
    const mode = attribute(IFLA_INET6_ADDR_GEN_MODE, Uint8Array.of(change.addressMode));
    families.push(nestedAttribute(AF_INET6, [mode]));
  }
  return families.length === 0 ? [] : [nestedAttribute(IFLA_AF_SPEC, families)];
}

function linkBody(index: number, flags = 0, mask = 0): Uint8Array {
  const body = new Uint8Array(linkBodyBytes);
  view(body).setInt32(indexAt, index, true);
  view(body).setUint32(8, flags, true);
  view(body).setUint32(12, mask, true);
  return body;
}

function decodeLink(body: Uint8Array): Link {
  const words = view(body);
  const found = new Map(
    attributesOf(body, linkBodyBytes).map(({ type, data }) => [type, data] as const),
  );
  const number = (type: number): number => {
    const data = found.get(type);
    return data === undefined ? 0 : wordOf(data);
  };
  const inside = (data: Uint8Array | undefined, type: number): Uint8Array | undefined =>
    data && attributesOf(data, 0).find((each) => each.type === type)?.data;
  const families = found.get(IFLA_AF_SPEC);
  const conf = inside(inside(families, AF_INET), IFLA_INET_CONF) ?? new Uint8Array();
  const mode = inside(inside(families, AF_INET6), IFLA_INET6_ADDR_GEN_MODE)?.[0];
  const kind = inside(found.get(IFLA_LINKINFO), IFLA_INFO_KIND);
  const text = (type: number): string => textOf(found.get(type) ?? new Uint8Array());
  const lowerNamespace = found.get(IFLA_LINK_NETNSID);
  return {
    type: words.getUint16(2, true),
    index: words.getInt32(indexAt, true),
    carrier: found.get(IFLA_CARRIER)?.[0] === 1,
    name: text(IFLA_IFNAME),
    mac: [...(found.get(IFLA_ADDRESS) ?? [])]
      .map((byte) => byte.toString(16).padStart(2, "0"))
      .join(":"),
    mtu: number(IFLA_MTU),
    flags: words.getUint32(8, true),
    promiscuity: number(IFLA_PROMISCUITY),
    queueLength: number(IFLA_TXQLEN),
    group: number(IFLA_GROUP),
    alias: text(IFLA_IFALIAS),
    altNames: attributesOf(found.get(IFLA_PROP_LIST) ?? new Uint8Array(), 0)
      .filter(({ type }) => type === IFLA_ALT_IFNAME)
      .map(({ data }) => textOf(data)),
    master: number(IFLA_MASTER),
    lower: number(IFLA_LINK),
    kind: kind === undefined ? "" : textOf(kind),
    ipv4Conf: Array.from({ length: conf.length / 4 }, (_, index) => wordOf(conf, index * 4)),
    ...(mode === undefined ? {} : { addressMode: mode }),
    ...(lowerNamespace === undefined ? {} : { lowerNamespace: wordOf(lowerNamespace) }),
  };
}
