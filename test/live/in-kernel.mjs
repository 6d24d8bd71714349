// Judges tuples by the programs in the kernel: in-kernel.mjs BPF_FOLDER JOB.json HOOK. A job lists tables and, for each, packets
// from the IP header on, in base64; prints for each table a string with 1 for each packet that passes and 0 for others.
import { readFileSync } from "node:fs";
import { openHook } from "../../dist/node/forward-hook.js";

const [folder, job, hook] = process.argv.slice(2);
const { filter } = openHook(`${folder}/sluice`, hook);
let generation = 0;
for (const { table, packets } of JSON.parse(readFileSync(job, "utf8"))) {
  await filter.publish(Buffer.from(table, "base64"), ++generation);
  const passed = packets.map((packet) => Number(filter.judgeOnce(Buffer.from(packet, "base64"))));
  process.stdout.write(`${passed.join("")}\n`);
}
