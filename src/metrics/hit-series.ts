import type { Family, Labels } from "./exposition.js";

type Totals = Readonly<Record<"packets" | "bytes" | "connections", number>>;

/** What one policy has decided in one direction, since it is counted. */
export interface PolicySide {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly direction: "ingress" | "egress";
  /** What its rules decided, allowed or denied. */
  readonly rules: Totals;
  /** What was denied because no rule allows it and the policy isolates the pod. */
  readonly denied: Totals;
}

const families = [
  [
    "sluice_policy_rule_packets_total",
    "Packets that a rule of the policy decided.",
    "rules",
    "packets",
  ],
  ["sluice_policy_rule_bytes_total", "Their bytes.", "rules", "bytes"],
  [
    "sluice_policy_rule_connections_total",
    "Connections that began by a rule of the policy.",
    "rules",
    "connections",
  ],
  [
    "sluice_policy_isolation_packets_total",
    "Packets denied because no rule allows them and the policy isolates the pod.",
    "denied",
    "packets",
  ],
  ["sluice_policy_isolation_bytes_total", "Their bytes.", "denied", "bytes"],
] as const;

/** Policies and directions with series of their own: with all families, a thousand series. */
const sidesMax = 200;

/** Counts of one side of a policy, or of all that have no series of their own. */
class Series {
  readonly labels: Labels;
  readonly values: number[] = families.map(() => 0);

  constructor(labels: Labels) {
    this.labels = labels;
  }
}

interface Followed {
  readonly series: Series;
  /** Counts at the last reading, by family. */
  seen: readonly number[];
}

/**
 * Counters of policies, as many as a scrape can bear.
 *
 * Who is counted first has series of its own, as long as the policy is in force; those for whom there is no room are
 * summed under the kind `other`. What counts there stays there: no counter goes down because a policy went.
 */
export class HitSeries {
  readonly #sides = new Map<string, Followed>();
  readonly #others = { ingress: otherOf("ingress"), egress: otherOf("egress") };
  readonly #sidesMax: number;
  #own = 0;

  constructor(most = sidesMax) {
    this.#sidesMax = most;
  }

  /** Takes the counts of all policies in force, and gives the metrics. */
  families(sides: Iterable<PolicySide>): readonly Family[] {
    const inForce = new Map<string, PolicySide>();
    for (const side of sides) inForce.set(keyOf(side), side);
    for (const [key, { series }] of this.#sides) {
      if (inForce.has(key)) continue;
      this.#sides.delete(key);
      if (!this.#isOther(series)) this.#own--;
    }
    for (const [key, side] of inForce) this.#take(key, side);
    return this.#written();
  }

  #take(key: string, side: PolicySide): void {
    const counts = families.map(([, , of, what]) => side[of][what]);
    let followed = this.#sides.get(key);
    if (followed === undefined) {
      followed = { series: this.#seriesOf(side), seen: families.map(() => 0) };
      this.#sides.set(key, followed);
    }
    const { series, seen } = followed;
    for (const [at, value] of counts.entries()) {
      // A policy that went and came again between two readings is counted anew.
      const before = seen[at]! <= value ? seen[at]! : 0;
      series.values[at]! += value - before;
    }
    followed.seen = counts;
  }

  #seriesOf({ kind, namespace, name, direction }: PolicySide): Series {
    if (this.#own >= this.#sidesMax) return this.#others[direction];
    this.#own++;
    return new Series(labelsOf(kind, namespace, name, direction));
  }

  #isOther(series: Series): boolean {
    return series === this.#others.ingress || series === this.#others.egress;
  }

  #written(): readonly Family[] {
    const { ingress, egress } = this.#others;
    const own = [...this.#sides.values()].map(({ series }) => series);
    const all = [
      ...own.filter((series) => !this.#isOther(series)),
      ...[ingress, egress].filter(({ values }) => values.some((value) => value > 0)),
    ];
    return families.map(([name, help], at) => ({
      ...{ name, help, type: "counter" },
      samples: all.map(({ labels, values }) => ({ labels, value: values[at]! })),
    }));
  }
}

function otherOf(direction: string): Series {
  return new Series(labelsOf("other", "", "", direction));
}

/** Their names are the policy's own: scrapers put the target's namespace beside them. */
function labelsOf(kind: string, namespace: string, name: string, direction: string): Labels {
  return { policy_kind: kind, policy_namespace: namespace, policy_name: name, direction };
}

function keyOf({ kind, namespace, name, direction }: PolicySide): string {
  return `${kind} ${namespace}/${name} ${direction}`;
}
