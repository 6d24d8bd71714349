import { hostname } from "node:os";
import type { FlowSinkStatus } from "../control/control-routes.js";
import { sanitizedJson } from "../diagnostics/sanitize.js";
import type { Tell } from "../diagnostics/tell.js";
import type { DroppedFrames, FrameLine } from "../observe/dropped-frames.js";
import { readFlowFilter } from "../observe/flow-filter.js";
import type { FlowLog } from "../observe/flow-log.js";
import { DropsCapture } from "./drops.js";
import { logRecord, OtlpExporter } from "./otlp.js";
import { RotatingFile } from "./rotating-file.js";
import { Sink, type Transport } from "./sink.js";
import { type FileSinkConfig, type SinkConfig, sinkTarget } from "./sink-config.js";

export interface FlowSinksOptions {
  readonly flows: FlowLog;
  readonly droppedFrames: DroppedFrames;
  readonly version: string;
  readonly tell: Tell;
}

interface OpenSink {
  readonly config: SinkConfig;
  readonly sink: Sink;
  readonly stop: () => void;
}

/** The sinks of a process, each a reader of its flow log. */
export class FlowSinks {
  readonly #options: FlowSinksOptions;
  #open: readonly OpenSink[] = [];
  #isOpen = false;

  constructor(options: FlowSinksOptions) {
    this.#options = options;
  }

  /** Begins, with all flows that are kept. */
  open(configs: readonly SinkConfig[]): void {
    this.#isOpen = true;
    this.#open = configs.map((config) => this.#start(config, { sinceUs: 0 }));
  }

  /** From now on flows go to these; one that was there already goes on. Before `open` it does nothing. */
  use(configs: readonly SinkConfig[]): void {
    if (!this.#isOpen) return;
    const same = (a: SinkConfig, b: SinkConfig) => JSON.stringify(a) === JSON.stringify(b);
    const before = this.#open;
    const gone = before.filter((open) => !configs.some((each) => same(each, open.config)));
    if (gone.length > 0) this.#options.flows.finish();
    for (const open of gone) void close(open);
    this.#open = configs.map(
      (config) => before.find((open) => same(config, open.config)) ?? this.#start(config, {}),
    );
  }

  get status(): readonly FlowSinkStatus[] {
    return this.#open.map(({ config, sink }) => {
      const { written, lost, waiting, error } = sink.counts;
      const { kind } = config;
      return { kind, to: sinkTarget(config), written, lost, waiting, error: error ?? null };
    });
  }

  /** Delivers what is left, as far as that succeeds within seconds. No more flows come. */
  async close(): Promise<void> {
    this.#options.flows.finish();
    this.#isOpen = false;
    await Promise.all(this.#open.map(close));
    this.#open = [];
  }

  #start(config: SinkConfig, from: { readonly sinceUs?: number }): OpenSink {
    const { flows, droppedFrames, tell } = this.#options;
    const filter = readFlowFilter((flag) => config.filter?.[flag] ?? []);
    if (typeof filter === "string") throw new TypeError(filter);
    const sink = new Sink(sinkTarget(config), this.#transportOf(config), tell);
    const stop =
      config.kind === "drops"
        ? droppedFrames.read(filter, sink)
        : flows.read({ ...from, filter, follow: true }, sink);
    return { config, sink, stop };
  }

  #transportOf(config: SinkConfig): Transport {
    if (config.kind === "otlp") {
      const about = { node: hostname(), version: this.#options.version };
      const exporter = new OtlpExporter(config, about);
      return {
        textOf: logRecord,
        deliver: (texts) => exporter.send(texts),
        close: () => exporter.close(),
      };
    }
    return config.kind === "drops" ? dropsFile(config) : flowsFile(config);
  }
}

function flowsFile({ path, bytesMax, keep }: FileSinkConfig): Transport {
  const file = new RotatingFile(path, { bytesMax, keep });
  return {
    textOf: (line) => `${sanitizedJson(line)}\n`,
    async deliver(texts) {
      await file.append(Buffer.from(texts.join("")));
      return 0;
    },
    close() {},
  };
}

function dropsFile({ path, bytesMax, keep }: FileSinkConfig): Transport {
  const capture = new DropsCapture();
  const file = new RotatingFile(path, { bytesMax, keep, head: capture.head });
  return {
    // Bytes as the characters of a text, of which a sink keeps so many.
    textOf: (line) => Buffer.from(capture.blockOf(line as FrameLine)).toString("latin1"),
    async deliver(texts) {
      await file.append(Buffer.from(texts.join(""), "latin1"));
      return 0;
    },
    close() {},
  };
}

async function close({ sink, stop }: OpenSink): Promise<void> {
  stop();
  await sink.close();
}
