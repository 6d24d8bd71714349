import * as c from "./constants.js";
import { attributesOf, dump, textOf, view } from "./messages.js";

/** What others have put into nf_tables of this network namespace that keeps packets from the forward hook or at it. */
export interface Hooked {
  /** Flowtables, which take established connections past the hook: `FAMILY TABLE NAME`, as nft has them. */
  readonly flowtables: readonly string[];
  /** Chains at the hook that see IPv6 and drop what none of their rules lets pass: the same. */
  readonly closed: readonly string[];
}

const families: Readonly<Record<number, string>> = {
  [c.NFPROTO_INET]: "inet",
  [c.AF_INET]: "ip",
  [c.NFPROTO_NETDEV]: "netdev",
  [c.NFPROTO_BRIDGE]: "bridge",
  [c.AF_INET6]: "ip6",
};

/** Of a message: its family; then attributes. */
const headBytes = 4;

/** Errors: NetlinkError, DataplaneError: the kernel has no nf_tables, or the caller may not ask. */
export function listHooked(): Hooked {
  const bodies = (get: number, found: number) =>
    dump(typeOf(get), new Uint8Array(headBytes), typeOf(found), c.NETLINK_NETFILTER);
  return {
    flowtables: bodies(c.NFT_MSG_GETFLOWTABLE, c.NFT_MSG_NEWFLOWTABLE).map(nameOfFlowtable),
    closed: bodies(c.NFT_MSG_GETCHAIN, c.NFT_MSG_NEWCHAIN).filter(closesIpv6).map(nameOfChain),
  };
}

function typeOf(message: number): number {
  return (c.NFNL_SUBSYS_NFTABLES << 8) | message;
}

/** Shape: the body of a message that a dump of flowtables gives. */
export function nameOfFlowtable(body: Uint8Array): string {
  return nameOf(body, c.NFTA_FLOWTABLE_TABLE, c.NFTA_FLOWTABLE_NAME);
}

function nameOfChain(body: Uint8Array): string {
  return nameOf(body, c.NFTA_CHAIN_TABLE, c.NFTA_CHAIN_NAME);
}

function nameOf(body: Uint8Array, tableType: number, nameType: number): string {
  const texts = attributesOf(body, headBytes);
  const text = (wanted: number) => {
    const found = texts.find(({ type }) => type === wanted);
    return found === undefined ? "?" : textOf(found.data);
  };
  return `${families[body[0] ?? 0] ?? "?"} ${text(tableType)} ${text(nameType)}`;
}

function closesIpv6(body: Uint8Array): boolean {
  if (body[0] !== c.NFPROTO_INET && body[0] !== c.AF_INET6) return false;
  const found = new Map(attributesOf(body, headBytes).map(({ type, data }) => [type, data]));
  const hook = found.get(c.NFTA_CHAIN_HOOK);
  const policy = found.get(c.NFTA_CHAIN_POLICY);
  const table = found.get(c.NFTA_CHAIN_TABLE);
  if (hook === undefined || policy === undefined || table === undefined) return false;
  const number = attributesOf(hook, 0).find(({ type }) => type === c.NFTA_HOOK_HOOKNUM);
  const isAtForward = number !== undefined && bigOf(number.data) === c.NF_INET_FORWARD;
  return isAtForward && bigOf(policy) === c.NF_DROP && textOf(table) !== ownTable;
}

/** The rules that `sluice node` puts: they leave these messages to the judge, which lets them pass. */
const ownTable = "sluice-forward";

function bigOf(data: Uint8Array): number {
  return view(data).getUint32(0, false);
}
