import { release } from "node:os";
import { putAddresses, removeAddresses } from "./address.js";
import {
  IFF_ALLMULTI,
  IFF_MULTICAST,
  IFF_NOARP,
  IFF_PROMISC,
  IFF_UP,
  IFLA_GROUP,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  IFLA_MTU,
  IFLA_TXQLEN,
  IN6_ADDR_GEN_MODE_NONE,
} from "./constants.js";
import {
  difference,
  type InterfaceState,
  isEmpty,
  lostOf,
  readInterface,
} from "./interface-state.js";
import { changeAltNames, changeLink, familyAttributes, setLinkUp } from "./link.js";
import {
  attribute,
  type NetlinkError,
  type Request,
  textAttribute,
  tryChanges,
  wordAttribute,
} from "./messages.js";
import { putNeighbours, removeNeighbours } from "./neighbour.js";
import { putNextHops } from "./next-hop.js";
import { putRoutes, removeRoutes } from "./route.js";

/** Flags that a user sets. */
const chosenFlags = IFF_NOARP | IFF_PROMISC | IFF_ALLMULTI | IFF_MULTICAST;

/** Rounds to correct what the kernel added or removed by itself. */
const roundsMax = 4;

export interface Loser {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly alias: string;
}

/** A move of an interface's name and settings to another interface. */
export interface Move {
  /** The settings to move: as the interface has them, or had them before an interrupted move. */
  readonly state: InterfaceState;
  /** Index of the interface that gets them. */
  readonly to: number;
  /**
   * The interface that loses them, its name afterwards, and whether it is up; absent when it is deleted.
   */
  readonly from?: Loser;
  /** Whether the interface can be renamed while it is up; absent: as this kernel allows. */
  readonly renameUp?: boolean;
}

/**
 * Moves name, addresses, routes and neighbours from one interface to another in one system call, so a killed
 * process has done all of it or nothing. Then it removes what the kernel added by itself, and adds what the
 * kernel dropped.
 *
 * The caller must make sure that no packet passes either interface meanwhile. Returns the kernel's refusals:
 * the move is then half done, and a move back with the same state undoes it.
 */
export function move(request: Move): NetlinkError[] {
  const refused = tryChanges(moveRequests(request));
  if (refused.length > 0) return refused;
  const unsettled = settle(request.to, request.state);
  if (request.from !== undefined) {
    moveStrays(request.from.index, request.to);
    stripOfKernel(request.from.index);
  }
  return unsettled;
}

function moveRequests({ state, from, to, renameUp = mayRenameUp() }: Move): Request[] {
  const { link } = state;
  const none = familyAttributes({
    addressMode: link.addressMode === undefined ? undefined : IN6_ADDR_GEN_MODE_NONE,
  });
  const named = (name: string, alias: string) => [
    textAttribute(IFLA_IFNAME, name),
    attribute(IFLA_IFALIAS, new TextEncoder().encode(alias)),
    ...none,
  ];
  const isUp = (link.flags & IFF_UP) !== 0;
  const leave =
    from === undefined
      ? []
      : [
          ...(renameUp ? [] : [setLinkUp(from.index, false, "take the interface down")]),
          ...removals(state, from.index),
          ...changeAltNames(
            "remove",
            from.index,
            link.altNames,
            "take the interface's other names",
          ),
          changeLink(
            from.index,
            `rename ${link.name} to ${from.name}`,
            named(from.name, from.alias),
          ),
        ];
  const end =
    from === undefined
      ? []
      : [setLinkUp(from.index, from.up, `bring ${from.name} ${from.up ? "up" : "down"}`)];
  return [
    ...leave,
    setLinkUp(to, false, "take the new interface down"),
    changeLink(
      to,
      `name the new interface ${link.name}`,
      [
        ...named(link.name, link.alias),
        wordAttribute(IFLA_MTU, link.mtu),
        wordAttribute(IFLA_GROUP, link.group),
        ...(link.queueLength > 0 ? [wordAttribute(IFLA_TXQLEN, link.queueLength)] : []),
      ],
      { flags: link.flags & chosenFlags, mask: chosenFlags },
    ),
    ...changeAltNames("add", to, link.altNames, "give the new interface its other names"),
    ...(isUp ? [setLinkUp(to, true, "bring the new interface up")] : []),
    ...additions(state, to),
    changeLink(
      to,
      "set how its IPv6 addresses are made",
      familyAttributes({ addressMode: link.addressMode }),
    ),
    ...end,
  ];
}

/** Whether an interface can be renamed while it is up: from Linux 6.2 on. */
function mayRenameUp(): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  return major > 6 || (major === 6 && minor >= 2);
}

/**
 * Makes an interface's addresses, routes and static neighbours equal to `wanted`. Returns the kernel's
 * refusals.
 */
export function settle(index: number, wanted: InterfaceState): NetlinkError[] {
  for (let round = 1; ; round++) {
    const present = readInterface(index);
    if (present === undefined) throw new Error(`interface ${index} is gone`);
    const missing = difference(wanted, present);
    const extra = difference(present, wanted);
    if (isEmpty(missing) && isEmpty(extra)) return [];
    const requests = [...removals(extra, index), ...additions(missing, index)];
    const refused = tryChanges(requests);
    if (round === roundsMax) return refused;
  }
}

/** Restores what an interface lost with its carrier, once the carrier is back. */
export function refresh(index: number, before: InterfaceState): void {
  const present = readInterface(index);
  if (present !== undefined) tryChanges(additions(lostOf(present, before), index));
}

/**
 * Removes every address and route from an interface, such as those that the kernel adds when it comes up.
 */
export function strip(index: number): void {
  const present = readInterface(index, "with");
  if (present !== undefined) tryChanges(removals(present, index));
}

/** Removes what the kernel adds when an interface comes up. What a user adds meanwhile stays. */
function stripOfKernel(index: number): void {
  const all = readInterface(index, "with");
  const ofUsers = readInterface(index);
  if (all === undefined || ofUsers === undefined) return;
  const own = { ...difference(all, ofUsers), addresses: [], neighbours: [] };
  tryChanges(removals(own, index));
}

/**
 * Moves addresses and routes that were added to an interface to the one that replaced it; false when there
 * are none.
 */
export function moveStrays(from: number, to: number): boolean {
  const strays = readInterface(from);
  if (strays === undefined || strays.addresses.length + strays.routes.length === 0) return false;
  tryChanges([...removals(strays, from), ...additions(strays, to)]);
  return true;
}

/**
 * Requests that remove the entries of `state` from an interface; next hop objects go with their link.
 */
function removals(state: InterfaceState, index: number): Request[] {
  return [
    ...removeRoutes(state.routes, index),
    ...removeNeighbours(state.neighbours, index),
    ...removeAddresses(state.addresses, index),
  ];
}

/** Requests that add the entries of `state` to an interface. */
function additions(state: InterfaceState, index: number): Request[] {
  return [
    ...putAddresses(state.addresses, index),
    ...putNextHops(state.nextHops, index),
    ...putRoutes(state.routes, index),
    ...putNeighbours(state.neighbours, index),
  ];
}
