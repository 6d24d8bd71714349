import type { PolicyRecord, RuleRecord } from "../compiler/decode.js";
import { decodeConnections } from "../dataplane/connections.js";
import type { Dataplane } from "../dataplane/dataplane.js";
import { decodeFlowEvent, sidesOf } from "../dataplane/events.js";
import { FlowEvent, FlowEventKind, HitRecord, NONE, readHitRecord } from "../layout/layout.gen.js";
import { isJudgedByPolicy, questionOf } from "./flow.js";
import type { FlowLog } from "./flow-log.js";
import type { FlowQuestion, SideReason, TableSnapshot } from "./table-snapshot.js";

/** What passed by a rule, or was denied by it. */
export interface HitCount {
  /** Frames, both ways; a superframe is one, and later fragments are not counted. */
  readonly packets: number;
  readonly bytes: number;
  /** Connections that began by it. */
  readonly connections: number;
  /** When the last of it was, RFC 3339; null: never. */
  readonly lastHit: string | null;
}

type Side = SideReason["direction"];

/** The hits of one policy. */
export interface PolicyHits {
  /** From when on they are counted, RFC 3339. */
  readonly since: string;
  /** What its rules decided, together. */
  readonly rules: HitCount;
  /** What was denied because no rule allows it and this policy isolates the pod. */
  readonly denied: Readonly<Record<Side, HitCount>>;
  /** What passed, and would have been denied if audited policies were enforced. */
  readonly audited: Readonly<Record<Side, HitCount>>;
}

/** The hits of one policy in one direction. */
export interface SideHits {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly direction: Side;
  readonly rules: HitCount;
  readonly denied: HitCount;
}

/** What no policy's rule decided. */
export interface DefaultHits {
  /** It passed because no policy isolates the pod. */
  readonly allowed: Readonly<Record<Side, HitCount>>;
  /** It was denied because no rule allows it; each packet once, however many policies isolate the pod. */
  readonly denied: Readonly<Record<Side, HitCount>>;
}

/** What is counted, and of which it is not known what decided it. */
export interface UnknownHits {
  readonly passed: HitCount;
  readonly denied: HitCount;
}

export interface HitsOptions {
  readonly dataplane: Pick<Dataplane, "hasHits" | "hits" | "lastHits">;
  /** The last tables. */
  readonly flows: Pick<FlowLog, "snapshot" | "snapshotOf" | "drain">;
  /** ConnectionRecords of what no worker judges, and what they have carried; absent: there is nothing. */
  readonly living?: () => AsyncIterable<Uint8Array>;
  /** Whether an object is known, of which the table in force tells nothing; absent: none is. */
  readonly exists?: (policy: Pick<PolicyRecord, "kind" | "namespace" | "name">) => boolean;
  /** Gets the first internal error as a line; counting continues. */
  readonly tell?: (line: string) => void;
}

/** How often what has ended or was denied is read. */
const readMs = 250;
/** Records of one reading; what is left waits for the next. Some ten microseconds each. */
const recordsAtOnce = 4_096;
/** Events of one drain whose ends are looked up in the table; of more it is not known what decided them. */
const lookupsAtOnce = 2_048;
/** The same of those whose rules are looked for, among up to all of a pod. */
const searchesAtOnce = 256;
/** And of the connections that go on, of one reading. */
const livingSearches = 4_096;
/** What is remembered of events that were looked up; then it begins anew. */
const rememberedMax = 16_384;
/** By ProtocolSlot: a protocol that is in it. */
const protocolsBySlot = [6, 17, 132, 0] as const;

/** The form in which hits go from one process to the next. */
export interface SavedHits {
  readonly policies: readonly {
    readonly kind: string;
    readonly namespace: string;
    readonly name: string;
    readonly since: number;
    readonly sums: readonly SavedSum[];
  }[];
  readonly others: readonly SavedSum[];
  readonly since: number;
}
/** A sum's key, packets, bytes, connections, and when the last was. */
type SavedSum = readonly [string, number, number, number, number];

class Sum {
  packets = 0;
  bytes = 0;
  connections = 0;
  /** Units: milliseconds since the epoch; 0: never. */
  lastMs = 0;
  /** What connections that go on have carried, where that is told at their end alone. */
  livePackets = 0;
  liveBytes = 0;

  add({ packets, bytes, connections, lastMs }: Counted): void {
    this.packets += packets;
    this.bytes += bytes;
    this.connections += connections;
    this.lastMs = Math.max(this.lastMs, lastMs);
  }

  get item(): HitCount {
    const { connections, lastMs } = this;
    const lastHit = lastMs === 0 ? null : new Date(lastMs).toISOString();
    const packets = this.packets + this.livePackets;
    return { packets, bytes: this.bytes + this.liveBytes, connections, lastHit };
  }
}

type Counted = Pick<Sum, "packets" | "bytes" | "connections" | "lastMs">;

function totalOf(sums: Iterable<Sum>): Sum {
  const total = new Sum();
  for (const sum of sums) {
    total.add(sum);
    total.livePackets += sum.livePackets;
    total.liveBytes += sum.liveBytes;
  }
  return total;
}

/** Sums by what they are of. */
class Sums {
  readonly all = new Map<string, Sum>();

  of(key: string): Sum {
    let sum = this.all.get(key);
    if (sum === undefined) {
      sum = new Sum();
      this.all.set(key, sum);
    }
    return sum;
  }

  bySide(what: string): Readonly<Record<Side, HitCount>> {
    return { ingress: this.item(`${what} ingress`), egress: this.item(`${what} egress`) };
  }

  item(key: string): HitCount {
    return (this.all.get(key) ?? new Sum()).item;
  }

  save(): SavedSum[] {
    return [...this.all].map(([key, { packets, bytes, connections, lastMs }]) => [
      ...([key, packets, bytes, connections, lastMs] as const),
    ]);
  }

  restore(saved: readonly SavedSum[]): void {
    for (const [key, packets, bytes, connections, lastMs] of saved) {
      this.of(key).add({ packets, bytes, connections, lastMs });
    }
  }
}

class CountedPolicy {
  readonly sums = new Sums();
  readonly identity: Pick<PolicyRecord, "kind" | "namespace" | "name">;
  readonly sinceMs: number;

  constructor({ kind, namespace, name }: CountedPolicy["identity"], sinceMs: number) {
    this.identity = { kind, namespace, name };
    this.sinceMs = sinceMs;
  }
}

/** A policy is the same as long as it is in force under its name, whatever its rules become. */
function policyKey({ kind, namespace, name }: CountedPolicy["identity"]): string {
  return `${kind} ${namespace}/${name}`;
}

type RuleName = Pick<RuleRecord, "tier" | "index"> & { readonly direction: string };

function ruleKey({ tier, direction, index }: RuleName, audited = ""): string {
  return `${audited}rule ${tier} ${direction.toLowerCase()} ${index}`;
}

/**
 * Counts what each rule and each isolating policy decided, to the packet.
 *
 * The workers count by connection, and tell by which leaves and which port a verdict came about. What decided
 * is found here, by the provenance of the table that judged: once for all packets of a kind.
 *
 * Shape:  a flow between two judged pods counts at each end, for the rule that decides there: the first that
 *         matches, in the order of evaluation. A denied packet counts at the sides that deny it.
 * Cost:   memory for each rule of the policies in force, and for each kind of connection that lives.
 */
export class Hits {
  readonly #options: HitsOptions;
  readonly #policies = new Map<string, CountedPolicy>();
  readonly #others = new Sums();
  /** By worker and number of a count: where it adds. */
  readonly #targets = new Map<number, readonly Sum[]>();
  /** The same by what is the same of events, and by the leaves of both ends; of the policies that are known. */
  readonly #remembered = new Map<string, readonly Sum[]>();
  readonly #timer: NodeJS.Timeout;
  /** What has a part that living connections have carried. */
  #live = new Set<Sum>();
  #sinceMs = Date.now();
  #reading: Promise<void> | undefined;
  /** A reading with living connections that has not begun. */
  #nextReading: Promise<void> | undefined;
  /** The same of living connections. */
  #living: Promise<void> | undefined;
  #nextLiving: Promise<void> | undefined;
  /** The generation whose policies are known. */
  #known = 0;
  /** That of the first table of this process; those before are its predecessor's. */
  #first = 0;
  #isOpen = true;
  #hasFailed = false;

  constructor(options: HitsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#read(false), readMs).unref();
  }

  /** From when on hits are counted, RFC 3339. */
  get since(): string {
    return new Date(this.#sinceMs).toISOString();
  }

  /** Another table is in force. What the last one decided is read while it is still known. */
  tableUsed(): void {
    void this.#read(false);
  }

  /** Takes what is told of flows until now. */
  drain(): void {
    this.#options.flows.drain();
  }

  /** The same as `refresh`, and what connections that go on have carried where no worker counts it. */
  async refreshLiving(): Promise<void> {
    await this.refresh();
    this.#nextLiving ??= (this.#living ?? Promise.resolve()).then(async () => {
      this.#living = this.#nextLiving;
      this.#nextLiving = undefined;
      await this.#readLiving();
    });
    await this.#nextLiving;
  }

  /** Reads what is counted up to now. Those who ask before a reading has begun share it. */
  refresh(): Promise<void> {
    if (!this.#isOpen) return Promise.resolve();
    this.#nextReading ??= (this.#reading ?? Promise.resolve()).then(async () => {
      this.#nextReading = undefined;
      this.drain();
      await this.#begin(true);
    });
    return this.#nextReading;
  }

  /** The hits of a policy of the table; undefined when it judges nobody here. */
  policy(policy: CountedPolicy["identity"]): PolicyHits | undefined {
    const counted = this.#policies.get(policyKey(policy));
    if (counted === undefined) return undefined;
    const ofRules = [...counted.sums.all].filter(([key]) => key.startsWith("rule "));
    return {
      since: new Date(counted.sinceMs).toISOString(),
      rules: totalOf(ofRules.map(([, sum]) => sum)).item,
      denied: counted.sums.bySide("denied"),
      audited: counted.sums.bySide("audited"),
    };
  }

  /** The hits of a rule; `audited`: what passed, and what the rule would have decided. */
  rule(rule: RuleName & Pick<RuleRecord, "policy">): {
    readonly hits: HitCount;
    readonly audited: HitCount;
  } {
    const sums = this.#policies.get(policyKey(rule.policy))?.sums ?? new Sums();
    return { hits: sums.item(ruleKey(rule)), audited: sums.item(ruleKey(rule, "audited ")) };
  }

  /**
   * What each policy has decided in each direction, without what `refreshLiving` adds: it only grows. A side of which
   * nothing is counted is left out.
   */
  *bySide(): Generator<SideHits> {
    for (const { identity, sums } of this.#policies.values()) {
      for (const direction of ["ingress", "egress"] as const) {
        const rules = new Sum();
        for (const [key, sum] of sums.all) {
          if (key.startsWith("rule ") && key.split(" ")[2] === direction) rules.add(sum);
        }
        const denied = sums.item(`denied ${direction}`);
        if (rules.packets + rules.connections + denied.packets === 0) continue;
        yield { ...identity, direction, rules: rules.item, denied };
      }
    }
  }

  get defaults(): DefaultHits {
    return { allowed: this.#others.bySide("allowed"), denied: this.#others.bySide("denied") };
  }

  get unknown(): UnknownHits {
    return { passed: this.#others.item("passed"), denied: this.#others.item("denied") };
  }

  /**
   * Counts what no worker judges: connections and drops in place, as the kernel tells them.
   *
   * Shape: `count` FlowEvent records. The end of a connection has all that it carried.
   */
  takeEvents(records: Uint8Array, count: number): void {
    this.#learnPolicies();
    const budget = { lookups: lookupsAtOnce, searches: searchesAtOnce };
    const bytes = Buffer.from(records.buffer, records.byteOffset, records.byteLength);
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    for (let index = 0; index < count; index++) {
      const at = index * FlowEvent.bytes;
      const kind = view.getUint8(at + FlowEvent.kind);
      const isDenied = kind === FlowEventKind.Dropped || kind === FlowEventKind.Cut;
      const hasEnded = kind === FlowEventKind.Closed;
      const hasBegun = kind === FlowEventKind.Opened;
      if (!isDenied && !hasEnded && !hasBegun) continue;
      // A node has thousands of connections a second, but of few kinds: no event is decoded for itself.
      const key = eventKey(bytes, at, isDenied);
      let targets = this.#remembered.get(key);
      if (targets === undefined) targets = this.#lookUp(records, index, key, budget);
      if (targets.length === 0) continue;
      const u64 = (field: number) => Number(view.getBigUint64(at + field, true));
      const more = {
        packets: isDenied ? 1 : hasEnded ? u64(FlowEvent.totalPackets) : 0,
        bytes: isDenied
          ? view.getUint32(at + FlowEvent.frameBytes, true)
          : hasEnded
            ? u64(FlowEvent.totalBytes)
            : 0,
        connections: hasBegun ? 1 : 0,
        lastMs: Math.floor(u64(FlowEvent.timeUs) / 1_000),
      };
      for (const sum of targets) sum.add(more);
    }
  }

  /** Where an event counts, and others with its key. */
  #lookUp(
    records: Uint8Array,
    index: number,
    key: string,
    budget: { lookups: number; searches: number },
  ): readonly Sum[] {
    const event = decodeFlowEvent(records, index);
    if (!isJudgedByPolicy(event)) return [];
    const isDenied = event.kind === "dropped" || event.kind === "cut";
    const deniedBy = isDenied ? event.deniedBy : [];
    const snapshot = this.#snapshotOf(event.generation);
    if (snapshot === undefined || budget.lookups-- <= 0) {
      return this.#decided(deniedBy, undefined, () => []);
    }
    const targets = this.#answerTo(questionOf(event), deniedBy, snapshot, budget);
    if (targets === undefined) return this.#decided(deniedBy, undefined, () => []);
    this.#remember(key, targets);
    return targets;
  }

  /** Where the answer of a table to a question counts; undefined when no more may be searched for. */
  #answerTo(
    question: FlowQuestion,
    deniedBy: readonly Side[],
    snapshot: TableSnapshot,
    budget: { searches: number },
  ): readonly Sum[] | undefined {
    const { protocol, port } = question;
    const [source, destination] = snapshot.leavesOf(question);
    // Addresses that the policies do not tell apart have one leaf.
    const ends = [snapshot.generation, source, destination, protocol, port, ...deniedBy];
    const key = ends.join(" ");
    const known = this.#remembered.get(key);
    if (known !== undefined || budget.searches-- <= 0) return known;
    const targets = this.#decided(deniedBy, snapshot, (by) =>
      snapshot.reasonsOf(source, destination, protocol, port, by),
    );
    this.#remember(key, targets);
    return targets;
  }

  #remember(key: string, targets: readonly Sum[]): void {
    if (this.#remembered.size >= rememberedMax) this.#remembered.clear();
    this.#remembered.set(key, targets);
  }

  /** The table of a generation; for that of a predecessor's, the one in force, which may have the same answer. */
  #snapshotOf(generation: number): TableSnapshot | undefined {
    const { flows } = this.#options;
    return flows.snapshotOf(generation) ?? (generation < this.#first ? flows.snapshot : undefined);
  }

  /** What connections that go on have carried so far, where no worker counts it. */
  async #readLiving(): Promise<void> {
    const { living, flows } = this.#options;
    const { snapshot } = flows;
    if (living === undefined || snapshot === undefined) return;
    const sums = new Map<Sum, { packets: number; bytes: number }>();
    const budget = { lookups: Number.POSITIVE_INFINITY, searches: livingSearches };
    await this.#contained(async () => {
      for await (const records of living()) {
        for (const { packets, bytes, ...connection } of decodeConnections(records)) {
          if (packets === 0) continue;
          const question = questionOf({ ...connection, kind: "closed", deniedBy: [] });
          const unknown = [this.#others.of("passed")];
          for (const sum of this.#answerTo(question, [], snapshot, budget) ?? unknown) {
            const before = sums.get(sum) ?? { packets: 0, bytes: 0 };
            sums.set(sum, { packets: before.packets + packets, bytes: before.bytes + bytes });
          }
        }
      }
    });
    for (const sum of this.#live) Object.assign(sum, { livePackets: 0, liveBytes: 0 });
    for (const [sum, { packets, bytes }] of sums) {
      Object.assign(sum, { livePackets: packets, liveBytes: bytes });
    }
    this.#live = new Set(sums.keys());
  }

  /** All counts of a data plane that is stopped, for `restore`. */
  save(): SavedHits {
    for (const records of this.#options.dataplane.lastHits()) this.#take(records);
    return {
      policies: [...this.#policies.values()].map(({ identity, sinceMs, sums }) => ({
        ...identity,
        since: sinceMs,
        sums: sums.save(),
      })),
      others: this.#others.save(),
      since: this.#sinceMs,
    };
  }

  /** Goes on with the counts of the process that had this place before. */
  restore({ policies, others, since }: SavedHits): void {
    this.#sinceMs = since;
    this.#others.restore(others);
    for (const { sums, since: sinceMs, ...identity } of policies) {
      const counted = new CountedPolicy(identity, sinceMs);
      counted.sums.restore(sums);
      this.#policies.set(policyKey(identity), counted);
    }
  }

  close(): void {
    this.#isOpen = false;
    clearInterval(this.#timer);
  }

  #read(live: boolean): Promise<void> {
    return this.#reading ?? this.#begin(live);
  }

  async #begin(live: boolean): Promise<void> {
    const reading = this.#readAll(live);
    this.#reading = reading;
    await reading;
    if (this.#reading === reading) this.#reading = undefined;
  }

  async #readAll(live: boolean): Promise<void> {
    await this.#contained(async () => {
      if (!live && !this.#options.dataplane.hasHits) return;
      let taken = 0;
      for await (const records of this.#options.dataplane.hits(live)) {
        if (!this.#isOpen) return;
        this.#take(records);
        taken += records.length / HitRecord.bytes;
        // Only a flood of new kinds brings so many: what is left counts next time.
        if (!live && taken >= recordsAtOnce) return;
      }
    });
  }

  /** Runs a reading, and tells of its first error. */
  async #contained(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (this.#isOpen && !this.#hasFailed) {
        this.#options.tell?.(`hits: ${(error as Error).message}`);
        this.#hasFailed = true;
      }
    }
  }

  #take(records: Uint8Array): void {
    this.#learnPolicies();
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    const nowMs = Date.now();
    for (let at = 0; at < records.length; at += HitRecord.bytes) {
      const record = readHitRecord(view, at);
      const { totalPackets: packets, totalBytes: bytes, connections, agoMs } = record;
      const count = record.worker * 2 ** 32 + record.number;
      let targets = this.#targets.get(count);
      if (targets === undefined) {
        targets = this.#targetsOf(record);
        this.#targets.set(count, targets);
      }
      const lastMs = agoMs === NONE ? 0 : nowMs - agoMs;
      for (const sum of targets) sum.add({ packets, bytes, connections, lastMs });
      if (record.isOver !== 0) this.#targets.delete(count);
    }
  }

  /** Begins to count the policies that have come, and forgets those that are gone. */
  #learnPolicies(): void {
    const { flows, exists } = this.#options;
    const { snapshot } = flows;
    if (snapshot === undefined || snapshot.generation === this.#known) return;
    this.#known = snapshot.generation;
    this.#first ||= snapshot.generation;
    this.#remembered.clear();
    const inTable = new Set<string>();
    for (const policy of snapshot.policies) {
      const key = policyKey(policy);
      inTable.add(key);
      if (!this.#policies.has(key)) this.#policies.set(key, new CountedPolicy(policy, Date.now()));
    }
    for (const [key, { identity }] of this.#policies) {
      if (!inTable.has(key) && exists?.(identity) !== true) this.#policies.delete(key);
    }
  }

  #targetsOf(record: ReturnType<typeof readHitRecord>): readonly Sum[] {
    const { generation, sourceLeaf, destinationLeaf, protocolSlot, port } = record;
    const snapshot = this.#options.flows.snapshotOf(generation);
    const protocol = protocolsBySlot[protocolSlot] ?? 0;
    return this.#decided(
      sidesOf(record.deniedBy),
      snapshot,
      (by) => snapshot?.reasonsOf(sourceLeaf, destinationLeaf, protocol, port, by) ?? [],
    );
  }

  /** Where what was decided counts. */
  #decided(
    deniedBy: readonly Side[],
    snapshot: TableSnapshot | undefined,
    reasons: (by: "enforced" | "audit") => readonly SideReason[],
  ): readonly Sum[] {
    const unknown = [this.#others.of(deniedBy.length > 0 ? "denied" : "passed")];
    if (snapshot === undefined) return unknown;
    const sides = reasons("enforced");
    if (deniedBy.length > 0) {
      const denied = sides.filter(({ direction }) => deniedBy.includes(direction));
      // What is no judged pod's, such as a wire's traffic to somebody else, no policy has denied.
      if (denied.length === 0) return [];
      if (denied.some(({ verdict }) => verdict !== "deny")) return unknown;
      return denied.flatMap((side) => this.#decidersOf(side));
    }
    // Kept by an older table, which is no longer known.
    if (sides.some(({ verdict }) => verdict !== "allow")) return unknown;
    const enforced = sides.flatMap((side) => this.#decidersOf(side));
    if (!snapshot.provenance.hasAudit) return enforced;
    const audited = reasons("audit").flatMap((side, index) =>
      isSame(side, sides[index]) ? [] : this.#auditorsOf(side),
    );
    return [...enforced, ...audited];
  }

  /** Where a decision of one side counts. */
  #decidersOf({ direction, verdict, rule, isolatedBy }: SideReason): readonly Sum[] {
    if (rule !== undefined) return this.#sumsOf([rule.policy], ruleKey(rule));
    if (verdict === "allow") return [this.#others.of(`allowed ${direction}`)];
    const all = this.#others.of(`denied ${direction}`);
    return [all, ...this.#sumsOf(isolatedBy, `denied ${direction}`)];
  }

  #auditorsOf({ direction, verdict, rule, isolatedBy }: SideReason): readonly Sum[] {
    if (rule !== undefined) return this.#sumsOf([rule.policy], ruleKey(rule, "audited "));
    return verdict === "allow" ? [] : this.#sumsOf(isolatedBy, `audited ${direction}`);
  }

  #sumsOf(policies: readonly PolicyRecord[], key: string): readonly Sum[] {
    return policies.flatMap((policy) => this.#policies.get(policyKey(policy))?.sums.of(key) ?? []);
  }
}

/** What is the same of all events that count in one place: all but ports of senders, times and sizes. */
function eventKey(bytes: Buffer, at: number, isDenied: boolean): string {
  const part = (from: number, to: number) => bytes.toString("latin1", at + from, at + to);
  const ends = part(FlowEvent.source, FlowEvent.sourcePort);
  const protocolAndPort = part(FlowEvent.destinationPort, FlowEvent.kind);
  const familyAndTable = part(FlowEvent.family, FlowEvent.lostBefore);
  const denied = isDenied ? part(FlowEvent.reason, FlowEvent.family) : "";
  const sides = isDenied ? part(FlowEvent.deniedBy, FlowEvent.deniedBy + 1) : "";
  return ends + protocolAndPort + familyAndTable + denied + sides;
}

/** Whether audited policies change nothing on a side. */
function isSame(audited: SideReason, enforced: SideReason | undefined): boolean {
  const nameOf = (side: SideReason | undefined) =>
    side?.rule && `${policyKey(side.rule.policy)} ${ruleKey(side.rule)}`;
  return audited.verdict === enforced?.verdict && nameOf(audited) === nameOf(enforced);
}
