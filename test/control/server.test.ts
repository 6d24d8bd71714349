import { mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ControlClient } from "../../src/control/client.js";
import { RefusalError } from "../../src/control/refusal.js";
import {
  PlainAnswer,
  type Routes,
  type Serving,
  type StreamReader,
  serveTcp,
  serveUnix,
} from "../../src/control/server.js";

const routes: Routes = {
  handlers: {
    "GET /echo": ({ query }) => ({ word: query.get("word") }),
    "POST /echo": ({ body }) => body,
    "GET /refuse": () => {
      throw new RefusalError("input", "no such thing", "another");
    },
    "GET /fail": () => {
      throw new Error("a bug");
    },
    "GET /text": () => new PlainAnswer(200, "plain\n"),
  },
};

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
    const until = async (condition: () => boolean) => {
      for (let tries = 0; !condition() && tries < 300; tries++) {
        await new Promise((done) => setTimeout(done, 10));
      }
      expect(condition()).toBe(true);
    };
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

  test("listens on TCP only where it is told to", async () => {
    const serving = await serveTcp("127.0.0.1", 0, routes);
    open.push(serving);
    const response = await fetch(`http://${serving.at}/text`);
    expect(await response.text()).toBe("plain\n");
    await expect(serveTcp("192.0.2.1", 0, routes)).rejects.toMatchObject({ kind: "environment" });
  });
});
