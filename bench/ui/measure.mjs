// How fast the page of `sluice ui` answers, and what memory its server takes, beside a process that tells many flows:
//
//   npm run bench:ui -- [PODS] [FLOWS_A_SECOND] [SECONDS], 600 for what memory does in ten minutes
//
// The process is a stand-in: a control socket with the table and the manifests of that many pods, and flows between
// them at that rate. The server and the browser are real. The figures are of this machine, and hold for no other.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile } from "../../dist/compiler/compile.js";
import { toJson } from "../../dist/control/manifest-json.js";
import { ListAnswer, serveUnix } from "../../dist/control/server.js";
import { parseTexts } from "../../dist/manifest/parse.js";
import { ClickedPage, course } from "./clicks.mjs";
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
const page = await ClickedPage.open(url);
const memory = [];
const heap = [];
const rss = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${ui.pid}/status`, "utf8"))[1]) / 1024;
const end = performance.now() + seconds * 1_000;
await new Promise((resolve) => setTimeout(resolve, 3_000));
while (performance.now() < end) {
  await page.clickAll();
  memory.push(rss());
  heap.push(await page.heap());
}
for (const line of page.report()) console.log(line);
console.log(
  `${told} flows told; MiB at first, at most in the first and in the second half, at the end: server ${course(memory)}; page ${course(heap)}`,
);
await page.close();
ui.kill();
serving.close();
rmSync(folder, { recursive: true, force: true });
process.exit(0);
