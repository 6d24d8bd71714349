import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { expect, test } from "vitest";
import { HubbleClient } from "../hubble/client.js";
import { pause } from "../kubernetes/harness.js";
import { mainThread, Starvation } from "../live/starvation.js";
import { patientMs } from "../patience.js";
import { Random } from "../property/random.js";
import { frameTypes, hostileHubble } from "./http2-wire.js";
import { ListenersProcess } from "./listeners-process.js";
import { hostileText, leaving, play, scattered, type WireStep } from "./wire.js";

const seconds = Number(process.env["FUZZ_SECONDS"] ?? 10);
const seed = Number(process.env["FUZZ_SEED"] ?? 1);
/** Hostile connections at once to each listener: more than it lets one client have. */
const ATTACKERS = { tcp: 24, unix: 24, hubble: 40, page: 12 } as const;
/** A stall that no single step may cause, many times over what one is meant to take. */
const STALL_MS_MAX = 1_000;
/** How long a well-formed client may have to ask again; what the listeners waited for a processor is no part of it. */
const ANSWER_MS_MAX = patientMs;
const RSS_BYTES_MAX = 400 * 1024 * 1024;

const kinds = ["tcp", "unix", "hubble", "page"] as const;
type Kind = (typeof kinds)[number];

interface Report {
  readonly longestMs: number;
  readonly rssBytes: number;
  /** Of the process that answers Hubble's clients. */
  readonly hubbleBytes: number;
  readonly told: readonly string[];
}

// Goal: no bytes, order or delay of clients ends the process that enforces or those that answer for it,
// stalls its main thread, fills their memory, or keeps a well-formed request from its answer.
// Method: the listeners as `run` and `ui` open them, in a process of their own, with 20,000 connections to list and flows that
// never end; hostile clients, made from a seed, while an honest one asks. It may be refused, for the number of clients
// or since the machine keeps the process waiting, but not for good; at Hubble's port, where each address has a share,
// never. Three times more with a planted fault, which must be found.
// FUZZ_SEED and FUZZ_SECONDS search elsewhere and longer.
test(`hostile clients (FUZZ_SEED=${seed})`, { timeout: (seconds + 400) * 1_000 }, async () => {
  const { objection, figures } = await search(seconds);
  console.log(figures);
  expect(objection).toBeUndefined();
});

test("a request that ends the process is found", { timeout: 200_000 }, async () => {
  expect((await search(100, "end")).objection).toMatch(/^the process has ended/);
});

test("a request that stalls the process is found", { timeout: 200_000 }, async () => {
  expect((await search(100, "stall")).objection).toMatch(/^the main thread worked \d+ ms/);
});

test("a call that ends the Hubble listener is found", { timeout: 200_000 }, async () => {
  expect((await search(100, "hubble")).objection).toMatch(
    /^it said: the Hubble listener has ended/,
  );
});

const host = "HTTP/1.1\r\nHost: x\r\n";
const manifest = JSON.stringify({
  files: [{ name: "a.yaml", text: "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n" }],
});
const paths = [
  ...["/metrics", "/healthz", "/readyz", "/status", "/endpoints", "/policies", "/interfaces"],
  ...["/tables", "/connections", "/connections?ip=10.1.0.0/24&port=443", "/connections?ip=x"],
  ...["/flows?last=20", "/flows?follow=true", "/flows?since=2026-01-01T00:00:00Z", "//", "/"],
];
const processSeeds: readonly string[] = [
  ...paths.map((path) => `GET ${path} ${host}\r\n`),
  ...["/reload", "/take-over", "/connections/flush?ip=192.0.2.1"].map(
    (path) => `POST ${path} ${host}Content-Length: 0\r\n\r\n`,
  ),
  `POST /dry-run ${host}Content-Length: ${manifest.length}\r\n\r\n${manifest}`,
  `POST /dry-run ${host}Content-Length: 60000000\r\n\r\n{"files":[`,
  `POST /dry-run ${host}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
  `GET /healthz ${host}Content-Length: 400000\r\n\r\n${"{},".repeat(130_000)}`,
  `HEAD /status HTTP/1.0\r\n\r\n`,
  `GET /status ${host}\r\n`.repeat(500),
  "",
];

/** Requests to the page, by somebody who knows its address. */
function pageSeeds(page: string): readonly string[] {
  const { host, pathname } = new URL(page);
  const head = `HTTP/1.1\r\nHost: ${host}\r\nOrigin: http://${host}\r\n`;
  const edit = JSON.stringify({
    text: "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x, namespace: shop}\nspec: {podSelector: {}}\n",
    removed: ["NetworkPolicy shop/database"],
  });
  return [
    ...[
      "",
      "page.js",
      "api/page",
      "api/map",
      "api/flows?since=0",
      "api/hits",
      "api/policy?place=1",
    ],
    ...[
      "api/why?from=shop/payment&to=shop/database&port=5432/tcp",
      "api/why?from=10.0.0.1&to=fd00::1",
    ],
    ...[
      "api/why?from=__proto__&to=constructor",
      "api/constructor",
      "../api/map",
      "api/flows?since=x",
    ],
  ]
    .map((path) => `GET ${pathname}${path} ${head}\r\n`)
    .concat(
      `POST ${pathname}api/what-if ${head}Content-Length: ${edit.length}\r\n\r\n${edit}`,
      `POST ${pathname}api/what-if ${head}Content-Length: 2000000\r\n\r\n{"text":"`,
      `POST ${pathname}api/what-if ${head}Content-Length: 4\r\n\r\nnull`,
      `GET /api/map ${head}\r\n`,
    );
}

/** Whom a planted fault needs. */
const forFault = { end: ["tcp", "unix"], stall: ["tcp", "unix"], hubble: ["hubble"] } as const;

/** Searches for so long; answers with what does not hold, undefined when nothing was found. */
async function search(
  lasts: number,
  fault?: keyof typeof forFault,
): Promise<{ objection: string | undefined; figures: string }> {
  const listeners = new ListenersProcess(
    { connections: 20_000, fault },
    { execArgv: ["--max-old-space-size=256"], stdio: ["ignore", "ignore", "pipe", "ipc"] },
  );
  const child = listeners.child;
  const attacked: readonly Kind[] = fault === undefined ? kinds : forFault[fault];
  let objection: string | undefined;
  const object = (found: string) => {
    objection ??= found;
  };
  const ended = new Promise<undefined>((resolve) => child.once("exit", () => resolve(undefined)));
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.once("exit", (code, signal) => {
    object(`the process has ended: ${signal ?? code}: ${stderr.slice(0, 500)}`);
  });
  let asked = 0;
  const answered = { tcp: 0, unix: 0, hubble: 0, page: 0 };
  let slowestMs = 0;
  let worst: Report = { longestMs: 0, rssBytes: 0, hubbleBytes: 0, told: [] };
  try {
    const place = await listeners.place;
    const page = new URL(place.page);
    const seeds = {
      page: pageSeeds(place.page),
      tcp: processSeeds,
      unix: processSeeds,
      hubble: [""],
    };
    const open = (kind: Kind, localAddress: string): Socket => {
      if (kind === "unix") return connect({ path: place.socket });
      const port = { tcp: place.port, hubble: place.hubblePort, page: Number(page.port) }[kind];
      return connect({ port, host: "127.0.0.1", localAddress });
    };
    const starvation = new Starvation(threadsOf(child.pid!));
    starvation.sample();
    /** Time since then, without that in which others kept the processors from those that have to answer. */
    const spentMs = (sinceMs: number) =>
      performance.now() - sinceMs - Math.max(0, starvation.since(sinceMs));
    const until = performance.now() + lasts * 1_000;
    // On a machine that is busy nothing may have been answered until then; the answer has its own bound.
    const isOver = () =>
      objection !== undefined ||
      (performance.now() > until && kinds.every((kind) => answered[kind] > 0));
    let next = seed;

    const attack = async (kind: Kind) => {
      while (!isOver()) {
        const random = new Random(next++);
        const found = await assail(
          kind,
          open(kind, "127.0.0.2"),
          stepsOf(kind, random, seeds[kind]),
        );
        asked++;
        if (found !== undefined) object(`FUZZ_SEED=${next - 1}: ${kind}: ${found}`);
        // Not more requests a second than are let through: what is refused for that tries nothing out.
        await pause(random.below(400));
      }
    };
    const behave = async (
      kind: Kind,
      ask: (isLate: () => boolean) => Promise<string>,
      kinds: { readonly answer: RegExp; readonly refusal: RegExp },
    ) => {
      let sinceMs = performance.now();
      while (!isOver()) {
        const got = await ask(() => isOver() || spentMs(sinceMs) > ANSWER_MS_MAX);
        const waitedMs = spentMs(sinceMs);
        if (isOver()) return;
        if (kinds.answer.test(got)) {
          answered[kind]++;
          slowestMs = Math.max(slowestMs, performance.now() - sinceMs);
        } else if (!kinds.refusal.test(got)) {
          // That the process has ended says more, and is heard of a little later.
          await Promise.race([ended, pause(1_000)]);
          object(`${kind}: got ${JSON.stringify(got.slice(0, 200))}`);
        } else if (waitedMs > ANSWER_MS_MAX) {
          object(`${kind}: was refused for ${Math.round(waitedMs)} ms: ${got}`);
        }
        await pause(50);
        if (kinds.answer.test(got)) sinceMs = performance.now();
      }
    };
    const honest =
      (kind: "tcp" | "unix" | "page", path: string, head = host) =>
      (isLate: () => boolean) =>
        honestly(open(kind, "127.0.0.1"), `GET ${path} ${head}\r\n`, isLate);
    const look = async () => {
      while (!isOver()) {
        const answer = new Promise<Report>((resolve) => child.once("message", resolve));
        child.send("report", () => {});
        const report = await Promise.race([answer, ended]);
        if (report === undefined) return;
        starvation.sample();
        worst = report;
        if (worst.longestMs > STALL_MS_MAX) {
          object(`the main thread worked ${Math.round(worst.longestMs)} ms in one go`);
        }
        for (const bytes of [worst.rssBytes, worst.hubbleBytes]) {
          if (bytes > RSS_BYTES_MAX) object(`${bytes} bytes are resident`);
        }
        if (worst.told.length > 0) object(`it said: ${worst.told[0]}`);
        await pause(200);
      }
    };
    await Promise.all([
      ...attacked.flatMap((kind) => Array.from({ length: ATTACKERS[kind] }, () => attack(kind))),
      behave("tcp", honest("tcp", "/readyz"), { answer: /^HTTP\/1\.1 200 /, refusal: busy }),
      behave("unix", honest("unix", "/status"), {
        answer: /^HTTP\/1\.1 200 /,
        // On the socket all are one client, and share what one may have: some are refused without a word.
        refusal: new RegExp(`${busy.source}|^Error: (read ECONNRESET|write EPIPE)$`),
      }),
      behave(
        "page",
        honest("page", `${page.pathname}api/map`, `HTTP/1.1\r\nHost: ${page.host}\r\n`),
        { answer: /^HTTP\/1\.1 200 /, refusal: busy },
      ),
      behave("hubble", (isLate) => honestFlows(place.hubblePort, isLate), {
        answer: /^0: 5 flows$/,
        // What enforces is busy; its clients' share is kept for each address.
        refusal: /^14: the process that enforces does not answer$/,
      }),
      look(),
    ]);
  } finally {
    objection ??= "";
    await listeners.close();
  }
  const figures =
    `${asked} hostile connections, ${kinds.reduce((sum, kind) => sum + answered[kind], 0)} well-formed answers, the slowest after ${Math.round(slowestMs)} ms; ` +
    `the main thread worked ${Math.round(worst.longestMs)} ms in one go at most, ${Math.round(worst.rssBytes / 1e6)} MB, for Hubble ${Math.round(worst.hubbleBytes / 1e6)} MB`;
  return { objection: objection || undefined, figures };
}

function stepsOf(kind: Kind, random: Random, seeds: readonly string[]): readonly WireStep[] {
  const bytes =
    kind === "hubble" && !random.oneIn(10) ? hostileHubble(random) : hostileText(random, seeds);
  const steps = scattered(random, bytes, 300);
  // Some say nothing more and stay, until they are closed.
  return random.oneIn(8) ? [...steps, { waitMs: 8_000 }] : leaving(random, steps);
}

/** Takes the steps, and reads what comes back for a while. Answers with what is wrong with that. */
async function assail(
  kind: Kind,
  socket: Socket,
  steps: readonly WireStep[],
): Promise<string | undefined> {
  let head = "";
  socket.on("error", () => {});
  socket.setEncoding("latin1").on("data", (text: string) => {
    if (head.length < 200) head += text;
  });
  const closed = once(socket, "close").catch(() => {});
  await play(socket, steps);
  await Promise.race([closed, pause(500)]);
  socket.destroy();
  if (head === "") return undefined;
  // HTTP/2 begins with the settings, whatever came.
  if (kind === "hubble" && head.charCodeAt(3) === frameTypes.settings) return undefined;
  if (/^HTTP\/1\.1 (100|2\d\d|4\d\d|503|505) /.test(head)) return undefined;
  return `got ${JSON.stringify(head)}`;
}

/** Refused for now; or closed, since the machine kept the client from sending its request in time. */
const busy = /^HTTP\/1\.1 (429|503) |^$/;

/** The main threads of a process and of those that it has started. */
function threadsOf(pid: number): string[] {
  const children = readFileSync(`${mainThread(pid)}/children`, "utf8").split(" ");
  return [pid, ...children.filter((each) => each !== "").map(Number)].map(mainThread);
}

/** Waits until something is there, or it is too late: then undefined. */
async function unlessLate<Value>(
  value: Promise<Value>,
  isLate: () => boolean,
): Promise<Value | undefined> {
  let isOver = false;
  const late = (async () => {
    while (!isOver && !isLate()) await pause(200);
    return undefined;
  })();
  const first = await Promise.race([value, late]);
  isOver = true;
  return first;
}

/** What Hubble's client gets that asks for five flows: the status and how many. */
async function honestFlows(port: number, isLate: () => boolean): Promise<string> {
  const client = new HubbleClient(port);
  try {
    const call = client.call("/observer.Observer/GetFlows", { number: 5 });
    const outcome = await unlessLate(call, isLate);
    if (outcome === undefined) return "no end";
    const { status, messages, message } = outcome;
    const flows = messages.filter(({ flow }) => flow !== undefined);
    return `${status}: ${status === 0 ? `${flows.length} flows` : message}`;
  } finally {
    client.close();
  }
}

/** What a well-formed request is answered. */
async function honestly(socket: Socket, request: string, isLate: () => boolean): Promise<string> {
  let answer = "";
  socket.on("error", (error) => {
    answer ||= `${error}`;
  });
  socket.setEncoding("latin1").on("data", (text: string) => {
    answer += text;
  });
  const closed = once(socket, "close").catch(() => {});
  socket.write(request);
  await unlessLate(closed, isLate);
  if (!socket.destroyed) answer = `no end: ${answer}`;
  socket.destroy();
  return answer;
}
