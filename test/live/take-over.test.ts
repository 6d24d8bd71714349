import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type {
  ConnectionItem,
  ControlList,
  ControlStatus,
  InterfaceItem,
} from "../../src/control/control-routes.js";
import { closeDescriptor, createVeth, deleteInterface } from "../../src/dataplane/host.js";
import { mayMakeNamespaces } from "../../src/lab/privilege.js";
import { readHandoff } from "../../src/node/handoff/handoff-state.js";
import { askForPlace } from "../../src/node/handoff/handshake.js";
import { patientMs } from "../patience.js";
import { FilterBench } from "./filter-bench.js";
import {
  finish,
  labObstacle,
  main,
  named,
  type PeerLine,
  pause,
  root,
  until,
} from "./lab-harness.js";
import { managerWords, TestManager } from "./service-manager.js";
import { missing } from "./wire-bench.js";

const obstacle =
  labObstacle ??
  (mayMakeNamespaces()
    ? missing("python3", "nsenter", "setpriv", "tc")
    : "needs CAP_NET_ADMIN and CAP_SYS_ADMIN");

const allowedPort = 5432;
const deniedPort = 5433;
const numberedPort = 5434;
/** How much goes through at least, and how fast; `npm run test:restart` asks for a gigabyte. */
const mebibytes = Number(process.env["SLUICE_RESTART_MEBIBYTES"] ?? 16);
const pace = 40;
const compiler = spawnSync("cc", ["--version"]).status === 0 ? undefined : "there is no cc";
/** Successions in each transfer. */
const rounds = Number(process.env["SLUICE_RESTART_ROUNDS"] ?? 2);
/** The same where order is asked about, and swaps of the policy by each process. */
const ordered = { rounds: Number(process.env["SLUICE_RESTART_ROUNDS"] ?? 1), swaps: 5 };
const payment = "10.1.2.20";
const database = "10.1.2.30";

// Goal: one process takes the place of another, and nobody notices: a transfer goes on byte by byte, no
// connection is lost, and who is denied never gets an answer, whatever dies in the middle.
// Method: a pod, the filter and the network are three namespaces in a row. A transfer whose bytes are
// counted and hashed, and somebody who knocks without a pause on a port that is denied, go on all the
// time; filters come and go between them.
describe.skipIf(obstacle !== undefined)(named("take over", obstacle), () => {
  let bench: FilterBench;
  beforeEach(() => {
    bench = new FilterBench("take-over", { inside: [database], outside: [payment] });
    for (const name of ["cluster.yaml", "policies.yaml"]) {
      copyFileSync(join(root, "examples/three-tier", name), join(bench.folder, name));
    }
  });
  afterEach(() => bench.close());

  const flags = (words: readonly string[]) =>
    [process.execPath, main, "run", "--wire", "inside,outside", "--pod", "shop/database"].concat(
      ["-f", bench.folder, "--socket", bench.socket, "--watch", "never"],
      words,
    );

  const startAnother = (...words: string[]) => follow(bench.enter(bench.filter, ...words));

  /** Starts a filter; `said` has what it has printed so far. */
  const run = (...words: string[]) => startAnother(...flags(words));

  function follow(child: ChildProcess) {
    const said = { text: "" };
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        said.text += text;
      });
    }
    return { child, said, isReady: () => said.text.includes("ready\n") };
  }

  async function ask<Answer>(...words: string[]): Promise<Answer> {
    const command = [main, ...words, "--socket", bench.socket, "-o", "json"];
    const { stdout, stderr } = await finish(spawn(process.execPath, command));
    expect(stderr).toBe("");
    return JSON.parse(stdout) as Answer;
  }

  /** A transfer from the network to the pod, until it is `done`. */
  async function transfer(size = mebibytes) {
    const program = join(root, "test/live/transfer.mjs");
    const peer = (namespace: number, ...words: string[]) => {
      const child = bench.enter(namespace, process.execPath, program, ...words);
      const lines: PeerLine[] = [];
      createInterface({ input: child.stdout! }).on("line", (line) => lines.push(JSON.parse(line)));
      return { child, lines };
    };
    const port = String(allowedPort);
    const server = peer(bench.pod, "receive", database, port);
    await until("the server", () => server.lines.length > 0);
    const client = peer(bench.network, "send", database, port, String(size), String(pace));
    const bytes = () => server.lines.at(-1)?.bytes ?? 0;
    await until("traffic", () => bytes() > 0);
    return {
      bytes,
      /** Waits for the end, and expects it to be whole. */
      async done() {
        client.child.stdin!.write("end\n");
        const isOver = () => client.child.exitCode !== null;
        await until("the end", isOver, (size / pace) * 10_000 + patientMs);
        expect(client.lines.at(-1)).toMatchObject({ done: true, intact: true });
        server.child.stdin!.end();
        await until("the end of the server", () => server.child.exitCode !== null);
      },
    };
  }

  /** Knocks where it is denied, all the time; `answers` has whatever came back. */
  async function knock() {
    const answers: string[] = [];
    const listener = bench.enter(bench.pod, process.execPath, "-e", listenerProgram);
    listener.stdout!.setEncoding("utf8").on("data", (text: string) => answers.push(text));
    await until("the listener", () => answers.length > 0);
    const knocker = bench.enter(bench.network, process.execPath, "-e", knockerProgram);
    // That nobody has told it the pod's MAC for a while is no answer.
    const silence = ["", "EHOSTUNREACH"];
    let tries = 0;
    knocker.stdout!.setEncoding("utf8").on("data", (text: string) => {
      for (const line of text.split("\n")) {
        if (/^\d+$/.test(line)) tries = Number(line);
        else if (!silence.includes(line)) answers.push(line);
      }
    });
    await until("somebody who knocks", () => tries > 0);
    return {
      tries: () => tries,
      answers: () => answers.slice(1),
    };
  }

  async function first(...words: string[]) {
    const before = run(...words);
    await until("the first", before.isReady);
    return before;
  }

  test.each([
    ["af-packet", ["2", "1", "3"]],
    ["af-xdp", ["1", "2"]],
    ["kernel", ["2", "1", "3"]],
  ] as const)("a transfer goes on over %s, with %j workers in turn", async (link, counts) => {
    const workers = Array.from(
      { length: rounds + 1 },
      (_, round) => counts[round % counts.length]!,
    );
    const [initial = "1", ...later] = workers;
    let before = await first("--link", link, "--workers", initial);
    expect(before.said.text).toContain(`inside: ${link}`);
    const knocking = await knock();
    const going = await transfer();
    for (const count of later) {
      const tries = knocking.tries();
      const next = run("--link", link, "--workers", count, "--take-over");
      await until("the next", next.isReady);
      expect(next.said.text).toContain(`inside: ${link} (taken over)`);
      expect(next.said.text).toMatch(/taken over from version .*: (\d+) of \1 connections/);
      await until("the end of the one before", () => before.child.exitCode !== null);
      expect(before.child.exitCode, before.said.text).toBe(0);
      const bytes = going.bytes();
      await until("more traffic", () => going.bytes() > bytes);
      await until("more knocking", () => knocking.tries() > tries + 5);
      before = next;
    }
    const { items } = await ask<ControlList<ConnectionItem>>("conntrack", "list");
    expect(items.filter((each) => each.destination.port === allowedPort)).toMatchObject([
      { state: "established", assured: true },
    ]);
    const status = await ask<ControlStatus>("status");
    expect(status.generation).toBe(workers.length);
    await going.done();
    expect(knocking.answers()).toEqual([]);

    before.child.kill("SIGTERM");
    await until("the end", () => before.child.exitCode !== null);
    expect(before.child.exitCode).toBe(0);
  });

  // Goal: no frame overtakes another of its connection, whichever way each takes: through the kernel, by a process,
  // or by the one that takes its place, whose queues hold what nobody has counted.
  // Method: numbered datagrams, of which some are fragments, so that what follows waits for a worker, and a transfer;
  // processes that swap their policies and follow each other, with a worker each (0038 says why).
  test("frames keep their order by links of the kernel, across swaps and processes", async () => {
    const allow = {
      ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy" },
      metadata: { name: "numbered", namespace: "shop" },
      spec: {
        podSelector: { matchLabels: { app: "database" } },
        ingress: [{ ports: [{ protocol: "UDP", port: numberedPort }] }],
      },
    };
    writeFileSync(join(bench.folder, "numbered.yaml"), JSON.stringify(allow));
    let before = await first("--link", "kernel");
    const receiver = follow(bench.enter(bench.pod, "python3", "-c", numbersReceived));
    await until("the receiver", () => receiver.said.text.includes("listens"));
    bench.enter(bench.network, "python3", "-c", numbersSent);
    const going = await transfer();
    for (let round = 0; round < ordered.rounds; round++) {
      for (let swap = 0; swap < ordered.swaps; swap++) {
        expect(await ask("reload")).toMatchObject({ ok: true });
      }
      const next = run("--link", "kernel", "--take-over");
      await until("the next", next.isReady);
      await until("the end of the one before", () => before.child.exitCode !== null);
      const bytes = going.bytes();
      await until("more traffic", () => going.bytes() > bytes);
      before = next;
    }
    const { items } = await ask<ControlList<ConnectionItem>>("get", "connections");
    const numbered = items.find((each) => each.destination.port === numberedPort);
    expect(numbered).toMatchObject({ path: "kernel" });
    await going.done();
    receiver.child.stdin!.end();
    await until("the numbers", () => receiver.child.exitCode !== null);
    const [, received, late] = receiver.said.text.split("\n").map(Number);
    expect(received).toBeGreaterThan(100);
    expect(late).toBe(0);
  });

  test("a successor that dies in the middle is none: the one before goes on", async () => {
    const before = await first();
    const knocking = await knock();
    const going = await transfer();
    const resumes = () => before.said.text.split("going on").length - 1;
    for (let round = 1; round <= rounds; round++) {
      const predecessor = await askForPlace(bench.socket, () => {});
      const handoff = readHandoff(predecessor!.handoff);
      expect(handoff.links.map((each) => each.interface).sort()).toEqual(["inside", "outside"]);
      // It has stopped, and waits; what has passed by then is still read.
      let bytes = 0;
      await until("the last of it", async () => {
        bytes = going.bytes();
        await pause(100);
        return going.bytes() === bytes;
      });
      for (const descriptor of predecessor!.handoff.descriptors) closeDescriptor(descriptor);
      predecessor!.close();
      await until("the one before", () => resumes() === round);
      await until("traffic", () => going.bytes() > bytes);
    }
    await going.done();

    // Real ones, killed whenever it may be; the last moment is the one when the place is theirs.
    for (let round = 0; round < rounds && before.child.exitCode === null; round++) {
      const next = run("--take-over");
      const isNear = () => next.said.text.includes("(taken over)") || next.isReady();
      if (round % 2 === 0) await until("the take-over", isNear);
      else await pause(300 + 50 * round);
      next.child.kill("SIGKILL");
      await until("its end", () => next.child.signalCode !== null);
    }
    if (before.child.exitCode !== null) await first("--take-over");
    await (await transfer(1)).done();
    expect(knocking.answers()).toEqual([]);
  });

  test("a predecessor that is killed in the middle is succeeded all the same", async () => {
    const before = await first();
    const knocking = await knock();
    const going = await transfer();
    const next = run("--take-over");
    await until("the middle", () => next.said.text.includes("taken over"));
    before.child.kill("SIGKILL");
    await until("the next", next.isReady);
    await going.done();
    expect(knocking.answers()).toEqual([]);
  });

  // Goal: what passes after a death is what the one in force wants, also while another comes and goes.
  test("what is to pass after a death changes hands with the place", async () => {
    const before = await first("--fail-mode", "open");
    const going = await transfer(1);
    const predecessor = await askForPlace(bench.socket, () => {});
    for (const descriptor of predecessor!.handoff.descriptors) closeDescriptor(descriptor);
    predecessor!.close();
    await until("the one before", () => before.said.text.includes("going on"));
    const opens = async () => (await ask<ControlStatus>("status")).failOpen;
    expect(await opens()).toEqual(["inside", "outside"]);

    const closed = await first("--take-over");
    expect(await opens()).toEqual([]);
    closed.child.kill("SIGKILL");
    await until("its end", () => closed.child.signalCode !== null);
    await until("nothing more", async () => {
      const bytes = going.bytes();
      await pause(300);
      return going.bytes() === bytes;
    });
    await first("--loose");
    await going.done();
  });

  // Goal: before Linux 6.6 programs are filters, which outlive the process: what it had admitted ends with its lease.
  test.skipIf(compiler !== undefined)(
    named("links of the kernel without tcx: handed on, closed after a kill, cleaned up", compiler),
    async () => {
      const library = join(bench.folder, "no-tcx.so");
      const shim = join(root, "test/live/no-tcx-shim.c");
      const built = spawnSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, shim, "-ldl"]);
      expect(String(built.stderr)).toBe("");
      const older = async (...words: string[]) => {
        const all = ["env", `LD_PRELOAD=${library}`, ...flags(["--link", "kernel", ...words])];
        const started = follow(bench.enter(bench.filter, ...all));
        await until("one that is ready", started.isReady);
        return started;
      };
      const before = await older();
      expect((await held()).match(/sluice_wire/g)).toHaveLength(2);
      const knocking = await knock();
      const going = await transfer();
      const next = await older("--take-over", "--workers", "2");
      expect(next.said.text).toMatch(/taken over from version .*: (\d+) of \1 connections/);
      await until("the end of the one before", () => before.child.exitCode !== null);
      expect((await held()).match(/sluice_wire/g)).toHaveLength(2);
      await until("frames in the kernel", async () => {
        const { items } = await ask<ControlList<InterfaceItem>>("get", "interfaces");
        return items.some(({ kernelFrames }) => kernelFrames > 10);
      });

      // Somebody removes a filter: it is put back, and the interface is not given back meanwhile.
      const handle = /handle (\S+) sluice_wire/.exec(await held())?.[1] ?? "";
      const place = ["dev", "inside", "ingress", "pref", "1", "protocol", "all", "handle", handle];
      await finish(bench.enter(bench.filter, "tc", "filter", "del", ...place, "bpf"));
      expect((await held()).match(/sluice_wire/g)).toHaveLength(1);
      await finish(bench.enter(bench.filter, "ip", "link", "set", "inside", "alias", "an-event"));
      await until("both filters", async () => (await held()).match(/sluice_wire/g)?.length === 2);
      expect(next.said.text).not.toContain("taken again");

      next.child.kill("SIGKILL");
      await until("the end of its lease", async () => {
        const bytes = going.bytes();
        await pause(500);
        return going.bytes() === bytes;
      });
      const last = await older("--loose");
      await going.done();
      expect(knocking.answers()).toEqual([]);
      last.child.kill("SIGTERM");
      await until("the end", () => last.child.exitCode !== null);
      expect((await held()).trim()).toBe("");
    },
  );

  /** Starts one that may load no programs, so that filters have to hold the kernel off. */
  const startLesser = (...words: string[]) =>
    follow(
      bench.enter(bench.filter, "setpriv", "--bounding-set=-sys_admin,-bpf,-perfmon", ...words),
    );

  /** The filters that are there. */
  const held = async () => {
    const words = ["inside", "outside"].flatMap((name) => [
      `filter show dev ${name} ingress`,
      `filter show dev ${name} egress`,
    ]);
    const { stdout } = await finish(
      bench.enter(bench.filter, "sh", "-c", words.map((each) => `tc ${each}`).join(";")),
    );
    return stdout;
  };

  // Goal: by default packets pass in the kernel, and whoever follows goes on by what it may have, and what there is.
  test("without a word about links: in the kernel, where programs may be loaded", async () => {
    let before = await first();
    expect(before.said.text).toContain("inside: kernel (packets of admitted connections");
    const knocking = await knock();
    const going = await transfer();
    const successors = [
      { start: startLesser, link: "af-packet (a veth with TSO", words: [] },
      { start: startAnother, link: "af-packet (taken over)", words: [] },
      { start: startAnother, link: "kernel (asked for)", words: ["--link", "kernel"] },
    ];
    for (const { start, link, words } of successors) {
      const next = start(...flags([...words, "--take-over"]));
      await until("the next", next.isReady);
      for (const name of ["inside", "outside"]) {
        expect(next.said.text).toContain(`${name}: ${link}`);
      }
      expect(next.said.text).toMatch(/taken over from version .*: (\d+) of \1 connections/);
      expect(next.said.text.includes("; no kernel link: BPF_")).toBe(start === startLesser);
      await until("the end of the one before", () => before.child.exitCode !== null);
      const bytes = going.bytes();
      await until("more traffic", () => going.bytes() > bytes);
      before = next;
    }
    await going.done();
    expect(knocking.answers()).toEqual([]);
  });

  // Goal: filters, which no process holds, are in place whoever comes and goes, until nobody wants them.
  // Method: nobody here may load programs; one successor wants an interface that is not there, besides.
  test("where filters hold the kernel off, they stay; what the next one does not want is given back", async () => {
    const config = (...wires: (readonly [string, string])[]): string[] => {
      const path = join(bench.folder, "node-config");
      const items = wires.map(([inside, outside], index) =>
        JSON.stringify({ pod: ["shop/database", "shop/payment"][index], inside, outside }),
      );
      writeFileSync(
        path,
        `apiVersion: sluice/v1\nkind: NodeConfig\nwatch: never\nmanifests: [cluster.yaml, policies.yaml]\nwires: [${items}]\n`,
      );
      return [
        process.execPath,
        main,
        "run",
        "--config",
        path,
        "--socket",
        bench.socket,
        "--take-over",
      ];
    };
    createVeth(
      { namespaceFd: bench.filter, name: "left" },
      { namespaceFd: bench.filter, name: "right" },
    );
    const before = startLesser(...flags([]));
    await until("the first", before.isReady);
    const filters = await held();
    expect(filters.split("\n").length).toBeGreaterThan(8);
    const knocking = await knock();
    const going = await transfer(1);

    const broken = startLesser(...config(["inside", "outside"], ["nowhere", "right"]));
    await until("its end", () => broken.child.exitCode !== null);
    expect(broken.said.text).toContain("outside: af-packet (taken over)");
    expect(broken.child.exitCode).toBe(4);
    await until("the one before", () => before.said.text.includes("going on"));
    expect(await held()).toBe(filters);

    const next = startLesser(...config(["inside", "outside"]));
    await until("the next", next.isReady);
    expect(await held()).toBe(filters);
    expect(before.child.exitCode).toBe(0);
    await going.done();
    expect(knocking.answers()).toEqual([]);

    const other = startLesser(...config(["left", "right"]));
    await until("the other", other.isReady);
    expect(await held()).toBe("");
    const doctor = ["--", process.execPath, main, "doctor", "-o", "json"];
    const enter = [`--net=/proc/${process.pid}/fd/${bench.filter}`, ...doctor];
    const left = () => String(spawnSync("nsenter", enter).stdout).includes("guard that was left");
    await until("the guard of what is given back to go", () => !left());
    other.child.kill("SIGTERM");
    await until("the end", () => other.child.exitCode !== null);
    expect(other.child.exitCode).toBe(0);
  });

  // Goal: an interface that was a wire's, and whose name another has now, is never the kernel's own.
  test("what is closed under another name stays so", async () => {
    const ip = (words: string) => finish(bench.enter(bench.filter, "ip", ...words.split(" ")));
    const filtersOf = async (name: string) =>
      (await finish(bench.enter(bench.filter, "tc", "filter", "show", "dev", name, "ingress")))
        .stdout;
    const before = startLesser(...flags([]));
    await until("the first", before.isReady);
    await ip("link set outside name moved");
    await ip("link add outside type veth peer name far");
    await ip("link set outside up");
    await until("the other one", () => before.said.text.includes("outside: taken again"));
    await ip("link set inside name else");
    await until("the other name", () => before.said.text.includes("it is called else now"));
    const closed = [await filtersOf("moved"), await filtersOf("else")];
    expect(closed).not.toContain("");

    const next = startLesser(...flags(["--take-over"]));
    await until("the next", next.isReady);
    await until("the end of the first", () => before.child.exitCode !== null);
    expect([await filtersOf("moved"), await filtersOf("else")]).toEqual(closed);
    await ip("link set else name inside");
    await until("its name", () => next.said.text.includes("inside: taken again"));
    next.child.kill("SIGTERM");
    await until("the end", () => next.child.exitCode !== null);
    expect(await filtersOf("moved")).toBe("");
    expect(await held()).toBe("");
  });

  test("one that is told to end while another takes its place ends when it is clear whose that is", async () => {
    for (const isTaken of [false, true]) {
      const before = startLesser(...flags([]));
      await until("the first", before.isReady);
      const filters = await held();
      const guest = await askForPlace(bench.socket, () => {});
      for (const descriptor of guest!.handoff.descriptors) closeDescriptor(descriptor);
      before.child.kill("SIGTERM");
      await pause(300);
      expect(before.child.exitCode).toBe(null);
      if (isTaken) await guest!.taken();
      guest!.close();
      await until("its end", () => before.child.exitCode !== null);
      expect(before.child.exitCode, before.said.text).toBe(0);
      expect(await held()).toBe(isTaken ? filters : "");
    }
    const after = await first();
    await (await transfer(1)).done();
    expect(after.child.exitCode).toBe(null);
  });

  test("with nobody there it starts like any other; with errors the one before goes on", async () => {
    const before = await first("--take-over");
    expect(before.said.text).toContain("nobody to take over from");
    rmSync(join(bench.folder, "cluster.yaml"));
    const next = run("--take-over");
    await until("its end", () => next.child.exitCode !== null);
    expect(next.child.exitCode).toBe(3);
    expect((await ask<ControlStatus>("status")).pid).toBe(before.child.pid);
  });

  const manager = (room: number) =>
    new TestManager(
      bench.enter(bench.filter, ...managerWords(join(bench.folder, "notify"), room, flags([]))),
    );

  test("a transfer goes on across restarts by a service manager that keeps descriptors", async () => {
    const service = manager(64);
    await service.start();
    const knocking = await knock();
    const going = await transfer();
    for (let round = 0; round < rounds; round++) {
      await service.stop("SIGTERM");
      expect(service.stored).toBeGreaterThan(2);
      await pause(100);
      const bytes = going.bytes();
      await service.start();
      expect(service.stored).toBe(0);
      await until("more traffic", () => going.bytes() > bytes);
    }
    expect(service.said.match(/taken over from version .*: (\d+) of \1 connections/g)).toHaveLength(
      rounds,
    );
    expect(service.status).toBe(`generation ${rounds + 1} is in force`);
    await going.done();
    expect(knocking.answers()).toEqual([]);
    // SIGINT is for good: nothing is stored.
    await service.stop("SIGINT");
    expect(service.stored).toBe(0);
  });

  test("an interface that was made anew in between is taken at the start, and there is no loop", async () => {
    const service = manager(64);
    await service.start();
    const knocking = await knock();
    await service.stop("SIGTERM");
    deleteInterface(bench.filter, "inside");
    bench.connect("inside");
    await service.start();
    expect(service.stored).toBe(0);
    const going = await transfer();
    await until("traffic", () => going.bytes() > 1 << 20);
    await going.done();
    expect(knocking.answers()).toEqual([]);
  });

  test("what is not whole is no succession: it starts anew, closed in between", async () => {
    const service = manager(64);
    await service.start();
    const knocking = await knock();
    await service.stop("SIGTERM");
    await service.drop("sluice-estate");
    await service.start();
    expect(service.said).toContain("what the previous process left is incomplete");
    expect(service.stored).toBe(0);
    await service.kill();
    await service.start();
    const going = await transfer();
    await until("traffic", () => going.bytes() > 1 << 20);
    expect(knocking.answers()).toEqual([]);
  });
});

// How many came, and how many of them behind a higher number.
const numbersReceived = `import select, socket, struct, sys
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
link.bind(("${database}", ${numberedPort}))
print("listens", flush=True)
received = late = highest = 0
while True:
    ready = select.select([link, sys.stdin], [], [])[0]
    if link not in ready: break
    number, = struct.unpack_from("!I", link.recv(4000))
    received += 1
    late += number < highest
    highest = max(highest, number)
print(received, late, sep="\\n")`;

const numbersSent = `import socket, struct, time
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.connect(("${database}", ${numberedPort}))
for number in range(1, 1 << 31):
    data = struct.pack("!I", number)
    try: link.send(data + bytes(3000) if number % 100 == 0 else data)
    except ConnectionRefusedError: break
    if number % 10 == 0: time.sleep(0.01)`;

const listenerProgram = `require("node:net")
  .createServer((socket) => { console.log("a connection"); socket.destroy(); })
  .listen(${deniedPort}, "${database}", () => console.log("listens"));`;

// A refusal is an answer too: it would have come from the pod.
const knockerProgram = `const { connect } = require("node:net");
let tries = 0;
setInterval(() => {
  console.log(++tries);
  const socket = connect(${deniedPort}, "${database}");
  socket.on("connect", () => console.log("connected"));
  socket.on("error", (error) => console.log(error.code));
  setTimeout(() => socket.destroy(), 1_500);
}, 10);`;
