import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ServedPage, servePage } from "../../src/ui/page-server.js";
import { noAssets, sessionOf, threeTierModel } from "./page-harness.js";

// Goal: nobody but who has the address gets an answer, and a page of another origin gets none at all.
// Method: requests by hand, with what a browser would not let a script choose.

let served: ServedPage;
let url: URL;

beforeAll(async () => {
  served = await servePage(sessionOf(threeTierModel()), noAssets, 0, () => {});
  url = new URL(served.url);
});
afterAll(() => served.close());

interface Got {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

function ask(
  path: string,
  { method = "GET", headers = {}, body }: { method?: string; headers?: object; body?: string } = {},
): Promise<Got> {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port: url.port, path, method };
    const call = request({ ...options, headers: { ...headers } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
    });
    call.on("error", reject);
    call.end(body);
  });
}

describe("the token", () => {
  test("is long, and another for each start", async () => {
    const token = url.pathname.slice(1, -1);
    expect(Buffer.from(token, "base64url").length).toBe(18);
    const other = await servePage(sessionOf(threeTierModel()), noAssets, 0, () => {});
    expect(new URL(other.url).pathname).not.toBe(url.pathname);
    other.close();
  });

  test.each(["/", "/api/map", "/wrong/api/map", "//api/map", "/../api/map"])(
    "without it %s is not found",
    async (path) => {
      expect((await ask(path)).status).toBe(404);
    },
  );

  test("a token that is nearly right is none", async () => {
    const token = url.pathname.slice(1, -1);
    const near = `${token.slice(0, -1)}${token.endsWith("A") ? "B" : "A"}`;
    expect((await ask(`/${near}/api/map`)).status).toBe(404);
    expect((await ask(`/${token}`)).status).toBe(404);
  });
});

describe("the head of a request", () => {
  test.each(["evil.example", "localhost", "127.0.0.1", "127.0.0.1:1", "[::1]"])(
    "Host %s is refused: a name of another's may lead here",
    async (host) => {
      const { status, text } = await ask(`${url.pathname}api/map`, { headers: { Host: host } });
      expect([status, text]).toEqual([421, expect.stringContaining("want 127.0.0.1:")]);
    },
  );

  test("another page's Origin is refused, its own is not", async () => {
    const path = `${url.pathname}api/page`;
    expect((await ask(path, { headers: { Origin: "http://evil.example" } })).status).toBe(403);
    expect((await ask(path, { headers: { Origin: "null" } })).status).toBe(403);
    expect((await ask(path, { headers: { Origin: `http://${url.host}` } })).status).toBe(200);
  });

  test.each([
    ["POST", "api/map"],
    ["GET", "api/what-if"],
    ["DELETE", "api/flows"],
    ["PUT", ""],
    ["POST", "page.js"],
  ])("%s %s is not allowed", async (method, path) => {
    expect((await ask(`${url.pathname}${path}`, { method })).status).toBe(405);
  });

  test("a body where none is taken, and one that is too large, are refused", async () => {
    const headers = { "Content-Length": String(64 * 1024 * 1024) };
    const large = await ask(`${url.pathname}api/what-if`, { method: "POST", headers });
    expect(large.status).toBe(413);
    const none = await ask(`${url.pathname}api/page`, {
      body: "x",
      headers: { "Content-Length": 1 },
    });
    expect(none.status).toBe(413);
  });
});

describe("an answer", () => {
  test.each(["", "page.js", "page.css", "api/page", "api/map"])(
    "%s allows nothing of others",
    async (path) => {
      const { status, headers } = await ask(`${url.pathname}${path}`);
      expect(status).toBe(200);
      const policy = String(headers["content-security-policy"]);
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).not.toMatch(/unsafe|https?:|\*/);
      expect(headers).toMatchObject({
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
      });
      expect(headers["access-control-allow-origin"]).toBeUndefined();
    },
  );

  test("a question with a mistake says what it is", async () => {
    const asked = async (path: string) => {
      const { status, text } = await ask(`${url.pathname}${path}`);
      return [status, JSON.parse(text).message];
    };
    expect(await asked("api/why?from=shop/datbase&to=shop/payment")).toEqual([
      400,
      expect.stringContaining("did you mean shop/database"),
    ]);
    expect(await asked("api/why?from=shop/database&to=shop/payment&port=http")).toEqual([
      400,
      expect.stringContaining("want a port and protocol"),
    ]);
    expect(await asked("api/flows?since=-1")).toEqual([
      400,
      'since: got "-1", want a whole number',
    ]);
    const edit = await ask(`${url.pathname}api/what-if`, {
      method: "POST",
      body: "{}",
      headers: { "Content-Length": 2 },
    });
    expect([edit.status, edit.text]).toEqual([400, expect.stringContaining("is not {")]);
  });
});

test("a port that is taken is refused with a reason", async () => {
  const again = servePage(sessionOf(threeTierModel()), noAssets, Number(url.port), () => {});
  await expect(again).rejects.toMatchObject({
    kind: "environment",
    message: expect.stringContaining(`cannot listen on 127.0.0.1:${url.port}`),
  });
});
