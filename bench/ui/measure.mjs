// How fast the page of `sluice ui` answers, and what memory its server takes, beside a process that tells many flows:
//
//   npm run bench:ui -- [PODS] [FLOWS_A_SECOND] [SECONDS], 600 for what memory does in ten minutes
//
// The process is a stand-in: a control socket with the table and the manifests of that many pods, and flows between
// them at that rate. The server and the browser are real. The figures are of this machine, and hold for no other.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile } from "../../dist/compiler/compile.js";
import { toJson } from "../../dist/control/manifest-json.js";
import { ListAnswer, serveUnix } from "../../dist/control/server.js";
import { parseTexts } from "../../dist/manifest/parse.js";
import { manifestsOf } from "./manifests.mjs";

const [pods = 200, rate = 2_000, seconds = 60] = process.argv.slice(2).map(Number);
const folder = mkdtempSync(join(tmpdir(), "sluice-ui-"));
const socket = join(folder, "sluice.sock");
const { text, places } = manifestsOf(pods);
const { objects } = parseTexts([{ name: "bench.yaml", text }], "bench");
const compiled = compile({ objects });
const since = new Date().toISOString();

const head = { apiVersion: "sluice/v1", kind: "ManifestList", generation: 1, lastError: null };
const table = Buffer.from(compiled.blob).toString("base64");
const status = { generation: 1, since, pid: process.pid, established: "recheck" };
let told = 0;
const serving = await serveUnix(socket, 0o600, {
  handlers: {
    "GET /status": () => status,
    "GET /manifests": () =>
      new ListAnswer({ ...head, mode: "enforce", local: "all", table }, [
        () => objects.map(toJson),
      ]),
    "GET /connections": () => new ListAnswer({ kind: "ConnectionList" }, []),
    "GET /policies": () => new ListAnswer({ kind: "PolicyList" }, []),
  },
  streams: {
    "GET /flows": (reader) => {
      const timer = setInterval(() => {
        for (let each = 0; each < rate / 50; each++) {
          reader.write(flow(told));
          told++;
        }
      }, 20);
      return () => clearInterval(timer);
    },
  },
});

/** Some pairs often, many seldom; a tenth is refused. */
function flow(number) {
  const from = places[number % places.length];
  const to = places[(number * 7 + (number % 5)) % places.length];
  const isRefused = number % 10 === 0;
  const end = ({ namespace, name }) => ({ namespace, pod_name: name, labels: [] });
  return {
    flow: {
      time: new Date().toISOString(),
      verdict: isRefused ? "DROPPED" : "FORWARDED",
      IP: { source: from.address, destination: to.address, ipVersion: "IPv4" },
      l4: { TCP: { source_port: 32_768 + (number % 20_000), destination_port: to.port } },
      source: end(from),
      destination: end(to),
      ext: {
        event: isRefused ? "dropped" : "opened",
        reason: isRefused ? "policy-ingress" : null,
        rule: null,
        isolated_by: [],
        rules: [],
        generation: 1,
        bytes: 74,
        lostBefore: 0,
      },
    },
  };
}

const main = new URL("../../dist/cli/main.js", import.meta.url).pathname;
const ui = spawn(process.execPath, [main, "ui", "--socket", socket], {
  stdio: ["ignore", "pipe", "inherit"],
});
const url = await new Promise((resolve) =>
  ui.stdout.once("data", (said) => resolve(`${said}`.trim())),
);
const { chromium } = createRequire(import.meta.url)("playwright-core");
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
page.on("pageerror", (error) => console.error(`page: ${error.message}`));

/** Milliseconds from a click until what it should show is painted. */
const timed = `async (click, shown) => {
  const start = performance.now();
  click();
  while (!shown()) await new Promise((resolve) => setTimeout(resolve));
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return performance.now() - start;
}`;
const one = (selector) => `document.querySelector(${JSON.stringify(selector)})`;
const steps = [
  ["to the flows", `() => ${one("nav a[href='#flows']")}.click()`, `() => ${one("tbody tr")}`],
  [
    "a filter",
    `() => ${one("tr.dropped button[title^='only verdict']")}.click()`,
    `() => ${one(".chip")}`,
  ],
  [
    "sort by rate",
    `() => [...document.querySelectorAll("thead button")].find((each) => each.textContent.startsWith("Per second")).click()`,
    `() => ${one("[aria-sort=descending]")}?.textContent.startsWith("Per second")`,
  ],
  ["why of a flow", `() => ${one(".why-cell a")}.click()`, `() => ${one(".why .verdict")}`],
  [
    "to the map",
    `() => ${one("nav a[href='#map']")}.click()`,
    `() => ${one(".heat canvas, .graph .node")}`,
  ],
  [
    "a cell",
    `() => { const over = ${one(".heat .over")}; const { left, top, width, height } = over.getBoundingClientRect(); over.dispatchEvent(new MouseEvent("click", { bubbles: true, clientX: left + width * 0.6, clientY: top + height * 0.5 })); }`,
    `() => ${one(".panel .why .verdict, .panel .trouble")}`,
  ],
  [
    "folded",
    `() => [...document.querySelectorAll(".toolbar button")].find((each) => each.textContent.includes("namespaces")).click()`,
    `() => location.hash.includes("fold=")`,
  ],
  [
    "to the policies",
    `() => ${one("nav a[href='#policies']")}.click()`,
    `() => ${one("tbody tr")}?.textContent.includes("/")`,
  ],
];
const cdp = await page.context().newCDPSession(page);
await cdp.send("Performance.enable", { timeDomain: "threadTicks" });
/** What the page's thread has worked, whoever else kept the processor busy. Units: milliseconds. */
const worked = async () => {
  const { metrics } = await cdp.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "TaskDuration").value * 1_000;
};
const times = new Map(steps.map(([name]) => [name, []]));
const work = new Map(steps.map(([name]) => [name, []]));
const memory = [];
const heap = [];
const rss = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${ui.pid}/status`, "utf8"))[1]) / 1024;
const end = performance.now() + seconds * 1_000;
await page.goto(url);
await page.waitForSelector("main > *");
await new Promise((resolve) => setTimeout(resolve, 3_000));
while (performance.now() < end) {
  for (const [name, click, shown] of steps) {
    const before = await worked();
    times.get(name).push(await page.evaluate(`(${timed})(${click}, ${shown})`));
    work.get(name).push((await worked()) - before);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  memory.push(rss());
  heap.push(await page.evaluate("performance.memory.usedJSHeapSize / 2 ** 20"));
}
for (const [name, all] of times) {
  const at = (list, part) => {
    const sorted = [...list].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]
      .toFixed(0)
      .padStart(4);
  };
  const own = work.get(name);
  console.log(
    `${name.padEnd(16)} median ${at(all, 0.5)} ms, worst ${at(all, 1)} ms; of that the page's own work ${at(own, 0.5)} and ${at(own, 1)} ms`,
  );
}
console.log(
  `${told} flows told; MiB at first, at most in the first and in the second half, at the end: server ${course(memory)}; page ${course(heap)}`,
);
/** How memory went: what is kept for ever grows in the second half too. */
function course(all) {
  const half = Math.floor(all.length / 2);
  const most = [all.slice(0, half), all.slice(half)].map((part) => Math.max(...part));
  return [all[0], ...most, all.at(-1)].map((each) => each.toFixed(0)).join(", ");
}
await browser.close();
ui.kill();
serving.close();
rmSync(folder, { recursive: true, force: true });
process.exit(0);
