import { Socket } from "node:net";
import { metricsBounds } from "./metrics-bounds.js";
import { readAnswer } from "./metrics-channel.js";
import { type Handler, PlainAnswer, serveDescriptor } from "./server.js";
import { becomeUnprivileged } from "./unprivileged.js";

/**
 * The process that answers on the metrics port, without any privilege: metrics-process.ts starts it.
 *
 * It has no data of its own. It forwards a client's request to the enforcing process, once for all clients
 * that send the same request meanwhile.
 */

const listenerFd = 3;
const channelFd = 4;
/** How long the enforcing process may take before a client gets an error. */
const answerMs = 5_000;
/** Limit of its memory; the engine reserves more than it uses. */
const dataBytesMax = 512 * 1024 * 1024;

interface Waiting {
  /** Requests from before the question was sent: the answer is newer than they are. */
  asked: ((answer: PlainAnswer) => void)[];
  next: ((answer: PlainAnswer) => void)[];
}

/** Forwards requests to the enforcing process. */
class Bridge {
  readonly #channel: Socket;
  readonly #waiting = new Map<string, Waiting>();
  #rest = "";

  constructor(channel: Socket) {
    this.#channel = channel;
    channel.setEncoding("utf8").on("data", (text: string) => {
      const lines = (this.#rest + text).split("\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) this.#answered(line);
    });
  }

  ask(route: string): Promise<PlainAnswer> {
    const waiting = this.#waiting.get(route) ?? { asked: [], next: [] };
    this.#waiting.set(route, waiting);
    return new Promise((resolve) => {
      const late = setTimeout(
        () => resolve(new PlainAnswer(503, "the process that enforces does not answer\n")),
        answerMs,
      );
      waiting.next.push((answer) => {
        clearTimeout(late);
        resolve(answer);
      });
      this.#send(route, waiting);
    });
  }

  #send(route: string, waiting: Waiting): void {
    if (waiting.asked.length > 0 || waiting.next.length === 0) return;
    waiting.asked = waiting.next;
    waiting.next = [];
    this.#channel.write(`${route}\n`);
  }

  #answered(line: string): void {
    const { route, status, text, type } = readAnswer(line);
    const waiting = this.#waiting.get(route);
    if (waiting === undefined) return;
    const answer = new PlainAnswer(status, text, type);
    for (const give of waiting.asked.splice(0)) give(answer);
    this.#send(route, waiting);
  }
}

const channel = new Socket({ fd: channelFd, readable: true, writable: true });
for (const event of ["end", "error", "close"]) channel.on(event, () => process.exit(0));

const bridge = new Bridge(channel);
const handlers: Record<string, Handler> = {};
for (const route of process.argv.slice(2)) handlers[route] = () => bridge.ask(route);
becomeUnprivileged({ descriptorsMax: metricsBounds.connectionsMax + 64, dataBytesMax });
await serveDescriptor(listenerFd, metricsBounds, { handlers });
