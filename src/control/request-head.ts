/** The bytes of a request up to its body. */
export interface RequestHead {
  readonly method: string;
  /** As it was sent, without the query: routes have no character that would have to be escaped. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** By their names in lower case; of several of one name the last. */
  readonly fields: ReadonlyMap<string, string>;
  /** 0: HTTP/1.0, which knows no chunks. */
  readonly minorVersion: 0 | 1;
  /** Units: bytes; undefined where the length is not said before the body comes. */
  readonly bodyBytes: number | undefined;
  /** The client waits for leave before it sends the body. */
  readonly expectsContinue: boolean;
}

/** Why a request is not answered. Source: RFC 9110, section 15.5. */
export interface HeadRefusal {
  readonly status: 400 | 431 | 505;
  readonly message: string;
}

/** The largest head that is read. Units: bytes. */
const headBytesMax = 8 * 1024;
const fieldsMax = 100;

const lineEnd = Buffer.from("\r\n");
const headEnd = Buffer.from("\r\n\r\n");
const requestLine = /^([A-Z]{1,16}) ([\x21-\x7e]+) HTTP\/(\d)\.(\d)$/;
const fieldLine = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/;

/**
 * Collects the bytes of one request's head.
 *
 * Strict where RFC 9112 allows it: a line ends with CR LF, nothing is folded, a length is said once.
 *
 * Cost: each byte is looked at once or twice, and the head is kept in `headBytesMax` bytes.
 */
export class HeadReader {
  #kept: Buffer = Buffer.alloc(0);
  #rest: Buffer = Buffer.alloc(0);

  /** What came behind the head: the beginning of the body. */
  get rest(): Buffer {
    return this.#rest;
  }

  /** Takes what came; undefined while the head is not complete. */
  push(piece: Buffer): RequestHead | HeadRefusal | undefined {
    const before = this.#kept.length;
    const room = headBytesMax - before;
    this.#kept = Buffer.concat([this.#kept, piece.subarray(0, room)]);
    // An empty line before the request is passed over, as RFC 9112 section 2.2 wants it.
    const start = this.#kept.subarray(0, 2).equals(lineEnd) ? 2 : 0;
    const end = this.#kept.indexOf(headEnd, Math.max(start, before - 3));
    if (end >= 0) {
      this.#rest = piece.subarray(end + headEnd.length - before);
      return parseHead(this.#kept.toString("latin1", start, end));
    }
    if (piece.length <= room && this.#kept.length < headBytesMax) return undefined;
    return { status: 431, message: `got a head of more than ${headBytesMax} bytes` };
  }
}

function parseHead(text: string): RequestHead | HeadRefusal {
  const [first = "", ...lines] = text.split("\r\n");
  const line = requestLine.exec(first);
  if (line === null) return bad("got no request line, want METHOD PATH HTTP/1.1");
  const [, method = "", target = "", major, minor] = line;
  if (major !== "1") return { status: 505, message: `got HTTP/${major}.${minor}, want HTTP/1.1` };
  const fields = new Map<string, string>();
  if (lines.length > fieldsMax) {
    return { status: 431, message: `got ${lines.length} fields, want at most ${fieldsMax}` };
  }
  for (const each of lines) {
    const field = fieldLine.exec(each);
    if (field === null) return bad("got a line that is no header field");
    const name = field[1]!.toLowerCase();
    const value = field[2]!.trimEnd();
    if (fields.has(name) && single.has(name)) return bad(`got ${name} twice`);
    fields.set(name, value);
  }
  if (minor !== "0" && !fields.has("host")) return bad("got no Host");
  const length = fields.get("content-length") ?? "0";
  if (!/^\d{1,15}$/.test(length)) return bad("got a Content-Length that is no length");
  const isChunked = fields.has("transfer-encoding");
  if (isChunked && fields.has("content-length")) return bad("got two lengths of one body");
  // A proxy's form of a request names the server too.
  const own = target.replace(/^https?:\/\/[^/?#]*/i, "");
  if (!own.startsWith("/")) return bad("got no path");
  const question = own.indexOf("?");
  return {
    method,
    path: question < 0 ? own : own.slice(0, question),
    fields,
    query: new URLSearchParams(question < 0 ? "" : own.slice(question + 1)),
    minorVersion: minor === "0" ? 0 : 1,
    bodyBytes: isChunked ? undefined : Number(length),
    expectsContinue: fields.get("expect")?.toLowerCase() === "100-continue",
  };
}

/** Fields that say how a request is read, and must not say it twice. */
const single: ReadonlySet<string> = new Set(["host", "content-length", "transfer-encoding"]);

function bad(message: string): HeadRefusal {
  return { status: 400, message };
}
