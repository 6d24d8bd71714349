import { readFileSync } from "node:fs";
import type { CompiledTable } from "../../control/controller.js";
import { Table, TupleBatch } from "../../dataplane/table.js";
import {
  ConnState,
  SAVED_NO_WINDOW,
  SavedConnection,
  type SavedConnectionFields,
  writeSavedConnection,
} from "../../layout/layout.gen.js";
import { type Address, addressKey } from "../../net/address.js";
import { listSockets, type Socket } from "../../netlink/sockets.js";

const TCP = 6;
const UDP = 17;

/** The kernel's states of a socket. */
const ESTABLISHED = 1;
const UNCONNECTED = 7;
const LISTEN = 10;

/** The kernel's states of a live connection, each with our state and its lifetime. */
const tracked: ReadonlyMap<number, readonly [state: number, seconds: number]> = new Map([
  [ESTABLISHED, [ConnState.Established, 5 * 24 * 3_600]],
  // SYN_RECV: its opener may take it for open, since the kernel waits for an answer that is lost, or for data.
  [3, [ConnState.SynReceived, 60]],
  [4, [ConnState.FinWait, 120]], // FIN_WAIT1
  [5, [ConnState.CloseWait, 60]], // FIN_WAIT2
  [8, [ConnState.CloseWait, 60]], // CLOSE_WAIT
  [9, [ConnState.LastAck, 30]], // LAST_ACK
  [11, [ConnState.LastAck, 30]], // CLOSING
]);
const udpSeconds = 120;

/**
 * Lists the connections of this network namespace's sockets that use an interface's addresses. `records` has
 * those that the table allows, as SavedConnection records; `denied` counts the others.
 *
 * The kernel does not say who opened a connection. The other end opened it if a local socket listens on the
 * port, or the local port is outside the ephemeral range: a server may have closed its listening socket after
 * accepting.
 *
 * Errors: NetlinkError when the kernel refuses to list sockets.
 */
export function connectionsOfSockets(
  table: CompiledTable,
  zone: number,
  own: readonly Address[],
): { readonly records: Uint8Array; readonly denied: number } {
  const ownKeys = new Set(own.map(addressKey));
  const sockets = [TCP, UDP].flatMap(listSockets);
  const open = new Set(
    sockets
      .filter(({ protocol, state }) => state === (protocol === TCP ? LISTEN : UNCONNECTED))
      .map(({ protocol, localPort }) => `${protocol}/${localPort}`),
  );
  const [portsFirst, portsLast] = ephemeralPorts();
  const isServer = ({ protocol, localPort }: Socket): boolean =>
    open.has(`${protocol}/${localPort}`) || localPort < portsFirst || localPort > portsLast;
  const flows = sockets
    .filter(({ protocol, state }) =>
      protocol === TCP ? tracked.has(state) : state === ESTABLISHED,
    )
    .filter(
      ({ local, remote }) => ownKeys.has(addressKey(local)) && !ownKeys.has(addressKey(remote)),
    )
    .map((socket) => flowOf(socket, isServer(socket)));

  const batch = new TupleBatch(flows.length);
  for (const { source, destination, protocol, destinationPort } of flows) {
    batch.push(source, destination, protocol, destinationPort);
  }
  const verdicts = Table.open(table.blob.bytes).classify(batch);
  const allowed = flows.filter((_, index) => verdicts[index] === 0);
  const records = new Uint8Array(allowed.length * SavedConnection.bytes);
  const view = new DataView(records.buffer);
  allowed.forEach((flow, index) => {
    writeSavedConnection(view, index * SavedConnection.bytes, savedOf(flow, zone));
  });
  return { records, denied: flows.length - allowed.length };
}

interface Flow {
  readonly source: Address;
  readonly sourcePort: number;
  readonly destination: Address;
  readonly destinationPort: number;
  readonly protocol: number;
  readonly state: number;
  readonly seconds: number;
}

function flowOf(socket: Socket, isServer: boolean): Flow {
  const { local, localPort, remote, remotePort, protocol } = socket;
  const [state, seconds] =
    protocol === TCP
      ? (tracked.get(socket.state) ?? [ConnState.Established, 0])
      : [ConnState.Replied, udpSeconds];
  const ends = isServer
    ? {
        source: remote,
        sourcePort: remotePort,
        destination: local,
        destinationPort: localPort,
      }
    : {
        source: local,
        sourcePort: localPort,
        destination: remote,
        destinationPort: remotePort,
      };
  return { ...ends, protocol, state, seconds };
}

function savedOf(flow: Flow, zone: number): SavedConnectionFields {
  return {
    source: flow.source.bytes,
    destination: flow.destination.bytes,
    sourcePort: flow.sourcePort,
    destinationPort: flow.destinationPort,
    protocol: flow.protocol,
    family: flow.source.family,
    zone,
    state: flow.state,
    remainingUs: flow.seconds * 1_000_000,
    flags: flow.protocol === TCP ? SAVED_NO_WINDOW : 0,
    // No table has judged it yet, and no worker has seen a packet of it.
    generation: 0,
    totalPackets: 0,
    totalBytes: 0,
    sentEnd: [],
    limit: [],
    windowMax: [],
    ackMax: [],
    windowScale: new Uint8Array(),
    ignoredSynEnd: 0,
    ignoredSynWindow: 0,
    ignoredSynScale: 0,
    icmpKind: 0,
  };
}

/** The first and the last port of the kernel's ephemeral range. */
function ephemeralPorts(): readonly [first: number, last: number] {
  const text = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8");
  const [first = 0, last = 0] = text.trim().split(/\s+/).map(Number);
  return [first, last];
}
