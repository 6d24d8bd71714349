import { type Address, isIpv4Mapped } from "../net/address.js";
import { AF_INET, AF_INET6, NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY } from "./constants.js";
import { dump, view } from "./messages.js";

const requestBytes = 56;
const allStates = 0xffff_ffff;

/** A socket as the kernel lists it. */
export interface Socket {
  readonly protocol: number;
  /** TCP_… of netinet/tcp.h, for UDP, too: 1 is connected, 7 is not. */
  readonly state: number;
  readonly local: Address;
  readonly localPort: number;
  readonly remote: Address;
  readonly remotePort: number;
}

/**
 * Has the kernel list the sockets of a protocol in this network namespace, of both families.
 *
 * Errors: NetlinkError. Source: man 7 sock_diag.
 */
export function listSockets(protocol: number): Socket[] {
  return [AF_INET, AF_INET6].flatMap((family) => {
    const request = new Uint8Array(requestBytes);
    request[0] = family;
    request[1] = protocol;
    view(request).setUint32(4, allStates, true);
    return dump(SOCK_DIAG_BY_FAMILY, request, SOCK_DIAG_BY_FAMILY, NETLINK_SOCK_DIAG).map(
      (body) => {
        const words = view(body);
        return {
          protocol,
          state: body[1] ?? 0,
          localPort: words.getUint16(4, false),
          remotePort: words.getUint16(6, false),
          local: addressAt(body, 8, family),
          remote: addressAt(body, 24, family),
        };
      },
    );
  });
}

/** An IPv4 peer of an IPv6 socket is what it is on the wire. */
function addressAt(body: Uint8Array, at: number, family: number): Address {
  if (family === AF_INET) return { family: 4, bytes: body.slice(at, at + 4) };
  const address: Address = { family: 6, bytes: body.slice(at, at + 16) };
  return isIpv4Mapped(address) ? { family: 4, bytes: address.bytes.slice(12) } : address;
}
