import {
  Action,
  Direction,
  EndpointInfo,
  EndpointRow,
  Leaf,
  NONE,
  PORT_PAGE_INDEX_ENTRIES,
  PORT_PAGE_WORDS,
  PolicyInfo,
  PortSet,
  ProtocolSlot,
  RowInfo,
  RuleInfo,
  readEndpointInfo,
  readLeaf,
  readPolicyInfo,
  readRowInfo,
  readRuleInfo,
  Section,
  SectionId,
  type SectionName,
  TABLE_MAGIC,
  TableHeader,
  Tier,
} from "../layout/layout.gen.js";
import { decideFlow } from "./evaluate-rules.js";

/** A policy as the blob names it. */
export interface PolicyRecord {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A rule as the blob names it; `file` is the policy's. */
export interface RuleRecord {
  readonly policy: PolicyRecord;
  readonly index: number;
  readonly tier: keyof typeof Tier;
  readonly action: keyof typeof Action;
  readonly direction: keyof typeof Direction;
  readonly priority: number;
  readonly line: number;
  readonly column: number;
}

/** Why one side of a flow has its verdict. */
export interface Reason {
  readonly verdict: "allow" | "deny";
  /** NetworkPolicies that isolate the endpoint in this direction. */
  readonly isolatedBy: readonly PolicyRecord[];
  /**
   * The rule that decides; undefined when no rule matches, and isolation or the lack of it decides.
   */
  readonly rule: RuleRecord | undefined;
}

/**
 * Reads the provenance of a table blob: who is judged, by which policies, and which rule decides.
 *
 * The native table gives the verdicts; this gives the reasons, from the cold sections.
 *
 * Owner: keeps a reference to the blob, which must not change.
 */
export class Provenance {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #policies: readonly PolicyRecord[];
  readonly #decoder = new TextDecoder();

  /** Errors: throws a RangeError when the bytes are no table blob. `Table.open` is the full check. */
  constructor(blob: Uint8Array) {
    this.#bytes = blob;
    this.#view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
    if (blob.byteLength < TableHeader.bytes || this.#u32(TableHeader.magic) !== TABLE_MAGIC) {
      throw new RangeError("got bytes that are no table blob");
    }
    this.#policies = Array.from({ length: this.#count("policyInfos") }, (_, id) =>
      this.#policy(id),
    );
  }

  /**
   * The rules of the table, each once. A rule that can match nothing now is not in it.
   *
   * Cost: one pass over all rules.
   */
  rules(): readonly RuleRecord[] {
    const known = new Map<string, RuleRecord>();
    for (let id = 0; id < this.#count("ruleInfos"); id++) {
      const at = this.#at("ruleInfos", id, RuleInfo.bytes);
      const { policy, direction, ruleIndex, tier } = readRuleInfo(this.#view, at);
      const key = `${policy} ${tier} ${direction} ${ruleIndex}`;
      if (!known.has(key)) known.set(key, this.#rule(at));
    }
    return [...known.values()];
  }

  get endpointCount(): number {
    return this.#count("endpointInfos");
  }

  /** Names the endpoint with this number. */
  endpoint(id: number): { readonly namespace: string; readonly name: string } {
    const at = this.#at("endpointInfos", id, EndpointInfo.bytes);
    const { namespaceName, podName } = readEndpointInfo(this.#view, at);
    return { namespace: this.#text(namespaceName), name: this.#text(podName) };
  }

  /** Tells what a leaf stands for; `endpointId` is undefined when nobody here owns the address. */
  leaf(id: number): {
    readonly classId: number;
    readonly endpointId: number | undefined;
    readonly originId: number;
  } {
    const at = this.#at("leaves", id, Leaf.bytes);
    const { classId, endpointId, originId } = readLeaf(this.#view, at);
    return { classId, endpointId: endpointId === NONE ? undefined : endpointId, originId };
  }

  /** Returns the policies that isolate an endpoint in one direction. */
  isolatedBy(endpointId: number, direction: keyof typeof Direction): readonly PolicyRecord[] {
    const { isolatedBy } = this.#row(endpointId, direction);
    return isolatedBy.map((policy) => this.#policies[policy]!);
  }

  /** Whether some policy is audited. */
  get hasAudit(): boolean {
    return this.#count("auditRows") > 0;
  }

  /**
   * Finds the rule that decides a flow on one side: as it is enforced, or as if audited policies were
   * enforced too.
   *
   * Shape: `originId` is the class of the address on the other side; `port` counts for TCP, UDP and
   *        SCTP only.
   */
  reason(
    endpointId: number,
    direction: keyof typeof Direction,
    originId: number,
    protocol: number,
    port: number,
    by: "enforced" | "audit" = "enforced",
  ): Reason {
    const row = this.#row(endpointId, direction, by);
    const isolatedBy = row.isolatedBy.map((policy) => this.#policies[policy]!);
    const { verdict, rule } = decideFlow(
      isolatedBy.length > 0,
      this.#ruleHeads(row.rules),
      ({ at }) => this.#matches(at, originId, protocol, port),
    );
    return { verdict, isolatedBy, rule: rule === undefined ? undefined : this.#rule(rule.at) };
  }

  /**
   * Lists the rules by which an endpoint is judged in one direction, and whether each matches a flow.
   *
   * Shape: in the order of evaluation. A policy's rule stands here once for each set of port numbers
   *        that its port names come to, and not at all where it can match nothing.
   */
  rulesOf(
    endpointId: number,
    direction: keyof typeof Direction,
    originId: number,
    protocol: number,
    port: number,
  ): readonly { readonly rule: RuleRecord; readonly matches: boolean }[] {
    return this.#row(endpointId, direction).rules.map((id) => {
      const { at } = this.#ruleHead(id);
      return { rule: this.#rule(at), matches: this.#matches(at, originId, protocol, port) };
    });
  }

  /** One after the other: the first of thousands may decide. */
  *#ruleHeads(ids: readonly number[]) {
    for (const id of ids) yield this.#ruleHead(id);
  }

  #ruleHead(id: number): Pick<RuleRecord, "tier" | "action"> & { readonly at: number } {
    const at = this.#at("ruleInfos", id, RuleInfo.bytes);
    return {
      at,
      tier: nameOf(Tier, this.#u8(at + RuleInfo.tier)),
      action: nameOf(Action, this.#u8(at + RuleInfo.action)),
    };
  }

  #matches(rule: number, originId: number, protocol: number, port: number): boolean {
    return (
      this.#covers(this.#u32(rule + RuleInfo.originSet), originId) &&
      this.#holds(this.#u32(rule + RuleInfo.portSet), protocol, port)
    );
  }

  #row(
    endpointId: number,
    direction: keyof typeof Direction,
    by: "enforced" | "audit" = "enforced",
  ): { readonly isolatedBy: readonly number[]; readonly rules: readonly number[] } {
    const rows = by === "audit" && this.hasAudit ? "auditRows" : "endpoints";
    const endpoint = this.#at(rows, endpointId, EndpointRow.bytes);
    const field = direction === "Ingress" ? EndpointRow.ingressRow : EndpointRow.egressRow;
    const at = this.#at("rowInfos", this.#u32(endpoint + field), RowInfo.bytes);
    const row = readRowInfo(this.#view, at);
    const list = (start: number, count: number) =>
      Array.from({ length: count }, (_, place) =>
        this.#u32(this.#at("rowLists", start + place, 4)),
      );
    return {
      isolatedBy: list(row.isolatedByStart, row.isolatedByCount),
      rules: list(row.rulesStart, row.rulesCount),
    };
  }

  #rule(at: number): RuleRecord {
    const rule = readRuleInfo(this.#view, at);
    return {
      policy: this.#policies[rule.policy]!,
      index: rule.ruleIndex,
      tier: nameOf(Tier, rule.tier),
      action: nameOf(Action, rule.action),
      direction: nameOf(Direction, rule.direction),
      priority: rule.priority,
      line: rule.line,
      column: rule.column,
    };
  }

  #policy(id: number): PolicyRecord {
    const at = this.#at("policyInfos", id, PolicyInfo.bytes);
    const { kind, namespaceName, name, file, line, column } = readPolicyInfo(this.#view, at);
    return {
      kind: this.#text(kind),
      namespace: this.#text(namespaceName),
      name: this.#text(name),
      file: this.#text(file),
      line,
      column,
    };
  }

  /** Reports whether the set of origin classes at `place` holds a class. Its ids ascend. */
  #covers(place: number, originId: number): boolean {
    let low = 1;
    let high = this.#u32(this.#at("originSets", place, 4));
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.#u32(this.#at("originSets", place + middle, 4));
      if (found === originId) return true;
      if (found < originId) low = middle + 1;
      else high = middle - 1;
    }
    return false;
  }

  #holds(portSet: number, protocol: number, port: number): boolean {
    const slot = slotOf(protocol);
    const counted = slot === ProtocolSlot.Other ? 0 : port;
    const set = this.#at("portSets", portSet, PortSet.bytes);
    const index = this.#u32(set + PortSet.pageIndex + slot * 4);
    const entry = this.#at("portPageIndexes", index * PORT_PAGE_INDEX_ENTRIES + (counted >> 8), 2);
    const page = this.#view.getUint16(entry, true);
    const word = this.#u32(
      this.#at("portPages", page * PORT_PAGE_WORDS + ((counted >> 5) % PORT_PAGE_WORDS), 4),
    );
    return ((word >>> (counted & 31)) & 1) === 1;
  }

  /** Reads what a StringRef names. */
  #text([offset = 0, length = 0]: readonly number[]): string {
    const start = this.#at("strings", offset, 1);
    return this.#decoder.decode(this.#bytes.subarray(start, start + length));
  }

  #count(section: SectionName): number {
    return this.#u32(sectionAt(section) + Section.count);
  }

  #at(section: SectionName, index: number, bytes: number): number {
    return this.#u32(sectionAt(section) + Section.offset) + index * bytes;
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  #u8(at: number): number {
    return this.#view.getUint8(at);
  }
}

function sectionAt(section: SectionName): number {
  return TableHeader.sections + SectionId[section] * Section.bytes;
}

function slotOf(protocol: number): ProtocolSlot {
  if (protocol === 6) return ProtocolSlot.Tcp;
  if (protocol === 17) return ProtocolSlot.Udp;
  return protocol === 132 ? ProtocolSlot.Sctp : ProtocolSlot.Other;
}

function nameOf<Names extends Record<string, number>>(names: Names, value: number): keyof Names {
  for (const name in names) if (names[name] === value) return name;
  throw new RangeError(`got value ${value}, want one of ${Object.keys(names).join(", ")}`);
}
