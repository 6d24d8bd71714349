import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { until } from "./lab-harness.js";

/** What arrived at a namespace's interfaces: how many first packets and datagrams, by `tcp 80` or `udp 53`. */
export type Counts = Readonly<Record<string, number>>;

/**
 * Counts what arrives in namespaces: TCP packets without ACK, and UDP datagrams, of any family. It hears them before
 * the namespace's own stack does.
 */
const program = `
import ctypes, json, os, select, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
heard, counts = {}, {}
poll = select.epoll()
poll.register(0, select.EPOLLIN)
def hear(name, path):
    fd = os.open(path, os.O_RDONLY)
    if libc.setns(fd, 0x40000000) != 0: raise OSError(ctypes.get_errno(), path)
    os.close(fd)
    link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    link.setblocking(False)
    heard[link.fileno()] = (name, link)
    counts[name] = {}
    poll.register(link.fileno(), select.EPOLLIN)
def take(name, link):
    while True:
        try: data, (device, kind, way, _, _) = link.recvfrom(128)
        except BlockingIOError: return
        except OSError: return
        if way == 4 or device == "lo" or len(data) < 28: continue
        if kind == 0x0800: protocol, at = data[9], (data[0] & 15) * 4
        elif kind == 0x86dd: protocol, at = data[6], 40
        else: continue
        if protocol == 6 and len(data) > at + 13 and not data[at + 13] & 16: word = "tcp"
        elif protocol == 17 and len(data) >= at + 4: word = "udp"
        else: continue
        key = "%s %d" % (word, struct.unpack_from("!H", data, at + 2)[0])
        counts[name][key] = counts[name].get(key, 0) + 1
text = b""
while True:
    for fd, _ in poll.poll():
        if fd != 0:
            take(*heard[fd])
            continue
        more = os.read(0, 65536)
        if not more: sys.exit(0)
        text += more
        *lines, text = text.split(b"\\n")
        for line in lines:
            ask = json.loads(line)
            if "hear" in ask: hear(ask["hear"], ask["path"])
            if "forget" in ask:
                for each in [n for n in heard if heard[n][0] == ask["forget"]]:
                    poll.unregister(each)
                    heard.pop(each)[1].close()
            for name, link in list(heard.values()): take(name, link)
            print(json.dumps(counts), flush=True)
`;

export class PacketCounter {
  readonly #child: ChildProcess;
  #answers: Record<string, Counts>[] = [];
  #stderr = "";

  constructor() {
    this.#child = spawn("python3", ["-c", program]);
    this.#child.stderr?.on("data", (text) => {
      this.#stderr += text;
    });
    createInterface({ input: this.#child.stdout! }).on("line", (line) =>
      this.#answers.push(JSON.parse(line)),
    );
  }

  /** Counts what arrives in a namespace from now on. */
  async hear(name: string, netns: number): Promise<void> {
    await this.#ask({ hear: name, path: `/proc/${process.pid}/fd/${netns}` });
  }

  /** Hears a namespace no more; what it has counted stays. */
  async forget(name: string): Promise<void> {
    await this.#ask({ forget: name });
  }

  async counts(): Promise<Readonly<Record<string, Counts>>> {
    return this.#ask({});
  }

  async #ask(what: object): Promise<Record<string, Counts>> {
    this.#answers = [];
    this.#child.stdin?.write(`${JSON.stringify(what)}\n`);
    await until(`an answer of the counter ${this.#stderr}`, () => this.#answers.length > 0);
    return this.#answers[0]!;
  }

  close(): void {
    this.#child.kill("SIGKILL");
  }
}
