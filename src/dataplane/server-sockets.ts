import { addon } from "./addon.js";
import { native } from "./errors.js";

/** A listening TCP socket; whoever gets the descriptor accepts connections on it. */
export interface TcpListener {
  readonly fd: number;
  readonly port: number;
}

/**
 * Listens on TCP at a numeric address, in this process's network namespace or another; port 0 asks for any.
 *
 * Owner:  the caller closes the descriptor.
 * Errors: DataplaneError.
 */
export function listenTcp(address: string, port: number, namespaceFd?: number): TcpListener {
  const [fd, given] = native(`listen on ${address} port ${port}`, () =>
    addon().listenTcp(namespaceFd ?? -1, address, port),
  );
  return { fd, port: given };
}

/**
 * Listens on a unix socket at a path where there is nothing; only this user may connect until its mode is changed.
 * Returns its descriptor. Owner and errors: as of `listenTcp`.
 */
export function listenUnix(path: string): number {
  return native(`listen on ${path}`, () => addon().listenUnix(path));
}

/** Takes a UDP port, for this socket alone. Returns its descriptor. Owner and errors: as of `listenTcp`. */
export function bindUdp(address: string, port: number, namespaceFd?: number): number {
  return native(`receive on ${address} port ${port}`, () =>
    addon().bindUdp(namespaceFd ?? -1, address, port),
  );
}
