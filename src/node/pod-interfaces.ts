import { contained } from "../control/boundary.js";
import type { GuardState, PodInterfaceItem } from "../control/control-routes.js";
import { RefusalError } from "../control/refusal.js";
import {
  type GuardedSources,
  type OwnSources,
  ownAddressesMax,
  type SourceGuards,
} from "../dataplane/source-guards.js";
import type { Tell } from "../diagnostics/tell.js";
import { Histogram } from "../metrics/histogram.js";
import { type Address, addressKey, formatAddress } from "../net/address.js";
import type { Touched } from "../netlink/events.js";
import { readLink } from "../netlink/link.js";
import { InterfaceFinder, type IsTaken, isOfOnePod, type PodInterface } from "./find-interface.js";
import { type PodName, podText } from "./node-config.js";

/** A pod of this node, and its addresses. */
export interface LocalPod extends PodName {
  readonly addresses: readonly Address[];
}

/** A pod whose interface somebody tells who knows it, as the network plugin that has made it. */
export interface ToldPod extends LocalPod {
  /** The name of the interface on the node that leads to the pod. */
  readonly interface: string;
}

/** What has become of a pod's interface. */
export interface PodChange {
  readonly pod: LocalPod;
  readonly guard: "on" | "missing" | "none";
  /** Where it is guarded, or why not. */
  readonly note: string;
}

/** How long an interface may be looked for before that is a fault. */
const findingMs = 5_000;
/** Between two looks while one is looked for: the first, and the longest. */
const firstLookMs = 2;
const lastLookMs = 1_000;
/** After an event, where what is looked for has not been found for long. */
const lateLookMs = 100;
/** Between two looks at all. */
const sweepMs = 10_000;
/** New interfaces that are remembered at most until their pod is in force. */
const seenMax = 1_024;
/** Flow events have so many numbers for interfaces; this one is none's. */
const linkIds = 0xffff;
/** Interfaces that have gone whose names are remembered: what was dropped there is told a little later. */
const goneMax = 1_024;

/** An interface that is guarded, and what its guard knows. */
interface Guarded {
  readonly index: number;
  readonly linkId: number;
  name: string;
  /** `namespace/name`; absent where an earlier process has guarded it and no pod is known yet. */
  pod?: string;
  addresses: readonly Address[];
  /** Whether somebody has told the pod: then the API server may know another address of it for a while. */
  isTold: boolean;
  drops: number;
}

interface Wanted {
  readonly pod: LocalPod;
  readonly sinceMs: number;
  state: Exclude<GuardState, "on" | "off">;
  note: string;
}

/**
 * The interfaces of a node's pods: found, guarded so that nobody speaks there as somebody else, and found again when
 * they are made anew. What is guarded stays so until the interface goes, whatever becomes of its pod or this process.
 *
 * Owner:  `close` ends the looking; the guards stay.
 * Errors: of the background work, told; a pod's interface is `missing` then.
 */
export class PodInterfaces {
  /** From a pod's new interface until the pod is in force, where no plugin has told of it. Units: seconds. */
  readonly unknownTimes = new Histogram();
  readonly #tell: Tell;
  readonly #guards: SourceGuards | undefined;
  readonly #changed: (change: PodChange) => void;
  readonly #guarded = new Map<number, Guarded>();
  /** Those of `#guarded` whose guard the kernel is attaching. */
  readonly #attaching = new Set<Guarded>();
  /** Names of interfaces that have gone, by what flow events call them. */
  readonly #gone = new Map<number, string>();
  readonly #wanted = new Map<string, Wanted>();
  /** When the kernel first told of an interface, until its pod is in force. */
  readonly #seenMs = new Map<number, number>();
  #pods: ReadonlyMap<string, LocalPod> = new Map();
  #lastLinkId = 0;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = Number.POSITIVE_INFINITY;
  #lookMs = firstLookMs;
  #renewedMs = performance.now();
  #isClosed = false;

  /**
   * `guards`: undefined where interfaces are not to be guarded. `changed`: called when a pod's interface is guarded, or
   * after a while is not.
   *
   * Errors: DataplaneError, NetlinkError.
   */
  constructor(
    guards: SourceGuards | undefined,
    tell: Tell,
    changed: (change: PodChange) => void = () => {},
  ) {
    this.#tell = tell;
    this.#guards = guards;
    this.#changed = changed;
    for (const { interfaceIndex: index, isAttached, ...left } of guards?.list() ?? []) {
      const link = isAttached ? readLink(index) : undefined;
      if (link === undefined) guards?.unguard(index);
      else this.#guarded.set(index, { index, name: link.name, isTold: false, ...left });
    }
  }

  /** Follows the pods of the node: all of them, each time. */
  follow(pods: readonly LocalPod[]): void {
    this.#pods = new Map(pods.map((pod) => [podText(pod), pod]));
    for (const key of this.#wanted.keys()) if (!this.#pods.has(key)) this.#wanted.delete(key);
    const owners = this.#owners();
    const isWhole = [...this.#pods].every(([key, pod]) => ownerOf(owners.get(key), pod));
    if (!isWhole) this.#look();
  }

  /** Measures pods that are in force for the first time, and that the API server alone has told of. */
  enforced(): void {
    if (this.#seenMs.size === 0) return;
    const nowMs = performance.now();
    for (const { index, pod, isTold } of this.#guarded.values()) {
      const sinceMs = this.#seenMs.get(index);
      if (sinceMs === undefined || pod === undefined || !this.#pods.has(pod)) continue;
      this.#seenMs.delete(index);
      if (!isTold) this.unknownTimes.observe((nowMs - sinceMs) / 1_000);
    }
  }

  /** Looks again after the kernel has told of changes of interfaces; undefined: of any. */
  interfacesChanged(touched: Touched | undefined): void {
    this.#noteNew(touched?.indexes ?? []);
    const concerns =
      touched === undefined ||
      this.#isFinding ||
      [...touched.indexes].some((index) => this.#guarded.has(index));
    if (concerns) {
      this.#lookMs = firstLookMs;
      this.#look();
    } else if (this.#wanted.size > 0) {
      // They may be found now, but some never will: not at each of a thousand events.
      this.#lookAfter(lateLookMs);
    }
  }

  /**
   * Guards an interface before the API server tells of its pod. An older interface of the same pod stays guarded until
   * it goes. One that may be more than this pod's is left alone, and the pod's looked for as any.
   *
   * Cost:   what the kernel takes to attach a program is waited for, but not by this thread.
   * Errors: RefusalError (environment) when there is no such interface; DataplaneError when it cannot be guarded.
   */
  async attach({ namespace, name, addresses, interface: interfaceName }: ToldPod): Promise<void> {
    if (this.#guards === undefined) return;
    // Not all links: a node has hundreds, and a new pod waits for this.
    const link = readLink(interfaceName);
    // An alternative name is nobody's word for it.
    if (link === undefined || link.name !== interfaceName) {
      throw new RefusalError("environment", `there is no interface ${interfaceName} on this node`);
    }
    if (!isOfOnePod(link)) return;
    const key = podText({ namespace, name });
    const found = new InterfaceFinder().of(link, addresses);
    const before = this.#guarded.get(link.index);
    const guarded = this.#noted(key, found, addresses, true);
    // Meanwhile nobody need look for it.
    this.#guarded.set(link.index, guarded);
    this.#attaching.add(guarded);
    try {
      await this.#guards.guardMeanwhile(link.index, ownOf(guarded, found));
    } catch (error) {
      if (this.#guarded.get(link.index) === guarded) {
        if (before === undefined) this.#guarded.delete(link.index);
        else this.#guarded.set(link.index, before);
      }
      throw error;
    } finally {
      this.#attaching.delete(guarded);
    }
    this.#wanted.delete(key);
    this.#tellGuarded(before, guarded, found);
  }

  #noteNew(indexes: Iterable<number>): void {
    for (const index of indexes) {
      if (this.#seenMs.has(index) || this.#guarded.has(index)) continue;
      // Interfaces that are no pod's, and those that have gone, are only forgotten here.
      const [oldest] = this.#seenMs.keys();
      if (this.#seenMs.size >= seenMax && oldest !== undefined) this.#seenMs.delete(oldest);
      this.#seenMs.set(index, performance.now());
    }
  }

  /** All pods and their interfaces, and interfaces whose pod is gone. */
  items(): readonly PodInterfaceItem[] {
    if (this.#guards === undefined) return [...this.#pods.values()].map(itemWithoutGuard);
    const states = new Map(this.#list().map((each) => [each.interfaceIndex, each]));
    const guarded = [...this.#guarded.values()].map((each) =>
      this.#itemOf(each, states.get(each.index)),
    );
    const wanted = [...this.#wanted].map(([pod, each]): PodInterfaceItem => {
      const addresses = each.pod.addresses.map(formatAddress);
      const { state, note } = each;
      return { ...itemHead, pod, addresses, guard: state, note };
    });
    return [...guarded, ...wanted];
  }

  #itemOf(each: Guarded, state: GuardedSources | undefined): PodInterfaceItem {
    const { index, name, pod, isTold } = each;
    const isKnown = pod !== undefined && (isTold || this.#pods.has(pod));
    const isAttached = state?.isAttached ?? false;
    const guard = isAttached ? "on" : this.#attaching.has(each) ? "finding" : "missing";
    return {
      ...itemHead,
      ...{ pod: isKnown ? pod : null, name, index, guard },
      addresses: each.addresses.map(formatAddress),
      note: guard === "missing" ? "its guard was taken away" : isKnown ? "" : "its pod is gone",
      droppedFrames: state?.drops ?? 0,
    };
  }

  /**
   * The name of what flow events call by a number: an interface, or one that has gone. Undefined where it is none, as
   * of what was dropped on the way from one to another.
   */
  nameOf(linkId: number): string | undefined {
    for (const each of this.#guarded.values()) if (each.linkId === linkId) return each.name;
    return linkId === linkIds ? undefined : (this.#gone.get(linkId) ?? "gone");
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  get #isFinding(): boolean {
    for (const { state } of this.#wanted.values()) if (state === "finding") return true;
    return false;
  }

  #list(): readonly GuardedSources[] {
    let list: readonly GuardedSources[] = [];
    contained(this.#tell, "the guards of pods' interfaces", () => {
      list = this.#guards?.list() ?? [];
    });
    return list;
  }

  /** Looks for what is looked for, and whether what was found is still there; once more after a time. */
  #look(): void {
    if (this.#isClosed || this.#guards === undefined) return;
    contained(this.#tell, "the interfaces of pods", () => this.#lookOnce());
    this.#lookAfter(this.#isFinding ? this.#lookMs : sweepMs);
    this.#lookMs = Math.min(this.#lookMs * 2, lastLookMs);
  }

  #lookAfter(delayMs: number): void {
    const dueMs = performance.now() + delayMs;
    if (this.#isClosed || this.#guards === undefined || dueMs >= this.#dueMs) return;
    clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => {
      this.#dueMs = Number.POSITIVE_INFINITY;
      this.#look();
    }, delayMs);
    this.#timer.unref();
  }

  #lookOnce(): void {
    const finder = new InterfaceFinder();
    for (const guarded of [...this.#guarded.values()]) {
      const link = finder.links.get(guarded.index);
      if (link === undefined) this.#unguard(guarded.index);
      else guarded.name = link.name;
    }
    const nowMs = performance.now();
    if (nowMs - this.#renewedMs >= sweepMs) {
      this.#renewedMs = nowMs;
      this.#renew(finder);
    }
    const owners = this.#owners();
    for (const [key, pod] of this.#pods) {
      if (ownerOf(owners.get(key), pod)) this.#wanted.delete(key);
      else this.#find(finder, key, pod);
    }
  }

  /** The guarded interfaces by their pods. */
  #owners(): ReadonlyMap<string, Guarded[]> {
    const owners = new Map<string, Guarded[]>();
    for (const each of this.#guarded.values()) {
      if (each.pod !== undefined) owners.set(each.pod, [...(owners.get(each.pod) ?? []), each]);
    }
    return owners;
  }

  /** Looks for a pod's interface and guards it. */
  #find(finder: InterfaceFinder, key: string, pod: LocalPod): void {
    const known = this.#wanted.get(key);
    const isNew = known === undefined || !sameAddresses(known.pod.addresses, pod.addresses);
    const wanted: Wanted = isNew
      ? { pod, sinceMs: performance.now(), state: "finding", note: "" }
      : known;
    if (isNew) {
      this.#wanted.set(key, wanted);
      this.#lookMs = firstLookMs;
    }
    const found = finder.find(pod.addresses, (index, by) => this.#isTaken(index, by, key, pod));
    const refused =
      found.kind === "interface"
        ? this.#tryGuard(key, found.found, pod.addresses, false)
        : found.why;
    if (refused === undefined) {
      this.#wanted.delete(key);
      return;
    }
    const isLate = performance.now() - wanted.sinceMs > findingMs;
    const state = !isLate ? "finding" : found.kind === "none" ? "none" : "missing";
    const isChanged = wanted.state !== state || wanted.note !== refused;
    Object.assign(wanted, { state, note: refused });
    if (!isChanged || state === "finding") return;
    this.#changed({ pod, guard: state, note: refused });
    if (state === "missing") {
      this.#tell(`${key}: its interface is not guarded: ${refused}`, "warning");
    }
  }

  /**
   * Whether an interface is another pod's and has no address in common. Where that pod is gone, or not known again yet
   * after a start, a route may lead another one there; but who is behind may not claim another's address.
   */
  #isTaken(
    ...[index, by, key, { addresses }]: readonly [...Parameters<IsTaken>, string, LocalPod]
  ): boolean {
    const guarded = this.#guarded.get(index);
    if (guarded === undefined || guarded.pod === key) return false;
    const { pod, isTold } = guarded;
    const isThere = by === "claim" || isTold || (pod !== undefined && this.#pods.has(pod));
    return isThere && !haveCommon(guarded.addresses, addresses);
  }

  /** Returns why it could not be guarded: mostly because it has gone since. */
  #tryGuard(
    ...about: readonly [key: string, PodInterface, readonly Address[], isTold: boolean]
  ): string | undefined {
    try {
      this.#guard(...about);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }

  #guard(pod: string, found: PodInterface, addresses: readonly Address[], isTold: boolean): void {
    const before = this.#guarded.get(found.link.index);
    const guarded = this.#noted(pod, found, addresses, isTold);
    this.#guards?.guard(guarded.index, ownOf(guarded, found));
    this.#guarded.set(guarded.index, guarded);
    this.#tellGuarded(before, guarded, found);
  }

  /** What is known of an interface once it is guarded. Errors: RefusalError (environment) for too many addresses. */
  #noted(
    pod: string,
    { link: { index, name } }: PodInterface,
    addresses: readonly Address[],
    isTold: boolean,
  ): Guarded & { readonly pod: string } {
    for (const family of [4, 6] as const) {
      const own = addresses.filter((each) => each.family === family).length;
      if (own > ownAddressesMax) {
        const want = `want at most ${ownAddressesMax}`;
        throw new RefusalError("environment", `got ${own} IPv${family} addresses, ${want}`);
      }
    }
    const before = this.#guarded.get(index);
    const linkId = before?.linkId ?? this.#nextLinkId();
    return { index, name, linkId, pod, addresses, isTold, drops: before?.drops ?? 0 };
  }

  #tellGuarded(
    before: Guarded | undefined,
    { pod, name, addresses }: Guarded & { readonly pod: string },
    found: PodInterface,
  ): void {
    if (before?.pod === pod || (before !== undefined && sameSources(before, found, addresses))) {
      return; // an earlier process has said it
    }
    const [namespace = "", podName = ""] = pod.split("/");
    const about = { namespace, name: podName, addresses };
    this.#changed({ pod: about, guard: "on", note: `at its interface ${name}` });
  }

  #unguard(index: number): void {
    this.#guards?.unguard(index);
    const guarded = this.#guarded.get(index);
    if (guarded === undefined) return;
    this.#guarded.delete(index);
    this.#gone.delete(guarded.linkId);
    this.#gone.set(guarded.linkId, guarded.name);
    if (this.#gone.size > goneMax) this.#gone.delete(this.#gone.keys().next().value!);
  }

  #nextLinkId(): number {
    const used = new Set([...this.#guarded.values()].map(({ linkId }) => linkId));
    do this.#lastLinkId = (this.#lastLinkId + 1) % linkIds;
    while (used.has(this.#lastLinkId));
    return this.#lastLinkId;
  }

  /**
   * Puts guards again that somebody has taken away. Reads again what the other end of an interface has where frames
   * were dropped since the last time: it may have got another MAC or link-local address.
   */
  #renew(finder: InterfaceFinder): void {
    for (const { interfaceIndex, isAttached, drops } of this.#list()) {
      const guarded = this.#guarded.get(interfaceIndex);
      const link = finder.links.get(interfaceIndex);
      if (guarded?.pod === undefined || link === undefined) continue;
      if (isAttached && drops === guarded.drops) continue;
      guarded.drops = drops;
      const { pod, addresses, isTold } = guarded;
      const failed = this.#tryGuard(pod, finder.of(link, addresses), addresses, isTold);
      if (failed !== undefined) this.#tell(`${pod}: ${failed}`, "warning");
    }
  }
}

const itemHead = { role: "pod", name: null, index: null, droppedFrames: 0 } as const;

function itemWithoutGuard({ namespace, name, addresses }: LocalPod): PodInterfaceItem {
  const pod = podText({ namespace, name });
  return { ...itemHead, pod, addresses: addresses.map(formatAddress), guard: "off", note: "" };
}

/** The interface among a pod's that has its addresses, or that somebody has told. */
function ownerOf(guarded: readonly Guarded[] = [], { addresses }: LocalPod): Guarded | undefined {
  return guarded.find((each) => each.isTold || sameAddresses(each.addresses, addresses));
}

/** What the guard of an interface has to know. */
function ownOf({ addresses, linkId }: Guarded, { linkLocal, mac }: PodInterface): OwnSources {
  return {
    addresses: [...addresses, ...linkLocal],
    linkId,
    ...(mac === undefined ? {} : { mac }),
  };
}

/** Whether an interface that an earlier process has guarded was guarded as it is now. */
function sameSources(
  before: Guarded,
  { linkLocal }: PodInterface,
  addresses: readonly Address[],
): boolean {
  return before.pod === undefined && sameAddresses(before.addresses, [...addresses, ...linkLocal]);
}

function sameAddresses(a: readonly Address[], b: readonly Address[]): boolean {
  return a.length === b.length && a.every((each) => haveCommon([each], b));
}

function haveCommon(a: readonly Address[], b: readonly Address[]): boolean {
  const keys = new Set(b.map(addressKey));
  return a.some((each) => keys.has(addressKey(each)));
}
