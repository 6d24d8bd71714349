import type { Dataplane } from "../dataplane/dataplane.js";
import type { Span } from "../diagnostics/diagnostic.js";
import type { Attachment, OpenAttachment } from "./attachment.js";
import type { PodName, WireConfig } from "./node-config.js";

/** Two interfaces that were there before: a bump in the wire. */
export class WireAttachment implements Attachment {
  readonly #wire: WireConfig;

  constructor(wire: WireConfig) {
    this.#wire = wire;
  }

  get name(): string {
    return this.#wire.inside;
  }

  get pod(): PodName {
    return this.#wire.pod;
  }

  get span(): Span {
    return this.#wire.span;
  }

  get interfaces(): readonly string[] {
    return [this.#wire.inside, this.#wire.outside];
  }

  get identity(): string {
    const { inside, outside, podMac, link } = this.#wire;
    return JSON.stringify(["wire", inside, outside, podMac, link]);
  }

  open(dataplane: Dataplane, tell: (line: string) => void): OpenAttachment {
    const { inside, outside, podMac, link } = this.#wire;
    const links: number[] = [];
    const take = (name: string, more: { readonly mac?: string } = {}): number => {
      const { linkId, kind, why } = dataplane.addInterface({ interface: name, ...more }, link);
      links.push(linkId);
      tell(`${name}: ${kind} (${why})`);
      return linkId;
    };
    const close = () => {
      for (const linkId of links.splice(0)) dataplane.removeLink(linkId);
    };
    try {
      const ends = {
        inside: take(inside, podMac === undefined ? {} : { mac: podMac }),
        outside: take(outside),
      };
      return {
        ...ends,
        interfaces: [
          { name: inside, linkId: ends.inside, role: "endpoint" },
          { name: outside, linkId: ends.outside, role: "uplink" },
        ],
        close,
      };
    } catch (error) {
      close();
      throw error;
    }
  }
}
