import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ControlClient } from "../../src/control/client.js";
import type { ListenerBounds } from "../../src/control/http-listener.js";
import { ListAnswer, type Routes, serveDescriptor, serveUnix } from "../../src/control/server.js";
import { listenTcp } from "../../src/dataplane/server-sockets.js";

// Goal: whatever is asked of a listener, it answers 4xx or 503 or hangs up, within its bounds of time, memory
// and connections, and answers the next well-formed request.
// Method: raw sockets, against both kinds; bounds made small where a test waits for them.

const bounds: ListenerBounds = {
  connectionsMax: 8,
  connectionsPerClientMax: 6,
  requestsPerSecond: 1_000,
  requestsPerClientPerSecond: 1_000,
  headMs: 500,
  bodyMs: 500,
  bodiesBytesMax: 5_000,
  stallMs: 500,
  lingerMs: 500,
  lingerBytesMax: 100_000_000,
};

const made: unknown[] = [];
const routes: Routes = {
  handlers: {
    "GET /ok": () => ({ ok: true }),
    "POST /echo": ({ body }) => body,
    "GET /endless": () =>
      new ListAnswer(
        { kind: "List" },
        (function* () {
          try {
            for (let at = 0; at < 1_000_000; at++) {
              yield () => {
                made.push(at);
                return ["x".repeat(10_000)];
              };
            }
          } finally {
            made.push("given up");
          }
        })(),
      ),
  },
  streams: {
    "GET /follow": () => () => {},
    "GET /burst": (reader) => {
      for (const line of [1, 2, 3]) reader.write(line);
      // Long enough to be sent before the turn is over.
      for (let line = 0; line < 10; line++) reader.write("ü".repeat(2_000));
      setImmediate(() => {
        reader.write("later");
        reader.end();
      });
      return () => {};
    },
  },
  bodies: { "POST /echo": 4_000 },
};

describe("listeners", () => {
  let folder: string;
  let path: string;
  let port: number;
  let open: { close(): void }[];
  let sockets: Socket[];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "sluice-listener-"));
    path = join(folder, "sluice.sock");
    const listener = listenTcp("127.0.0.1", 0);
    ({ port } = listener);
    open = [
      await serveUnix(path, 0o600, routes),
      await serveDescriptor(listener.fd, bounds, routes),
    ];
    sockets = [];
    made.length = 0;
  });

  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    for (const each of open) each.close();
    rmSync(folder, { recursive: true, force: true });
  });

  function call(kind: "tcp" | "unix", from = "127.0.0.1"): Socket {
    const at = kind === "unix" ? { path } : { port, host: "127.0.0.1", localAddress: from };
    const socket = connect(at);
    socket.on("error", () => {});
    sockets.push(socket);
    return socket;
  }

  /** What comes back until the connection is closed. */
  async function ask(kind: "tcp" | "unix", text: string): Promise<string> {
    const socket = call(kind);
    let answer = "";
    socket.setEncoding("latin1").on("data", (piece: string) => {
      answer += piece;
    });
    socket.write(text, "latin1");
    await once(socket, "close");
    return answer;
  }

  const host = "HTTP/1.1\r\nHost: x\r\n";

  test("lines of one turn are sent together, whole and in their order, and what is written last before the end", async () => {
    const answer = Buffer.from(await ask("unix", `GET /burst ${host}\r\n`), "latin1");
    const chunks: string[] = [];
    for (let at = answer.indexOf("\r\n\r\n") + 4; ; ) {
      const end = answer.indexOf("\r\n", at);
      const length = Number.parseInt(answer.toString("latin1", at, end), 16);
      if (length === 0) break;
      chunks.push(answer.toString("utf8", end + 2, end + 2 + length));
      at = end + 2 + length + 2;
    }
    expect(chunks).toHaveLength(3);
    const lines = chunks.join("").trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      ...[1, 2, 3],
      ...Array<string>(10).fill("ü".repeat(2_000)),
      "later",
    ]);
  });
  const cases: readonly [name: string, request: string, status: number][] = [
    ["a path of two slashes", `GET // ${host}\r\n`, 404],
    ["a path that is no address", `GET http://[::1 ${host}\r\n`, 400],
    ["no path", `GET ok ${host}\r\n`, 400],
    ["a name that every object has", `GET /__proto__ ${host}\r\n`, 404],
    ["another method", `DELETE /ok ${host}\r\n`, 405],
    ["a method of the language", `constructor ${host}\r\n`, 400],
    ["no Host", "GET /ok HTTP/1.1\r\n\r\n", 400],
    ["another protocol", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505],
    ["an upgrade", `GET /ok ${host}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n`, 200],
    ["no HTTP at all", "\x16\x03\x01\x02\x00\r\n\r\n", 400],
    ["a head without end", `GET /ok ${host}X: ${"a".repeat(9_000)}`, 431],
    ["many fields", `GET /ok ${host}${"X: y\r\n".repeat(200)}\r\n`, 431],
    ["a folded line", `GET /ok ${host}X: a\r\n b\r\n\r\n`, 400],
    ["a body where none is taken", `GET /ok ${host}Content-Length: 5\r\n\r\nhello`, 413],
    [
      "a body in chunks where none is taken",
      `GET /ok ${host}Transfer-Encoding: chunked\r\n\r\n`,
      413,
    ],
    ["a body in chunks", `POST /echo ${host}Transfer-Encoding: chunked\r\n\r\n`, 411],
    ["a long body", `POST /echo ${host}Content-Length: 4001\r\n\r\n`, 413],
    ["a huge body", `POST /echo ${host}Content-Length: 99999999999999\r\n\r\n`, 413],
    ["a length that is none", `POST /echo ${host}Content-Length: 1e3\r\n\r\n`, 400],
    ["two lengths", `POST /echo ${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n1`, 400],
    ["a body that is no JSON", `POST /echo ${host}Content-Length: 1\r\n\r\n{`, 400],
    ["a body", `POST /echo ${host}Content-Length: 2\r\n\r\n{}`, 200],
    ["several requests at once: one answer", `GET /ok ${host}\r\n`.repeat(2_000), 200],
  ];
  for (const kind of ["tcp", "unix"] as const) {
    test.each(cases)(`${kind}: %s`, async (_name, request, status) => {
      const answer = await ask(kind, request);
      expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual([`HTTP/1.1 ${status}`]);
      expect(await ask(kind, `GET /ok ${host}\r\n`)).toContain('{"ok":true}');
    });
  }

  test("a body that is announced is asked for", async () => {
    const socket = call("unix");
    socket.write(`POST /echo ${host}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n`);
    const [first] = await once(socket, "data");
    expect(String(first)).toBe("HTTP/1.1 100 Continue\r\n\r\n");
    socket.write("[]");
    const [second] = await once(socket, "data");
    expect(String(second)).toMatch(/^HTTP\/1\.1 200 .*\[\]$/s);
  });

  test("whoever sends a large body before it reads learns why it is refused", async () => {
    const size = 60_000_000;
    const listener = listenTcp("127.0.0.1", 0);
    ({ port } = listener);
    open.push(await serveDescriptor(listener.fd, { ...bounds, lingerMs: 50_000 }, routes));
    const socket = call("tcp");
    socket.write(`GET /ok ${host}Content-Length: ${size}\r\n\r\n`);
    for (let sent = 0; sent < size; sent += 1_000_000) {
      if (!socket.write(Buffer.alloc(1_000_000))) await once(socket, "drain");
    }
    const [answer] = await once(socket, "data");
    expect(String(answer)).toMatch(/^HTTP\/1\.1 413 /);
  });

  test("what is begun and not ended is closed in time", async () => {
    const texts = ["", "GET /ok HT", `POST /echo ${host}Content-Length: 100\r\n\r\n[`];
    const answers = await Promise.all(texts.map((text) => ask("tcp", text)));
    expect(answers.map((answer) => answer.slice(0, 12))).toEqual(["", "", "HTTP/1.1 408"]);
  });

  test("an answer that nobody takes is made no further, and given up", async () => {
    const socket = call("tcp");
    socket.pause();
    socket.write(`GET /endless ${host}\r\n`);
    while (made.at(-1) !== "given up") await new Promise((done) => setTimeout(done, 20));
    expect(made.length).toBeGreaterThan(1);
    expect(made.length).toBeLessThan(5_000);
  });

  test("idle connections give way, and no client takes the room of another", async () => {
    const idle = Array.from({ length: 30 }, () => call("tcp"));
    await Promise.all(idle.map((socket) => once(socket, "connect")));
    const other = call("tcp", "127.0.0.2");
    await once(other, "connect");
    expect(await ask("tcp", `GET /ok ${host}\r\n`)).toContain("200 OK");
    await expect
      .poll(() => idle.filter((socket) => socket.destroyed || socket.readableEnded).length)
      .toBeGreaterThan(0);
    // The other is still there, although it came before some of the many.
    for (let each = 0; each < 10; each++) call("tcp");
    other.write(`GET /ok ${host}\r\n`);
    const [answer] = await once(other, "data");
    expect(String(answer)).toContain("200 OK");
  });

  test("bodies share the memory that there is for them", async () => {
    const half = `POST /echo ${host}Content-Length: 3000\r\n\r\n"`;
    const first = call("tcp");
    first.write(half);
    await once(first, "connect");
    let status = "";
    while (!status.startsWith("HTTP/1.1 503")) status = await ask("tcp", half);
    expect(status).toContain("Retry-After: 1");
  });

  test("too many requests of one client are refused, not those of another", async () => {
    const listener = listenTcp("127.0.0.1", 0);
    open.push(
      await serveDescriptor(listener.fd, { ...bounds, requestsPerClientPerSecond: 0.01 }, routes),
    );
    ({ port } = listener);
    expect(await ask("tcp", `GET /ok ${host}\r\n`)).toMatch(/^HTTP\/1\.1 429 .*Retry-After: 1/s);
    expect(await ask("unix", `GET /ok ${host}\r\n`)).toContain("200 OK");
  });

  test("who follows and hangs up is gone; who has only said all gets the answer", async () => {
    const follower = call("unix");
    follower.write(`GET /follow ${host}\r\n`);
    await once(follower, "data");
    follower.end();
    await once(follower, "close");
    const socket = call("unix");
    socket.end(`GET /ok ${host}\r\n`);
    const [answer] = await once(socket, "data");
    expect(String(answer)).toContain('{"ok":true}');
  });

  test("as many lists and flows as there may be leave room for short answers", async () => {
    for (let each = 0; each < 16; each++) {
      const socket = call("unix");
      socket.write(`GET /follow ${host}\r\n`);
      await once(socket, "data");
    }
    expect(await ask("unix", `GET /follow ${host}\r\n`)).toContain("16 others read");
    expect(await new ControlClient(path).ask("GET", "/ok")).toEqual({ ok: true });
  });
});
