// Sluice on a real cluster, installed there by deploy/kubernetes/sluice.yaml, judged by two suites that others wrote:
// Kubernetes' end-to-end tests of NetworkPolicy and the conformance tests of network-policy-api. Beside them: pods
// that are born under a policy that denies everything, and what Sluice costs a rollout.
//
// The cluster is made by a program of yours, SLUICE_CLUSTER or --cluster, that knows these words:
//   up --cni NAME --proxy MODE [--ipv4-only]   start a cluster of Linux nodes
//   kubectl …, in NODE COMMAND …               kubectl; a command in a node's network and mounts
//   netpol [FOCUS], npapi [FLAGS]              run a suite: Ginkgo's output, `go test -v`'s
//   down
//
// Exit codes: 1 something failed, 2 usage, 3 there is no cluster program, 4 it failed.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bornDenied, firstAnswers, rolledOut, unknownTimes } from "./cluster/births.mjs";
import { install, uninstall } from "./cluster/install.mjs";
import { conformance, endToEnd } from "./cluster/suites.mjs";
import { tableOf } from "./cluster/table.mjs";
import { Cluster, ClusterError } from "./cluster/tool.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const parts = ["netpol", "npapi", "births", "rollout"];

const usage = `usage: npm run test:cluster -- [--cluster PROGRAM] [--cni bridge,ptp] [--proxy nftables,iptables]
  [--families dual,ipv4] [--plugin without,with] [--parts ${parts.join(",")}] [--rounds N] [--focus TEXT] [--image FILE] [--logs FOLDER] [--keep]`;

function say(text) {
  process.stderr.write(`test:cluster: ${text}\n`);
}

function readArguments() {
  const list = (fallback) => ({ type: "string", default: fallback });
  const options = {
    cluster: list(process.env.SLUICE_CLUSTER ?? ""),
    cni: list("bridge,ptp"),
    proxy: list("nftables"),
    families: list("dual"),
    plugin: list("without"),
    parts: list(parts.join(",")),
    rounds: list("1"),
    focus: list(""),
    image: { type: "string" },
    logs: { type: "string" },
    keep: { type: "boolean", default: false },
  };
  try {
    const { values } = parseArgs({ options });
    const wanted = values.parts.split(",");
    const unknown = wanted.find((each) => !parts.includes(each));
    if (unknown !== undefined)
      throw new Error(`--parts: got "${unknown}", want ${parts.join(", ")}`);
    if (!/^[1-9]\d*$/.test(values.rounds))
      throw new Error(`--rounds: got "${values.rounds}", want 1 or more`);
    return { ...values, parts: wanted };
  } catch (error) {
    process.stderr.write(`${error.message}\n${usage}\n`);
    return process.exit(2);
  }
}

/** The image to install: the one that was given, or one made from this checkout. */
function imageOf({ image }, work) {
  if (image !== undefined) return resolve(image);
  const file = join(work, "sluice.tar");
  say("writing the image");
  Cluster.must(process.execPath, [join(root, "scripts/image.mjs"), file]);
  return file;
}

/** Every configuration that was asked for, each once before any is tried again. */
function configurations({ cni, proxy, families, plugin, rounds }) {
  const each = (text, key) => (before) =>
    text.split(",").map((value) => ({ ...before, [key]: value }));
  const counted = Array.from({ length: Number(rounds) }, (_, at) => ({ round: at + 1 }));
  return counted
    .flatMap(each(cni, "cni"))
    .flatMap(each(proxy, "proxy"))
    .flatMap(each(families, "families"))
    .flatMap(each(plugin, "plugin"))
    .map((made) => ({
      ...made,
      name: `${made.cni}, kube-proxy by ${made.proxy}, ${made.families}, ${made.plugin} plugin`,
    }));
}

/** Runs what was asked for on one cluster, and tells each result. */
async function judge(cluster, configuration, image, { parts: wanted, focus, logs }, tell) {
  const round = `${configuration.name} ${configuration.round}`.replace(/\W+/g, "-");
  const log = (part) => join(logs, `${round}-${part}.log`);
  const { cni, proxy, families } = configuration;
  const hasPlugin = configuration.plugin === "with";
  cluster.up(["--cni", cni, "--proxy", proxy, ...(families === "ipv4" ? ["--ipv4-only"] : [])]);
  cluster.load(image);
  if (wanted.includes("rollout")) tell(await rolledOut(cluster, hasPlugin));
  tell(await install(cluster, hasPlugin));
  if (wanted.includes("births"))
    for (const each of [bornDenied, firstAnswers, unknownTimes])
      tell(await each(cluster, hasPlugin));
  if (wanted.includes("netpol")) tell(await endToEnd(cluster, focus, log("netpol")));
  if (wanted.includes("npapi")) tell(await conformance(cluster, log("npapi")));
  tell(await uninstall(cluster));
}

/** One configuration once. A cluster that fails is a result too: the next one may serve. */
async function once(cluster, configuration, image, options) {
  const { name: of, round } = configuration;
  const results = [];
  const tell = (result) => {
    say(`${of}, round ${round}: ${result.what}: ${result.ok ? "" : "FAILED: "}${result.found}`);
    results.push({ configuration: of, round, ...result });
  };
  try {
    await judge(cluster, configuration, image, options, tell);
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    tell({ what: "the cluster", ok: false, found: error.message });
    process.exitCode = 4;
  } finally {
    if (!options.keep) cluster.down();
  }
  return results;
}

const options = readArguments();
if (options.cluster === "") {
  say("there is no cluster: SLUICE_CLUSTER or --cluster names the program that makes one");
  process.stderr.write(`${usage}\n`);
  process.exit(3);
}
const work = mkdtempSync(join(tmpdir(), "sluice-cluster-"));
const logs = resolve(options.logs ?? join(work, "logs"));
mkdirSync(logs, { recursive: true });
const cluster = new Cluster(resolve(options.cluster));
const results = [];
try {
  const image = imageOf(options, work);
  for (const configuration of configurations(options))
    results.push(...(await once(cluster, configuration, image, { ...options, logs })));
} catch (error) {
  if (!(error instanceof ClusterError)) throw error;
  say(error.message);
  process.exitCode = 4;
}
const hasFailed = results.some(({ ok }) => !ok);
process.stdout.write(tableOf(results));
writeFileSync(join(logs, "results.json"), `${JSON.stringify(results, null, 1)}\n`);
if (hasFailed) process.exitCode ??= 1;
if (hasFailed || options.logs !== undefined) say(`logs are in ${logs}`);
else rmSync(work, { recursive: true, force: true });
if (options.logs !== undefined) rmSync(work, { recursive: true, force: true });
