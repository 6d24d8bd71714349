import type { ChildProcess } from "node:child_process";
import { until } from "./lab-harness.js";

/** The port on a namespace's loopback where a relay brings connections to an API server of the tests. */
export const apiPort = 6443;

/** Starts a relay by `spawn`, which runs Node in the namespace; it refuses connections while the server is away. */
export async function relayApi(
  socket: string,
  spawn: (...words: string[]) => ChildProcess,
): Promise<ChildProcess> {
  const program = `
    const net = require("node:net");
    net.createServer((near) => {
      const far = net.connect(${JSON.stringify(socket)});
      near.on("error", () => far.destroy()).on("close", () => far.destroy());
      far.on("error", () => near.destroy()).on("close", () => near.destroy());
      near.pipe(far).pipe(near);
    }).listen(${apiPort}, "127.0.0.1", () => console.log("ready"));`;
  const relay = spawn(process.execPath, "-e", program);
  let said = "";
  relay.stdout?.on("data", (chunk) => {
    said += chunk;
  });
  await until("the relay", () => said === "ready\n");
  return relay;
}
