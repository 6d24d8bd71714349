import { mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type AnswerLimits, ControlClient } from "../../src/control/client.js";
import { makeFolder } from "../../src/control/make-folder.js";
import { RefusalError } from "../../src/control/refusal.js";
import {
  ListAnswer,
  PlainAnswer,
  type Routes,
  type Serving,
  type StreamReader,
  serveUnix,
} from "../../src/control/server.js";

const routes: Routes = {
  handlers: {
    "GET /echo": ({ query }) => ({ word: query.get("word") }),
    "POST /echo": ({ body }) => body,
    "POST /none": ({ body }) => ({ body: body ?? null }),
    "GET /refuse": () => {
      throw new RefusalError("input", "no such thing", "another");
    },
    "GET /fail": () => {
      throw new Error("a bug");
    },
    "GET /text": () => new PlainAnswer(200, "plain\n"),
  },
  bodies: { "POST /echo": 1_000 },
};

/** Sends a text again and again, as fast as it is taken. */
function flood(text: string): (socket: Socket) => void {
  const much = text.repeat(1_000);
  return (socket) => {
    const more = () => {
      while (!socket.destroyed && socket.write(much));
    };
    socket.on("drain", more);
    more();
  };
}

/** Sends a text every few milliseconds. */
function drip(text: string): (socket: Socket) => void {
  return (socket) => {
    const timer = setInterval(() => socket.write(text), 5);
    socket.on("close", () => clearInterval(timer));
  };
}

describe("control socket", () => {
  let folder: string;
  let path: string;
  let open: Serving[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-control-"));
    path = join(folder, "made", "sluice.sock");
    open = [];
  });

  afterEach(() => {
    for (const serving of open) serving.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function serve(more: Routes = routes): Promise<ControlClient> {
    open.push(await serveUnix(path, 0o660, more));
    return new ControlClient(path);
  }

  const hurried = { pauseMs: { GET: 50, POST: 50 }, bytes: 1_000 };

  test("a process that stands still is given up on", async () => {
    const mute = createServer(() => {});
    const socket = join(folder, "mute.sock");
    await new Promise<void>((resolve) => mute.listen(socket, resolve));
    try {
      const client = new ControlClient(socket, undefined, hurried);
      for (const method of ["GET", "POST"] as const) {
        await expect(client.ask(method, "/status")).rejects.toThrow(
          `${socket}: no answer within 0.05 s: the process stands still`,
        );
      }
      await expect(client.follow("/flows", () => {})).rejects.toMatchObject({
        kind: "environment",
      });
    } finally {
      mute.close();
    }
  });

  test("a process that stands still in the middle of an answer is given up on", async () => {
    const head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    const halting = createServer((socket) => void socket.write(`${head}{"items": [\n`));
    const socket = join(folder, "halting.sock");
    await new Promise<void>((resolve) => halting.listen(socket, resolve));
    try {
      const client = new ControlClient(socket, undefined, hurried);
      const refusal = {
        kind: "environment",
        message: `${socket}: no answer within 0.05 s: the process stands still`,
      };
      await expect(client.ask("GET", "/status")).rejects.toMatchObject(refusal);
      await expect(client.list("GET", "/endpoints", {})).rejects.toMatchObject(refusal);
    } finally {
      halting.close();
    }
  });

  // Goal: whatever answers on the path that a user gave, a command ends, in bounds of time and memory, and in words.
  // Method: processes that are none of ours; each would go on for ever.
  const ok = "HTTP/1.1 200 OK\r\n\r\n";
  const bad = "HTTP/1.1 500 No\r\n\r\n";
  const patient = { pauseMs: { GET: 60_000, POST: 60_000 }, bytes: 1_000 };
  test.each<[string, string, (socket: Socket) => void, RegExp]>([
    ["sends a document without an end", ok, flood("x"), /more than 1000 bytes/],
    ["sends a line without an end", `${ok}{"items":[\n`, flood("x"), /more than 1000 bytes/],
    ["sends lines without an end", `${ok}{"items":[\n`, flood("{},\n"), /more than \d+ bytes/],
    ["refuses without an end", bad, flood("x"), /more than \d+ bytes/],
    ["goes in the middle", `${ok}{"items":[\n`, (socket) => socket.destroy(), /odd.sock: ./],
    ["answers what is no JSON", ok, (socket) => socket.end("no"), /that is no document/],
    ["answers a number", ok, (socket) => socket.end("7"), /that is no document/],
    ["refuses without a reason", bad, (socket) => socket.end("{}"), /does not say why/],
    ["refuses in what is no JSON", bad, (socket) => socket.end("<p>"), /that is no document/],
  ])("a process that %s is given up on", (_, head, act, words) =>
    expectGivenUp(head, act, patient, words),
  );

  test.each<[string, string]>([
    ["sends a byte now and then", ok],
    ["refuses a byte at a time", bad],
  ])("a process that %s is given up on in time", (_, head) =>
    expectGivenUp(head, drip(" "), hurried, /is not whole after [\d.]+ s|stands still/),
  );

  async function expectGivenUp(
    head: string,
    act: (socket: Socket) => void,
    limits: AnswerLimits,
    words: RegExp,
  ): Promise<void> {
    const odd = createServer((connection) => {
      connection.on("error", () => {});
      connection.once("data", () => {
        connection.write(head);
        act(connection);
      });
    });
    const socket = join(folder, "odd.sock");
    await new Promise<void>((resolve) => odd.listen(socket, resolve));
    try {
      const client = new ControlClient(socket, undefined, limits);
      const refusal = { kind: "environment", message: expect.stringMatching(words) };
      const kept = client.list("GET", "/rules", { onItem: () => {}, bytesMax: 100_000 });
      await expect(kept).rejects.toMatchObject(refusal);
      await expect(client.ask("GET", "/status")).rejects.toMatchObject(refusal);
    } finally {
      odd.close();
    }
  }

  test("is for its owner and its group, in a folder that is made for it and goes with it", async () => {
    await serve();
    expect(statSync(path).mode & 0o777).toBe(0o660);
    expect(statSync(join(folder, "made")).mode & 0o777).toBe(0o750);
    open.pop()?.close();
    expect(statSync(join(folder, "made"), { throwIfNoEntry: false })).toBeUndefined();
  });

  test("answers, refuses and fails in words", async () => {
    const client = await serve();
    expect(await client.ask("GET", "/echo?word=a%20b")).toEqual({ word: "a b" });
    expect(await client.ask("POST", "/echo", { deep: [1] })).toEqual({ deep: [1] });
    const refusal = await client.ask("GET", "/refuse").catch((each: Error) => each);
    expect(refusal).toBeInstanceOf(RefusalError);
    expect(refusal).toMatchObject({ kind: "input", message: "no such thing", remedy: "another" });
    await expect(client.ask("GET", "/fail")).rejects.toThrow(/^a bug$/);
    await expect(client.ask("GET", "/nothing")).rejects.toMatchObject({ kind: "usage" });
  });

  test("takes the place of what a dead process left, never that of a living one", async () => {
    await serve();
    await expect(serveUnix(path, 0o660, routes)).rejects.toMatchObject({
      kind: "environment",
      message: expect.stringContaining("another process answers"),
    });
    // Closing a net server removes its path; a kill does not. So the path is put back.
    const dead = join(folder, "dead.sock");
    const left: Server = createServer();
    await new Promise<void>((done) => left.listen(dead, done));
    renameSync(dead, `${dead}.kept`);
    await new Promise((done) => left.close(done));
    renameSync(`${dead}.kept`, dead);
    open.push(await serveUnix(dead, 0o600, routes));
    expect(await new ControlClient(dead).ask("GET", "/echo")).toEqual({ word: null });
  });

  // Goal: what the kernel refuses is told, also in folders where it says that nothing is there.
  test("refuses a folder that cannot be made", async () => {
    const path = "/proc/sluice-none/made/sluice.sock";
    await expect(serveUnix(path, 0o600, routes)).rejects.toMatchObject({ kind: "environment" });
    expect(() => makeFolder("/proc/sluice-none", 0o755)).toThrow("ENOENT");
    const deep = join(folder, "a/b/c");
    makeFolder(deep, 0o750);
    makeFolder(deep, 0o700);
    expect(statSync(deep).mode & 0o777).toBe(0o750);
    writeFileSync(join(deep, "file"), "");
    expect(() => makeFolder(join(deep, "file"), 0o755)).toThrow("EEXIST");
    expect(() => makeFolder(join(deep, "file/d"), 0o755)).toThrow("ENOTDIR");
  });

  test("leaves a file that is no socket alone", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "mine");
    await expect(serveUnix(file, 0o600, routes)).rejects.toMatchObject({ kind: "environment" });
    expect(statSync(file).isFile()).toBe(true);
  });

  test("nobody there: the refusal says what to do", async () => {
    await expect(new ControlClient(join(folder, "none")).ask("GET", "/")).rejects.toMatchObject({
      kind: "environment",
      message: expect.stringContaining("no sluice answers"),
    });
  });

  test("streams line by line, tells a reader that is behind, and hears it hang up", async () => {
    let reader: StreamReader | undefined;
    let isGone = false;
    const client = await serve({
      handlers: {},
      streams: {
        "GET /stream": (made) => {
          reader = made;
          return () => {
            isGone = true;
          };
        },
      },
    });
    const lines: unknown[] = [];
    const stop = new AbortController();
    const following = client.follow("/stream", (line) => lines.push(line), stop.signal);
    const until = (condition: () => boolean) => expect.poll(condition).toBe(true);
    await until(() => reader !== undefined);
    let caughtUp = 0;
    reader!.onCaughtUp = () => caughtUp++;
    while (!reader!.isBehind) reader!.write({ text: "x".repeat(10_000) });
    await until(() => caughtUp > 0 && !reader!.isBehind);
    reader!.write("last");
    await until(() => lines.at(-1) === "last");
    stop.abort();
    await following;
    await until(() => isGone);
  });

  test("reads a list piece by piece, and hears when it is not whole", async () => {
    const made = (count: number, fails = false): ListAnswer =>
      new ListAnswer(
        { kind: "List" },
        (function* () {
          for (let at = 0; at < count; at += 2) {
            yield () => [{ at, text: "a\nb" }, { at: at + 1 }];
            yield () => [];
          }
          if (fails) throw new Error("in the middle");
        })(),
        { tail: () => ({ count }) },
      );
    const client = await serve({
      handlers: {
        "GET /none": () => made(0),
        "GET /some": () => made(4),
        "GET /cut": () => made(4, true),
        "GET /old": () => ({ kind: "List", items: [1, 2] }),
      },
    });
    const read = async (path: string) => {
      let text = "";
      const items: unknown[] = [];
      const sink = {
        onText: (piece: string) => {
          text += piece;
        },
        onItem: (item: unknown) => items.push(item),
      };
      const document = await client.list("GET", path, sink);
      expect(text).not.toContain("\n");
      expect(JSON.parse(text)).toMatchObject({ kind: "List", items });
      return { document, items };
    };
    expect(await read("/none")).toEqual({
      document: { kind: "List", items: [], count: 0 },
      items: [],
    });
    const some = await read("/some");
    const text = "a\nb";
    expect(some.items).toEqual([{ at: 0, text }, { at: 1 }, { at: 2, text }, { at: 3 }]);
    expect(some.document).toMatchObject({ count: 4 });
    // As a process of an earlier version answers.
    expect((await read("/old")).items).toEqual([1, 2]);
    await expect(client.list("GET", "/cut", {})).rejects.toMatchObject({ kind: "environment" });
    // Whoever knows nothing of pieces reads one document.
    expect(await client.ask("GET", "/some")).toMatchObject({ count: 4, items: some.items });
  });
});
