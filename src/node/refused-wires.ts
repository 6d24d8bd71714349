import { RefusalError } from "../control/refusal.js";
import { DataplaneError } from "../dataplane/errors.js";
import { listNameGuards, ownerOfGuard } from "../dataplane/interfaces.js";
import { parseAddress } from "../net/address.js";
import { IFF_LOOPBACK } from "../netlink/constants.js";
import { readLink } from "../netlink/link.js";
import { routeTo } from "../netlink/way-to-address.js";
import { type Attachment, takenAt } from "./attachment.js";

type Wire = Pick<Attachment, "span" | "interfaces">;

/** Addresses that nobody has (RFC 5737, RFC 3849): the route to them is the default route. */
const elsewhere = ["192.0.2.1", "2001:db8::1"].flatMap((text) => parseAddress(text) ?? []);
/** The index that the kernel gives the loopback. */
const loopback = 1;

/**
 * Refuses wires on interfaces that this machine needs for its own traffic: they would cut it off.
 *
 * Errors: RefusalError (environment).
 */
export function refuseNeeded(wires: readonly Wire[]): void {
  if (wires.length === 0) return;
  const own = new Map<string, string>();
  for (const index of [loopback, ...elsewhere.flatMap((address) => routeTo(address) ?? [])]) {
    const link = readLink(index);
    if (link === undefined) continue;
    const isLoopback = (link.flags & IFF_LOOPBACK) !== 0;
    if (index === loopback && !isLoopback) continue;
    const what = isLoopback ? "is the loopback" : "carries this machine's default route";
    for (const name of [link.name, ...link.altNames]) own.set(name, what);
  }
  for (const { span, interfaces } of wires) {
    const name = interfaces.find((each) => own.has(each));
    if (name === undefined) continue;
    takenAt(span, () => {
      const message = `the interface ${name} ${own.get(name)}: a wire cuts this machine off there`;
      throw new RefusalError("environment", message, "with --yes it is taken all the same");
    });
  }
}

/**
 * Refuses wires on interfaces that another running process has: both would move each frame. `table`: this process's
 * own guard by names. Where the kernel has no such guards, nobody is known.
 *
 * Errors: RefusalError (environment).
 */
export function refuseHeld(wires: readonly Wire[], table: string | null): void {
  if (wires.length === 0) return;
  const owners = new Map<string, string>();
  for (const guard of listed()) {
    if (!guard.live || guard.table === table) continue;
    for (const name of guard.names) owners.set(name, guard.table);
  }
  for (const { span, interfaces } of wires) {
    const name = interfaces.find((each) => owners.has(each));
    if (name === undefined) continue;
    const pid = ownerOfGuard(owners.get(name) ?? "");
    const who = pid === undefined ? "another process" : `the process ${pid}`;
    const remedy = "take its place with --take-over and its --socket, or end it first";
    takenAt(span, () => {
      throw new RefusalError("environment", `${who} has the interface ${name}`, remedy);
    });
  }
}

function listed(): ReturnType<typeof listNameGuards> {
  try {
    return listNameGuards();
  } catch (error) {
    if (!(error instanceof DataplaneError)) throw error;
    return [];
  }
}
