import { readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  acceptProcess,
  listenForProcess,
  passDescriptors,
  receiveDescriptors,
} from "../../src/dataplane/descriptor-passing.js";
import { closeDescriptor } from "../../src/dataplane/host.js";
import { askForPlace } from "../../src/node/handoff/handshake.js";
import { main, named, pause, until } from "./lab-harness.js";
import { managerWords, TestManager } from "./service-manager.js";
import {
  peerAddresses,
  podAddresses,
  type Running,
  SidecarBench,
  sidecarObstacle,
  urls,
} from "./sidecar-harness.js";
import { missing } from "./wire-bench.js";

const obstacle = sidecarObstacle ?? missing("python3", "nsenter");
/** Successions of each kind, and reloads before each; `npm run test:restart` asks for more. */
const rounds = Number(process.env["SLUICE_RESTART_ROUNDS"] ?? 2);
const reloads = Number(process.env["SLUICE_RESTART_RELOADS"] ?? 2);
/** Clients of each kind at each of two addresses. */
const clients = process.env["SLUICE_RESTART_CLIENTS"] ?? "2";
/** Has the kernel leave a connection half open until its client sends data, as nginx's \`deferred\` does. */
const deferredServer = `
import socket, sys
server = socket.create_server(("", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)
print("serving", flush=True)
while True:
    connection = server.accept()[0]
    connection.sendall(connection.recv(100))
`;
/** Sends datagrams all the time, and is told when its own kernel refuses one; says which errors it was told. */
const attentiveSender = `
import errno, json, select, socket, sys
IP_RECVERR, IPV6_RECVERR = 11, 25
kinds = ((socket.AF_INET, socket.IPPROTO_IP, IP_RECVERR), (socket.AF_INET6, socket.IPPROTO_IPV6, IPV6_RECVERR))
ways = []
for (family, level, option), address in zip(kinds, sys.argv[1:]):
    sender = socket.socket(family, socket.SOCK_DGRAM)
    sender.setsockopt(level, option, 1)
    ways.append((sender, address))
fromTheNetwork = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EACCES}
told = set()
print("sending", flush=True)
while True:
    for sender, address in ways:
        try:
            sender.sendto(b"", (address, 9))
        except OSError as error:
            if error.errno not in fromTheNetwork: told.add(errno.errorcode[error.errno])
    if select.select([sys.stdin], [], [], 0.001)[0]:
        sys.stdin.readline()
        print(json.dumps(sorted(told)), flush=True)
`;

// Goal: one sidecar follows another, and neither the workload nor who talks to it notices; who is denied is
// never answered in between, nor while one starts, reloads or stops.
// Method: a web server under load by connections that stay and ones that do not; numbered datagrams without
// a pause to a port that is denied, of which those answered are known.
describe.skipIf(obstacle !== undefined)(named("sidecar take over", obstacle), () => {
  let bench: SidecarBench;
  let socket: string;

  beforeEach(() => {
    bench = new SidecarBench();
    socket = join(bench.folder, "control.sock");
  });

  afterEach(() => bench.close());

  async function traffic() {
    await bench.serve();
    const load = bench.traffic(bench.network, "load", clients, ...urls);
    const held = bench.traffic(bench.network, "hold", "tcp", podAddresses[0], "5432");
    const denied = bench.traffic(bench.network, "flood", podAddresses[0], "5433");
    await until("the connection", () => held.out().startsWith("connected"));
    return {
      /** Waits until there have been answers since now. */
      async proceeds() {
        const done = async () => Number(await load.say("done"));
        const wanted = (await done()) + 4 * Number(clients);
        await until("more answers", async () => (await done()) > wanted);
      },
      /** Says that from here on nobody who is denied may be answered. */
      stands: () => denied.say("stands"),
      async done() {
        await denied.say("over");
        const { done, failed, errors } = JSON.parse(await load.say("end"));
        expect({ failed, errors }).toEqual({ failed: 0, errors: [] });
        expect(done).toBeGreaterThan(100);
        const { marks, runs } = JSON.parse(await denied.say("end")) as {
          readonly marks: Readonly<Record<"stands" | "over", number>>;
          readonly runs: readonly (readonly [number, number])[];
        };
        expect(marks.over - marks.stands).toBeGreaterThan(500);
        expect(runs.filter(([from, to]) => to >= marks.stands && from < marks.over)).toEqual([]);
      },
    };
  }

  async function reload(running: Running): Promise<void> {
    const generations = () => running.err().split("is in force").length;
    for (let each = 0; each < reloads; each++) {
      const before = generations();
      running.child.kill("SIGHUP");
      await until("the reload", () => generations() > before);
    }
  }

  test("another takes its place: nothing fails, and nothing is seen of it", async () => {
    await bench.settled();
    const before = bench.seen();
    const going = await traffic();
    let running = await bench.sidecar("--socket", socket, "--adopt");
    await going.stands();
    for (let round = 0; round < rounds; round++) {
      await reload(running);
      // One that comes, and does not take it.
      const guest = await askForPlace(socket, () => {});
      for (const descriptor of guest!.handoff.descriptors) closeDescriptor(descriptor);
      guest!.close();
      await until("the one before", () => running.err().includes("going on"));
      const workers = round % 2 === 0 ? "1" : "2";
      const next = await bench.sidecar("--socket", socket, "--take-over", "--workers", workers);
      expect(next.err()).toMatch(/eth0: veth; its uplink is .*: kernel \(taken over\)/);
      expect(await bench.ended(running)).toBe(0);
      running = next;
      await going.proceeds();
      expect(bench.seen()).toEqual(before);
    }
    await pause(300);
    await going.done();
    expect(await bench.end(running)).toBe(0);
    expect(bench.seen()).toEqual(before);
    expect(bench.interfaces()).toEqual(["eth0", "lo"]);
  });

  test("a successor that does not want the interface puts it back", async () => {
    await bench.settled();
    const before = bench.seen();
    const running = await bench.sidecar("--socket", socket);
    bench.inPod("ip", "link", "add", "left", "type", "veth", "peer", "right");
    const words = ["run", "--wire", "left,right", "--pod", "shop/payment", "-f", bench.manifests];
    words.push("--link", "af-packet");
    const next = bench.start(
      bench.pod,
      process.execPath,
      main,
      ...words,
      "--socket",
      socket,
      "--take-over",
    );
    await bench.ready(next);
    expect(await bench.ended(running)).toBe(0);
    expect(next.err()).not.toContain("not put back");
    expect(bench.interfaces()).toEqual(["eth0", "left", "lo", "right"]);
    expect(bench.seen()).toEqual(before);
    expect(await bench.end(next)).toBe(0);
  });

  // Goal: whenever one is told to end that takes another's place, one of the two has the interface, and the
  // workload gets it back.
  // Method: this process stands between them, so that each step is held until the signal has come.
  test.each([
    ["before it has the place: the other goes on", false],
    ["while it gets the place: it has it, and puts the interface back", true],
  ])("one is told to end %s", async (_, isAsked) => {
    await bench.settled();
    const before = bench.seen();
    const running = await bench.sidecar("--socket", socket);
    const between = join(bench.folder, "between.sock");
    const next = `${between}.next`;
    const server = createServer((_request, response) =>
      response.end(JSON.stringify({ path: next })),
    );
    const listener = listenForProcess(next);
    try {
      await new Promise<void>((resolve) => server.listen(between, resolve));
      const words = bench.words("--socket", between, "--take-over");
      const successor = bench.start(bench.pod, ...words);
      const connection = await acceptProcess(listener, 20_000);
      const guest = (await askForPlace(socket, () => {}))!;
      const { file, descriptors } = guest.handoff;
      const giveWhatItWants = () => {
        passDescriptors(connection, `estate ${descriptors.length}`, [file]);
        passDescriptors(connection, "links", descriptors);
        for (const descriptor of descriptors) closeDescriptor(descriptor);
      };
      if (isAsked) {
        giveWhatItWants();
        expect((await receiveDescriptors(connection, 20_000)).text).toBe("taken");
        successor.child.kill("SIGTERM");
        // It cannot be seen waiting; an end that does not wait would come meanwhile.
        await pause(300);
        await guest.taken();
        passDescriptors(connection, "yours");
        await guest.gone();
      } else {
        const threads = () => readdirSync(`/proc/${successor.child.pid}/task`).length;
        const count = threads();
        successor.child.kill("SIGTERM");
        await until("the end of the thread that compiles", () => threads() < count);
        giveWhatItWants();
        expect((await receiveDescriptors(connection, 20_000)).text).toBe("");
      }
      guest.close();
      closeDescriptor(connection);
      expect(await bench.ended(successor), successor.err()).toBe(0);
      if (!isAsked) {
        await until("the one before", () => running.err().includes("going on"));
        expect(await bench.end(running)).toBe(0);
      }
      expect(await bench.ended(running)).toBe(0);
      expect(bench.interfaces()).toEqual(["eth0", "lo"]);
      expect(bench.seen()).toEqual(before);
    } finally {
      closeDescriptor(listener);
      server.close();
    }
  });

  // Goal: a client whose connection is half open for the kernel when the process is killed is not cut off.
  test("after a kill, connections that the workload's kernel has half open go on", async () => {
    await bench.settled();
    const server = bench.start(bench.pod, "python3", "-c", deferredServer, "5432");
    await until("the server", () => server.out() === "serving\n");
    const killed = await bench.sidecar();
    const held = podAddresses.map((address) =>
      bench.traffic(bench.network, "hold", "tcp", address, "5432"),
    );
    await until("the connections", () => held.every(({ out }) => out() === "connected\n"));
    await bench.end(killed, "SIGKILL");
    const next = await bench.sidecar();
    expect(next.err()).toContain("2 connections adopted, 0 denied");
    for (const each of held) {
      await each.say("after");
      await each.say("answered");
      expect(JSON.parse(await each.say("end"))).toEqual({ after: true });
    }
    expect(await bench.end(next)).toBe(0);
  });

  // Goal: a connection that is half open outlives the start of the next process too. A kernel forgets it when its own
  // answer to the SYN, sent again, is refused where it is sent, as nftables does; into a front that leads nowhere, an
  // answer is only lost.
  test("after a kill, what the workload's kernel sends is not refused", async () => {
    await bench.settled();
    const killed = await bench.sidecar();
    const sender = bench.start(bench.pod, "python3", "-c", attentiveSender, ...peerAddresses);
    await until("the sender", () => sender.out() === "sending\n");
    await bench.end(killed, "SIGKILL");
    const next = await bench.sidecar();
    expect(JSON.parse(await sender.say("end"))).toEqual([]);
    expect(await bench.end(next)).toBe(0);
  });

  test("a service manager restarts it: nothing fails, and a stop puts everything back", async () => {
    await bench.settled();
    const before = bench.seen();
    const going = await traffic();
    const command = bench.words("--socket", socket, "--adopt");
    const service = new TestManager(
      bench.start(bench.pod, ...managerWords(join(bench.folder, "notify"), 64, command)).child,
    );
    await service.start();
    await going.stands();
    for (let round = 0; round < rounds; round++) {
      await service.stop("SIGTERM");
      expect(service.stored).toBeGreaterThan(2);
      await service.start();
      expect(service.stored).toBe(0);
      await going.proceeds();
      expect(bench.seen()).toEqual(before);
    }
    expect(service.said.match(/taken over from version .*: (\d+) of \1 connections/g)).toHaveLength(
      rounds,
    );
    // What was stored is lost: it goes on as after a kill, and nothing passes in between.
    await service.stop("SIGTERM");
    await service.drop("sluice-estate");
    await service.start();
    expect(service.said).toContain("what the previous process left is incomplete");
    await pause(300);
    await going.done();
    await service.stop("SIGINT");
    expect(bench.seen()).toEqual(before);
  });
});
