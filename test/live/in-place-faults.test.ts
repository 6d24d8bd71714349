import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type HostileFile, hostileFiles } from "./hostile-files.js";
import { kernelObstacle, NodeBench } from "./in-place-bench.js";
import { finish, named, until } from "./lab-harness.js";
import { missing, restrictive } from "./wire-bench.js";

const TCP = 6;
const obstacle = kernelObstacle() ?? missing("python3", "mkfifo");

/** Asks the metrics listener what no client should; the last line says how a well-formed request is answered. */
const hostileClient = `
import socket
def connect():
    s = socket.create_connection(("127.0.0.1", 9464), 10)
    return s
def answer(*pieces):
    s = connect()
    try:
        for piece in pieces: s.sendall(piece)
        return s.recv(12).decode()
    except OSError as error: return str(error)
    finally: s.close()
idle = [connect() for _ in range(40)]
for what in (b"GET // HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n", b"\\0" * 70000, b"GET /status?" + b"x" * 70000, b"GET /metrics HTTP/9.9\\r\\n\\r\\n"):
    answer(what)
answer(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 30000000\\r\\n\\r\\n", *[b"{}," * 100000] * 100)
for each in idle: each.close()
print(answer(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"))
`;

// Goal: what holds of a process with wires holds of one that judges in place: no file and no request ends it, has it
// stand still or takes the table in force from it.
// Method: each sort of hostile file beside a policy, and hostile requests, with real connections after each.
describe.skipIf(obstacle !== undefined)(named("hostile inputs, in place", obstacle), () => {
  let bench: NodeBench;
  beforeEach(async () => {
    bench = new NodeBench();
    await bench.open();
    bench.route();
  });
  afterEach(() => bench.close());

  const enforces = async (what: string): Promise<void> => {
    expect(await bench.answers("peer", 4, TCP, 80), what).toBe("answered");
    expect(await bench.try("peer", 4, TCP, 81), what).toBe("timed-out");
  };

  test("files among the manifests", { timeout: 180_000 }, async () => {
    const folder = join(bench.folder, "more");
    mkdirSync(folder);
    const child = await bench.node(restrictive, "-f", folder);
    const { pid } = await bench.status();
    const file = join(folder, "x.yaml");
    const hostile: readonly HostileFile[] = [
      ...hostileFiles(file),
      [
        "a word of the language",
        () =>
          writeFileSync(file, "apiVersion: networking.k8s.io/constructor\nkind: NetworkPolicy\n"),
        /x\.yaml:1:13: no kind NetworkPolicy in version/,
      ],
    ];
    for (const [what, make, want] of hostile) {
      make();
      const said = async () => want.test((await bench.status()).lastError ?? "");
      await until(`${what}: a message`, said);
      expect(await bench.status(), what).toMatchObject({ pid, enforced: false });
      await enforces(what);
      rmSync(file);
    }
    await until("the manifests to be in force", async () => (await bench.status()).enforced);
    expect(child.exitCode).toBe(null);
  });

  test("requests to its listener", async () => {
    bench.run(bench.middle, "ip", "link", "set", "lo", "up");
    const child = await bench.node(restrictive, "--metrics-listen", "127.0.0.1:9464");
    const { pid, generation } = await bench.status();
    const client = await finish(bench.start(bench.middle, "python3", "-c", hostileClient));
    expect(client.stdout.trim()).toBe("HTTP/1.1 200");
    expect(await bench.status()).toMatchObject({ pid, generation, enforced: true });
    await enforces("after the requests");
    expect(child.exitCode).toBe(null);
  });
});
