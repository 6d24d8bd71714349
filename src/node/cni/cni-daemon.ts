import type { CompiledTable, Reload } from "../../control/controller.js";
import type { Histogram } from "../../metrics/histogram.js";
import { addressKey } from "../../net/address.js";
import type { ToldPod } from "../pod-interfaces.js";
import type { AttachedPods } from "./attached-pods.js";
import { type Attachment, attachmentText, CniError, type Question } from "./question.js";

export interface CniDaemonOptions {
  readonly pods: AttachedPods;
  /** Guards the interface of a pod, so that nobody speaks there as another. Errors: thrown. */
  readonly guard: (pod: ToldPod) => Promise<void>;
  /** Has the source take what `pods` says now. */
  readonly refresh: () => void;
  /** Puts in force at once what the source has. */
  readonly updateNow: () => Promise<Reload>;
  readonly measures: { readonly added: Histogram; failed: number };
  /** The table in force. */
  readonly table: () => CompiledTable | undefined;
}

/** What is left of a plugin's time for the answer's way back. */
const answerMs = 250;

/**
 * Carries out what the CNI plugin asks: a pod's addresses are in force in the kernel when its ADD is answered.
 *
 * The labels come from the API server, the addresses from the plugins before this one.
 */
export class CniDaemon {
  readonly #options: CniDaemonOptions;
  readonly #waiting = new Set<() => void>();
  #refused: string | undefined;

  constructor(options: CniDaemonOptions) {
    this.#options = options;
  }

  /** Errors: CniError. */
  async answer(question: Question, signal: AbortSignal): Promise<void> {
    const { pods, refresh } = this.#options;
    switch (question.command) {
      case "ADD":
        return this.#add(question.attachment, question.waitMs, signal);
      case "CHECK":
        if (this.#isInForce(question.attachment)) return;
        throw new CniError("notEnforced", `${attachmentText(question.attachment)} has no policy`);
      case "DEL":
        pods.remove(question.place);
        return refresh();
      case "GC":
        pods.keepOnly(question.network, question.valid);
        return refresh();
      case "STATUS":
    }
  }

  /** Looks again whether those that wait are in force: called after each update. */
  updated(reload: Reload): void {
    this.#refused = reload.ok
      ? undefined
      : (reload.refused?.message ?? "the objects have errors, and the table in force stays");
    for (const look of [...this.#waiting]) look();
  }

  async #add(attachment: Attachment, waitMs: number, signal: AbortSignal): Promise<void> {
    const { pods, refresh, measures } = this.#options;
    // What is no pod is closed where it has an address of the node's pod ranges.
    if (attachment.pod === undefined || attachment.addresses.length === 0) return;
    const startMs = performance.now();
    try {
      const { namespace, name } = attachment.pod;
      const { addresses, hostInterface } = attachment;
      const enforce = async () => {
        pods.add(attachment);
        refresh();
        await this.#untilInForce(attachment, waitMs - answerMs, signal);
      };
      // Side by side: the kernel takes long to attach a guard, and the pod runs only when both are done.
      const guarded =
        hostInterface === undefined
          ? undefined
          : this.#options.guard({ namespace, name, addresses, interface: hostInterface });
      await Promise.all([guarded, enforce()]);
      measures.added.observe((performance.now() - startMs) / 1_000);
    } catch (error) {
      measures.failed++;
      pods.remove(attachment);
      refresh();
      throw error;
    }
  }

  /** Errors: CniError when the time is over, or the runtime waits no more. */
  #untilInForce(attachment: Attachment, ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      let isOver = false;
      const end = (error?: CniError) => {
        isOver = true;
        this.#waiting.delete(look);
        clearTimeout(timer);
        signal.removeEventListener("abort", over);
        if (error === undefined) resolve();
        else reject(error);
      };
      const look = () => {
        if (this.#isInForce(attachment)) end();
      };
      const over = () => end(new CniError("tryAgain", this.#whyNot(attachment)));
      const timer = setTimeout(over, Math.max(0, ms));
      signal.addEventListener("abort", over);
      // Until then the table may have an earlier pod with this name and address.
      void this.#options.updateNow().then(() => {
        if (isOver) return;
        this.#waiting.add(look);
        look();
      });
    });
  }

  #whyNot(attachment: Attachment): string {
    const why = this.#refused ?? "the API server has not reported that pod on this node";
    return `${attachmentText(attachment)} is not enforced in time: ${why}`;
  }

  #isInForce({ pod, addresses }: Attachment): boolean {
    const endpoint = this.#options
      .table()
      ?.ruleset.endpoints.find(
        ({ namespace, name }) => namespace === pod?.namespace && name === pod.name,
      );
    const known = new Set(endpoint?.addresses.map(addressKey));
    return addresses.every((address) => known.has(addressKey(address)));
  }
}
