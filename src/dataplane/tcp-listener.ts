import { addon } from "./addon.js";
import { native } from "./errors.js";

/** A listening TCP socket; this process accepts nothing on it, another one does. */
export interface TcpListener {
  readonly fd: number;
  readonly port: number;
}

/**
 * Listens on TCP at a numeric address; port 0 asks for any.
 *
 * Owner:  the caller closes the descriptor.
 * Errors: DataplaneError.
 */
export function listenTcp(address: string, port: number): TcpListener {
  const [fd, given] = native(`listen on ${address} port ${port}`, () =>
    addon().listenTcp(address, port),
  );
  return { fd, port: given };
}
