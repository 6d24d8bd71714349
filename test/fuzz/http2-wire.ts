import { type MethodName, methods } from "../../src/hubble/definitions.js";
import { encodeMessage } from "../../src/hubble/wire.js";
import { frame as grpcFrame } from "../hubble/client.js";
import type { Random } from "../property/random.js";
import { mutate } from "./mutate.js";

/** Types of HTTP/2's frames. Source: RFC 9113, section 6. */
export const frameTypes = {
  ...{ data: 0, headers: 1, priority: 2, reset: 3, settings: 4, pushPromise: 5, ping: 6 },
  ...{ goaway: 7, windowUpdate: 8, continuation: 9 },
} as const;

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const [endStream, endHeaders] = [1, 4];
const numbers = [0, 1, 2, 100, 16_383, 16_384, 65_535, 2 ** 24 - 1, 2 ** 31 - 1, 2 ** 32 - 1];

const paths = [...Object.keys(methods), "/observer.Observer/Nothing", "", "/"];
const pods = Array.from({ length: 3_000 }, (_, n) => `shop/p${n}`);
const flowRequests = [
  {},
  { number: 20 },
  { number: 16_384, first: true },
  { number: 2 ** 40, follow: true },
  { follow: true, whitelist: [{ verdict: ["DROPPED"] }, { destination_port: ["81"] }] },
  { number: 5, field_mask: { paths: ["source.pod_name", "l4", "verdict"] } },
  { follow: true, whitelist: [{ source_pod: pods }], blacklist: [{ source_ip: ["10.0.0.0/8"] }] },
  { number: 9, whitelist: [{ source_label: ["app in (web, db),!old"] }, { reply: [true] }] },
];

/** What a hostile client of Hubble sends: HTTP/2 with gRPC in it, whole or not, in any order, changed here and there. */
export function hostileHubble(random: Random): Uint8Array {
  const parts: Uint8Array[] = [];
  if (!random.oneIn(12)) parts.push(preface);
  if (!random.oneIn(12)) parts.push(settings(random));
  for (let stream = 1, left = 1 + random.below(12); left > 0; left--, stream += 2) {
    parts.push(random.oneIn(2) ? call(random, stream) : disorder(random, stream));
  }
  const bytes = Buffer.concat(parts);
  return random.oneIn(3) ? mutate(random, [bytes]) : bytes;
}

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.set([type, flags], 3);
  head.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([head, payload]);
}

function settings(random: Random): Buffer {
  const pairs = random.list(0, 4, () => {
    const pair = Buffer.alloc(6);
    pair.writeUInt16BE(random.below(8), 0);
    pair.writeUInt32BE(random.pick(numbers), 2);
    return pair;
  });
  return frame(frameTypes.settings, 0, 0, Buffer.concat(pairs));
}

/** A header that enters no table, with short texts as they are. */
function literal(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}

/** Source: RFC 7541, section 5; without Huffman's code. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  return Buffer.concat([whole(bytes.length, 7), bytes]);
}

function whole(value: number, bits: number): Buffer {
  const most = 2 ** bits - 1;
  if (value < most) return Buffer.from([value]);
  const octets = [most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) octets.push((rest % 128) + 128);
  return Buffer.from([...octets, rest]);
}

function headers(random: Random, path: string): Buffer {
  const fields: [name: string, value: string][] = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "localhost"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
  ];
  const extra: [name: string, value: string][] = [
    ["grpc-timeout", "1m"],
    ["grpc-encoding", "gzip"],
    ["x-long", "a".repeat(random.pick([10, 3_000, 20_000]))],
    [":path", "/twice"],
    ["Upper", "x"],
    ["", ""],
    ["connection", "close"],
    ["x", "\0\r\n"],
  ];
  const all = [...fields.filter(() => !random.oneIn(20)), ...random.some(extra, 10)];
  return Buffer.concat(all.map(([name, value]) => literal(name, value)));
}

/** A call: sent whole, by pieces, too long, too short, compressed, or left open. */
function call(random: Random, stream: number): Buffer {
  const path = random.oneIn(2) ? "/observer.Observer/GetFlows" : random.pick(paths);
  const message = messageOf(random, path);
  const body = grpcFrame(random.oneIn(4) ? mutate(random, [message]) : message);
  if (random.oneIn(10)) body.writeUInt32BE(random.pick(numbers), 1);
  if (random.oneIn(20)) body[0] = random.below(256);
  const parts = [frame(frameTypes.headers, endHeaders, stream, headers(random, path))];
  const piece = random.pick([1, 50, 16_384, 16_384, 16_384]);
  // One byte a frame is as hostile as it is slow: not for the whole of a long request.
  for (let at = 0; at < Math.min(body.length, 400 * piece); at += piece) {
    parts.push(frame(frameTypes.data, 0, stream, body.subarray(at, at + piece)));
  }
  if (!random.oneIn(4)) parts.push(frame(frameTypes.data, endStream, stream, Buffer.alloc(0)));
  return Buffer.concat(parts);
}

function messageOf(random: Random, path: string): Uint8Array {
  if (!Object.hasOwn(methods, path)) return Buffer.alloc(random.below(10));
  const { request } = methods[path as MethodName];
  const value = request === "observer.GetFlowsRequest" ? random.pick(flowRequests) : {};
  return encodeMessage(request, value);
}

/** Frames that no client sends, or not so many. */
function disorder(random: Random, stream: number): Buffer {
  const many = (count: number, make: (index: number) => Buffer) =>
    Buffer.concat(Array.from({ length: random.pick([1, count]) }, (_, index) => make(index)));
  const some = Buffer.from(random.list(0, 40, () => random.below(256)));
  const number = Buffer.alloc(4);
  number.writeUInt32BE(random.pick(numbers));
  const request = headers(random, random.pick(paths));
  switch (random.below(10)) {
    case 0:
      return frame(random.below(12), random.below(256), random.pick([0, stream, ...numbers]), some);
    case 1:
      return many(1_000, () => frame(frameTypes.ping, random.below(2), 0, Buffer.alloc(8)));
    case 2:
      return many(500, () => settings(random));
    case 3:
      return many(500, () => frame(frameTypes.windowUpdate, 0, random.pick([0, stream]), number));
    case 4:
      // A stream that is begun and given up, again and again.
      return many(300, (index) => {
        const at = stream + 2 * index;
        return Buffer.concat([
          frame(frameTypes.headers, endHeaders | endStream, at, request),
          frame(frameTypes.reset, 0, at, number),
        ]);
      });
    case 5:
      return many(300, (index) => call(random, stream + 2 * index).subarray(0, 2_000));
    case 6:
      // Headers that never end.
      return Buffer.concat([
        frame(frameTypes.headers, 0, stream, request),
        many(300, () => frame(frameTypes.continuation, 0, stream, literal("x", "y".repeat(100)))),
      ]);
    case 7:
      return frame(frameTypes.headers, endHeaders, stream, compressed(random));
    case 8:
      return many(300, () => frame(frameTypes.priority, 0, stream, Buffer.concat([number, some])));
    default:
      return Buffer.concat([
        frame(frameTypes.goaway, 0, 0, Buffer.concat([number, number, some])),
        frame(frameTypes.pushPromise, endHeaders, stream, Buffer.concat([number, request])),
      ]);
  }
}

/** Compressed headers: one that is long and named many times, sizes and places that there are not, bad Huffman codes. */
function compressed(random: Random): Buffer {
  const kept = Buffer.concat([Buffer.from([0x40]), text("x"), text("a".repeat(3_900))]);
  const size = Buffer.concat([Buffer.from([0x3f]), whole(random.pick(numbers), 7).subarray(1)]);
  const huffman = Buffer.from([0, 1, 0x78, 0x8a, ...random.list(10, 10, () => random.below(256))]);
  return random.pick([
    Buffer.concat([kept, Buffer.alloc(12_000, 0xbe)]),
    Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
    Buffer.concat([size, kept]),
    huffman,
  ]);
}
