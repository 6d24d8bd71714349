import type { FlowFilterFlag } from "../observe/flow-filter.js";

/** Where flows go, beside the ring that observe reads. */
export type SinkConfig = (FileSinkConfig | OtlpSinkConfig) & {
  /** The values of observe's flags, which have been checked; absent: all flows. */
  readonly filter?: FlowFilterValues;
};

export type FlowFilterValues = Readonly<
  Partial<Record<FlowFilterFlag, readonly string[] | undefined>>
>;

export interface FileSinkConfig {
  /** `drops`: a capture of dropped frames; `file`: flows in JSON. */
  readonly kind: "file" | "drops";
  readonly path: string;
  /** When the file would be larger, it is renamed, and a new one begun. */
  readonly bytesMax: number;
  /** Older files that are kept. */
  readonly keep: number;
}

export interface OtlpSinkConfig {
  readonly kind: "otlp";
  readonly url: string;
  /** `name: value`, each. */
  readonly headers: readonly string[];
}

export const fileDefaults = { megabytes: 100, keep: 5 } as const;

/** What a user calls a sink. */
export function sinkTarget(config: SinkConfig): string {
  return config.kind === "otlp" ? config.url : config.path;
}
