import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { request } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  type AccessOptions,
  type ClusterAccess,
  findCluster,
} from "../../src/kubernetes/cluster-access.js";
import { ApiServer } from "./api-server.js";

// Goal: a kubeconfig leads where kubectl would go by it, with the same credentials; what is not read is named.
// Method: files as people have them, and requests to a TLS server that takes one token.

let folder = "";
let server: ApiServer;
const opened: ClusterAccess[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-kubeconfig-"));
  server = new ApiServer();
  await server.start();
});
afterEach(async () => {
  vi.useRealTimers();
  for (const access of opened.splice(0)) access.close();
  await server.stop();
  rmSync(folder, { recursive: true });
});

function put(name: string, content: string | object, mode = 0o600): string {
  const file = join(folder, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  chmodSync(file, mode);
  return file;
}

/** A kubeconfig of one context, with other fields of its cluster and user. */
function config(cluster: object, user: object): object {
  return {
    clusters: [{ name: "c", cluster: { server: server.url, ...cluster } }],
    users: [{ name: "u", user }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
}

const trusted = () => ({ "certificate-authority-data": Buffer.from(server.ca).toString("base64") });

async function open(options: Partial<AccessOptions>): Promise<ClusterAccess> {
  const access = await findCluster({ env: {}, ...options });
  opened.push(access);
  return access;
}

/** Asks for the namespaces; returns the status. */
async function ask(access: ClusterAccess): Promise<number> {
  const { options } = await access.credentials();
  return new Promise((resolve, reject) => {
    const url = new URL("/api/v1/namespaces", access.server);
    request(url, options, (answer) => {
      answer.resume();
      answer.on("end", () => resolve(answer.statusCode ?? 0));
    })
      .on("error", reject)
      .end();
  });
}

describe("files", () => {
  test("paths begin at the folder of the file that names them", async () => {
    put("deep/ca.crt", server.ca);
    put("deep/token", "first-token\n");
    const cluster = { "certificate-authority": "ca.crt" };
    const kubeconfig = put("deep/config", config(cluster, { tokenFile: "token" }));
    const access = await open({ kubeconfig });
    expect(await ask(access)).toBe(200);
    expect(access.files).toEqual([
      kubeconfig,
      join(folder, "deep/ca.crt"),
      join(folder, "deep/token"),
    ]);
  });

  test("those of KUBECONFIG are merged, and the first of one name counts", async () => {
    const users = { users: [{ name: "u", user: { token: "first-token" } }] };
    const first = put("first", users);
    const second = put("second", config(trusted(), { token: "other" }));
    const access = await open({ env: { KUBECONFIG: `${first}:${second}` } });
    expect(await ask(access)).toBe(200);
  });

  test("~/.kube/config is the last resort", async () => {
    put(".kube/config", config(trusted(), { token: "first-token" }));
    expect(await ask(await open({ env: { HOME: folder } }))).toBe(200);
  });

  test("a server that the authority does not vouch for is told nothing, but where the kubeconfig says so", async () => {
    const user = { token: "first-token" };
    const strict = await open({ kubeconfig: put("strict", config({}, user)) });
    await expect(ask(strict)).rejects.toThrow(/certificate/);
    const lax = put("lax", config({ "insecure-skip-tls-verify": true }, user));
    expect(await ask(await open({ kubeconfig: lax }))).toBe(200);
  });

  test("a token's file is read again in time, and stays as it was while it cannot be read", async () => {
    const tokenFile = put("token", "first-token");
    const kubeconfig = put("config", config(trusted(), { token: "old", tokenFile }));
    const access = await open({ kubeconfig });
    expect(await ask(access)).toBe(200);
    const before = Date.now();
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(before + 61_000);
    rmSync(tokenFile);
    expect(await ask(access)).toBe(200);
    server.tokens.clear();
    server.tokens.add("second-token");
    writeFileSync(tokenFile, "second-token");
    expect(await ask(access)).toBe(200);
  });

  test("renew reads everything anew, once for all who ask", async () => {
    const kubeconfig = put("config", config(trusted(), { token: "old" }));
    const access = await open({ kubeconfig });
    const { version } = await access.credentials();
    expect(await ask(access)).toBe(401);
    put("config", config(trusted(), { token: "first-token" }));
    await access.renew(version);
    await access.renew(version);
    expect((await access.credentials()).version).toBe(version + 1);
    expect(await ask(access)).toBe(200);
  });

  test.each<[string, object, object, RegExp]>([
    ["OIDC", {}, { "auth-provider": { name: "oidc" } }, /got auth-provider oidc, want a token/],
    [
      "a SOCKS proxy",
      { "proxy-url": "socks5://x" },
      {},
      /got proxy-url "socks5:\/\/x", want an http/,
    ],
    ["a server that is no URL", { server: "nowhere" }, {}, /got server "nowhere", want a URL/],
    [
      "an unknown plugin version",
      {},
      { exec: { apiVersion: "v0" } },
      /got apiVersion "v0", want client/,
    ],
    [
      "a plugin that asks a person",
      {},
      { exec: { apiVersion: "client.authentication.k8s.io/v1", interactiveMode: "Always" } },
      /want a plugin that asks nobody/,
    ],
    ["a user that is no map", {}, ["x"], /users?: got no map of keys/],
  ])("%s is named as not read", async (_name, cluster, user, message) => {
    const kubeconfig = put("config", config(cluster, user));
    await expect(open({ kubeconfig })).rejects.toMatchObject({ kind: "input", message });
    await expect(open({ kubeconfig })).rejects.toThrow(message);
  });

  test("words of JavaScript's own objects are names like others", async () => {
    const odd = config(trusted(), { token: "first-token" });
    const text = JSON.stringify(odd)
      .replaceAll('"u"', '"__proto__"')
      .replaceAll('"x"', '"constructor"');
    expect(await ask(await open({ kubeconfig: put("config", text) }))).toBe(200);
  });
});

describe("a user", () => {
  test("is asked for as another one", async () => {
    const user = {
      token: "first-token",
      as: "jane",
      "as-groups": ["a", "b"],
      "as-user-extra": { k: ["v"] },
    };
    const access = await open({ kubeconfig: put("config", config(trusted(), user)) });
    expect((await access.credentials()).options.headers).toEqual({
      authorization: "Bearer first-token",
      "Impersonate-User": "jane",
      "Impersonate-Group": ["a", "b"],
      "Impersonate-Extra-k": ["v"],
    });
  });

  test("has a certificate from data or files", async () => {
    const data = Buffer.from("a key").toString("base64");
    const user = { "client-certificate": put("cert", "a certificate"), "client-key-data": data };
    const access = await open({ kubeconfig: put("config", config(trusted(), user)) });
    const { agent } = (await access.credentials()).options;
    const { cert, key } = (agent as unknown as { options: Record<string, Buffer> }).options;
    expect([cert?.toString(), key?.toString()]).toEqual(["a certificate", "a key"]);
  });

  test("has a name and a password", async () => {
    const user = { username: "jane", password: "secret" };
    const access = await open({ kubeconfig: put("config", config(trusted(), user)) });
    expect((await access.credentials()).options.auth).toBe("jane:secret");
  });
});

describe("a pod's service account", () => {
  const env = () => ({
    KUBERNETES_SERVICE_HOST: "127.0.0.1",
    KUBERNETES_SERVICE_PORT: new URL(server.url).port,
  });

  test("is used where there is one and no kubeconfig is named", async () => {
    put("account/token", "first-token");
    put("account/ca.crt", server.ca);
    const access = await open({ env: env(), accountFolder: join(folder, "account") });
    expect(access.server.origin).toBe(server.url);
    expect(await ask(access)).toBe(200);
  });

  test("an IPv6 address of the server is written as URLs have it", async () => {
    put("account/token", "first-token");
    put("account/ca.crt", server.ca);
    const sixth = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };
    const access = await open({ env: sixth, accountFolder: join(folder, "account") });
    expect(access.server.host).toBe("[fd00::1]");
  });
});

describe("a credential plugin", () => {
  const apiVersion = "client.authentication.k8s.io/v1";
  /** A plugin that counts its runs in a file; `answer` is shell text. */
  const plugin = (answer: string) =>
    put("plugin.sh", `#!/bin/sh\necho run >> ${folder}/runs\n${answer}\n`, 0o700);
  const credential = (status: object) =>
    `cat <<'EOF'\n${JSON.stringify({ apiVersion, kind: "ExecCredential", status })}\nEOF`;
  const runs = () => readFileSync(join(folder, "runs"), "utf8").split("\n").length - 1;
  const exec = (more: object = {}) =>
    put("config", config(trusted(), { exec: { apiVersion, command: "./plugin.sh", ...more } }));

  test("is run once for all who ask, and again when its answer expires", async () => {
    plugin(credential({ token: "first-token", expirationTimestamp: "2099-01-01T00:00:00Z" }));
    const access = await open({ kubeconfig: exec(), env: process.env });
    expect(await Promise.all([ask(access), ask(access), ask(access)])).toEqual([200, 200, 200]);
    expect(runs()).toBe(1);
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(Date.parse("2099-01-01T00:00:00Z"));
    plugin(credential({ token: "first-token" }));
    await access.credentials();
    expect(runs()).toBe(2);
  });

  test("gets its arguments, its environment and, where it wants that, the cluster", async () => {
    plugin(`echo "$1 $WHO $KUBERNETES_EXEC_INFO" > ${folder}/seen\n${credential({ token: "t" })}`);
    const env = [{ name: "WHO", value: "me" }];
    const kubeconfig = exec({ args: ["get"], env, provideClusterInfo: true });
    await (await open({ kubeconfig, env: process.env })).credentials();
    const [, who, info] = /^get (\w+) (.*)/.exec(readFileSync(join(folder, "seen"), "utf8")) ?? [];
    expect(who).toBe("me");
    expect(JSON.parse(info ?? "")).toMatchObject({
      apiVersion,
      kind: "ExecCredential",
      spec: { interactive: false, cluster: { server: server.url, ...trusted() } },
    });
  });

  test.each<[string, string, RegExp]>([
    ["fails", "echo broken >&2; exit 3", /plugin\.sh: it failed: broken$/],
    ["answers something else", "echo first-token", /another answer than an ExecCredential/],
    ["answers an array", "echo '[]'", /another answer than an ExecCredential/],
    ["answers without a credential", credential({}), /neither a token nor a certificate/],
    ["answers without end", "yes secret", /plugin\.sh: it failed/],
  ])("that %s is named, and its output is not repeated", async (_name, answer, message) => {
    plugin(answer);
    const access = await open({ kubeconfig: exec(), env: process.env });
    const refused = await access.credentials().catch((error: Error) => error.message);
    expect(refused).toMatch(message);
    expect(refused).not.toMatch(/token$|secret/);
    // The next one tries again.
    plugin(credential({ token: "first-token" }));
    expect(await ask(access)).toBe(200);
  });

  test("that is not there is named with its hint", async () => {
    const kubeconfig = exec({ command: "sluice-no-such-plugin", installHint: "install it" });
    const access = await open({ kubeconfig, env: process.env });
    await expect(access.credentials()).rejects.toThrow(
      "credential plugin sluice-no-such-plugin: there is no such program (install it)",
    );
  });
});

test("a proxy is asked for the way to the server, and sees nothing else", async () => {
  const asked: string[] = [];
  const proxy: Server = createServer();
  proxy.on("connect", ({ url = "" }, client, head) => {
    asked.push(url);
    const there = connect(Number(url.split(":")[1]), "127.0.0.1", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      there.write(head);
      there.pipe(client).pipe(there);
    });
    there.on("error", () => client.destroy());
    client.on("error", () => there.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  try {
    const cluster = {
      ...trusted(),
      "proxy-url": `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    };
    const kubeconfig = put("config", config(cluster, { token: "first-token" }));
    const access = await open({ kubeconfig });
    expect(await ask(access)).toBe(200);
    expect(asked).toEqual([new URL(server.url).host]);
    access.close();
  } finally {
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  }
});
