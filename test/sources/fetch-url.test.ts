import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fetchUrl, shownUrl } from "../../src/sources/fetch-url.js";
import { readInput } from "../../src/sources/read-input.js";

// Goal: what is at an address is read like a file, in bounds, and a server learns and decides no more than it must.
// Method: a server on loopback.

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

let server: Server;
let base = "";
let handle: Handler = () => {};
const seen: IncomingMessage[] = [];
beforeEach(async () => {
  seen.length = 0;
  server = createServer((request, response) => {
    seen.push(request);
    handle(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const options = { env: {}, userAgent: "sluice/test", bytesMax: 1_000 };
const answer =
  (status: number, headers: Record<string, string>, body = ""): Handler =>
  (_, response) => {
    response.writeHead(status, headers);
    response.end(body);
  };

async function failure(path: string, more: object = {}): Promise<string> {
  const got = await fetchUrl(`${base}${path}`, { ...options, ...more });
  return "failed" in got ? got.failed : "";
}

describe("an address", () => {
  test("is read as manifests, under its name without secrets", async () => {
    const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n";
    handle = answer(200, { "content-type": "text/plain" }, pod);
    const address = `${base.replace("//", "//user:secret@")}/p.yaml?token=secret`;
    const read = await readInput([address], { ...options, render: "never", tell: () => {} });
    expect(read.objects.map(({ meta }) => [meta.name, meta.span.file])).toEqual([
      ["p", `${base}/p.yaml?…`],
    ]);
    const { headers, url } = seen[0]!;
    expect(url).toBe("/p.yaml?token=secret");
    expect(headers["user-agent"]).toBe("sluice/test");
    expect(headers.authorization).toBe(`Basic ${Buffer.from("user:secret").toString("base64")}`);
  });

  test("without manifests is an error there", async () => {
    handle = answer(404, {});
    const read = await readInput([`${base}/x`], { ...options, render: "never", tell: () => {} });
    expect(read.diagnostics.map(({ code, span, message }) => [code, span.file, message])).toEqual([
      ["SL1011", `${base}/x`, "got answer 404 Not Found"],
    ]);
  });

  const bad: readonly [what: string, handler: Handler, want: string][] = [
    [
      "a web page",
      answer(200, { "content-type": "text/html; charset=utf-8" }, "<html>"),
      "a web page, want the address of the file itself",
    ],
    ["too much", answer(200, {}, "x".repeat(1_001)), "more than 1000 bytes"],
    [
      "an encoding that nobody asked for",
      answer(200, { "content-encoding": "gzip" }),
      "an answer in gzip, which was not asked for",
    ],
    ["redirects without end", answer(302, { location: "/again" }), "more than 5 redirects"],
    [
      "a redirect to a file",
      answer(302, { location: "file:///etc/passwd" }),
      "a redirect to no http or https address",
    ],
    ["a closed connection", (request) => request.socket.destroy(), "no answer: socket hang up"],
  ];
  test.each(bad)("%s", async (_, handler, want) => {
    handle = handler;
    expect(await failure("/x")).toBe(want);
  });

  test("an answer that trickles for ever ends in time", async () => {
    handle = (_, response) => {
      const timer = setInterval(() => response.write("#"), 20);
      response.on("close", () => clearInterval(timer));
    };
    expect(await failure("/x", { timeMs: 300 })).toBe("no whole answer within 0.3 s");
  });

  test("a redirect takes no credentials along", async () => {
    handle = (request, response) => {
      if (request.url === "/a") answer(302, { location: `${base}/b` })(request, response);
      else answer(200, {}, "{}")(request, response);
    };
    expect(await fetchUrl(`${base.replace("//", "//u:p@")}/a`, options)).toHaveProperty("bytes");
    expect(seen.map(({ headers }) => headers.authorization !== undefined)).toEqual([true, false]);
  });

  test("a proxy that the environment names is asked, and not for what is near", async () => {
    const asked: string[] = [];
    const proxy = createServer().on("connect", (request, client: Socket) => {
      asked.push(request.url ?? "");
      const port = Number(new URL(base).port);
      const onward = connect(port, "127.0.0.1", () => {
        client.write("HTTP/1.1 200 Connection established\r\n\r\n");
        client.pipe(onward).pipe(client);
      });
      onward.on("error", () => client.destroy());
      client.on("error", () => onward.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const at = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    try {
      handle = answer(200, {}, "{}");
      const far = `http://far.example:${new URL(base).port}/x`;
      expect(await fetchUrl(far, { ...options, env: { http_proxy: at } })).toHaveProperty("bytes");
      expect(asked).toEqual([`far.example:${new URL(base).port}`]);
      const env = { HTTP_PROXY: at, NO_PROXY: "example.org, .0.0.1" };
      expect(await fetchUrl(`${base}/x`, { ...options, env })).toHaveProperty("bytes");
      expect(asked).toHaveLength(1);
    } finally {
      proxy.close();
    }
  });
});

test("what may be secret in an address is not shown", () => {
  expect(shownUrl("https://u:p@h/a/b?c=d#e")).toBe("https://h/a/b?…");
  expect(shownUrl("https://h/a")).toBe("https://h/a");
});
