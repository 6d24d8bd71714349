import type { Dataplane } from "../dataplane/dataplane.js";
import { DataplaneError } from "../dataplane/errors.js";
import { clearFailOpen, setFailOpen } from "../dataplane/host.js";
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
    const { inside, outside, podMac, link, failMode } = this.#wire;
    return JSON.stringify(["wire", inside, outside, podMac, link, failMode]);
  }

  open(dataplane: Dataplane, tell: (line: string) => void, slots: number): OpenAttachment {
    const { inside, outside, podMac, link, failMode } = this.#wire;
    const taken: { readonly name: string; readonly linkId: number }[] = [];
    const take = (name: string, more: { readonly mac?: string } = {}): number => {
      const { linkId, kind, why } = dataplane.addInterface(
        { interface: name, slots, ...more },
        link,
      );
      taken.push({ name, linkId });
      tell(`${name}: ${kind} (${why})`);
      // An earlier process may have died there: whether this one may is for its own config to say.
      if (!dataplane.isHeir) clearFailOpen(undefined, name);
      return linkId;
    };
    const close = () => {
      // Before they are let go: in between, frames would pass unjudged. Another process's stays its own.
      if (!dataplane.isHeir) {
        for (const { name } of taken) forget(() => clearFailOpen(undefined, name));
      }
      for (const { linkId } of taken.splice(0)) dataplane.removeLink(linkId);
    };
    try {
      const ends = {
        inside: take(inside, podMac === undefined ? {} : { mac: podMac }),
        outside: take(outside),
      };
      return {
        ...ends,
        interfaces: [
          { name: inside, linkId: ends.inside, role: "endpoint", failMode },
          { name: outside, linkId: ends.outside, role: "uplink", failMode },
        ],
        started() {
          if (failMode === "closed") {
            for (const { name } of taken) clearFailOpen(undefined, name);
            return;
          }
          setFailOpen(undefined, inside, outside);
          tell(
            `WARNING: ${inside}, ${outside}: fail open: should this process die, everything passes between them unjudged`,
          );
        },
        close,
      };
    } catch (error) {
      close();
      throw error;
    }
  }
}

/** Does what may fail where an interface is gone: what was on it is gone as well. */
function forget(step: () => void): void {
  try {
    step();
  } catch (error) {
    if (!(error instanceof DataplaneError && error.code === "ENODEV")) throw error;
  }
}
