import { get } from "node:http";
import type { Socket } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runStatus } from "../../src/cli/status.js";
import { controlRoutes } from "../../src/control/control-routes.js";
import { Controller } from "../../src/control/controller.js";
import { type Serving, serveUnix } from "../../src/control/server.js";
import { SourceFollower } from "../../src/control/source-follower.js";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import type { KubernetesSource } from "../../src/kubernetes/kubernetes-source.js";
import { DroppedFrames } from "../../src/observe/dropped-frames.js";
import { FlowLog } from "../../src/observe/flow-log.js";
import { Hits } from "../../src/observe/hits.js";
import { fakeIo } from "../cli/fake-io.js";
import { watchLongestWork } from "../fuzz/longest-work.mjs";
import { namespaceObject, podObject, policyObject } from "./api-objects.js";
import type { ApiServer, Fault, SeenRequest } from "./api-server.js";
import { eventually, Followed, podsPath, policiesPath } from "./harness.js";

const denyAll = { podSelector: {}, policyTypes: ["Ingress", "Egress"] };

/** Sends bytes as they are, and leaves the connection as it is. */
const raw = (text: string) => (socket: Socket) => void socket.write(text);
/** Sends one piece again and again, for as long as the connection lasts. */
const dribble = (head: string, piece: string) => (socket: Socket) => {
  socket.write(head);
  const timer = setInterval(() => socket.write(piece), 20);
  socket.on("close", () => clearInterval(timer));
};
const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
const json = { "content-type": "application/json" };

/** What tells of a source: a process that enforces what it says, without an interface. */
class Surfaces {
  readonly #dataplane = Dataplane.create({});
  readonly #flows = new FlowLog(this.#dataplane, { interfaceName: () => undefined });
  readonly #controller: Controller;
  readonly #path: string;
  #follower: SourceFollower | undefined;
  #serving: Serving | undefined;

  static async of(source: KubernetesSource, folder: string): Promise<Surfaces> {
    const surfaces = new Surfaces(source, folder);
    const first = await surfaces.#controller.reload();
    expect(first.ok).toBe(true);
    const controller = surfaces.#controller;
    surfaces.#follower = new SourceFollower({ source, controller, after: () => {} });
    surfaces.#serving = await serveUnix(
      surfaces.#path,
      0o600,
      controlRoutes({
        ...{ name: "test", version: "0", controller, dataplane: surfaces.#dataplane },
        ...{ flows: surfaces.#flows, established: "recheck", deny: "drop" },
        hits: new Hits({ dataplane: surfaces.#dataplane, flows: surfaces.#flows }),
        droppedFrames: new DroppedFrames([surfaces.#dataplane], surfaces.#flows),
        mode: () => "enforce",
        interfaces: () => [],
        reload: () => controller.reload(),
        isBehind: () => source.isBehind,
        source: () => source.status(),
      }),
    );
    return surfaces;
  }

  private constructor(source: KubernetesSource, folder: string) {
    this.#path = join(folder, "socket");
    this.#controller = new Controller({
      take: () => source.take(),
      local: () => "all",
      enforce: (table) => this.#dataplane.swapTable(table.blob, []),
    });
  }

  readyz(): Promise<string> {
    return this.#get("/readyz", (status, text) => `${status} ${text}`);
  }

  metrics(): Promise<string> {
    return this.#get("/metrics", (_, text) => text);
  }

  async status(output: "table" | "json"): Promise<string> {
    const io = fakeIo();
    expect(await runStatus({ socket: this.#path, output }, io)).toBe(0);
    return io.out();
  }

  /** Names of the policies in force. */
  policies(): string[] {
    const objects = this.#controller.table?.objects ?? [];
    return objects.filter(({ kind }) => kind === "NetworkPolicy").map(({ meta }) => meta.name);
  }

  close(): void {
    this.#follower?.close();
    this.#serving?.close();
    this.#flows.close();
    this.#dataplane.close();
  }

  #get(path: string, read: (status: number, text: string) => string): Promise<string> {
    return new Promise((resolve, reject) => {
      get({ socketPath: this.#path, path }, (answer) => {
        let text = "";
        answer.setEncoding("utf8");
        answer.on("data", (piece: string) => {
          text += piece;
        });
        answer.on("end", () => resolve(read(answer.statusCode!, text)));
      }).on("error", reject);
    });
  }
}

// Goal: whatever answers a list or a watch, and however it stops, the resource is tried again by itself, its
// age is seen meanwhile, and in the end everything is followed.
// Method: a server that answers the requests for one resource with bytes of the test's, twice each or for as
// long as the test says; all others are answered well all the while.
describe("a source that has stopped", () => {
  let followed: Followed;
  let server: ApiServer;

  beforeEach(() => {
    followed = new Followed();
    server = followed.server;
    server.put(namespaceObject("shop"));
    server.put(podObject("web", { ip: "10.1.0.1" }));
  });
  afterEach(() => followed.close());

  const policies = () => followed.names("NetworkPolicy");
  const isPolicies = ({ path }: SeenRequest) => path === policiesPath;
  const policyStatus = () =>
    followed
      .source!.status()
      .resources.find(({ resource }) => resource.startsWith("networkpolicies"))!;
  /** Answers the first so many lists and as many watches of policies with this. */
  function failing(fault: Fault, lists: number, watches: number): () => boolean {
    const left = { list: lists, watch: watches };
    server.fault = (request) => {
      if (!isPolicies(request)) return undefined;
      return left[request.isWatch ? "watch" : "list"]-- > 0 ? fault : undefined;
    };
    return () => left.list <= 0 && left.watch <= 0;
  }

  const answers: readonly (readonly [name: string, fault: Fault])[] = [
    [
      "101 to another protocol",
      raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    ],
    ["101 without a protocol", raw("HTTP/1.1 101 Switching Protocols\r\n\r\n")],
    ["100 and nothing more", raw("HTTP/1.1 100 Continue\r\n\r\n")],
    ["103 again and again", dribble("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")],
    ["nothing at all", () => {}],
    ["headers that do not end", dribble("HTTP/1.1 200 OK\r\n", "X-A: b\r\n")],
    ["an end before the headers", (socket) => void socket.end("HTTP/1.1 200 OK\r\n")],
    ["what is not HTTP", raw("SSH-2.0-OpenSSH_9.2\r\n")],
    ["two lengths", raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}")],
    [
      "a redirect",
      raw("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
    ],
    ["an error whose body does not end", dribble("HTTP/1.1 500 No\r\n\r\n", " ")],
    ["no content", raw("HTTP/1.1 204 No Content\r\n\r\n")],
    ["a page", { body: "<html>hello</html>", headers: { "content-type": "text/html" } }],
    [
      "JSON that says it is a page",
      {
        body: '{"kind":"NetworkPolicyList","metadata":{"resourceVersion":"1"},"items":[]}',
        headers: { "content-type": "text/html" },
      },
    ],
    [
      "gzip",
      {
        body: gzipSync("{}").toString("latin1"),
        headers: { ...json, "content-encoding": "gzip" },
      },
    ],
    ["half a document", { body: '{"kind":"NetworkPolicyList","items":[{"metad' }],
    ["one byte again and again", dribble(ok, " ")],
    [
      "a line that does not end",
      dribble(`${ok}{"type":"ADDED","object":{"a":"`, "x".repeat(50_000)),
    ],
    ["bytes that are no text", (socket) => void socket.end(Buffer.from([0x16, 3, 1, 0, 255, 255]))],
    [
      "items that are none",
      { body: '{"kind":"NetworkPolicyList","metadata":{"resourceVersion":"1"},"items":5}' },
    ],
    ["a list twice", { body: '{"items":[],"items":[]}' }],
    ["brackets", { body: "]]]]" }],
    ["a kind that is none", { body: '{"kind":{"toString":1},"items":[]}' }],
    [
      "an error that says nothing",
      { body: '{"type":"ERROR","object":{"code":{"valueOf":1},"message":{"toString":1}}}\n' },
    ],
    ["events that are none", { body: '{"type":"ADDED","object":null}\n{"type":["ADDED"]}\n{}\n' }],
  ];
  test.each(answers)("a list and a watch are tried again after %s", async (_, fault) => {
    const isOver = failing(fault, 2, 2);
    await followed.start({
      timing: { answerMs: 300, idleMs: 200, listMs: 600, watchIdleMs: 300 },
    });
    server.put(policyObject("deny", denyAll));
    await followed.until(() => policies().length === 1 && isOver());
    await eventually("watches", () => server.watches === 7);
    server.remove(policyObject("deny", {}));
    await followed.until(() => policies().length === 0);
    const isWell = () => {
      const { state, error, stale } = policyStatus();
      return state === "following" && error === null && !stale;
    };
    await eventually("that all is well", isWell);
  });

  // Goal: what reproducer 8 found: a policy that comes after one 101 is in force.
  test("a policy that comes after the watch was answered with 101 is taken", async () => {
    await followed.start();
    await followed.until(() => server.watches === 7);
    const isOver = failing(answers[0]![1], 0, 1);
    server.cutWatches();
    await eventually("the answer", isOver);
    server.put(policyObject("deny", denyAll));
    await followed.until(() => policies().length === 1);
  });

  // Goal: a watch that is open and says nothing does not hide behind the others, nor for ever; while nothing
  // is heard of its resource, every surface says so, and the table in force stays.
  test("a watch that says nothing is seen, and its resource listed instead", async () => {
    // Opened, and never a word: as behind a proxy that has lost the server.
    const silent = dribble(ok, "\n");
    server.fault = (request) => (isPolicies(request) && request.isWatch ? silent : undefined);
    const source = await followed.start({ timing: { staleMs: 3_000 } });
    const surfaces = await Surfaces.of(source, followed.folder);
    try {
      await eventually("the watch", () => policyStatus().state === "following");
      await expect.poll(() => surfaces.readyz()).toMatch(/^200 ok: generation 1 is in force\n$/);
      server.put(policyObject("deny", denyAll));
      // Its lists are what is left to tell of it.
      await eventually("the policy", () => surfaces.policies().join() === "deny");
      expect(followed.asked(policiesPath, false)).toBeGreaterThan(1);
      // Without them it goes stale, and the rest does not.
      server.fault = (request) =>
        !isPolicies(request) ? undefined : request.isWatch ? silent : () => {};
      // On a busy machine others are stale for a moment too.
      const staleOnes = () => source.status().resources.filter(({ stale }) => stale);
      await eventually("its age", () => policyStatus().stale && staleOnes().length === 1);
      expect(policyStatus().ageSeconds).toBeGreaterThan(3);
      expect(source.status().ageSeconds).toBeLessThan(policyStatus().ageSeconds!);
      await expect
        .poll(() => surfaces.readyz())
        .toMatch(
          /^200 degraded: generation 2 is in force; not known to be current: networkpolicies.networking.k8s.io for \d+ s/,
        );
      await expect
        .poll(() => surfaces.status("table"))
        .toMatch(
          / {2}networkpolicies.networking.k8s.io: \w+, 1 object, current \d+ s ago, may be out of date/,
        );
      await expect
        .poll(() => surfaces.status("table"))
        .toMatch(/ {2}pods: \w+, 1 object, current \d s ago\n/);
      expect(JSON.parse(await surfaces.status("json"))).toMatchObject({
        enforced: true,
        source: { resources: expect.arrayContaining([expect.objectContaining({ stale: true })]) },
      });
      const age =
        /^sluice_source_resource_age_seconds\{resource="networkpolicies.networking.k8s.io"\} (\S+)$/m;
      expect(Number(age.exec(await surfaces.metrics())![1])).toBeGreaterThan(3);
      expect(surfaces.policies()).toEqual(["deny"]);
      server.fault = () => undefined;
      await eventually("that it is current", () => !policyStatus().stale);
      await expect.poll(() => surfaces.readyz()).toMatch(/^200 ok/);
    } finally {
      surfaces.close();
    }
  });

  test("watches that end at once, again and again, are not relied on: the resource is listed instead", async () => {
    server.fault = (request) => (isPolicies(request) && request.isWatch ? { body: "" } : undefined);
    await followed.start({ timing: { steadyMs: 1_000, watchIdleMs: 60_000, relistMs: 60_000 } });
    await followed.until(() => followed.asked(policiesPath, true) > 1);
    server.put(policyObject("deny", denyAll));
    await followed.until(() => policies().length === 1);
  });

  test("a watch that the server does not end in time is given up, one that it ends is a proof", async () => {
    server.bookmarkMs = 1e9;
    await followed.start({ timing: { watchMs: 1_000, watchIdleMs: 60_000, relistMs: 60_000 } });
    await followed.until(() => server.watches === 7);
    const before = followed.asked(policiesPath, true);
    // Nothing is said at all: the end of each watch is what shows that the server is there.
    await eventually("another watch", () => followed.asked(policiesPath, true) > before + 1);
    const proven = () => policyStatus().state === "following" && policyStatus().ageSeconds! < 4;
    await eventually("its proof", proven);
    expect(policyStatus()).toMatchObject({ error: null, lists: 1 });
  });

  test("a version of the future is not waited for", async () => {
    // A bookmark of the server's own would take it back.
    server.bookmarkMs = 1e9;
    await followed.start({ timing: { relistMs: 3_000, watchIdleMs: 3_000 } });
    await followed.until(() => server.watches === 7);
    server.say(
      "NetworkPolicy",
      '{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9999999"}}}\n',
    );
    await eventually("the bookmark", () => policyStatus().events > 0);
    server.cutWatches();
    await eventually("a watch from then", () =>
      server.seen.some(
        (seen) => isPolicies(seen) && seen.query.get("resourceVersion") === "9999999",
      ),
    );
    server.put(policyObject("deny", denyAll));
    await followed.until(() => policies().length === 1);
  });

  // Goal: an object of any shape is at most a diagnostic; what stands beside it is taken.
  test("objects of odd shapes harm none but themselves", async () => {
    const words = ["constructor", "__proto__", "toString", "hasOwnProperty", "prototype"];
    const long = "x".repeat(10_000_000);
    const longish = "x".repeat(100_000);
    const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;
    const meta = (more: string, name = "odd") =>
      `"metadata":{"name":"${name}","namespace":"shop","resourceVersion":"5"${more}}`;
    const objects = [
      "null",
      "5",
      '"text"',
      "[]",
      "[[]]",
      "{}",
      '{"metadata":null}',
      '{"metadata":[]}',
      '{"metadata":{"name":5,"resourceVersion":"5"}}',
      '{"metadata":{"name":"a/b","namespace":"c/d","resourceVersion":"5"}}',
      `{"metadata":{"name":"${long}","resourceVersion":"5"}}`,
      `{"metadata":{"name":"odd","namespace":"shop","resourceVersion":"${longish}"}}`,
      `{${meta("")},"spec":null,"status":[]}`,
      `{${meta("")},"spec":5,"status":"x"}`,
      `{${meta(`,"labels":{"a":"${long}"}`)}}`,
      `{${meta(`,"labels":{"${longish}":"a"}`)}}`,
      `{${meta(`,"annotations":{"sluice/mode":"${longish}"}`)}}`,
      `{${meta("")},"spec":{"${longish}":1}}`,
      `{${meta("")},"spec":${deep(50_000)}}`,
      `{${meta("")},"spec":${"[".repeat(50_000)}${"]".repeat(50_000)}}`,
      `{${meta(`,"labels":${deep(10_000)}`)}}`,
      `{${meta("")},"spec":{"podSelector":{"matchLabels":${deep(10_000)}}}}`,
      `{${meta("")},"spec":{"containers":{"ports":1},"initContainers":[null,5,{"ports":[null]}]},"status":{"podIPs":[null,{"ip":5}],"podIP":{}}}`,
      // What a server may store, and would take seconds to read.
      `{${meta("", "much")},"spec":{"podSelector":{},"ingress":[{"ports":[${"{},".repeat(300_000)}{}]}]}}`,
      ...words.flatMap((name) => [
        `{${meta("", name)}}`,
        `{${meta(`,"labels":{"${name}":"${name}"},"annotations":{"${name}":"x","${name}.sluice/x":"y"}`)}}`,
        `{"metadata":{"name":"a","namespace":"${name}","resourceVersion":"5"},"spec":{"nodeName":"${name}"},"status":{"phase":"${name}","podIP":"10.1.9.9"}}`,
        `{"${name}":{"a":1},${meta(`,"${name}":{}`)},"spec":{"${name}":[],"podSelector":{"matchLabels":{"${name}":"${name}"}}}}`,
      ]),
    ];
    const plurals = ["pods", "namespaces", "nodes", "networkpolicies", "clusternetworkpolicies"];
    const kinds = ["Pod", "Namespace", "Node", "NetworkPolicy", "ClusterNetworkPolicy"];
    let isOdd = true;
    server.fault = ({ path, isWatch }) => {
      const kind = kinds[plurals.indexOf(path.split("/").at(-1)!)];
      if (!isOdd || isWatch || kind === undefined) return undefined;
      // Two lists for which the order of names is another, so that the one comes after the other.
      const items = objects.join(",");
      const body = `{"items":[${items}],"metadata":{"resourceVersion":"1"},"kind":"${kind}List"}`;
      return { body, headers: json };
    };
    const source = await followed.start({
      timing: { listMs: 60_000, idleMs: 20_000, relistMs: 90_000 },
    });
    await followed.until(() => server.watches === 7);
    expect(source.status().unreadable).toBeGreaterThan(40);
    expect(followed.codes.length).toBeLessThanOrEqual(100);
    // As events, too, among those of an honest kind.
    for (const kind of kinds) {
      for (const object of objects.filter((each) => each.length < 1_000_000)) {
        server.say(
          kind,
          `{"type":"MODIFIED","object":${object}}\n{"type":"DELETED","object":${object}}\n`,
        );
      }
    }
    server.put(policyObject("deny", denyAll));
    server.put(podObject("late", { ip: "10.1.0.2" }));
    await followed.until(
      () => policies().includes("deny") && followed.names("Pod").includes("late"),
    );
    expect(({} as Record<string, unknown>)["a"]).toBeUndefined();
    // An honest list takes all of it back.
    isOdd = false;
    server.compact();
    server.cutWatches();
    await followed.until(() => source.status().unreadable === 0);
    const names = () =>
      ["Pod", "NetworkPolicy", "Namespace"].map((kind) => followed.names(kind).join());
    await followed.until(() => names().join(";") === "late,web;deny;shop");
  });

  // Goal: what does not fit into memory is refused and told, and the rest stays as it is.
  test("lists are bounded all together, by memory", async () => {
    server.put(policyObject("deny", denyAll));
    const source = await followed.start({ memoryBytes: 100_000, timing: { absentMs: 100 } });
    await followed.until(() => server.watches === 7);
    const { memoryBytes, memoryLimitBytes } = source.status();
    expect(memoryLimitBytes).toBe(100_000);
    expect(memoryBytes).toBeGreaterThan(1_000);
    for (let each = 0; each < 200; each++)
      server.put(podObject(`p-${each}`, { ip: `10.2.0.${each}` }));
    await eventually("a refusal", () =>
      /need more memory than there is: want at most 0 MiB/.test(followed.told.join()),
    );
    expect(source.status().memoryBytes).toBeLessThanOrEqual(100_000);
    // Pods do not keep policies out.
    server.put(policyObject("other", denyAll));
    await followed.until(() => policies().join() === "deny,other");
    // A list does not fit either, and leaves no trace.
    server.compact();
    server.cutWatches();
    const lists = followed.asked(podsPath, false);
    await eventually("lists", () => followed.asked(podsPath, false) > lists + 2);
    expect(source.status().memoryBytes).toBeLessThanOrEqual(100_000);
    await followed.take();
    expect(followed.names("Pod")).toContain("web");
    expect(policies()).toEqual(["deny", "other"]);
    // Others go on, and so does this one when there is room.
    for (let each = 0; each < 200; each++) server.remove(podObject(`p-${each}`));
    server.put(podObject("late", { ip: "10.1.0.2" }));
    await followed.until(() => followed.names("Pod").join() === "late,web");
    await eventually("the room", () => source.status().memoryBytes < 3 * memoryBytes);
    await eventually(
      "the word",
      () => followed.told.at(-1)?.endsWith("everything is followed") ?? false,
    );
  });

  // Goal: a list of any length leaves the event loop to others.
  // Method: a list of one page, 8,000 pods and some 20 MB; a timer that is due every 5 ms sees each stall.
  test("a list of 8,000 pods in one page does not hold up anything else", async () => {
    const items = Array.from({ length: 8_000 }, (_, each) => {
      const {
        kind: _kind,
        apiVersion: _version,
        ...pod
      } = podObject(`p-${each}`, {
        ip: `10.${2 + (each >> 16)}.${(each >> 8) & 255}.${each & 255}`,
      });
      return pod;
    });
    const body = Buffer.from(
      JSON.stringify({ kind: "PodList", metadata: { resourceVersion: "1" }, items }),
    );
    server.fault = ({ path, isWatch }) =>
      path === podsPath && !isWatch
        ? (socket) => {
            socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
            // In pieces, so that it is not the server in this process that holds everything up.
            let at = 0;
            const more = () => {
              if (socket.destroyed || at >= body.length) return;
              socket.write(body.subarray(at, at + 100_000), () => setImmediate(more));
              at += 100_000;
            };
            more();
          }
        : undefined;
    const source = await followed.start({
      timing: { listMs: 60_000, idleMs: 20_000, relistMs: 90_000, steadyMs: 5_000 },
    });
    const start = process.cpuUsage();
    const longestWork = watchLongestWork();
    const { changes } = await source.take();
    const longestMs = longestWork();
    const { user, system } = process.cpuUsage(start);
    const usedMs = (user + system) / 1_000;
    expect(changes.length).toBe(8_001);
    console.log(`longest work ${longestMs.toFixed(0)} ms of ${usedMs.toFixed(0)} ms`);
    // In one go, reading it would be most of that time.
    expect(longestMs).toBeLessThan(usedMs / 3);
  });
});
