import { createSocket } from "node:dgram";
import { createServer as createHttpServer } from "node:http";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import { parentPort } from "node:worker_threads";
import { bindUdp, listenTcp } from "../../dataplane/server-sockets.js";
import { answerQuery } from "../names/answer.js";
import { Zone } from "../names/zone.js";
import { DnsStream } from "./dns-stream.js";
import {
  listenerKey,
  type PodListener,
  type ServersAnswer,
  type ServersRequest,
} from "./messages.js";

/**
 * The thread that answers in the pods: DNS, and with `--serve` HTTP and echo. Programs in pods may send it
 * anything; what it spends on them is bounded, and when it ends the lab starts it again.
 */

/** Connections at once, of all pods together: where there are more, the oldest is closed. */
const dnsConnectionsMax = 256;
const httpConnectionsMax = 1024;
const idleMs = 10_000;
const requestMs = 10_000;
/** Of a request's body, which is read and forgotten. */
const bodyBytesMax = 1024 * 1024;
const headBytesMax = 16 * 1024;
/** Answers that the kernel does not take are dropped beyond this. */
const sendQueueBytesMax = 1024 * 1024;
/** A datagram holds no more, with our words after it. */
const echoBytesMax = 60_000;
/** What `lab probe` sends: too short for DNS. */
const probeBytes = 8;

interface Open {
  readonly listener: PodListener;
  readonly close: () => void;
}

const open = new Map<string, Open>();
let zone = new Zone({ services: [], pods: [] });

/** Holds the connections of one kind, the oldest first. */
class Connections {
  readonly #most: number;
  readonly #sockets = new Set<Socket>();

  constructor(most: number) {
    this.#most = most;
  }

  add(socket: Socket): void {
    socket.setTimeout(idleMs, () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.once("close", () => this.#sockets.delete(socket));
    this.#sockets.add(socket);
    if (this.#sockets.size <= this.#most) return;
    for (const oldest of this.#sockets) {
      oldest.destroy();
      this.#sockets.delete(oldest);
      break;
    }
  }
}

const dnsConnections = new Connections(dnsConnectionsMax);
const httpConnections = new Connections(httpConnectionsMax);

function start(listener: PodListener): () => void {
  switch (listener.serving) {
    case "dns-udp":
      return datagrams(listener, (query) =>
        query.length === probeBytes
          ? Buffer.concat([query, Buffer.of(0)])
          : answerQuery(query, zone, "udp"),
      );
    case "echo":
      return datagrams(listener, (message) => echoed(message, listener.ref));
    case "dns-tcp":
      return listening(
        listener,
        createTcpServer((socket) => {
          dnsConnections.add(socket);
          const stream = new DnsStream(socket, (query) => answerQuery(query, zone, "tcp"));
          socket.on("data", (chunk) => stream.take(chunk));
        }),
      );
    case "http":
      return serveHttp(listener);
  }
}

/** Answers datagrams one by one. */
function datagrams(
  { address, port, namespaceFd }: PodListener,
  answer: (message: Buffer) => Buffer | undefined,
): () => void {
  const fd = bindUdp(address, port, namespaceFd);
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  // An error is of one datagram that went out, such as a receiver that has gone.
  socket.on("error", () => {});
  socket.on("message", (message, from) => {
    if (from.port === 0 || socket.getSendQueueSize() > sendQueueBytesMax) return;
    const reply = answer(message);
    if (reply !== undefined) socket.send(reply, from.port, from.address, () => {});
  });
  socket.bind({ fd });
  return () => socket.close();
}

/** The datagram, then the pod's name. Undefined for what a pod has answered: two of them would never end. */
function echoed(message: Buffer, ref: string): Buffer | undefined {
  const lines = message.toString("latin1").split("\n");
  const last = lines.at(-1) === "" ? lines.at(-2) : undefined;
  if (last !== undefined && servedRefs.has(last)) return undefined;
  const end = message.at(-1) === 0x0a ? "" : "\n";
  return Buffer.concat([message.subarray(0, echoBytesMax), Buffer.from(`${end}${ref}\n`)]);
}

/** Pods that echo, and how many of their listeners do. */
const servedRefs = new Map<string, number>();

function countServed({ ref, serving }: PodListener, by: 1 | -1): void {
  if (serving !== "echo") return;
  const count = (servedRefs.get(ref) ?? 0) + by;
  if (count === 0) servedRefs.delete(ref);
  else servedRefs.set(ref, count);
}

function serveHttp(listener: PodListener): () => void {
  const server = createHttpServer(
    { requestTimeout: requestMs, headersTimeout: requestMs, maxHeaderSize: headBytesMax },
    (request, response) => {
      let bytes = 0;
      request.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > bodyBytesMax) request.destroy();
      });
      response.setHeader("Content-Type", "text/plain; charset=utf-8");
      response.end(`${listener.ref}\n`);
    },
  );
  server.on("connection", (socket: Socket) => httpConnections.add(socket));
  server.on("clientError", (_, socket) => socket.destroy());
  const close = listening(listener, server);
  return () => {
    close();
    server.closeAllConnections();
  };
}

function listening({ address, port, namespaceFd }: PodListener, server: Server): () => void {
  server.on("error", () => {});
  server.listen({ fd: listenTcp(address, port, namespaceFd).fd });
  return () => server.close();
}

function handle(request: ServersRequest): ServersAnswer {
  if ("names" in request) {
    zone = new Zone(request.names);
    return { failed: [] };
  }
  for (const key of request.close) {
    const gone = open.get(key);
    if (gone === undefined) continue;
    gone.close();
    open.delete(key);
    countServed(gone.listener, -1);
  }
  const failed: ServersAnswer["failed"][number][] = [];
  for (const listener of request.open) {
    try {
      open.set(listenerKey(listener), { listener, close: start(listener) });
      countServed(listener, 1);
    } catch (error) {
      failed.push({ key: listenerKey(listener), reason: (error as Error).message });
    }
  }
  return { failed };
}

parentPort?.on("message", (request: ServersRequest) => {
  parentPort?.postMessage(handle(request));
});
