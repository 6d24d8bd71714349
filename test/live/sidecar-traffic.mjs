// The traffic of the sidecar's tests: a server, clients that keep asking it, and one whom nobody may
// answer. Each prints one line of JSON when its standard input says `end`.
import { createSocket } from "node:dgram";
import { Agent, createServer, get } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { createInterface } from "node:readline";

/** A request fails by what becomes of its packets, and not because a busy machine is silent for seconds. */
const patientMs = 60_000;

const [mode, ...words] = process.argv.slice(2);
const modes = { serve, once, load, flood, hold };
const end = modes[mode](...words);

createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "end") {
    end.finish().then((result) => {
      process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
    });
  } else {
    const answer = (text) => process.stdout.write(`${text ?? line}\n`);
    const marked = end.mark?.(line);
    if (marked instanceof Promise) marked.then(answer);
    else answer(marked);
  }
});

/** HTTP on one port; echoes TCP and UDP on others. */
function serve(httpPort, ...echoPorts) {
  const body = "x".repeat(2_000);
  const never = { keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0 };
  createServer(never, (_request, response) => response.end(body)).listen(
    Number(httpPort),
    "::",
    () => process.stdout.write("serving\n"),
  );
  for (const port of echoPorts) {
    const udp = createSocket("udp6");
    udp.on("message", (message, { port: from, address }) => udp.send(message, from, address));
    udp.bind(Number(port));
    createTcpServer((socket) => {
      socket.on("error", () => {});
      socket.pipe(socket);
    }).listen(Number(port), "::");
  }
  return { finish: async () => ({}) };
}

/** Echoes one TCP connection, and listens no more once it has it. */
function once(port) {
  const server = createTcpServer((socket) => {
    server.close();
    socket.on("error", () => {});
    socket.pipe(socket);
  }).listen(Number(port), "::", () => process.stdout.write("serving\n"));
  return { finish: async () => ({}) };
}

/**
 * Asks again and again, `each` at a time on connections that stay and as many on ones that do not. A mark
 * is answered with how many requests are done.
 */
function load(each, ...urls) {
  let ended = false;
  const result = { done: 0, failed: 0, errors: [] };
  const ask = (url, agent) =>
    new Promise((resolve, reject) => {
      const begunMs = Date.now();
      const request = get(url, { agent, timeout: patientMs }, (response) => {
        response.resume();
        response.on("end", resolve);
        response.on("error", reject);
      });
      request.on("timeout", () => request.destroy(new Error("no answer in time")));
      request.on("error", ({ message }) => {
        const bytes = request.socket?.bytesRead ?? 0;
        reject(new Error(`${message} (${Date.now() - begunMs} ms, ${bytes} bytes read)`));
      });
    });
  const keep = async (url, agent) => {
    while (!ended) {
      await ask(url, agent).then(
        () => result.done++,
        (error) => {
          result.failed++;
          result.errors.push(`${url}: ${error.message}`);
        },
      );
    }
  };
  const all = urls.flatMap((url) =>
    Array.from({ length: Number(each) }, () => [
      keep(url, new Agent({ keepAlive: true, maxSockets: 1 })),
      keep(url, new Agent({ keepAlive: false })),
    ]).flat(),
  );
  return {
    mark: () => result.done,
    finish: async () => {
      ended = true;
      await Promise.all(all);
      return result;
    },
  };
}

/**
 * Sends numbered datagrams, one a millisecond, and notes which are answered: as the numbers from and to
 * of each run of answers. A mark notes the number that is
 * sent next, and is answered with that and the highest number that is answered.
 */
function flood(address, port) {
  const udp = createSocket(address.includes(":") ? "udp6" : "udp4");
  const answered = new Set();
  const marks = {};
  let sent = 0;
  let highest = -1;
  udp.on("message", (message) => {
    const number = message.readUInt32LE(0);
    answered.add(number);
    highest = Math.max(highest, number);
  });
  udp.on("error", () => {});
  const timer = setInterval(() => {
    const message = Buffer.alloc(4);
    message.writeUInt32LE(sent++, 0);
    udp.send(message, Number(port), address, () => {});
  }, 1);
  return {
    mark: (name) => {
      marks[name] = sent;
      return `${sent} ${highest}`;
    },
    finish: async () => {
      clearInterval(timer);
      await new Promise((resolve) => setTimeout(resolve, 300));
      const runs = [];
      for (const number of [...answered].sort((a, b) => a - b)) {
        const last = runs.at(-1);
        if (last !== undefined && last[1] === number - 1) last[1] = number;
        else runs.push([number, number]);
      }
      return { sent, marks, runs };
    },
  };
}

/**
 * Holds one connection, by TCP or UDP; a mark sends a word by it and notes whether that comes back. The mark
 * `answered` sends none: it is answered when all before have come back.
 */
function hold(protocol, address, port, localPort) {
  const marks = {};
  let answered = () => {};
  const tell = () => {
    if (!Object.values(marks).includes(false)) answered();
  };
  const heard = (name) => {
    marks[name] = true;
    tell();
  };
  const lines = (data) => String(data).split("\n").filter(Boolean).forEach(heard);
  let send;
  if (protocol === "tcp") {
    const socket = connect({
      host: address,
      port: Number(port),
      localPort: Number(localPort ?? 0),
    });
    socket.on("connect", () => process.stdout.write("connected\n"));
    socket.on("data", lines);
    socket.on("error", () => {});
    send = (text) => socket.write(text);
  } else {
    const udp = createSocket(address.includes(":") ? "udp6" : "udp4");
    udp.on("message", lines);
    udp.on("error", () => {});
    udp.connect(Number(port), address, () => process.stdout.write("connected\n"));
    send = (text) => udp.send(text, () => {});
  }
  return {
    mark: (name) => {
      if (name === "answered") {
        return new Promise((resolve) => {
          answered = resolve;
          tell();
        });
      }
      marks[name] ??= false;
      send(`${name}\n`);
    },
    finish: async () => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      return marks;
    },
  };
}
