import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mutate } from "../fuzz/mutate.js";
import type { Random } from "../property/random.js";

/** Objects beside those that count: pods that come and go, and policies that open other ports. */
export function harmless(random: Random): string {
  const objects = Array.from({ length: 1 + random.below(12) }, () => {
    const id = random.below(200);
    const port = 20_000 + random.below(10_000);
    return random.pick([
      `apiVersion: v1\nkind: Pod\nmetadata: {name: p${id}, namespace: other, labels: {app: a${id % 7}}}\nstatus: {podIPs: [{ip: 10.8.0.${id}}]}\n`,
      `apiVersion: v1\nkind: Namespace\nmetadata: {name: n${id}, labels: {zone: z${id % 5}}}\n`,
      `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x${id}, namespace: siege}\nspec: {podSelector: {matchLabels: {app: a${id % 7}}}, ingress: [{from: [{namespaceSelector: {}}], ports: [{port: ${port}}]}]}\n`,
      `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: y${id}, namespace: siege}\nspec: {podSelector: {}, ingress: [{ports: [{port: ${port}, endPort: ${port + 5}}]}]}\n`,
    ]);
  });
  return objects.join("---\n");
}

/** Of another namespace, so that no change of its bytes opens what counts. */
const elsewhere = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: some, namespace: elsewhere, labels: {a: b}}
spec:
  podSelector: {matchExpressions: [{key: app, operator: In, values: [x, y]}]}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 443}]}]
  egress: [{to: [{namespaceSelector: {}}]}]
`;

type Make = (path: string, random: Random) => void;
const text =
  (make: (random: Random) => string): Make =>
  (path, random) =>
    writeFileSync(path, make(random));

/** What whoever may write into a folder of manifests can make of a file there. */
const sorts: readonly Make[] = [
  text(harmless),
  text(harmless),
  text(harmless),
  (path, random) => writeFileSync(path, mutate(random, [Buffer.from(elsewhere)])),
  (path) => execFileSync("mkfifo", [path]),
  (path) => symlinkSync("/dev/zero", path),
  (path) => symlinkSync("/dev/random", path),
  (path) => symlinkSync("/proc/self/maps", path),
  (path) => symlinkSync(path, path),
  (path) => symlinkSync("nowhere", path),
  (path) => symlinkSync("/", path),
  (path) => mkdirSync(path),
  (path) => {
    writeFileSync(path, "");
    truncateSync(path, 1e12);
  },
  text((random) => "kind: Pod\n---\n".repeat(random.below(60_000))),
  text(() => `a0: &a0 [x,x,x,x]\n${"[".repeat(1_000)}`),
  text((random) => `${"[".repeat(random.below(100_000))}`),
  text((random) => `a: ${"x".repeat(random.below(1_000_000))}`),
  text((random) => `a: &a [b]\n${"c: [*a, *a]\n".repeat(random.below(20_000))}`),
  text(() => "apiVersion: constructor\nkind: __proto__\nmetadata: {name: toString}\n"),
  text(multiplying),
];

/** Policies whose work grows with the square of their number. */
function multiplying(random: Random): string {
  const count = random.below(400);
  const selector = (index: number) =>
    `{matchExpressions: [{key: app, operator: NotIn, values: [a${index}]}]}`;
  return Array.from(
    { length: count },
    (_, index) =>
      `---\napiVersion: v1\nkind: Pod\nmetadata: {name: m${index}, namespace: siege, labels: {app: m${index}}}\nstatus: {podIPs: [{ip: 10.7.${index >> 8}.${index & 255}}]}\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: m${index}, namespace: siege}\nspec: {podSelector: ${selector(index)}, ingress: [{from: [{podSelector: ${selector(index + 1)}}], ports: [{port: ${30_000 + index}}]}]}\n`,
  ).join("");
}

/** Puts something hostile or harmless in the place of one of a few files. */
export function changeManifest(folder: string, random: Random): void {
  const path = join(folder, `churn-${random.below(3)}.yaml`);
  rmSync(path, { recursive: true, force: true });
  if (random.oneIn(3)) return;
  random.pick(sorts)(path, random);
}

/** Takes away all that changeManifest has made. */
export function clearManifests(folder: string): void {
  for (let each = 0; each < 3; each++) {
    rmSync(join(folder, `churn-${each}.yaml`), { recursive: true, force: true });
  }
}
