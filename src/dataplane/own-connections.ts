import { Socket } from "node:net";
import { compareAddresses, formatAddress } from "../net/address.js";
import { addon } from "./addon.js";
import type { Dataplane, OwnWay } from "./dataplane.js";
import { native } from "./errors.js";
import { closeDescriptor } from "./host.js";

/**
 * How long a closed connection's port is kept: its last segments still pass, and nobody else can have it. Units:
 * milliseconds.
 */
const lingerMs = 1_000;

/**
 * Connections of this process to one server that pass a wire of its own data plane, whatever policy says. Each is known
 * by its exact addresses and ports; its local port is shared with no other socket, from before it may pass until after
 * it may not. So no other process of the network namespace can send or receive on that way, but with raw sockets.
 */
export class OwnConnections {
  readonly #dataplane: Dataplane;
  #way: OwnWay | undefined;

  constructor(dataplane: Dataplane) {
    this.#dataplane = dataplane;
  }

  /** Begins a connection, without waiting. Owner: the caller. Errors: DataplaneError. */
  connect(way: OwnWay): Socket {
    this.#lead(way);
    const [fd, keeper, port] = native("hold a port", () =>
      addon().holdTcpPort(formatAddress(way.local)),
    );
    try {
      this.#dataplane.addOwnPort(port);
      const { remote, remotePort } = way;
      const address = formatAddress(remote);
      native(`connect to ${address}`, () => addon().beginConnect(fd, address, remotePort));
    } catch (error) {
      this.#dataplane.removeOwnPort(port);
      for (const each of [fd, keeper]) closeDescriptor(each);
      throw error;
    }
    const socket = new Socket({ fd, readable: true, writable: true });
    socket.once("close", () => {
      addon().endConnection(keeper);
      setTimeout(() => {
        this.#dataplane.removeOwnPort(port);
        closeDescriptor(keeper);
      }, lingerMs).unref();
    });
    return socket;
  }

  #lead(way: OwnWay): void {
    const before = this.#way;
    const isSame =
      before !== undefined &&
      before.remotePort === way.remotePort &&
      compareAddresses(before.local, way.local) === 0 &&
      compareAddresses(before.remote, way.remote) === 0;
    if (isSame) return;
    this.#dataplane.setOwnWay(way);
    this.#way = way;
  }
}
