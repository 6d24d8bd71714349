// How fast the page of `sluice ui` answers beside a lab of real pods with real traffic, and what the page costs the
// lab's process:
//
//   npm run bench:ui-lab -- [SECONDS] [PODS] [FLOWS_A_SECOND]      as root; 120, 200 and 2,000 when left out
//
// The lab, its pods' echo servers, the traffic, the server and the browser are real. Every other window has no page and
// no `sluice ui`; what the lab does in neighbouring windows is compared. The figures are of this machine.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cpuSecondsOfProcess } from "../../dist/bench/cpu-time.js";
import { median, quantile } from "../../dist/bench/statistics.js";
import { ClickedPage, course } from "./clicks.mjs";
import { manifestsOf } from "./manifests.mjs";

const [seconds = 120, pods = 200, rate = 2_000] = process.argv.slice(2).map(Number);
const windowMs = 8_000;
const roundTrips = 400;
const main = new URL("../../dist/cli/main.js", import.meta.url).pathname;
const traffic = new URL("lab-traffic.py", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "sluice-ui-lab-"));
const name = `bench-ui-${process.pid}`;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const started = [];

function sluice(...words) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...words], {
    encoding: "utf8",
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(`sluice ${words.join(" ")}: ${stderr}`);
  return stdout;
}

/** Starts a program whose lines of JSON are kept: `next` waits for one more. */
function start(command, words, input) {
  const child = spawn(command, words, { stdio: ["pipe", "pipe", "inherit"] });
  started.push(child);
  const lines = [];
  let wake = () => {};
  createInterface(child.stdout).on("line", (line) => {
    lines.push(line);
    wake();
  });
  if (input !== undefined) child.stdin.write(`${input}\n`);
  const next = async () => {
    const before = lines.length;
    while (lines.length === before) {
      if (child.exitCode !== null) throw new Error(`${command} ${words[0]} has ended`);
      await Promise.race([new Promise((resolve) => (wake = resolve)), pause(500)]);
    }
    return lines.at(-1);
  };
  return { child, next, last: () => lines.at(-1) };
}

const rss = (pid) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;

async function run() {
  const { text, places } = manifestsOf(pods, "UDP");
  const file = join(folder, "pods.yaml");
  writeFileSync(file, text);
  sluice("lab", "up", "-f", file, "--serve", "--name", name);
  const status = JSON.parse(sluice("lab", "status", "--name", name, "-o", "json"));
  const lab = status.pid;
  const paths = new Map(status.pods.map(({ ref, namespacePath }) => [ref, namespacePath]));
  const ends = places.map(({ namespace, name: pod, address, port }) => ({
    namespace: paths.get(`${namespace}/${pod}`),
    address,
    port,
  }));
  // Workers are selected by no policy, and answer everybody.
  const free = ends.filter((_, at) => places[at].name.startsWith("worker"));
  const flows = start("python3", [traffic, "flows", String(rate)], JSON.stringify(ends));
  const echo = start("python3", [traffic, "echo"], JSON.stringify(free.slice(0, 2)));
  await flows.next();

  const windows = [];
  const memory = { lab: [], server: [], page: [] };
  let page;
  /** What the lab does in a window: of each datagram, of each round trip. */
  const measure = async (withPage, during) => {
    const [before, cpu, atMs] = [
      JSON.parse(await flows.next()),
      cpuSecondsOfProcess(lab),
      performance.now(),
    ];
    const trips = echo.next();
    echo.child.stdin.write(`${roundTrips}\n`);
    while (performance.now() < atMs + windowMs) await during();
    const { us, lost } = JSON.parse(await trips);
    const [after, cpuAfter] = [JSON.parse(await flows.next()), cpuSecondsOfProcess(lab)];
    const sent = after.sent - before.sent;
    windows.push({
      withPage,
      ...{ us, lost, sent },
      rate: sent / ((performance.now() - atMs) / 1_000),
      answered: (after.answered - before.answered) / sent,
      cpuUs: ((cpuAfter - cpu) * 1e6) / sent,
    });
    memory.lab.push(rss(lab));
  };
  const endMs = performance.now() + seconds * 1_000;
  while (performance.now() < endMs) {
    await measure(false, () => pause(250));
    const ui = start(process.execPath, [main, "ui", "--lab", name]);
    const url = await ui.next();
    if (page === undefined) page = await ClickedPage.open(url);
    else await page.show(url);
    await pause(1_500);
    await measure(true, () => page.clickAll());
    memory.server.push(rss(ui.child.pid));
    memory.page.push(await page.heap());
    await page.show("about:blank");
    ui.child.kill();
    await pause(500);
  }
  for (const line of page.report()) console.log(line);
  await page.close();
  report(windows, memory);
}

function report(windows, memory) {
  const of = (withPage, value) => windows.filter((each) => each.withPage === withPage).map(value);
  const compared = (title, value, unit, digits) => {
    const [without, beside] = [of(false, value), of(true, value)];
    const ratios = beside.map((each, at) => each / without[at]);
    const show = (list) => median(list).toFixed(digits);
    console.log(
      `${title.padEnd(30)} without the page ${show(without)} ${unit}, with it ${show(beside)} ${unit}; ratio, median of ${ratios.length} pairs: ${median(ratios).toFixed(2)} [${Math.min(...ratios).toFixed(2)} ${Math.max(...ratios).toFixed(2)}]`,
    );
  };
  compared("new flows a second", ({ rate: each }) => each, "", 0);
  compared("datagrams answered", ({ answered }) => answered, "", 4);
  compared("round trip, median", ({ us }) => median(us), "µs", 0);
  compared("round trip, p99", ({ us }) => quantile(us, 0.99), "µs", 0);
  compared("the lab's processor time, a flow", ({ cpuUs }) => cpuUs, "µs", 0);
  const lost = windows.reduce((sum, each) => sum + each.lost, 0);
  console.log(`round trips lost: ${lost} of ${windows.length * roundTrips}`);
  console.log(
    `MiB at first, at most in each half, at the end: lab ${course(memory.lab)}; server, new for each window, ${course(memory.server)}; page ${course(memory.page)}`,
  );
}

try {
  await run();
} finally {
  for (const child of started) child.kill("SIGKILL");
  spawnSync(process.execPath, [main, "lab", "down", "--name", name]);
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
