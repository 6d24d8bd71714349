import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type CaptureRecord, RecordReader } from "./records.js";

/** Frames with an Ethernet header, or IP alone. */
export type LinkType = "ETHERNET" | "RAW";

/** Why an interface cannot be watched. */
export class WatchError extends Error {
  override readonly name = "WatchError";
  /** `package`: cap is not there. `permission`, `argument`: of libpcap. `link`: frames of another kind. */
  readonly kind: "package" | "permission" | "argument" | "link" | "process";

  constructor(kind: WatchError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}

export interface Batch {
  readonly link: LinkType;
  /** Empty in the first batch, which only says that the watch has begun. */
  readonly records: readonly CaptureRecord[];
}

/**
 * Starts the process that captures (child.ts), and hands on what it sends until Ctrl-C or the caller's
 * `break`. `filter` is libpcap's, empty for every packet.
 *
 * Errors: WatchError.
 */
export async function* watch(device: string, filter: string): AsyncGenerator<Batch> {
  const script = fileURLToPath(new URL("./child.js", import.meta.url));
  const child = spawn(process.execPath, [script, device, filter], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const errors = collectErrors(child);
  const stop = () => child.kill("SIGTERM");
  process.on("SIGINT", stop).on("SIGTERM", stop);
  const reader = new RecordReader();
  let link: LinkType | undefined;
  try {
    for await (const chunk of child.stdout) {
      const records = reader.read(chunk as Buffer);
      if (link === undefined) {
        const first = records.shift();
        if (first === undefined) {
          continue;
        }
        link = linkOf(first);
      }
      yield { link, records };
    }
    if (link === undefined) {
      throw new WatchError("process", errors() || "the capturing process ended at once");
    }
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    stop();
  }
}

/** Reads the child's first record. */
function linkOf(record: CaptureRecord): LinkType {
  const said = JSON.parse(record.payload.toString()) as {
    readonly link?: string;
    readonly missing?: boolean;
    readonly message?: string;
  };
  if (record.kind === "failed") {
    const message = said.message ?? "";
    const permission = /permission|permitted/i.test(message) ? "permission" : "argument";
    throw new WatchError(said.missing ? "package" : permission, message);
  }
  if (said.link !== "ETHERNET" && said.link !== "RAW") {
    throw new WatchError("link", `its frames are of kind ${said.link}, want Ethernet or bare IP`);
  }
  return said.link;
}

const errorTextMax = 4096;

/** Keeps the beginning of what a child says on standard error, so that it neither shows nor waits. */
function collectErrors(child: ChildProcess): () => string {
  let text = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(0, errorTextMax);
  });
  return () => text.trim();
}
