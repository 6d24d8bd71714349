// Prints the C++ sources of a gyp target, sorted: binding.gyp names rooms, not files.
import { readdirSync } from "node:fs";
import { join } from "node:path";

const target = process.argv[2];
const files = readdirSync("native", { recursive: true })
  .map((file) => join("native", file))
  .filter((file) => file.endsWith(".cc"));
const roomOf = (file) => file.split("/")[1];
const wanted = files.filter((file) => {
  // Programs of their own: scripts/fuzz-build.mjs builds them.
  if (file.startsWith("native/testing/programs/")) return false;
  const room = roomOf(file);
  // Of the plugin, all but its entry point is in the unit tests too.
  if (target === "core" && file === "native/cni/main.cc") return false;
  return target === "core" ? !["binding", "testing", "bench"].includes(room) : room === target;
});
process.stdout.write(`${wanted.sort().join("\n")}\n`);
