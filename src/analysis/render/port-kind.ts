/** What kind of ports a text names, for a colour; of several the last counts. */
export const portKinds = ["none", "other", "infra", "web", "data", "all"] as const;
export type PortKind = (typeof portKinds)[number];

const web = new Set([80, 443, 3000, 8000, 8080, 8081, 8443, 9443]);
const data = new Set([
  1433, 1521, 2379, 3306, 4222, 5432, 5433, 5672, 6379, 6380, 7000, 7199, 8086, 9000, 9042, 9092,
  9200, 9300, 11211, 26257, 27017,
]);
const infra = new Set([22, 53, 67, 123, 389, 636, 6443, 9090, 9091, 9093, 9100, 10250]);

const kinds = new Map<string, PortKind>();

export function portKind(text: string): PortKind {
  const known = kinds.get(text);
  if (known !== undefined) return known;
  const kind = readKind(text);
  if (kinds.size > 5_000) kinds.clear();
  kinds.set(text, kind);
  return kind;
}

function readKind(text: string): PortKind {
  if (text === "" || text === "-") return "none";
  if (text === "all" || /(^|; )(tcp|udp|sctp)($|;)/.test(text)) return "all";
  const numbers = [...text.matchAll(/\d+/g)].map(([number]) => Number(number));
  const has = (set: ReadonlySet<number>) => numbers.some((number) => set.has(number));
  if (has(data)) return "data";
  if (has(web)) return "web";
  return has(infra) ? "infra" : "other";
}
