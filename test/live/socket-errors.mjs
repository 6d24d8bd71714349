// What the ends of a connection are told, a line each: how an attempt ends, and when and by what a
// connection does that nobody uses.
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";

const [mode, ...words] = process.argv.slice(2);
const modes = { listen, hold, tcp, udp4: udp, udp6: udp };
const tell = (line) => process.stdout.write(`${line}\n`);
modes[mode](...words);

function listen(port) {
  const server = createServer((socket) => {
    tell("accepted");
    socket.on("error", ({ code }) => tell(code));
  });
  server.listen(Number(port), "::", () => tell("listening"));
}

function hold(host, port) {
  const socket = connect(Number(port), host, () => tell("connected"));
  socket.on("error", ({ code }) => tell(code));
}

/** Connects once. */
function tcp(host, port) {
  const socket = connect(Number(port), host);
  socket.on("connect", () => end("connected"));
  socket.on("error", ({ code }) => end(code));
}

/** Sends until something comes back. */
function udp(host, port) {
  const socket = createSocket(mode);
  socket.on("message", () => end("answered"));
  socket.on("error", ({ code }) => end(code));
  socket.connect(Number(port), host, () => {
    setInterval(() => socket.send("x", () => {}), 200);
  });
}

function end(line) {
  tell(line);
  process.exit(0);
}
