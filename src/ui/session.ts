import { RefusalError } from "../control/refusal.js";
import { readFlowRecord } from "../observe/flow-record.js";
import type {
  FlowsDocument,
  HitsDocument,
  MapDocument,
  PageDocument,
  PolicyTextDocument,
  WhatIfDocument,
  WhyDocument,
} from "./documents.js";
import { FlowRows } from "./flow-rows.js";
import { seenFlow } from "./seen-flow.js";
import type { Asked, TableModel } from "./table-model.js";
import { type Edit, edited, type Making, type Traffic, whatIfDocument } from "./what-if.js";

/** Finds the connections that a process tracks, as traffic that an edit may cut. */
export type FindConnections = () => Promise<{
  readonly traffic: readonly Traffic[];
  /** What was looked at, in words. */
  readonly judged: string;
}>;

/** What a process tells beside its table and its flows. */
export interface LiveQuestions {
  readonly connections: FindConnections;
  readonly hits: () => Promise<HitsDocument>;
}

/** What the page asks, answered from the table at hand and the flows that were seen. */
export class UiSession {
  readonly page: PageDocument;
  readonly flows = new FlowRows();
  readonly #live: LiveQuestions | undefined;
  #model: TableModel;
  #making: Making;
  #revision = 1;
  #lost = 0;
  #trouble: string | null = null;

  constructor(page: PageDocument, model: TableModel, making: Making, live?: LiveQuestions) {
    this.page = page;
    this.#model = model;
    this.#making = making;
    this.#live = live;
  }

  get model(): TableModel {
    return this.#model;
  }

  /** Another table is in force. */
  replace(model: TableModel, making: Making): void {
    this.#model = model;
    this.#making = making;
    this.#revision++;
  }

  /** Counts a line of the flows' stream, or of a file of them; a text says what is wrong with it. */
  see(line: unknown): string | undefined {
    const read = readFlowRecord(line);
    if (typeof read === "string") return read;
    this.#lost += read.lost;
    const flow = read.record && seenFlow(read.record, line, this.#model);
    if (flow !== undefined) this.flows.add(flow);
    return undefined;
  }

  /** Says why no flows come; null: they do. */
  set trouble(text: string | null) {
    this.#trouble = text;
  }

  map(): MapDocument {
    return { ...this.#model.map, revision: this.#revision };
  }

  flowsSince(version: number): FlowsDocument {
    return {
      ...this.flows.since(version),
      lost: this.#lost,
      revision: this.#revision,
      trouble: this.#trouble,
    };
  }

  /** Errors: RefusalError (usage). */
  why(asked: Asked): WhyDocument {
    return this.#model.why(asked);
  }

  /** Nobody counts while the process does not answer: that it does not, `trouble` says. */
  async hits(): Promise<HitsDocument> {
    const unknown: HitsDocument = { policies: null };
    return this.#live?.hits().catch(() => unknown) ?? unknown;
  }

  /** Errors: RefusalError (usage). */
  policyText(place: number): PolicyTextDocument {
    const policy = this.map().policies[place];
    const text = policy && this.#model.excerpts.document(policy.file, policy.line);
    if (text === undefined) {
      throw new RefusalError("usage", "the text of this policy is not at hand");
    }
    return { text };
  }

  /** Errors: RefusalError of the process whose connections are looked at. */
  async whatIf(edit: Edit): Promise<WhatIfDocument> {
    const { state } = this.#model;
    const after = edited(state, edit, this.#making);
    if (!after.ok || this.#live === undefined) {
      const judged = this.page.flows === null ? "" : "the flows that were seen";
      return whatIfDocument(state, after, this.#seenTraffic(), judged);
    }
    const { traffic, judged } = await this.#live.connections();
    return whatIfDocument(state, after, traffic, judged);
  }

  /** The last flow of each row that passed. */
  #seenTraffic(): readonly Traffic[] {
    return this.flows.rows.flatMap((row): readonly Traffic[] => {
      if (row.verdict === "DROPPED") return [];
      const { source, destination, sourceAddress, destinationAddress } = row.last;
      const { port, host } = endOf(destinationAddress);
      const ends = { source: endOf(sourceAddress).host, destination: host };
      const { protocol, connections } = row;
      return [{ ...ends, protocol, port, from: source, to: destination, connections }];
    });
  }
}

/** Takes `10.0.0.1:80`, `[fd00::1]:80` or an address alone apart. */
function endOf(text: string): { readonly host: string; readonly port: number | null } {
  const match = /^(?:\[(.*)\]|([^:]*)):(\d+)$/.exec(text);
  if (match === null) return { host: text, port: null };
  return { host: match[1] ?? match[2] ?? "", port: Number(match[3]) };
}
