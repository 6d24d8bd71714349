import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { objectName } from "../diagnostics/object-name.js";
import { sanitize } from "../diagnostics/sanitize.js";
import { systemReason } from "../diagnostics/system-reason.js";
import { compactFlow } from "../observe/compact.js";
import type { FlowEndpoint, FlowLine } from "../observe/flow.js";
import { filePlace } from "../observe/flow.js";
import { portOf, type Side } from "../observe/flow-filter.js";
import { DeliveryError } from "./sink.js";
import type { OtlpSinkConfig } from "./sink-config.js";

/**
 * Flows as OpenTelemetry's logs, over HTTP in JSON.
 *
 * Source: OTLP 1.x, its JSON encoding and its rules for what is tried again; names of attributes are those of the
 *         semantic conventions where there are any.
 */

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue: string } | { readonly intValue: string };
}

const timeoutMs = 10_000;
const answerBytesMax = 64 * 1024;
/** Statuses after which the same request may be accepted later. */
const later = new Set([429, 502, 503, 504]);
const severities = { DROPPED: [13, "WARN"], AUDIT: [13, "WARN"], FORWARDED: [9, "INFO"] } as const;

/** Makes the JSON of a log record. */
export function logRecord({ flow, time }: FlowLine): string {
  const [severityNumber, severityText] = severities[flow.verdict];
  const { ext, IP } = flow;
  const nanos = `${BigInt(Date.parse(time)) * 1_000_000n + BigInt(microsOf(time)) * 1_000n}`;
  const attributes: readonly (Attribute | undefined)[] = [
    text("sluice.verdict", flow.verdict),
    text("sluice.event", ext.event),
    text("sluice.drop_reason", ext.reason ?? undefined),
    text("sluice.direction", flow.traffic_direction.toLowerCase()),
    text("sluice.uuid", flow.uuid),
    text("network.type", IP?.ipVersion.toLowerCase()),
    text("network.transport", Object.keys(flow.l4 ?? {})[0]?.toLowerCase()),
    text("network.interface.name", flow.interface?.name),
    ...ends.flatMap((side) => [
      text(`${side}.address`, IP?.[side]),
      whole(`${side}.port`, portOf(flow, side)),
      ...endpoint(side, flow[side]),
    ]),
    text("sluice.policy", ext.rule ? `${ext.rule.kind} ${objectName(ext.rule)}` : undefined),
    text("sluice.rule", ext.rule === null ? undefined : ext.rule.field || undefined),
    text("sluice.place", ext.rule === null ? undefined : filePlace(ext.rule)),
    text("sluice.isolated_by", ext.isolated_by.map(objectName).join(" ") || undefined),
    whole("sluice.generation", ext.generation),
    whole("sluice.lost_before", ext.lostBefore || undefined),
    whole("sluice.packets", ext.total?.packets),
    whole("sluice.bytes", ext.total?.bytes ?? ext.bytes ?? undefined),
  ];
  return JSON.stringify({
    timeUnixNano: nanos,
    observedTimeUnixNano: nanos,
    severityNumber,
    severityText,
    body: { stringValue: compactFlow({ flow, node_name: "", time }, sanitize, sanitize) },
    attributes: attributes.filter((each) => each !== undefined),
  });
}

const ends: readonly Side[] = ["source", "destination"];

function endpoint(side: Side, end: FlowEndpoint | undefined): readonly (Attribute | undefined)[] {
  const workload = end?.workloads?.[0];
  return [
    text(`${side}.k8s.namespace.name`, end?.namespace),
    text(`${side}.k8s.pod.name`, end?.pod_name),
    text(`${side}.k8s.workload`, workload && `${workload.kind}/${workload.name}`),
  ];
}

function text(key: string, value: string | undefined): Attribute | undefined {
  return value === undefined ? undefined : { key, value: { stringValue: value } };
}

function whole(key: string, value: number | undefined): Attribute | undefined {
  return value === undefined ? undefined : { key, value: { intValue: `${value}` } };
}

/** What RFC 3339 text has beyond milliseconds. */
function microsOf(time: string): number {
  return Number(/\.\d{3}(\d{3})Z$/.exec(time)?.[1] ?? 0);
}

/** Sends log records to a collector. */
export class OtlpExporter {
  readonly #url: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #resource: object;

  constructor({ url, headers }: OtlpSinkConfig, about: { node: string; version: string }) {
    this.#url = new URL(url);
    this.#headers = Object.fromEntries(
      headers.map((each) => {
        const at = each.indexOf(":");
        return [each.slice(0, at), each.slice(at + 1).trim()];
      }),
    );
    const options = { keepAlive: true, maxSockets: 1 };
    this.#agent =
      this.#url.protocol === "https:" ? new HttpsAgent(options) : new HttpAgent(options);
    this.#resource = {
      attributes: [
        text("service.name", "sluice"),
        text("service.version", about.version),
        text("host.name", about.node),
      ],
    };
  }

  /**
   * Sends records, each as `logRecord` makes it. Returns how many the collector has refused.
   *
   * Errors: DeliveryError.
   */
  async send(records: readonly string[]): Promise<number> {
    const scope = JSON.stringify({ name: "sluice" });
    const body = `{"resourceLogs":[{"resource":${JSON.stringify(this.#resource)},"scopeLogs":[{"scope":${scope},"logRecords":[${records.join()}]}]}]}`;
    const { status, after, answer } = await this.#post(Buffer.from(body));
    if (status >= 200 && status < 300) return rejectedOf(answer);
    const why = `it answers ${status}`;
    throw new DeliveryError(why, later.has(status) ? { afterMs: after } : "never");
  }

  close(): void {
    this.#agent.destroy();
  }

  #post(body: Buffer): Promise<{ status: number; after: number; answer: string }> {
    const request = this.#url.protocol === "https:" ? requestHttps : requestHttp;
    return new Promise((resolve, reject) => {
      let isAnswered = false;
      const failed = (error: Error) => {
        // A name with several addresses: one reason is enough.
        const [first = error] = error instanceof AggregateError ? error.errors : [];
        reject(new DeliveryError(systemReason(first), { afterMs: 0 }));
      };
      const sent = request(
        this.#url,
        {
          method: "POST",
          agent: this.#agent,
          signal: AbortSignal.timeout(timeoutMs),
          headers: {
            ...this.#headers,
            "content-type": "application/json",
            "content-length": body.length,
          },
        },
        (response) => {
          isAnswered = true;
          read(response).then(
            (answer) =>
              resolve({
                status: response.statusCode ?? 0,
                after: 1_000 * (Number(response.headers["retry-after"]) || 0),
                answer,
              }),
            failed,
          );
        },
      );
      sent.on("error", failed);
      // Another protocol that it offers (101) is neither an answer nor an error.
      sent.once("close", () => {
        if (!isAnswered) failed(new Error("it closes the connection without an answer"));
      });
      sent.end(body);
    });
  }
}

async function read(response: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > answerBytesMax) throw new Error(`it answers more than ${answerBytesMax} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}

/** How many records an answer says are refused. */
function rejectedOf(answer: string): number {
  try {
    const parsed = JSON.parse(answer) as { partialSuccess?: { rejectedLogRecords?: unknown } };
    return Math.max(0, Math.trunc(Number(parsed.partialSuccess?.rejectedLogRecords ?? 0)) || 0);
  } catch {
    return 0;
  }
}
