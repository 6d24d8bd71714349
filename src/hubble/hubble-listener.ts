import { Socket } from "node:net";
import { createInterface } from "node:readline";
import { becomeUnprivileged } from "../control/unprivileged.js";
import type { Told } from "./channel.js";
import { writeCounts } from "./counts.js";
import { GrpcServer } from "./grpc-server.js";
import { hubbleBounds } from "./hubble-bounds.js";
import { HubbleObserver } from "./observer.js";

/**
 * The process that answers Hubble's clients, without any privilege: hubble-process.ts starts it.
 *
 * Its word is how many flows the process that enforces keeps, and the unix socket's address where there is one.
 */

const listenerFd = 3;
const channelFd = 4;
/** Limit of its memory; the engine reserves more than it uses. */
const dataBytesMax = 1024 * 1024 * 1024;
/** Of the texts of the flows that are kept. */
const storeBytesMax = 48 * 1024 * 1024;
const countsMs = 1_000;

const [flowsMax = "0", address] = process.argv.slice(2);
const channel = new Socket({ fd: channelFd, readable: true, writable: true });
for (const event of ["end", "error", "close"]) channel.on(event, () => process.exit(0));

const observer = new HubbleObserver({
  store: { flowsMax: Number(flowsMax), bytesMax: storeBytesMax },
  address,
  ask: (what) => channel.write(`${what}\n`),
});
createInterface({ input: channel }).on("line", (line) =>
  observer.told(JSON.parse(line) as Told, line.length),
);
const grpc = new GrpcServer(hubbleBounds, observer.methods);
let told = "";
setInterval(() => {
  const counts = { ...grpc.counts, ...observer.counts };
  const line = writeCounts(counts);
  // A successor knows nothing of what has been said; and a slow one gets newer ones instead of more.
  const isNews = line !== told || counts.connections > 0;
  if (!isNews || channel.writableLength > 0) return;
  told = line;
  channel.write(`${line}\n`);
}, countsMs).unref();
becomeUnprivileged({ descriptorsMax: hubbleBounds.connectionsMax + 64, dataBytesMax });
grpc.server.on("error", () => process.exit(1)).listen({ fd: listenerFd });
