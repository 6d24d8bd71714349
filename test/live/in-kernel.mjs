// Judges tuples by the programs in the kernel: in-kernel.mjs BPF_FOLDER JOB.json HOOK. A job lists tables, whole or by the
// lines that are other ones than in the table before, and for each, packets from the IP header on; bytes are in base64.
// Prints for each table a string with 1 for each packet that passes and 0 for others.
import { readFileSync } from "node:fs";
import { TableBlob } from "../../dist/dataplane/table-blob.js";
import { openHook } from "../../dist/node/forward-hook.js";

const [folder, job, hook] = process.argv.slice(2);
const { filter } = openHook(`${folder}/sluice`, hook);
const bytesOf = (text) => Uint8Array.from(Buffer.from(text, "base64"));
let generation = 0;
let blob;
for (const { numbers, bytes, packets } of JSON.parse(readFileSync(job, "utf8"))) {
  const update =
    numbers === undefined
      ? { whole: bytesOf(bytes) }
      : { lines: { numbers: Uint32Array.from(numbers), bytes: bytesOf(bytes) } };
  blob = TableBlob.next(blob, update);
  await filter.publish(blob, ++generation);
  const passed = packets.map((packet) => Number(filter.judgeOnce(Buffer.from(packet, "base64"))));
  process.stdout.write(`${passed.join("")}\n`);
}
