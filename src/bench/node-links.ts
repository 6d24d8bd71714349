/** Ways of running `sluice node`, as values beside those of `sluice run --link`: by each hook that it has. */
const nodeHooks = ["netfilter", "iptables", "nfqueue"] as const;

const start = "node-";

export const nodeLinks: readonly string[] = nodeHooks.map((hook) => `${start}${hook}`);

/** The hook of such a value; undefined for one of `sluice run`. */
export function hookOf(link: string): string | undefined {
  return nodeLinks.includes(link) ? link.slice(start.length) : undefined;
}
