import { setTimeout as pause } from "node:timers/promises";
import type { ControlClient } from "../../control/client.js";
import type { ConnectionItem, ControlStatus, EndpointItem } from "../../control/control-routes.js";
import type { PolicyItem, RuleItem } from "../../control/policy-routes.js";
import type { FlowLine } from "../../observe/flow.js";
import {
  connectionRow,
  endpointRow,
  type PaneName,
  type PaneRow,
  policyRow,
  ruleRow,
  trafficRow,
} from "./panes.js";
import { type Grouping, Traffic } from "./traffic.js";

/** How often what is shown is asked for again. */
const pollMs = 1_000;
/** Flows from before the start. */
const lastFlows = 1_000;
/** Rows of a list at most. */
const itemsMax = 20_000;

/** What a process tells, kept as new as it can be. */
export class LiveData {
  readonly #client: ControlClient;
  readonly #name: string;
  readonly #changed: () => void;
  readonly #stop = new AbortController();
  readonly #traffic = new Traffic();
  readonly #lists = new Map<PaneName, readonly unknown[]>();
  #pane: PaneName;
  #status: ControlStatus | undefined;
  #trouble: string | undefined;
  #flows = 0;
  #drops = 0;
  /** Flows and drops a second; empty until it has passed. */
  #rates: readonly number[] = [];
  #wake = new AbortController();

  constructor(client: ControlClient, name: string, pane: PaneName, changed: () => void) {
    this.#client = client;
    this.#name = name;
    this.#pane = pane;
    this.#changed = changed;
  }

  /** Reads everything once. Errors: RefusalError. */
  async read(): Promise<void> {
    await this.#client.follow(`/flows?last=${lastFlows}`, (line) => this.#see(line as FlowLine));
    await this.#poll();
  }

  /** Keeps up with the process until `close`. */
  follow(): void {
    void this.#followFlows();
    void this.#followLists();
  }

  close(): void {
    this.#stop.abort();
    this.#wake.abort();
  }

  shown(pane: PaneName): void {
    this.#pane = pane;
    this.#wake.abort();
  }

  title(): string {
    const name = `top  ${this.#name}`;
    if (this.#trouble !== undefined) return `${name}  ${this.#trouble}`;
    if (this.#status === undefined) return name;
    const { generation, enforced, endpoints, connections, mode } = this.#status;
    const state = enforced ? "enforced" : "NOT ENFORCED";
    const audit = mode === "audit" ? ["audit"] : [];
    const rates = this.#rates.map((rate, at) => `${rate} ${at === 0 ? "flows" : "drops"}/s`);
    return [
      ...[name, `gen ${generation} ${state}`, ...audit, `${endpoints} pods`],
      ...[`${connections} conns`, ...rates],
    ].join("  ");
  }

  rows(pane: PaneName, grouping: Grouping): PaneRow[] {
    const nowMs = Date.now();
    const list = this.#lists.get(pane) ?? [];
    switch (pane) {
      case "flows":
      case "drops":
        return this.#traffic
          .rows(grouping, nowMs)
          .filter(({ verdict }) => pane === "flows" || verdict !== "FORWARDED")
          .map((row) => trafficRow(row, nowMs));
      case "policies":
        return (list as PolicyItem[]).map((item) => policyRow(item, nowMs));
      case "rules":
        return (list as RuleItem[]).map((item) => ruleRow(item, nowMs));
      case "endpoints":
        return (list as EndpointItem[]).map(endpointRow);
      case "connections":
        return (list as ConnectionItem[]).map(connectionRow);
    }
  }

  #see({ flow }: FlowLine): void {
    this.#traffic.add(flow);
    // The end of a connection is no further flow.
    if (flow.ext.event !== "closed") this.#flows++;
    if (flow.verdict !== "FORWARDED") this.#drops++;
  }

  async #followFlows(): Promise<void> {
    const { signal } = this.#stop;
    let since = new Date().toISOString();
    while (!signal.aborted) {
      try {
        await this.#client.follow(
          `/flows?follow=true&since=${since}`,
          (line) => this.#see(line as FlowLine),
          signal,
        );
      } catch {
        // The lists say that the process does not answer.
      }
      since = new Date().toISOString();
      await pause(pollMs, undefined, { signal }).catch(() => {});
    }
  }

  async #followLists(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const [flows, drops] = [this.#flows, this.#drops];
      this.#wake = new AbortController();
      const startMs = performance.now();
      await pause(pollMs, undefined, { signal: this.#wake.signal }).catch(() => {});
      const seconds = (performance.now() - startMs) / 1_000;
      if (seconds > 0.5) {
        this.#rates = [this.#flows - flows, this.#drops - drops].map((each) =>
          Math.round(each / seconds),
        );
      }
      try {
        await this.#poll();
        this.#trouble = undefined;
      } catch (error) {
        this.#trouble = (error as Error).message;
      }
      if (!this.#stop.signal.aborted) this.#changed();
    }
  }

  async #poll(): Promise<void> {
    const pane = this.#pane;
    this.#status = await this.#client.ask<ControlStatus>("GET", "/status");
    if (pane === "flows" || pane === "drops") return;
    const items: unknown[] = [];
    await this.#client.list("GET", `/${pane}`, {
      onItem: (item) => {
        if (items.length < itemsMax) items.push(item);
      },
    });
    this.#lists.set(pane, items);
  }
}
