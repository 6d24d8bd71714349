import type { AddressInfo } from "node:net";
import { connect, createServer, type Server, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { Random } from "../property/random.js";
import { hostileText, leaving, play, scattered, type WireStep } from "./wire.js";

/** The longest wait between two pieces that is asked for; the client's time limits are of this order. */
const WAIT_MS_MAX = 60;
/** Bytes of a request that are looked at. */
const REQUEST_BYTES_MAX = 64 * 1024;
/** How much of an honest answer is taken to be changed, and how long a watch is listened to for it. */
const ANSWER_BYTES_MAX = 2_000_000;
const ANSWER_MS_MAX = 30;

/**
 * Stands before an honest API server and answers in its place: with any bytes, in any order, with any delay, or
 * with what the server says, changed. Once it is honest it hands new connections on; those that it has misbehaved on stay as
 * they are, and nothing more is said on them.
 *
 * Shape: what it does with a connection depends on the seed and the number of the connection alone, but for
 *        what the honest server says and when.
 */
export class HostileApiServer {
  #isHonest = true;
  /** Connections that were handed on. */
  readonly #handed = new Set<Socket>();
  /** How often each kind of answer was given. */
  readonly given = new Map<string, number>();
  readonly #seed: number;
  readonly #honestPort: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #count = 0;

  constructor(seed: number, honestPort: number) {
    this.#seed = seed;
    this.#honestPort = honestPort;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#take(socket));
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#cut();
    await closed;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends every connection, and is hostile from here on. */
  beHostile(): void {
    this.#isHonest = false;
    this.#cut();
  }

  /**
   * Is honest from here on. Connections that have been handed on end, so that whoever has believed a lie asks
   * again from there; whoever waits on another must give it up by himself.
   */
  beHonest(): void {
    this.#isHonest = true;
    for (const socket of this.#handed) socket.destroy();
  }

  #cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #track(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
    return socket;
  }

  #take(socket: Socket): void {
    this.#track(socket);
    const random = new Random(this.#seed * 1_000_003 + this.#count++);
    if (this.#isHonest || random.oneIn(6)) {
      this.#handOn(socket);
      return;
    }
    void this.#misbehave(socket, random);
  }

  #handOn(socket: Socket): void {
    const honest = this.#track(connect(this.#honestPort, "127.0.0.1"));
    this.#handed.add(socket);
    socket.on("close", () => this.#handed.delete(socket));
    socket.pipe(honest);
    honest.pipe(socket);
    socket.on("close", () => honest.destroy());
    honest.on("close", () => socket.destroy());
  }

  /** Answers some requests of a connection, each in another way. */
  async #misbehave(socket: Socket, random: Random): Promise<void> {
    if (random.oneIn(15)) {
      // Before anything was asked.
      this.#note("unasked");
      await this.#play(
        socket,
        leaving(random, scattered(random, hostileText(random, heads), WAIT_MS_MAX)),
      );
    }
    for (let left = 1 + random.below(4); left > 0 && !socket.destroyed; left--) {
      const request = await nextRequest(socket);
      if (request === undefined) return;
      const steps = await this.#steps(random, request);
      if (this.#isHonest) break;
      await this.#play(socket, random.oneIn(3) ? leaving(random, steps) : steps);
    }
    // Now and then it stays open and says nothing more: whoever waits must give up by itself.
    if (!this.#isHonest && !random.oneIn(3)) socket.destroy();
  }

  async #play(socket: Socket, steps: readonly WireStep[]): Promise<void> {
    for (const step of steps) {
      if (this.#isHonest || socket.destroyed) return;
      await play(socket, [step]);
    }
  }

  #note(way: string): void {
    this.given.set(way, (this.given.get(way) ?? 0) + 1);
  }

  async #steps(random: Random, request: string): Promise<WireStep[]> {
    const way = random.pick(ways);
    this.#note(way);
    const scatter = (text: string | Uint8Array) =>
      scattered(random, typeof text === "string" ? Buffer.from(text, "latin1") : text, WAIT_MS_MAX);
    switch (way) {
      case "bytes":
        return scatter(hostileText(random, heads));
      case "changed": {
        const honest = await this.#honestAnswer(request);
        return scatter(hostileText(random, [honest.toString("latin1")]));
      }
      case "cut":
        return leaving(random, scatter(await this.#honestAnswer(request)));
      case "document":
        return scatter(`${random.pick(okHeads)}${hostileDocument(random, request)}`);
      case "changed document":
        return scatter(
          hostileText(random, [`${random.pick(okHeads)}${hostileDocument(random, request)}`]),
        );
      case "refusal":
        return scatter(refusal(random));
      case "silence":
        return [
          { send: Buffer.from(random.pick(["", "HTTP/1.1 200 OK\r\n", okHeads[0]!])) },
          { waitMs: random.below(500) },
        ];
      case "dribble": {
        const [head, piece] = random.pick(dribbles);
        const steps: WireStep[] = [{ send: Buffer.from(head) }];
        for (let left = random.below(50); left > 0; left--) {
          steps.push({ send: Buffer.from(piece) }, { waitMs: random.below(30) });
        }
        return steps;
      }
      case "much": {
        const piece = Buffer.from(random.pick(pieces).repeat(3_000));
        const steps: WireStep[] = [{ send: Buffer.from(random.pick(okHeads)) }];
        for (let left = random.below(40); left > 0; left--) steps.push({ send: piece });
        return steps;
      }
      case "compressed":
        return scatter(
          Buffer.concat([
            Buffer.from("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"),
            gzipSync("[".repeat(100_000)),
          ]),
        );
      default:
        return leaving(random, []);
    }
  }

  /** What the honest server answers, or begins to. */
  #honestAnswer(request: string): Promise<Buffer> {
    return new Promise((resolve) => {
      const honest = this.#track(connect(this.#honestPort, "127.0.0.1"));
      const parts: Buffer[] = [];
      let bytes = 0;
      const timer = setTimeout(() => honest.destroy(), ANSWER_MS_MAX);
      honest.on("data", (piece) => {
        parts.push(piece);
        bytes += piece.length;
        if (bytes > ANSWER_BYTES_MAX) honest.destroy();
      });
      honest.on("close", () => {
        clearTimeout(timer);
        resolve(Buffer.concat(parts));
      });
      honest.write(request);
    });
  }
}

const ways = [
  "bytes",
  "changed",
  "changed",
  "changed",
  "cut",
  "document",
  "document",
  "changed document",
  "refusal",
  "silence",
  "dribble",
  "much",
  "compressed",
  "gone",
] as const;

const okHeads = [
  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
  "HTTP/1.1 200 OK\r\n\r\n",
  "HTTP/1.0 200 OK\r\n\r\n",
  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
];

const heads = [
  ...okHeads,
  "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\n\r\n",
  "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20),
  "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 204 No Content\r\n\r\n",
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n',
  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
  "HTTP/2.0 200 OK\r\n\r\n",
  "\x16\x03\x01\x02\x00\x01\x00",
  "SSH-2.0-x\r\n",
  "",
];

const dribbles = [
  ["HTTP/1.1 200 OK\r\n", "X-A: b\r\n"],
  ["", "HTTP/1.1 103 Early Hints\r\n\r\n"],
  [okHeads[0]!, " "],
  [okHeads[0]!, "\n"],
  [`${okHeads[0]!}{"items":[`, "{},"],
  [`${okHeads[0]!}{"type":"ADDED","object":{"metadata":{"name":"`, "x"],
  ["HTTP/1.1 500 No\r\n\r\n", "x"],
  [okHeads[0]!, '{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"1"}}}\n'],
] as const;

const pieces = [
  "[",
  "x",
  "{},",
  '{"a":',
  "\n",
  '{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n',
  '{"type":"MODIFIED","object":null}\n',
  '"\\u0000',
];

function refusal(random: Random): string {
  const status = random.pick([400, 401, 403, 404, 409, 410, 429, 500, 503, 504, 599, 999, 0]);
  const after = random.pick([
    "",
    "Retry-After: 0\r\n",
    "Retry-After: 1\r\n",
    "Retry-After: 99999999\r\n",
  ]);
  const message = random.pick([
    '"gone"',
    "null",
    '{"toString":1}',
    `"${"x".repeat(100_000)}"`,
    '"\\u001b[2J"',
  ]);
  const body = random.pick([
    `{"kind":"Status","code":${status},"message":${message}}`,
    `{"kind":"Status","message":`,
    "<html>",
    "",
  ]);
  return `HTTP/1.1 ${status} No\r\n${after}Content-Length: ${body.length}\r\n\r\n${body}`;
}

const kinds: Readonly<Record<string, string>> = {
  pods: "Pod",
  namespaces: "Namespace",
  nodes: "Node",
  networkpolicies: "NetworkPolicy",
  clusternetworkpolicies: "ClusterNetworkPolicy",
  adminnetworkpolicies: "AdminNetworkPolicy",
  baselineadminnetworkpolicies: "BaselineAdminNetworkPolicy",
};

/** A list, or some events, in the right form or nearly, of objects of odd shapes. */
function hostileDocument(random: Random, request: string): string {
  const path = request.split(" ")[1]?.split("?")[0] ?? "";
  const kind = kinds[path.split("/").at(-1) ?? ""] ?? "Pod";
  const version = () =>
    random.pick(['"1"', '"1001"', '"99999999"', '""', "5", "null", `"${"9".repeat(500)}"`]);
  if (path === "/apis")
    return random.pick([
      '{"kind":"APIGroupList","groups":[]}',
      '{"kind":"APIGroupList","groups":[null,{"name":5}]}',
    ]);
  if (request.includes("watch=true")) {
    const types = ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "constructor"];
    const events = random.list(
      0,
      30,
      () => `{"type":"${random.pick(types)}","object":${oddObject(random)}}`,
    );
    return `${events.join(random.pick(["\n", "", "\n\n", ","]))}\n`;
  }
  const items = random.list(0, 40, () => oddObject(random)).join();
  const next = random.oneIn(5) ? ',"continue":"x"' : "";
  return random.pick([
    `{"kind":"${kind}List","metadata":{"resourceVersion":${version()}${next}},"items":[${items}]}`,
    `{"items":[${items}],"kind":"${kind}List","metadata":{"resourceVersion":${version()}}}`,
    `{"kind":"${kind}List","metadata":null,"items":[${items}]}`,
    `{"kind":"${kind}List","metadata":{"resourceVersion":"1"},"items":null}`,
    `{"kind":"Status","code":500}`,
  ]);
}

const words = [
  "web",
  "shop",
  "constructor",
  "__proto__",
  "toString",
  "a/b",
  "",
  "x".repeat(300),
  "\\u0000",
  "\\ud800",
  "web-1",
  "kubernetes.io/metadata.name",
];

function oddObject(random: Random): string {
  const word = () => `"${random.pick(words)}"`;
  const value = (depth: number): string => {
    switch (random.below(depth > 3 ? 5 : 9)) {
      case 0:
        return random.pick(["null", "true", "-1", "1e999", "0.5", "2147483648", "{}", "[]"]);
      case 1:
        return word();
      case 2:
        return random.pick([
          '"10.1.0.5"',
          '"fd00::5"',
          '"0.0.0.0/0"',
          '"10.0.0.0/99"',
          "80",
          '"http"',
          '"TCP"',
        ]);
      case 3:
        return `"${"y".repeat(random.pick([10, 1_000, 200_000]))}"`;
      case 4:
        return `${"[".repeat(random.pick([3, 100, 20_000]))}`.replace(
          /\[+/,
          (open) => open + "]".repeat(open.length),
        );
      case 5:
        return `[${random.list(0, 4, () => value(depth + 1)).join()}]`;
      default:
        return `{${random.list(0, 4, () => `${random.oneIn(3) ? word() : `"${random.pick(fields)}"`}:${value(depth + 1)}`).join()}}`;
    }
  };
  if (random.oneIn(6)) return value(0);
  const metadata = `{"name":${random.oneIn(5) ? value(3) : word()},"namespace":${word()},"resourceVersion":${random.pick(['"5"', '"2000"', "7", "null"])},"labels":${value(2)}}`;
  return `{"metadata":${metadata},"spec":${value(0)},"status":${value(1)}}`;
}

const fields = [
  ...["podSelector", "matchLabels", "matchExpressions", "key", "operator", "values", "policyTypes"],
  ...["ingress", "egress", "from", "to", "ports", "port", "endPort", "protocol", "ipBlock", "cidr"],
  ...["except", "namespaceSelector", "subject", "priority", "tier", "action", "name", "containers"],
  ...["podIP", "podIPs", "ip", "phase", "nodeName", "hostNetwork", "addresses", "address", "type"],
];

/** Returns the next request of a connection; undefined when none comes any more. */
function nextRequest(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = "";
    const settle = (request: string | undefined) => {
      socket.off("data", take).off("close", none).off("end", none);
      resolve(request);
    };
    const none = () => settle(undefined);
    const take = (piece: Buffer) => {
      text += piece.toString("latin1");
      if (text.includes("\r\n\r\n")) settle(text);
      else if (text.length > REQUEST_BYTES_MAX) none();
    };
    socket.on("data", take).once("close", none).once("end", none);
    if (socket.destroyed) none();
  });
}
