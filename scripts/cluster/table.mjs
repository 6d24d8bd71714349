// What all rounds found, as one table.

/** The results by what `keyOf` makes of each, in the order in which they first came. */
function groupsOf(results, keyOf) {
  const groups = new Map();
  for (const each of results) groups.set(keyOf(each), [...(groups.get(keyOf(each)) ?? []), each]);
  return [...groups];
}

/** Of each configuration what was tried there, in how many of its rounds it held, and what each round found. */
export function tableOf(results) {
  const width = Math.max(0, ...results.map(({ what }) => what.length));
  const lines = groupsOf(results, ({ configuration }) => configuration).flatMap(
    ([configuration, ofIt]) => [
      configuration,
      ...groupsOf(ofIt, ({ what }) => what).map(([what, rounds]) => {
        const held = rounds.filter(({ ok }) => ok).length;
        const found = rounds.map(({ ok, found: each }) => (ok ? each : `FAILED: ${each}`));
        return `  ${what.padEnd(width)}  ${held} of ${rounds.length}  ${found.join(" | ")}`;
      }),
    ],
  );
  return lines.map((line) => `${line}\n`).join("");
}
