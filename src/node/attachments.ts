import type { FilteredInterface } from "../control/control-routes.js";
import type { Dataplane } from "../dataplane/dataplane.js";
import type { Ruleset } from "../policy/ruleset.js";
import type { Attachment, OpenAttachment } from "./attachment.js";
import { podText } from "./node-config.js";

interface Held {
  readonly wanted: Attachment;
  readonly open: OpenAttachment;
}

/**
 * The attachments of one data plane.
 *
 * A change takes the new ones, then a table that knows them, then lets frames pass, then gives back what
 * is not wanted any more: at no time does a frame pass unjudged, and those that stay notice nothing.
 */
export class Attachments {
  readonly #dataplane: Dataplane;
  readonly #tell: (line: string) => void;
  #held: readonly Held[] = [];

  constructor(dataplane: Dataplane, tell: (line: string) => void) {
    this.#dataplane = dataplane;
    this.#tell = tell;
  }

  interfaces(): readonly FilteredInterface[] {
    return this.#held.flatMap(({ wanted, open }) =>
      open.interfaces.map((each) => ({
        ...each,
        pod: each.role === "endpoint" ? podText(wanted.pod) : null,
      })),
    );
  }

  /**
   * Puts a table in force that these attachments, and no others, are judged by.
   *
   * Errors: what opening one throws, or what the swap throws; everything is then as it was.
   */
  enforce(wanted: readonly Attachment[], blob: Uint8Array, ruleset: Ruleset): number {
    const stay = new Map(this.#held.map((held) => [held.wanted.identity, held.open]));
    const kept = new Set<OpenAttachment>();
    const opened: OpenAttachment[] = [];
    const next: Held[] = [];
    try {
      for (const each of wanted) {
        let open = stay.get(each.identity);
        if (open === undefined) {
          open = each.open(this.#dataplane, this.#tell);
          opened.push(open);
        } else {
          kept.add(open);
        }
        next.push({ wanted: each, open });
      }
      const generation = this.#dataplane.swapTable(blob, bindings(next, ruleset));
      for (const { inside, outside } of opened) {
        this.#dataplane.start({ wire: { inside, outside } });
      }
      const gone = this.#held.filter(({ open }) => !kept.has(open));
      this.#held = next;
      for (const { open } of gone) open.close();
      return generation;
    } catch (error) {
      for (const open of opened) open.close();
      throw error;
    }
  }

  /** Gives everything back. */
  close(): void {
    const held = this.#held;
    this.#held = [];
    for (const { open } of held) open.close();
  }
}

/** Says which link leads to which endpoint of a table; a pod that is not there has none. */
function bindings(held: readonly Held[], { endpoints }: Ruleset): [number, number][] {
  const ids = new Map(endpoints.map((endpoint, id) => [podText(endpoint), id]));
  return held.flatMap(({ wanted, open }): [number, number][] => {
    const id = ids.get(podText(wanted.pod));
    return id === undefined ? [] : [[id, open.inside]];
  });
}
