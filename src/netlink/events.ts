import { IFLA_IFNAME, RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK } from "./constants.js";
import { indexAt } from "./entry.js";
import { linkBodyBytes } from "./link.js";
import { attributesOf, decodeMessages, textOf, wordOf } from "./messages.js";

/** Which interfaces some events are about. */
export interface Touched {
  readonly indexes: ReadonlySet<number>;
  /** Of links that are there, have gone, or have got another name. */
  readonly names: ReadonlySet<string>;
}

/**
 * Says which interfaces the kernel's events of links and addresses are about.
 *
 * Shape: whole messages, as `InterfaceEvents.read` gives them.
 */
export function touchedBy(events: Uint8Array): Touched {
  const indexes = new Set<number>();
  const names = new Set<string>();
  for (const { type, body } of decodeMessages(events)) {
    if (type === RTM_NEWADDR || type === RTM_DELADDR) indexes.add(wordOf(body, indexAt));
    // A bridge's words on its ports are no link's.
    if ((type !== RTM_NEWLINK && type !== RTM_DELLINK) || body[0] !== 0) continue;
    indexes.add(wordOf(body, indexAt));
    const name = attributesOf(body, linkBodyBytes).find((each) => each.type === IFLA_IFNAME);
    if (name !== undefined) names.add(textOf(name.data));
  }
  return { indexes, names };
}
