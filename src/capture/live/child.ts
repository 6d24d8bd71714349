import type { EventEmitter } from "node:events";
import { writeSync } from "node:fs";
import { createRequire } from "node:module";
import { encodeRecord, type RecordKind } from "./records.js";

/**
 * The process that holds the package cap. It reads packets in a loop that lets nothing else of its
 * process run while packets come, so it has one to itself, and writes records to standard output
 * (records.ts). Writing waits for the reader; what comes meanwhile is for libpcap's
 * buffer to hold, or to lose. It ends when its standard input does.
 */

interface Cap extends EventEmitter {
  open(device: string, filter: string, bufferBytes: number, packet: Buffer): string;
  setMinBytes?(bytes: number): void;
}

const standardOutput = 1;
const ringBytes = 8 * 1024 * 1024;
// The longest that cap asks libpcap for.
const packetBytesMax = 65_535;

function send(kind: RecordKind, payload: Uint8Array): void {
  const bytes = encodeRecord(kind, performance.timeOrigin + performance.now(), payload);
  try {
    for (let sent = 0; sent < bytes.length; ) {
      sent += writeSync(standardOutput, bytes, sent);
    }
  } catch {
    // The parent is gone.
    process.exit();
  }
}

function sendText(kind: "opened" | "failed", value: object): void {
  send(kind, Buffer.from(JSON.stringify(value)));
}

function fail(missing: boolean, error: unknown): never {
  sendText("failed", { missing, message: error instanceof Error ? error.message : String(error) });
  process.exit();
}

function loadCap(): new () => Cap {
  try {
    return (createRequire(import.meta.url)("cap") as { readonly Cap: new () => Cap }).Cap;
  } catch (error) {
    return fail(true, error);
  }
}

function start(device: string, filter: string): void {
  const capture = new (loadCap())();
  // cap keeps only the address of this buffer. The listener below holds on to the buffer, and cap
  // to the listener, so that it is not collected while packets are written into it.
  const packet = Buffer.alloc(packetBytesMax);
  // What libpcap cut off it does not tell; a frame that fills the buffer is taken for cut.
  capture.on("packet", (byteLength: number) => {
    send(byteLength === packetBytesMax ? "cut" : "packet", packet.subarray(0, byteLength));
  });
  try {
    const link = capture.open(device, filter, ringBytes, packet);
    capture.setMinBytes?.(0);
    sendText("opened", { link });
  } catch (error) {
    fail(false, error);
  }
}

// Ctrl-C goes to the whole process group: the parent ends this process once it has what it wants.
process.on("SIGINT", () => {});
process.stdin.on("end", () => process.exit()).resume();
start(process.argv[2] ?? "", process.argv[3] ?? "");
