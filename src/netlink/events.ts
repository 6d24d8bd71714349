import { IFLA_IFNAME, RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK } from "./constants.js";
import { indexAt } from "./entry.js";
import { linkBodyBytes } from "./link.js";
import { attributesOf, decodeMessages, textOf, wordOf } from "./messages.js";

/** The interfaces that a set of events concerns. */
export interface Touched {
  readonly indexes: ReadonlySet<number>;
  /** Names of links that were added, changed, deleted or renamed. */
  readonly names: ReadonlySet<string>;
}

/**
 * Lists the interfaces that the kernel's link and address events concern.
 *
 * Shape: whole messages, as `InterfaceEvents.read` gives them.
 */
export function touchedBy(events: Uint8Array): Touched {
  const indexes = new Set<number>();
  const names = new Set<string>();
  for (const { type, body } of decodeMessages(events)) {
    if (type === RTM_NEWADDR || type === RTM_DELADDR) indexes.add(wordOf(body, indexAt));
    // A bridge's messages about its ports (AF_BRIDGE) are not about a link.
    if ((type !== RTM_NEWLINK && type !== RTM_DELLINK) || body[0] !== 0) continue;
    indexes.add(wordOf(body, indexAt));
    const name = attributesOf(body, linkBodyBytes).find((each) => each.type === IFLA_IFNAME);
    if (name !== undefined) names.add(textOf(name.data));
  }
  return { indexes, names };
}
