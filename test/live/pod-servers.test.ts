import { createSocket } from "node:dgram";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { decode, encode } from "dns-packet";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { PodListener, Serving } from "../../src/lab/servers/messages.js";
import { PodServers } from "../../src/lab/servers/pod-servers.js";
import { patientMs } from "../patience.js";
import { main, named, root, until } from "./lab-harness.js";

const program = pathToFileURL(join(root, "dist/lab/servers/program.js"));
const obstacle = existsSync(main) ? undefined : "dist/ is not built";
const loopback = "127.0.0.1";
const name = "ledger.quay.svc.cluster.local";
const names = {
  services: [
    {
      namespace: "quay",
      name: "ledger",
      externalName: "",
      addresses: [{ family: 4 as const, bytes: Uint8Array.of(10, 96, 7, 7) }],
      ports: [],
      endpoints: [],
    },
  ],
  pods: [],
};

/** Writes the same bytes again and again until the other side closes the connection. */
async function pour(socket: Socket, bytes: Buffer): Promise<void> {
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const write = () => {
    if (!socket.destroyed) socket.write(bytes, () => setImmediate(write));
  };
  write();
  await closed;
}

// Goal: whatever programs in pods send, what answers them goes on answering the others, within its bounds.
// Method: the real thread, on ports of the loopback; each test ends with a question that must be answered.
describe.skipIf(obstacle !== undefined)(named("what answers in pods", obstacle), () => {
  let servers: PodServers;
  let told: string[];
  let ports: Record<Serving, number>;
  let sockets: Socket[];

  beforeEach(async () => {
    told = [];
    sockets = [];
    servers = new PodServers((line) => told.push(line), program);
    servers.setNames(names);
    const [dns, http, echo] = [await freePort(), await freePort(), await freePort()];
    ports = { "dns-udp": dns, "dns-tcp": dns, http, echo };
    await servers.setListeners(listeners());
    expect(told).toEqual([]);
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await servers.close();
  });

  const listeners = (): PodListener[] =>
    (["dns-udp", "dns-tcp", "http", "echo"] as const).map((serving) => ({
      ref: "quay/ledger-0",
      namespaceFd: -1,
      address: loopback,
      port: ports[serving],
      serving,
    }));

  const open = async (port: number): Promise<Socket> => {
    const socket = connect({ host: loopback, port });
    sockets.push(socket);
    socket.on("error", () => {});
    await new Promise((resolve) => socket.once("connect", resolve));
    return socket;
  };

  /** What comes back until the other end closes, or `enough` holds. */
  const received = (socket: Socket, enough: (bytes: Buffer) => boolean = () => false) =>
    new Promise<Buffer>((resolve) => {
      let bytes = Buffer.alloc(0);
      socket.on("data", (chunk) => {
        bytes = Buffer.concat([bytes, chunk]);
        if (enough(bytes)) resolve(bytes);
      });
      socket.once("close", () => resolve(bytes));
    });

  const question = encode({ type: "query", id: 9, questions: [{ type: "A", name }] });
  const framed = Buffer.concat([Buffer.of(0, question.length), question]);

  const asksByTcp = async () => {
    const socket = await open(ports["dns-tcp"]);
    socket.write(framed);
    const bytes = await received(
      socket,
      (all) => all.length > 2 && all.length >= 2 + all.readUInt16BE(0),
    );
    return decode(bytes.subarray(2)).answers;
  };

  const asksByUdp = (port: number, message: Buffer, waitMs = patientMs) =>
    new Promise<Buffer | undefined>((resolve) => {
      const socket = createSocket("udp4");
      const finish = (answer: Buffer | undefined) => {
        clearTimeout(timer);
        socket.close();
        resolve(answer);
      };
      const timer = setTimeout(() => finish(undefined), waitMs);
      socket.on("message", finish);
      socket.send(message, port, loopback);
    });

  const fetches = async () => {
    const socket = await open(ports.http);
    socket.end("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return String(await received(socket));
  };

  const answersAll = async () => {
    expect(await asksByTcp()).toMatchObject([{ data: "10.96.7.7" }]);
    expect(decode((await asksByUdp(ports["dns-udp"], question))!).answers).toHaveLength(1);
    expect(String(await asksByUdp(ports.echo, Buffer.from("ahoy")))).toBe("ahoy\nquay/ledger-0\n");
    expect(await fetches()).toMatch(/^HTTP\/1\.1 200 OK\r\n(.*\r?\n)*.*quay\/ledger-0\n/);
    expect(told).toEqual([]);
  };

  test("each in its way", answersAll);

  test("more connections than it holds: the oldest are closed, the newest answered", async () => {
    const closed = { dns: 0, http: 0 };
    for (let at = 0; at < 300; at++) {
      (await open(ports["dns-tcp"])).once("close", () => closed.dns++);
    }
    for (let at = 0; at < 1_100; at++) {
      (await open(ports.http)).once("close", () => closed.http++);
    }
    await until("the oldest are closed", () => closed.dns >= 44 && closed.http >= 76);
    expect(closed.dns).toBeLessThan(60);
    await answersAll();
  });

  test("bytes that are no query, and too many of them", async () => {
    const long = await open(ports["dns-tcp"]);
    long.write(Buffer.of(0xff, 0xff, 1, 2, 3));
    expect(await received(long)).toHaveLength(0);
    const answer = await open(ports["dns-tcp"]);
    answer.write(Buffer.concat([Buffer.of(0, 12), Buffer.from("0009800000000000000000ff", "hex")]));
    expect(await received(answer)).toHaveLength(0);
    for (let at = 0; at < 200; at++) {
      const noise = Buffer.from(Array.from({ length: at }, (_, byte) => (byte * at) & 0xff));
      for (const port of [ports["dns-udp"], ports.echo]) {
        const socket = createSocket("udp4");
        socket.send(noise, port, loopback, () => socket.close());
      }
    }
    await answersAll();
  });

  test("requests in pieces, several at once, and answers that nobody reads", async () => {
    const slow = await open(ports["dns-tcp"]);
    const both = received(slow, (all) => all.length > framed.length * 2);
    slow.write(framed.subarray(0, 1));
    slow.write(framed.subarray(1, 9));
    slow.write(Buffer.concat([framed.subarray(9), framed]));
    expect(decode((await both).subarray(2)).answers).toHaveLength(1);

    const deaf = await open(ports["dns-tcp"]);
    deaf.pause();
    await pour(deaf, Buffer.concat(Array.from({ length: 2_000 }, () => framed)));
    await answersAll();
  });

  test("HTTP: a head that is too long, a body that is too long", async () => {
    const head = await open(ports.http);
    head.write(`GET / HTTP/1.1\r\nHost: x\r\nLong: ${"x".repeat(64 * 1024)}\r\n\r\n`);
    expect(String(await received(head))).not.toContain("200 OK");
    const body = await open(ports.http);
    body.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n");
    body.resume();
    await pour(body, Buffer.alloc(256 * 1024));
    await answersAll();
  });

  test("an echo is not echoed, nor an answer answered: two of them would never end", async () => {
    const echo = (await asksByUdp(ports.echo, Buffer.from("ahoy")))!;
    expect(await asksByUdp(ports.echo, echo, 300)).toBeUndefined();
    const answer = (await asksByUdp(ports["dns-udp"], question))!;
    expect(await asksByUdp(ports["dns-udp"], answer, 300)).toBeUndefined();
    // What `lab probe` sends comes back longer from DNS, and so not again.
    const token = Buffer.from("01234567");
    const back = (await asksByUdp(ports["dns-udp"], token))!;
    expect(back.subarray(0, 8)).toEqual(token);
    expect(await asksByUdp(ports["dns-udp"], back, 300)).toBeUndefined();
  });

  test("a place that a program has already is told, and the others answer", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, loopback, resolve));
    const { port } = taken.address() as AddressInfo;
    const other = { ...listeners()[2]!, port };
    try {
      await servers.setListeners([...listeners(), other]);
      expect(told.splice(0)).toEqual([
        `the lab does not answer in quay/ledger-0: listen on ${loopback} port ${port}: address already in use`,
      ]);
      await answersAll();
    } finally {
      taken.close();
    }
  });

  test("a thread that ends is started again, with all that it had", async () => {
    await servers.close();
    const folder = mkdtempSync(join(tmpdir(), "sluice-servers-"));
    try {
      const mark = JSON.stringify(join(folder, "mark"));
      const script = join(folder, "program.mjs");
      writeFileSync(
        script,
        `import { existsSync, writeFileSync } from "node:fs";
         await import(${JSON.stringify(program.href)});
         if (!existsSync(${mark})) setTimeout(() => { writeFileSync(${mark}, ""); throw new Error("on purpose"); }, 300);`,
      );
      servers = new PodServers((line) => told.push(line), pathToFileURL(script));
      servers.setNames(names);
      await servers.setListeners(listeners());
      await until("it has failed", () => told.length > 0);
      expect(told.splice(0).join()).toContain("on purpose");
      await until("it answers again", async () => {
        const answer = await asksByUdp(ports["dns-udp"], question, 100);
        return answer !== undefined;
      });
      await answersAll();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, loopback, () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
