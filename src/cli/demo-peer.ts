import { createHash } from "node:crypto";
import { connect, createServer, type Socket } from "node:net";

/**
 * One end of the demo's traffic, a process of its own in a pod's namespace.
 *
 * `serve ADDRESS PORT`: takes one connection and answers its end with count and SHA-256 of what came.
 * `send ADDRESS PORT MEBIBYTES SECONDS`: sends that much at an even pace over that time, and prints
 * whether the answer fits.
 * Both end with their standard input, and print `{"bytes"}` every 50 ms, so that one can see traffic go on, or stop.
 */

const reportEveryMs = 50;
const chunkBytes = 256 * 1024;

const [mode, address = "", portText = "", size = "0", seconds = "1"] = process.argv.slice(2);
const port = Number(portText);

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

// Whoever started this holds the other end: when that goes, so does this.
process.stdin.resume().on("close", () => process.exit(0));

if (mode === "serve") serve();
else send(connect({ host: address, port }), Number(size) * 1024 * 1024, Number(seconds) * 1000);

function serve(): void {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const hash = createHash("sha256");
    let bytes = 0;
    const timer = setInterval(() => say({ bytes }), reportEveryMs);
    socket.on("data", (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    socket.on("error", () => process.exit(1));
    socket.on("end", () => {
      clearInterval(timer);
      socket.end(JSON.stringify({ bytes, sha256: hash.digest("hex") }));
      server.close();
    });
  });
  server.listen(port, address, () => say({ listening: true }));
}

function send(socket: Socket, bytesWanted: number, sendForMs: number): void {
  const hash = createHash("sha256");
  const chunk = Buffer.alloc(chunkBytes);
  const started = performance.now();
  let bytes = 0;
  let answer = "";
  const timer = setInterval(() => say({ bytes }), reportEveryMs);
  socket.setEncoding("utf8");
  socket.on("error", () => process.exit(1));
  socket.on("data", (text: string) => {
    answer += text;
  });
  socket.on("end", () => {
    clearInterval(timer);
    const got = JSON.parse(answer) as { readonly bytes: number; readonly sha256: string };
    say({ done: true, bytes, intact: got.bytes === bytes && got.sha256 === hash.digest("hex") });
    process.stdin.destroy();
  });
  const step = () => {
    const due = (bytesWanted * (performance.now() - started)) / sendForMs;
    while (bytes < due && bytes < bytesWanted && !socket.writableNeedDrain) {
      // Every chunk differs, so that one lost, doubled or misplaced shows in the checksum.
      chunk.writeUInt32LE(bytes / chunkBytes, 0);
      const copy = Buffer.from(chunk);
      hash.update(copy);
      socket.write(copy);
      bytes += copy.length;
    }
    if (bytes < bytesWanted) setTimeout(step, 5);
    else socket.end();
  };
  socket.on("connect", step);
}
