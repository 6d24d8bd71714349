// One end of datagrams that are counted. `receive ADDRESS PORT…` answers each datagram, and `send ADDRESS` sends as
// it is told on standard input, a line each: `{"port", "fresh", "count"}`, where fresh datagrams have a socket each.
// Both print how many of them came and went by port, `{"sent", "received"}`, after each line or datagram.
import { createSocket } from "node:dgram";
import { createInterface } from "node:readline";

const [mode, address, ...ports] = process.argv.slice(2);
const sent = {};
const received = {};
const say = () => process.stdout.write(`${JSON.stringify({ sent, received })}\n`);
const add = (counts, port) => {
  counts[port] = (counts[port] ?? 0) + 1;
};

if (mode === "receive") {
  let left = ports.length;
  for (const port of ports.map(Number)) {
    const socket = createSocket("udp4");
    socket.on("message", (message, from) => {
      add(received, port);
      socket.send(message, from.port, from.address, () => {
        add(sent, port);
        say();
      });
    });
    socket.bind(port, address, () => {
      left--;
      if (left === 0) say();
    });
  }
  process.stdin.resume().on("end", () => process.exit());
} else {
  const sockets = [];
  const lasting = new Map();
  const open = (port) => {
    const socket = createSocket("udp4");
    sockets.push(socket);
    socket.on("message", () => {
      add(received, port);
      say();
    });
    return socket;
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const { port, fresh, count } = JSON.parse(line);
    for (let number = 0; number < count; number++) {
      if (!lasting.has(port)) lasting.set(port, open(port));
      const socket = fresh ? open(port) : lasting.get(port);
      await new Promise((resolve) => socket.send("counted", port, address, resolve));
      add(sent, port);
    }
    say();
  }
  process.exit();
}
