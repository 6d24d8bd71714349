import type {
  FlowRow,
  FlowsDocument,
  HitsDocument,
  MapDocument,
  PageDocument,
  PolicyTextDocument,
  RefusedDocument,
  WhatIfDocument,
  WhyDocument,
} from "../documents.js";

/** All that a page that is one file has; the server of a page that is served answers the same. */
export interface FileData {
  readonly page: PageDocument;
  readonly map: MapDocument;
  /** By `from\nto`. */
  readonly whys: Readonly<Record<string, WhyDocument>>;
}

/** Where answers come from. */
export interface Source {
  page(): Promise<PageDocument>;
  map(): Promise<MapDocument>;
  flows(since: number): Promise<FlowsDocument>;
  why(from: string, to: string, port: string): Promise<WhyDocument>;
  hits(): Promise<HitsDocument>;
  policy(place: number): Promise<PolicyTextDocument>;
  whatIf(text: string, removed: readonly string[]): Promise<WhatIfDocument>;
}

export const source: Source = fileSource() ?? {
  page: () => ask("page"),
  map: () => ask("map"),
  flows: (since) => ask(`flows?since=${since}`),
  why(from, to, port) {
    const query = new URLSearchParams({ from, to });
    if (port !== "") query.set("port", port);
    return ask(`why?${query}`);
  },
  hits: () => ask("hits"),
  policy: (place) => ask(`policy?place=${place}`),
  whatIf: (text, removed) => ask("what-if", { text, removed }),
};

async function ask<Answer>(path: string, body?: unknown): Promise<Answer> {
  const response = await fetch(`api/${path}`, {
    ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
  }).catch(() => {
    throw new Error("sluice ui does not answer: it has ended");
  });
  const answer = (await response.json()) as Answer | RefusedDocument;
  if (!response.ok) throw new Error((answer as RefusedDocument).message);
  return answer as Answer;
}

function fileSource(): Source | undefined {
  const text = document.getElementById("data")?.textContent;
  if (!text) return undefined;
  const data = JSON.parse(text) as FileData;
  const nobody = async (): Promise<never> => {
    throw new Error("this page is a file: sluice ui answers more");
  };
  return {
    page: async () => data.page,
    map: async () => data.map,
    flows: nobody,
    async why(from, to, port) {
      const why = data.whys[`${from}\n${to}`];
      if (why !== undefined && (port === "" || port === serviceOf(why))) return why;
      return nobody();
    },
    hits: async () => ({ policies: null }),
    policy: nobody,
    whatIf: nobody,
  };
}

/** Writes `5432/tcp`, or `icmp`. */
export function serviceOf({ protocol, port }: { protocol: string; port: number | null }): string {
  const word = protocol.toLowerCase();
  return port === null ? word : `${port}/${word}`;
}

/** What to ask of a row of flows; empty where it is of several ports, or of a protocol without a name. */
export function askedPort(row: FlowRow): string {
  return row.otherPorts || row.protocol === "other" ? "" : serviceOf(row);
}

/** The rows of the flows' table as they are now, with their rates. */
export class FlowStore {
  readonly rows = new Map<number, FlowRow>();
  /** Connections a second, of the last seconds. */
  readonly rates = new Map<number, number>();
  readonly #counts: { readonly atMs: number; readonly counts: ReadonlyMap<number, number> }[] = [];
  #version = 0;
  last: FlowsDocument | undefined;
  /** Changes when rows come or go, or one has its first connection: what is only counted on changes no picture. */
  shape = 0;

  async refresh(): Promise<boolean> {
    const answer = await source.flows(this.#version);
    const isNews =
      answer.rows.length > 0 ||
      answer.gone.length > 0 ||
      answer.trouble !== this.last?.trouble ||
      answer.revision !== this.last?.revision ||
      this.rates.size > 0;
    if (answer.whole) this.rows.clear();
    let isShaped = answer.whole;
    for (const id of answer.gone) isShaped = this.rows.delete(id) || isShaped;
    for (const row of answer.rows) {
      const before = this.rows.get(row.id);
      isShaped ||= before === undefined || (before.connections === 0 && row.connections > 0);
      this.rows.set(row.id, row);
    }
    if (isShaped) this.shape++;
    this.#version = answer.version;
    this.last = answer;
    this.#rate(answer.rows);
    return isNews;
  }

  #rate(changed: readonly FlowRow[]): void {
    const nowMs = performance.now();
    const before = this.#counts.at(-1)?.counts ?? new Map<number, number>();
    const counts = new Map(before);
    for (const row of changed) counts.set(row.id, row.connections);
    this.#counts.push({ atMs: nowMs, counts });
    while (this.#counts.length > 6) this.#counts.shift();
    const first = this.#counts[0]!;
    const seconds = (nowMs - first.atMs) / 1_000;
    this.rates.clear();
    if (seconds <= 0) return;
    for (const row of this.rows.values()) {
      const rate = (row.connections - (first.counts.get(row.id) ?? row.connections)) / seconds;
      if (rate > 0) this.rates.set(row.id, rate);
    }
  }
}
