// The two ends of a transfer that lasts for as long as it is wanted.
//
// `receive ADDRESS PORT` takes one connection and answers its end with count and SHA-256 of what came;
// `send ADDRESS PORT MEBIBYTES MEBIBYTES_A_SECOND` sends until its standard input says `end` and that
// much has gone, no faster than that, and prints whether the answer fits. Both print `{"bytes"}` every 50 ms.
import { createHash } from "node:crypto";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";

const chunkBytes = 256 * 1024;
const [mode, host, port, mebibytes, pace] = process.argv.slice(2);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const hash = createHash("sha256");
let bytes = 0;
const count = (chunk) => {
  hash.update(chunk);
  bytes += chunk.length;
};
setInterval(() => say({ bytes }), 50).unref();
process.stdin.on("close", () => process.exit());

if (mode === "receive") {
  process.stdin.resume();
  createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("data", count);
    socket.on("error", ({ code }) => say({ error: code }));
    socket.on("end", () => socket.end(JSON.stringify({ bytes, sha256: hash.digest("hex") })));
  }).listen(Number(port), host, () => say({ listening: true }));
} else {
  let isAsked = false;
  let answer = "";
  createInterface({ input: process.stdin }).on("line", () => {
    isAsked = true;
  });
  // As long as nobody answers for the address, the connection has not begun: it is tried again.
  const begin = () => {
    let started;
    const socket = connect({ host, port: Number(port) });
    socket.setEncoding("utf8");
    socket.on("error", ({ code }) => {
      if (started === undefined) setTimeout(begin, 100);
      else say({ error: code });
    });
    socket.on("data", (text) => {
      answer += text;
    });
    socket.on("end", () => {
      const got = JSON.parse(answer);
      say({ done: true, bytes, intact: got.bytes === bytes && got.sha256 === hash.digest("hex") });
      process.stdin.destroy();
    });
    const step = () => {
      const due = (Number(pace) * (performance.now() - started) * 1024 * 1024) / 1000;
      while (bytes < due && !socket.writableNeedDrain) {
        // Every chunk differs, so that one lost, doubled or misplaced shows in the checksum.
        const chunk = Buffer.alloc(chunkBytes);
        chunk.writeUInt32LE(bytes / chunkBytes, 0);
        count(chunk);
        socket.write(chunk);
      }
      if (isAsked && bytes >= Number(mebibytes) * 1024 * 1024) socket.end();
      else setTimeout(step, 5);
    };
    socket.on("connect", () => {
      started = performance.now();
      step();
    });
  };
  begin();
}
