import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import { type AddressInfo, createServer as createNetServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readCapture } from "../../src/capture/read-capture.js";
import { tryLock } from "../../src/dataplane/host.js";
import { DroppedFrames } from "../../src/observe/dropped-frames.js";
import type { FlowLine } from "../../src/observe/flow.js";
import { FlowLog } from "../../src/observe/flow-log.js";
import { FlowSinks } from "../../src/sinks/flow-sinks.js";
import { logRecord } from "../../src/sinks/otlp.js";
import { RotatingFile } from "../../src/sinks/rotating-file.js";
import type { SinkConfig } from "../../src/sinks/sink-config.js";
import { type EventFields, FakeRing, shop, tableOf } from "../observe/fake-dataplane.js";
import { patientMs } from "../patience.js";

let folder: string;
let ring: FakeRing;
let flows: FlowLog;
let droppedFrames: DroppedFrames;
let told: string[];
let sinks: FlowSinks;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-sinks-"));
  ring = new FakeRing();
  flows = new FlowLog(ring.dataplane, { interfaceName: () => "eth0", keep: 4_096 });
  flows.useTable(1, tableOf(shop));
  told = [];
  droppedFrames = new DroppedFrames([ring.dataplane], flows);
  const tell = (line: string) => void told.push(line);
  sinks = new FlowSinks({ flows, droppedFrames, version: "1.2.3", tell });
});
afterEach(async () => {
  await sinks.close();
  droppedFrames.close();
  flows.close();
  rmSync(folder, { recursive: true });
});

/** Flows with these source ports; each third is a drop. */
function push(from: number, to: number): void {
  const drop = {
    kind: "Dropped",
    reason: "PolicyIngress",
    deniedBy: 2,
    destinationPort: 81,
  } as const;
  const events = Array.from({ length: to - from }, (_, index): EventFields => {
    return { sourcePort: from + index, ...((from + index) % 3 ? {} : drop) };
  });
  ring.push(...events);
}

const linesOf = (path: string): FlowLine[] =>
  existsSync(path)
    ? readFileSync(path, "utf8")
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line))
    : [];
const portsOf = (lines: readonly FlowLine[]) =>
  lines.map(({ flow }) => (flow.l4 as { TCP: { source_port: number } }).TCP.source_port);
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => from + n);

describe("flows in a file", () => {
  const sink = (more: Partial<SinkConfig> = {}) =>
    ({
      kind: "file",
      path: join(folder, "flows.json"),
      bytesMax: 1e8,
      keep: 3,
      ...more,
    }) as SinkConfig;
  const path = () => join(folder, "flows.json");

  test("those that are kept, then what comes, as observe has them; nobody else may read it", async () => {
    push(1, 4);
    sinks.open([sink()]);
    push(4, 6);
    await expect.poll(() => portsOf(linesOf(path()))).toEqual([1, 2, 3, 4, 5]);
    expect(linesOf(path())[2]).toMatchObject({
      flow: {
        verdict: "DROPPED",
        ext: { reason: "policy-ingress", isolated_by: [{ name: "db" }] },
      },
    });
    expect(statSync(path()).mode & 0o777).toBe(0o640);
    await expect
      .poll(() => sinks.status)
      .toEqual([{ kind: "file", to: path(), written: 5, lost: 0, waiting: 0, error: null }]);
  });

  test("a filter has observe's words", async () => {
    sinks.open([sink({ filter: { verdict: ["DROPPED"], "to-pod": ["shop/db"] } })]);
    push(1, 10);
    await expect.poll(() => portsOf(linesOf(path()))).toEqual([3, 6, 9]);
  });

  test("is renamed before it is too large; so many are kept, and no line is cut", async () => {
    sinks.open([sink({ bytesMax: 20_000, keep: 2 })]);
    for (let n = 1; n <= 10; n++) {
      push(n * 10, n * 10 + 10);
      await expect.poll(() => sinks.status[0]!.written).toBe(n * 10);
    }
    expect(readdirSync(folder).sort()).toEqual(["flows.json", "flows.json.1", "flows.json.2"]);
    const files = [2, 1].map((n) => `${path()}.${n}`).concat(path());
    for (const file of files) expect(statSync(file).size).toBeLessThanOrEqual(20_000);
    const ports = files.flatMap((file) => portsOf(linesOf(file)));
    expect(ports).toEqual(range(110 - ports.length, 110));
    expect(ports.length).toBeGreaterThan(20);
  });

  test("is opened again when another has renamed it", async () => {
    sinks.open([sink()]);
    push(1, 3);
    await expect.poll(() => linesOf(path()).length).toBe(2);
    renameSync(path(), join(folder, "old.json"));
    push(3, 5);
    await expect.poll(() => portsOf(linesOf(path()))).toEqual([3, 4]);
    expect(portsOf(linesOf(join(folder, "old.json")))).toEqual([1, 2]);
  });

  test("what cannot be written is told once, waits, and is written when it can be", async () => {
    const inner = join(folder, "later", "flows.json");
    sinks.open([sink({ path: inner })]);
    push(1, 3);
    await expect.poll(() => sinks.status[0]!.error).toBe("no such file or directory");
    push(3, 5);
    mkdirSync(join(folder, "later"));
    await expect.poll(() => portsOf(linesOf(inner))).toEqual([1, 2, 3, 4]);
    await expect.poll(() => sinks.status[0]).toMatchObject({ written: 4, lost: 0, error: null });
    expect(told).toEqual([
      `flows to ${inner}: no such file or directory; it is tried again`,
      `flows to ${inner}: delivered again; 0 flows lost so far`,
    ]);
  });

  test("what waits is bounded: the rest is lost, and counted", async () => {
    sinks.open([sink({ path: join(folder, "no", "flows.json") })]);
    for (let n = 0; n < 12; n++) {
      push(1_000 * n, 1_000 * (n + 1));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await expect.poll(() => sinks.status[0]!.waiting).toBeGreaterThan(500);
    mkdirSync(join(folder, "no"));
    const file = join(folder, "no", "flows.json");
    // The longer it could not, the later it tries again: after a minute at the most.
    const timeout = 2 * patientMs;
    await expect.poll(() => portsOf(linesOf(file)).at(-1), { timeout }).toBe(11_999);
    const [status] = sinks.status;
    expect(status!.lost).toBeGreaterThan(0);
    expect(status!.lost + linesOf(file).length).toBe(12_000);
    const told = linesOf(file).reduce((sum, { flow }) => sum + flow.ext.lostBefore, 0);
    expect(told).toBe(status!.lost);
  });

  test("a link, and what is no file, is refused", async () => {
    const target = join(folder, "target");
    symlinkSync(target, join(folder, "link"));
    spawnSync("mkfifo", [join(folder, "pipe")]);
    sinks.open([sink({ path: join(folder, "link") }), sink({ path: join(folder, "pipe") })]);
    push(1, 2);
    await expect.poll(() => sinks.status.map(({ error }) => error)).not.toContain(null);
    expect(existsSync(target)).toBe(false);
  });

  test("a full disk leaves no half line", () => {
    const file = join(folder, "full.json");
    const module = join(import.meta.dirname, "../../dist/sinks/rotating-file.js");
    const script = `
      const { RotatingFile } = await import(${JSON.stringify(module)});
      const file = new RotatingFile(${JSON.stringify(file)}, { bytesMax: 1e8, keep: 1 });
      const line = Buffer.from("x".repeat(2999) + "\\n");
      for (let n = 0; n < 10; n++) await file.append(line).catch((error) => console.log(error.code));
    `;
    // 8 blocks of 1,024 bytes; the signal that tells of it would end the program.
    const limited = `trap '' XFSZ; ulimit -f 8; exec "$0" --input-type=module -e "$1"`;
    const ran = spawnSync("bash", ["-c", limited, process.execPath, script], { encoding: "utf8" });
    expect(ran.stdout.trim().split("\n")).toEqual(Array(8).fill("EFBIG"));
    expect(statSync(file).size).toBe(6_000);
  });

  test("several processes on a full disk: what each says is written is there, and nothing else", async () => {
    const file = join(folder, "shared.json");
    const module = join(import.meta.dirname, "../../dist/sinks/rotating-file.js");
    // Long texts never have room: they fill the disk until they are taken back. Short ones come in between.
    const script = `
      const { RotatingFile } = await import(${JSON.stringify(module)});
      const { existsSync } = await import("node:fs");
      const file = new RotatingFile(${JSON.stringify(file)}, { bytesMax: 1e8, keep: 1 });
      const name = process.argv[1];
      console.error("here");
      while (!existsSync(${JSON.stringify(join(folder, "go"))})) await new Promise(setImmediate);
      for (let n = 0; n < 120; n++) {
        const line = name + n + "x".repeat(n % 3 === 0 ? 60_000 : 40) + "\\n";
        await file.append(Buffer.from(line)).then(() => console.log(name + n), () => {});
      }
    `;
    const limited = `trap '' XFSZ; ulimit -f 40; exec "$0" --input-type=module -e "$1" "$2"`;
    const writers = ["a", "b", "c"].map((name) => {
      const child = spawn("bash", ["-c", limited, process.execPath, script, name]);
      const ready = once(child.stderr, "data");
      let said = "";
      child.stdout.setEncoding("utf8").on("data", (text) => {
        said += text;
      });
      return { ready, ended: once(child, "close").then(() => said.split("\n").slice(0, -1)) };
    });
    await Promise.all(writers.map(({ ready }) => ready));
    writeFileSync(join(folder, "go"), "");
    const said = (await Promise.all(writers.map(({ ended }) => ended))).flat();
    const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
    expect(lines.map((line) => line.replace(/x+$/, "")).sort()).toEqual(said.sort());
    expect(said.length).toBe(240);
  });

  test("several processes rename a file that is too large once, and lose nothing", async () => {
    const file = join(folder, "rotated.json");
    const writers = range(0, 6).map(() => new RotatingFile(file, { bytesMax: 1_000, keep: 50 }));
    const texts = range(0, 120).map((n) => `${n}${"x".repeat(200)}\n`);
    await Promise.all(
      writers.map(async (each, at) => {
        for (const text of texts.filter((_, n) => n % writers.length === at))
          await each.append(Buffer.from(text));
      }),
    );
    const files = readdirSync(folder).filter((name) => name.startsWith("rotated"));
    const sizes = files.map((name) => statSync(join(folder, name)).size);
    const found = files.flatMap((name) => readFileSync(join(folder, name), "utf8").match(/^\d+/gm));
    expect(found.map(Number).sort((a, b) => a - b)).toEqual(range(0, 120));
    // None was renamed before it was full.
    expect(sizes.filter((size) => size < 600).length).toBeLessThanOrEqual(1);
    for (const size of sizes) expect(size).toBeLessThanOrEqual(1_000);
  });

  test("a lock that somebody holds for ever keeps nothing from being written", async () => {
    const fd = openSync(path(), "a+");
    expect(tryLock(fd)).toBe(true);
    sinks.open([sink()]);
    push(1, 3);
    await expect.poll(() => portsOf(linesOf(path()))).toEqual([1, 2]);
    closeSync(fd);
  });

  test("other sinks after a reload: what has not changed goes on, nothing is lost or there twice", async () => {
    const other = join(folder, "other.json");
    sinks.use([sink()]);
    expect(sinks.status).toEqual([]);
    sinks.open([sink(), sink({ path: other })]);
    push(1, 5);
    sinks.use([sink(), sink({ path: other, keep: 9 })]);
    push(5, 8);
    await expect.poll(() => portsOf(linesOf(path()))).toEqual(range(1, 8));
    await expect.poll(() => portsOf(linesOf(other)).sort()).toEqual(range(1, 8));
    await expect.poll(() => sinks.status.map(({ written }) => written)).toEqual([7, 3]);
    sinks.use([]);
    push(8, 9);
    await sinks.close();
    expect(portsOf(linesOf(path()))).toEqual(range(1, 8));
  });

  test("at the end what there is is written, behind what another process has appended", async () => {
    sinks.open([sink()]);
    push(1, 2);
    await expect.poll(() => linesOf(path()).length).toBe(1);
    appendFileSync(path(), `${JSON.stringify(linesOf(path())[0])}\n`);
    push(2, 300);
    await sinks.close();
    expect(portsOf(linesOf(path()))).toEqual([1, 1, ...range(2, 300)]);
  });
});

test("what names have in them drives no terminal that a file or a capture is shown on", async () => {
  // The kernel takes such a name of an interface.
  const hostile = "a\x1b[2J\u009b\u202eb";
  const named = new FlowLog(ring.dataplane, { interfaceName: () => hostile });
  named.useTable(1, tableOf(shop));
  const frames = new DroppedFrames([ring.dataplane], named);
  const tell = () => {};
  const other = new FlowSinks({ flows: named, droppedFrames: frames, version: "1", tell });
  const [file, capture] = [join(folder, "named.json"), join(folder, "named.pcapng")];
  const rotation = { bytesMax: 1e6, keep: 1 };
  other.open([
    { kind: "file", path: file, ...rotation },
    { kind: "drops", path: capture, ...rotation },
  ]);
  ring.push({ kind: "Dropped", reason: "SpoofedSource" });
  ring.drop({ reason: "SpoofedSource" }, Uint8Array.of(1));
  await expect.poll(() => other.status.map(({ written }) => written)).toEqual([1, 1]);
  await other.close();
  frames.close();
  named.close();
  const [line] = linesOf(file);
  expect(line!.flow.interface?.name).toBe(hostile);
  expect(readFileSync(file, "utf8").trimEnd()).not.toMatch(/[\p{Cc}\u202e]/u);
  const { bytes } = readCapture(readFileSync(capture));
  const text = Buffer.from(bytes).toString("utf8");
  expect(text).toContain(" on a\\x1b[2J\\x9b\\u202eb");
  expect(text).not.toContain("\x1b[2J");
  const record = JSON.parse(logRecord(line!));
  expect(record.body.stringValue).toContain("a\\x1b[2J\\x9b\\u202eb");
});

test("dropped frames go to captures, each of which is whole; nothing is kept without such a sink", async () => {
  const path = join(folder, "drops.pcapng");
  expect(ring.wantsFrames).toBe(false);
  sinks.open([{ kind: "drops", path, bytesMax: 1_000, keep: 9, filter: { port: ["81"] } }]);
  expect(ring.wantsFrames).toBe(true);
  const denied = { reason: "PolicyIngress", deniedBy: 2, destinationPort: 81 } as const;
  for (let n = 0; n < 12; n++) {
    ring.drop({ ...denied, sourcePort: n }, Uint8Array.of(n, 255, 0, 10));
    ring.drop({ ...denied, destinationPort: 82 }, Uint8Array.of(99));
    await expect.poll(() => sinks.status[0]).toMatchObject({ kind: "drops", written: n + 1 });
  }
  const files = readdirSync(folder).sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
  expect(files.length).toBeGreaterThan(2);
  const frames = files.flatMap((file) => {
    const { bytes, packets, cutAt } = readCapture(readFileSync(join(folder, file)));
    expect(cutAt).toBeUndefined();
    return packets.map(({ offset, length }) => [...bytes.subarray(offset, offset + length)]);
  });
  expect(frames).toEqual(range(0, 12).map((n) => [n, 255, 0, 10]));
  expect(readFileSync(path, "latin1")).toMatch(
    /dropped policy-ingress: shop\/web:11 -> shop\/db:81 .*shop\.yaml:\d+ \(table 1\) on eth0/,
  );
  sinks.use([]);
  expect(ring.wantsFrames).toBe(false);
});

describe("flows as OpenTelemetry's logs", () => {
  // biome-ignore lint/suspicious/noExplicitAny: what the collector got, looked into.
  let records: any[];
  // biome-ignore lint/suspicious/noExplicitAny: the same.
  let resources: any[];
  let headers: IncomingHttpHeaders | undefined;
  let answers: { status: number; body?: string; headers?: Record<string, string> }[];
  let server: Server;
  let url: string;

  beforeEach(async () => {
    [records, resources, answers, headers] = [[], [], [], undefined];
    server = createServer((request, response) => {
      const pieces: Buffer[] = [];
      request.on("data", (piece: Buffer) => pieces.push(piece));
      request.on("end", () => {
        headers = request.headers;
        const answer = answers.shift() ?? { status: 200, body: "{}" };
        if (answer.status === 200) {
          const { resourceLogs } = JSON.parse(Buffer.concat(pieces).toString());
          resources.push(resourceLogs[0].resource);
          records.push(...resourceLogs[0].scopeLogs[0].logRecords);
        }
        response.writeHead(answer.status, answer.headers).end(answer.body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/logs`;
  });
  afterEach(async () => {
    await sinks.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const sink = (): SinkConfig => ({ kind: "otlp", url, headers: ["authorization: Bearer x"] });
  const attributes = (record: { attributes: { key: string; value: object }[] }) =>
    Object.fromEntries(record.attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

  test("one record a flow, with what it says and why", async () => {
    push(2, 4);
    sinks.open([sink()]);
    await expect.poll(() => records.length).toBe(2);
    expect(headers).toMatchObject({
      "content-type": "application/json",
      authorization: "Bearer x",
    });
    expect(attributes(resources[0])).toMatchObject({
      "service.name": "sluice",
      "service.version": "1.2.3",
    });
    const [allowed, dropped] = records;
    expect(dropped).toMatchObject({
      timeUnixNano: "1763715600123456000",
      severityNumber: 13,
      severityText: "WARN",
    });
    expect(dropped.body.stringValue).toMatch(
      /shop\/web:3 -> shop\/db:81 dropped policy-ingress DROPPED/,
    );
    expect(attributes(dropped)).toMatchObject({
      "sluice.verdict": "DROPPED",
      "sluice.drop_reason": "policy-ingress",
      "sluice.isolated_by": "shop/db",
      "network.transport": "tcp",
      "source.address": "10.0.0.1",
      "source.port": "3",
      "destination.port": "81",
      "destination.k8s.pod.name": "db",
    });
    expect(attributes(allowed)).toMatchObject({
      "sluice.policy": "NetworkPolicy shop/db",
      "sluice.rule": "spec.ingress[0]",
      "sluice.place": "shop.yaml:20",
    });
    expect(allowed.severityText).toBe("INFO");
  });

  test("busy: tried again, and nothing is lost", async () => {
    answers.push({ status: 503, headers: { "retry-after": "1" } }, { status: 429 });
    push(1, 3);
    sinks.open([sink()]);
    await expect.poll(() => records.length).toBe(2);
    await expect.poll(() => sinks.status[0]).toMatchObject({ written: 2, lost: 0, error: null });
    expect(told).toEqual([
      `flows to ${url}: it answers 503; it is tried again`,
      `flows to ${url}: it answers 429; it is tried again`,
      `flows to ${url}: delivered again; 0 flows lost so far`,
    ]);
  });

  test("another protocol in the place of an answer: tried again", async () => {
    answers.push({ status: 101, headers: { upgrade: "x", connection: "upgrade" } });
    push(1, 3);
    sinks.open([sink()]);
    await expect
      .poll(() => sinks.status[0]!.error)
      .toBe("it closes the connection without an answer");
    await expect.poll(() => records.length).toBe(2);
    await expect.poll(() => sinks.status[0]).toMatchObject({ written: 2, lost: 0, error: null });
  });

  test.each([
    ["an answer without end", "HTTP/1.1 200 OK\r\n\r\n", /^it answers more than 65536 bytes$/],
    ["heads without end", "HTTP/1.1 200 OK\r\nx: ", /\w/],
    ["what is no HTTP", "SSH-2.0\r\n", /\w/],
  ])("%s: an error, and no more is read of it", async (_, head, error) => {
    let sent = 0;
    const endless = createNetServer((socket) => {
      socket.on("error", () => {}).resume();
      socket.once("data", async () => {
        socket.write(head);
        while (!socket.destroyed && sent < 1e8) {
          sent += 65_536;
          if (!socket.write("x".repeat(65_536))) {
            await Promise.race([once(socket, "drain"), once(socket, "close")]).catch(() => {});
          }
        }
      });
    });
    await new Promise<void>((resolve) => endless.listen(0, "127.0.0.1", resolve));
    const { port } = endless.address() as AddressInfo;
    push(1, 3);
    sinks.open([{ kind: "otlp", url: `http://127.0.0.1:${port}/v1/logs`, headers: [] }]);
    await expect.poll(() => sinks.status[0]!.error).toMatch(error);
    expect(sinks.status[0]).toMatchObject({ written: 0, lost: 0, waiting: 2 });
    expect(sent).toBeLessThan(2e7);
    await sinks.close();
    await new Promise((resolve) => endless.close(resolve));
  });

  test("no answer at all does not hold up the end, and what waited is told as lost", async () => {
    const silent = createNetServer((socket) => void socket.on("error", () => {}).resume());
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as AddressInfo;
    const connected = once(silent, "connection") as Promise<[Socket]>;
    push(1, 3);
    const silentUrl = `http://127.0.0.1:${port}/v1/logs`;
    sinks.open([{ kind: "otlp", url: silentUrl, headers: [] }]);
    const [socket] = await connected;
    await sinks.close();
    expect(told).toEqual([`flows to ${silentUrl}: 2 flows lost`]);
    // The request is given up too.
    if (!socket.destroyed) await once(socket, "close");
    await new Promise((resolve) => silent.close(resolve));
  });

  test("refused: lost and counted, the next ones go on", async () => {
    answers.push({ status: 400 });
    push(1, 3);
    sinks.open([sink()]);
    await expect.poll(() => sinks.status[0]).toMatchObject({ lost: 2, error: "it answers 400" });
    answers.push({ status: 200, body: '{"partialSuccess":{"rejectedLogRecords":"1"}}' });
    push(3, 5);
    await expect.poll(() => sinks.status[0]).toMatchObject({ written: 1, lost: 3, error: null });
  });

  test("nobody there: what waits is delivered when somebody is", async () => {
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    push(1, 3);
    sinks.open([sink()]);
    await expect.poll(() => sinks.status[0]!.error).toMatch(/refused/);
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    await expect.poll(() => records.length).toBe(2);
  });
});
