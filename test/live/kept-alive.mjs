// The ends of connections that stay, a line for whatever happens to them. `serve PORT` echoes; `hold HOST
// PORT` sends each line of its standard input and tells the answer.
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";

const [mode, ...words] = process.argv.slice(2);
const tell = (line) => process.stdout.write(`${line}\n`);
({ serve, hold })[mode](...words);

function serve(port) {
  createServer((socket) => {
    tell("accepted");
    socket.on("data", (data) => socket.write(data));
    socket.on("error", ({ code }) => tell(code));
    socket.on("close", () => tell("closed"));
  }).listen(Number(port), "::", () => tell("serving"));
}

function hold(host, port) {
  const socket = connect(Number(port), host, () => tell("connected"));
  socket.on("data", (data) => tell(`answer ${data}`));
  socket.on("error", ({ code }) => tell(code));
  createInterface({ input: process.stdin }).on("line", (line) => socket.write(line));
}
