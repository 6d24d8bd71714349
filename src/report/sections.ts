import { exceptionKinds, type ReportDocument } from "./document.js";

/** How a cell is to be read; a format may show it. */
export type Tone = "plain" | "good" | "bad" | "quiet";

export type SectionCell = string | { readonly text: string; readonly tone: Tone };

/** A part of a report: a few sentences and a table. Every format is made from these. */
export interface Section {
  readonly title: string;
  readonly text: readonly string[];
  readonly header: readonly string[];
  readonly rows: readonly (readonly SectionCell[])[];
  /** What stands in the place of a table without rows. */
  readonly empty: string;
}

/** Makes the parts of a report, in the order in which they are read. */
export function sectionsOf(report: ReportDocument): readonly Section[] {
  return [
    zones(report),
    between(report),
    openings(report),
    exceptions(report),
    live(report),
    ...(report.changes === null ? [] : [changes(report.changes)]),
    namespaces(report),
    requirements(report),
    inputs(report),
  ];
}

/** What a report is, and what it is not. */
export const claim =
  "This report is evidence for somebody who judges. It does not say that a requirement is met.";

/** The figures that a reader looks for first. */
export function figuresOf({ pairs, openings, exceptions, live }: ReportDocument): readonly {
  readonly label: string;
  readonly value: string;
  readonly tone: Tone;
}[] {
  const closed = pairs.filter(({ ports }) => ports === "-").length;
  const beyond = openings.filter((each) => each.beyond !== "-").length;
  const wrong = live?.contradictions.length ?? 0;
  return [
    {
      label: "pairs of zones with nothing between them",
      value: `${closed} of ${pairs.length}`,
      tone: "plain",
    },
    { label: "openings", value: `${openings.length}`, tone: "plain" },
    {
      label: "openings beyond what is allowed",
      value: `${beyond}`,
      tone: beyond === 0 ? "good" : "bad",
    },
    {
      label: "exceptions",
      value: `${exceptions.length}`,
      tone: exceptions.length === 0 ? "good" : "plain",
    },
    {
      label: "connections tried with real packets",
      value: live === null ? "none" : `${live.tried}`,
      tone: live === null ? "quiet" : wrong === 0 ? "good" : "bad",
    },
  ];
}

function zones({ zones }: ReportDocument): Section {
  return {
    title: "Zones",
    text: ["What is in each zone, by the zones file and the manifests."],
    header: ["zone", "about", "workloads", "pods", "addresses outside", "defined at"],
    rows: zones.map(({ name, description, workloads, pods, addresses, place }) => [
      name,
      description,
      workloads.join(", "),
      `${pods}`,
      addresses.join(", "),
      place,
    ]),
    empty: "The file has no zone.",
  };
}

function between({ zones, pairs }: ReportDocument): Section {
  const names = zones.map(({ name }) => name);
  return {
    title: "Between zones",
    text: [
      "What may pass from a zone (row) to a zone (column), for all addresses, protocols and ports, by the table that is enforced. A dash is nothing at all; a star marks what the zones file does not allow.",
    ],
    header: ["from \\ to", ...names],
    rows: names.map((from) => [
      from,
      ...names.map((to): SectionCell => {
        const pair = pairs.find((each) => each.from === from && each.to === to);
        if (pair === undefined) return { text: "·", tone: "quiet" };
        if (pair.ports === "-") return { text: "-", tone: "good" };
        return pair.isAllowed ? pair.ports : { text: `${pair.ports} *`, tone: "bad" };
      }),
    ]),
    empty: "There is no pair of zones.",
  };
}

function openings({ openings }: ReportDocument): Section {
  return {
    title: "Openings",
    text: [
      "Each way from one zone to another, the rules that open it, and why it is needed. The packet is one that the table lets pass.",
    ],
    header: ["from", "to", "senders", "receivers", "ports", "opened by", "why", "packet"],
    rows: openings.map(
      ({ from, to, senders, receivers, ports, causes, reasons, beyond, packet }) => [
        from,
        to,
        senders.join(", "),
        receivers.join(", "),
        ports,
        causes
          .map(({ side, text, place }) => `${side}: ${text}${place === "" ? "" : ` (${place})`}`)
          .join("; "),
        {
          text: [
            ...reasons.map(({ why, place }) => `${why} (${place})`),
            ...(beyond === "-" ? [] : [`not allowed by the zones file: ${beyond}`]),
          ].join("; "),
          tone: beyond === "-" ? "plain" : "bad",
        },
        packet,
      ],
    ),
    empty: "Nothing may pass between zones.",
  };
}

function exceptions({ exceptions }: ReportDocument): Section {
  return {
    title: "Exceptions",
    text: ["What a reader should know before relying on the rest."],
    header: ["what", "which", "where"],
    rows: exceptions.map(({ kind, subject, place }) => [
      { text: exceptionKinds[kind], tone: kind === "not-allowed" ? "bad" : "plain" },
      subject,
      place,
    ]),
    empty: "There is none.",
  };
}

function live({ live }: ReportDocument): Section {
  const title = "Live probes";
  const header = ["from", "to", "passed", "refused"];
  if (live === null) {
    return {
      title,
      text: [],
      header,
      rows: [],
      empty: "No connection was tried with real packets: --live does.",
    };
  }
  const { tried, passed, refused, left, pairs, contradictions } = live;
  return {
    title,
    text: [
      `In network namespaces made from the manifests, ${tried} connections between pods of different zones were tried with real packets, through the table that is enforced: ${passed} passed, ${refused} were refused. ${left} more were not tried.`,
      contradictions.length === 0
        ? "All did as the table says."
        : `Otherwise than the table says: ${contradictions.join("; ")}.`,
    ],
    header,
    rows: pairs.map((each) => [each.from, each.to, `${each.passed}`, `${each.refused}`]),
    empty: "No two zones have pods with an address family in common.",
  };
}

function changes({
  since,
  appeared,
  disappeared,
  inputs,
}: NonNullable<ReportDocument["changes"]>): Section {
  return {
    title: "Changes",
    text: [`What is otherwise than in the report of ${since}.`],
    header: ["change", "what"],
    rows: [
      ...appeared.map((text): readonly SectionCell[] => [{ text: "now", tone: "bad" }, text]),
      ...disappeared.map((text) => ["no more", text]),
      ...inputs.map((text) => ["input", text]),
    ],
    empty: "Nothing.",
  };
}

function namespaces({ namespaces }: ReportDocument): Section {
  return {
    title: "Namespaces",
    text: ["NetworkPolicies of each namespace, and how many of its pods some policy isolates."],
    header: ["namespace", "policies", "pods", "isolated, incoming", "isolated, outgoing"],
    rows: namespaces.map(({ name, policies, pods, isolatedIngress, isolatedEgress }) => [
      name,
      { text: `${policies}`, tone: policies === 0 && pods > 0 ? "bad" : "plain" },
      `${pods}`,
      `${isolatedIngress}`,
      `${isolatedEgress}`,
    ]),
    empty: "The manifests have no namespace.",
  };
}

function requirements({ requirements }: ReportDocument): Section {
  return {
    title: "Requirements",
    text: [
      `Requirements that are about segmentation, each in a line of our own words, and the parts that bear on them. ${claim}`,
    ],
    header: ["standard", "number", "about", "see"],
    rows: requirements.map(({ standard, number, about, sections }) => [
      standard,
      number,
      about,
      sections.join(", "),
    ]),
    empty: "",
  };
}

function inputs({ inputs, versions }: ReportDocument): Section {
  return {
    title: "Inputs",
    text: [
      `What this was made from. ${Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(", ")}.`,
    ],
    header: ["input", "bytes", "SHA-256"],
    rows: inputs.map(({ name, sha256, bytes }) => [name, `${bytes}`, sha256]),
    empty: "",
  };
}
