import { chmodSync, renameSync, statSync, unlinkSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { makeFolder } from "../../control/make-folder.js";
import { RefusalError } from "../../control/refusal.js";
import { isTrustedPeer } from "../../dataplane/descriptor-passing.js";
import { systemReason } from "../../diagnostics/system-reason.js";
import type { Tell } from "../../diagnostics/tell.js";
import { CniError, type Question, questionBounds, readHead, readQuestion } from "./question.js";

/** Carries out what a runtime asks; returns when it is done. Errors: CniError, for the runtime. */
export type Answerer = (question: Question, signal: AbortSignal) => Promise<void>;

/** Plugins that ask at once: a runtime starts as many as it starts pods. */
const connectionsMax = 256;
/** How long a question may take to arrive, and its answer to be read. */
const questionMs = 5_000;
/** The longest that a question may wait for its answer. */
const waitMsMax = 60_000;

/**
 * Answers the CNI plugins of this node's container runtime, on a unix socket that only this user may connect to. It
 * takes the place of a socket at that path, of a process that has ended or is about to.
 *
 * Shape:  docs/cni.md, "The socket".
 * Errors: RefusalError (environment) when it cannot listen there.
 */
export async function listenForPlugins(
  path: string,
  answer: Answerer,
  tell: Tell,
): Promise<{ close(): void }> {
  const server = createServer((socket) => void serve(socket, answer, tell));
  server.maxConnections = connectionsMax;
  const beside = `${path}.${process.pid}`;
  try {
    makeFolder(dirname(path), 0o750);
    await listen(server, beside);
    chmodSync(beside, 0o600);
    renameSync(beside, path);
  } catch (error) {
    server.close();
    throw new RefusalError("environment", `cannot listen on ${path}: ${systemReason(error)}`);
  }
  server.on("error", (error) => tell(`${path}: ${systemReason(error)}`, "error"));
  server.unref();
  const own = statSync(path).ino;
  return {
    close() {
      server.close();
      // A successor may have put its own there.
      if (statSync(path, { throwIfNoEntry: false })?.ino === own) unlinkSync(path);
    },
  };
}

function listen(server: Server, path: string): Promise<void> {
  // Until the chmod, the umask gives the socket's mode.
  const umask = process.umask(0o177);
  return new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  }).finally(() => process.umask(umask));
}

async function serve(socket: Socket, answer: Answerer, tell: Tell): Promise<void> {
  const gone = new AbortController();
  socket.on("error", () => {});
  socket.on("close", () => gone.abort());
  const over = () => void socket.destroy();
  let timer = setTimeout(over, questionMs);
  let version: string | undefined;
  let said: string;
  try {
    if (!isTrustedPeer(descriptorOf(socket))) {
      tell("a process of another user has called the socket for plugins", "warning");
      return over();
    }
    const asked = await received(socket, gone.signal);
    clearTimeout(timer);
    version = versionOf(asked.configuration);
    const waitMs = Math.min(asked.waitMs, waitMsMax);
    await answer(readQuestion(waitMs, asked.environment, asked.configuration), gone.signal);
    said = "ok\n";
  } catch (error) {
    said = `error\n${errorText(error, version)}\n`;
  }
  clearTimeout(timer);
  timer = setTimeout(over, questionMs);
  socket.on("close", () => clearTimeout(timer));
  socket.end(said);
}

/** Node keeps the descriptor of a socket to itself. */
function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as { readonly _handle?: { readonly fd?: number } };
  return handle?.fd ?? -1;
}

interface Received {
  readonly waitMs: number;
  readonly environment: string;
  readonly configuration: string;
}

/** Reads a question to its end. Errors: CniError; Error when the other side goes before. */
function received(socket: Socket, signal: AbortSignal): Promise<Received> {
  return new Promise((resolve, reject) => {
    let head: (ReturnType<typeof readHead> & { readonly bytes: number }) | undefined;
    const chunks: Buffer[] = [];
    let length = 0;
    const take = (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (head === undefined) {
        const start = Buffer.concat(chunks).subarray(0, questionBounds.head);
        const at = start.indexOf("\n");
        if (at < 0 && length < questionBounds.head) return;
        head = { ...readHead(start.toString("latin1", 0, Math.max(at, 0))), bytes: at + 1 };
      }
      const { bytes, waitMs, environment, configuration } = head;
      const wanted = bytes + environment + configuration;
      if (length < wanted) return;
      if (length > wanted) throw new CniError("decode", "got more than the question says");
      const all = Buffer.concat(chunks);
      const until = bytes + environment;
      socket.off("data", contained);
      resolve({
        waitMs,
        environment: all.toString("utf8", bytes, until),
        configuration: all.toString("utf8", until),
      });
    };
    const contained = (chunk: Buffer) => {
      try {
        take(chunk);
      } catch (error) {
        socket.off("data", contained);
        reject(error);
      }
    };
    socket.on("data", contained);
    signal.addEventListener("abort", () => reject(new Error("the plugin has gone")));
  });
}

/** The version in which the runtime wants its error. */
function versionOf(configuration: string): string | undefined {
  try {
    const { cniVersion } = JSON.parse(configuration) as { readonly cniVersion?: unknown };
    return typeof cniVersion === "string" ? cniVersion : undefined;
  } catch {
    return undefined;
  }
}

function errorText(error: unknown, version = "1.0.0"): string {
  const { code, message } =
    error instanceof CniError ? error : new CniError("tryAgain", systemReason(error));
  return JSON.stringify({ cniVersion: version, code, msg: `sluice: ${message}` });
}
