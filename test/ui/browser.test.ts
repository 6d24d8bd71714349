import type { ChildProcess } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Bench, labObstacle, named, root, threeTier, until } from "../live/lab-harness.js";
import { type Browser, browserObstacle, launchBrowser, type Page } from "./browser-harness.js";
import { flowLine } from "./page-harness.js";

// Goal: the page works in a real browser: what a user clicks and types, what a screen reader hears, and nothing else
// is loaded. Method: the command serves it; every error and every request of the page is noted.

const budgetBytes = 300 * 1024;
const folder = mkdtempSync(join(tmpdir(), "sluice-page-"));
const bench = new Bench();
let browser: Browser | undefined;
let page: Page;
let faults: string[] = [];
let allowed = "";

beforeAll(async () => {
  if (browserObstacle === undefined) browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.close();
  await bench.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Starts the command, and tells the address that it prints. */
function serve(
  ...words: string[]
): Promise<{ readonly url: string; readonly child: ChildProcess }> {
  const child = bench.start("ui", ...words);
  return new Promise((resolve, reject) => {
    let said = "";
    child.stderr!.on("data", (text) => {
      said += text;
    });
    child.once("exit", (code) => reject(new Error(`ui ended with ${code}: ${said}`)));
    child.stdout!.once("data", (text) => resolve({ url: `${text}`.trim(), child }));
  });
}

async function open(url: string, hash = ""): Promise<void> {
  allowed = url;
  await page.goto("about:blank");
  await page.goto(`${url}${hash}`);
  await page.waitForSelector("main > *");
}

/** Waits until an expression is true. The page's own policy keeps playwright from doing so inside of it. */
async function untilTrue(expression: string): Promise<void> {
  await until(expression, () => page.evaluate<boolean>(`Boolean(${expression})`));
}

const flowsFile = join(folder, "flows.json");
const lines = [
  flowLine(["shop/payment", "10.1.2.20"], ["shop/database", "10.1.2.30"], 5432),
  flowLine(["elsewhere/stranger", "10.1.4.10"], ["shop/database", "10.1.2.30"], 5432, "DROPPED"),
  flowLine(["shop/frontend", "10.1.2.10"], ["shop/payment", "10.1.2.20"], 9000),
];
writeFileSync(flowsFile, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));

test("the page is within its budget", () => {
  const files = ["index.html", "page.js", "page.css"];
  const sizes = files.map(
    (file) => gzipSync(readFileSync(join(root, "dist/ui/page", file))).length,
  );
  const size = sizes.reduce((sum, each) => sum + each, 0);
  expect(size).toBeGreaterThan(10_000);
  expect(size).toBeLessThan(budgetBytes);
});

describe.skipIf(browserObstacle !== undefined)(named("in a browser", browserObstacle), () => {
  beforeEach(async () => {
    page = await browser!.newPage({ viewport: { width: 1440, height: 900 } });
    faults = [];
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") faults.push(message.text());
    });
    page.on("pageerror", (error) => faults.push(error.message));
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(allowed) && !/^(data|about):/.test(url)) faults.push(`asks ${url}`);
    });
    return async () => {
      await page.close();
      expect(faults).toEqual([]);
    };
  });

  describe("about manifests and a file of flows", () => {
    let url: string;
    let child: ChildProcess;
    beforeAll(async () => {
      ({ url, child } = await serve("-f", threeTier, "--flows", flowsFile));
    });
    afterAll(() => void child.kill());

    test("the map tells what was seen, refused, and allowed but not seen; an arrow tells why", async () => {
      await open(url);
      await page.waitForSelector(".arrow.seen");
      const states = await page.evaluate<string[]>(
        "[...document.querySelectorAll('.arrow')].map((each) => each.getAttribute('aria-label'))",
      );
      expect(states).toContainEqual("shop/payment to shop/database, tcp 5432, seen");
      expect(states).toContainEqual(
        "elsewhere/stranger to shop/database, refused tcp 5432, refused",
      );
      expect(states).toContainEqual("shop/payment to outside/bank, tcp 443, allowed, not seen");
      await page.press('[aria-label^="elsewhere/stranger to shop/database"]', "Enter");
      await page.waitForSelector(".panel .why .verdict.deny");
      const panel = await page.textContent(".panel");
      expect(panel).toContain("10.1.4.10");
      expect(panel).toContain("nothing may pass, refused");
      expect(panel).toContain("Nearest miss");
      expect(panel).toContain("app: payment");
      // A box's badges are heard, not only seen.
      const boxes = await page.evaluate<string[]>(
        "[...document.querySelectorAll('.node')].map((each) => each.getAttribute('aria-label'))",
      );
      expect(boxes).toContainEqual("elsewhere/stranger: no policy, open to the internet");
      await page.keyboard.press("Escape");
      await untilTrue("document.querySelector('.panel') === null");
    });

    test("search, focus, folding and the heat map by keyboard", async () => {
      await open(url);
      await page.waitForSelector(".node");
      await page.keyboard.press("?");
      await untilTrue("document.activeElement.textContent === 'Close'");
      await page.keyboard.press("Escape");
      await untilTrue("document.querySelector('dialog') === null");
      await page.keyboard.press("/");
      await untilTrue("document.activeElement.id === 'search'");
      await page.fill("#search", "stranger");
      await untilTrue("document.querySelectorAll('.node.dim').length > 0");
      await page.fill("#search", "");
      await page.click('.node[aria-label^="shop/database"]');
      await untilTrue("location.hash.includes('focus=shop%2Fdatabase')");
      await untilTrue("document.querySelectorAll('.node').length === 4");
      await open(url, "#map?as=cells");
      await page.waitForSelector(".heat canvas");
      for (const key of ["ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight"])
        await page.press(".heat", key);
      const cell = await page.textContent(".cell-text");
      expect(cell).toMatch(/^ingress\/controller to \S+: .+/);
      await page.press(".heat", "Enter");
      await page.waitForSelector(".panel .why");
      await open(url, "#map?fold=shop");
      await page.waitForSelector('.node[aria-label^="shop/*"]');
    });

    test("every value of a flow is a filter, and the address keeps it", async () => {
      await open(url, "#flows");
      await page.waitForSelector("tbody tr");
      const rows = "document.querySelectorAll('tbody tr').length";
      expect(await page.evaluate(rows)).toBe(3);
      await page.click("tr.dropped button[title='only verdict refused']");
      await untilTrue(`${rows} === 1`);
      const hash = await page.evaluate<string>("location.hash");
      expect(hash).toBe("#flows?verdict=refused");
      await open(url, hash);
      await untilTrue(`${rows} === 1`);
      await page.click(".why-cell a");
      await page.waitForSelector(".why .verdict.deny");
      expect(await page.evaluate("location.hash")).toContain("port=5432%2Ftcp");
    });

    test("what if: a policy left out closes, and names the traffic that it would cut", async () => {
      await open(url, "#what-if");
      const choose = `(() => {
        const list = document.querySelector('select[aria-label="leave a policy out"]');
        list.value = "NetworkPolicy shop/database";
        list.dispatchEvent(new Event("change", { bubbles: true }));
      })()`;
      await page.evaluate(choose);
      await page.click("button.primary");
      await page.waitForSelector(".change.closed");
      const outcome = await page.textContent(".outcome");
      expect(outcome).toContain("1 connection would be cut of the flows that were seen");
      expect(outcome).toContain("shop/payment (10.1.2.20)");
      await open(url, "#what-if?policy=0");
      await untilTrue("document.querySelector('textarea').value.includes('kind: ')");
      await page.fill("textarea", "kind: NetworkPolicy\n");
      await page.click("button.primary");
      await page.waitForSelector(".findings .error");
    });

    test("policies and workloads lead to each other", async () => {
      await open(url, "#policies");
      await page.waitForSelector("tbody tr");
      expect(await page.textContent("tbody")).toContain("shop/default-deny");
      await open(url, "#policies?by=workload&q=stranger");
      await page.waitForSelector("tbody tr");
      expect(await page.textContent("tbody")).toContain("none");
    });

    test("in a narrow window, where heads of columns are not shown, a list sorts the flows", async () => {
      await page.setViewportSize({ width: 420, height: 800 });
      await open(url, "#flows");
      await page.waitForSelector("tbody tr");
      const ports =
        "[...document.querySelectorAll('[data-title=Port]')].map((each) => each.textContent).join(' ')";
      await page.evaluate(`(() => {
        const list = document.querySelector("select[aria-label='sort by']");
        list.value = "port";
        list.dispatchEvent(new Event("change", { bubbles: true }));
      })()`);
      await untilTrue(`${ports} === "9000/tcp 5432/tcp 5432/tcp"`);
      await page.click("[aria-label='greatest first; turn around']");
      await untilTrue(`${ports} === "5432/tcp 5432/tcp 9000/tcp"`);
      // Nor does the keyboard go to what is not shown.
      const heads = await page.evaluate<string[]>(
        "[...document.querySelectorAll('thead button')].map((each) => getComputedStyle(each).visibility)",
      );
      expect(new Set(heads)).toEqual(new Set(["hidden"]));
    });

    test.each([
      ["flows?q=nobody", "No flow has all of this"],
      ["policies?q=nobody", "No policy has this"],
      ["policies?by=workload&q=nobody", "No workload has this"],
      ["map?as=list&hide=seen,refused,unused", "No pair is left"],
    ])("nothing to show, at %s, is said", async (hash, text) => {
      await open(url, `#${hash}`);
      await page.waitForSelector(".empty");
      expect(await page.textContent(".empty")).toContain(text);
    });

    test.each([420, 1440])(
      "%i wide, everything has a name and fits, and a finger hits it",
      async (width) => {
        for (const view of [
          "map",
          "map?as=cells",
          "map?as=list",
          "flows",
          "why",
          "what-if",
          "policies",
          "policies?by=workload",
        ]) {
          await page.setViewportSize({ width, height: 800 });
          await open(url, `#${view}`);
          await page.waitForSelector("main > *");
          const nameless = await page.evaluate<string[]>(`[...document.querySelectorAll(
          "a[href], button, input, select, textarea, [tabindex], table")].flatMap((each) => {
          const label = each.getAttribute("aria-label") || each.textContent.trim() ||
            each.closest("label")?.textContent.trim() || each.title;
          const isNamed = each.tagName !== "TABLE" || each.hasAttribute("aria-label") || each.caption;
          return label && isNamed ? [] : [each.outerHTML.slice(0, 120)];
        })`);
          expect(nameless, view).toEqual([]);
          const wide = await page.evaluate<number>("document.documentElement.scrollWidth");
          expect(wide, view).toBeLessThanOrEqual(width);
          // Source: WCAG 2.2, 2.5.8.
          const low = await page.evaluate<string[]>(`[...document.querySelectorAll(
          "button, select, summary, nav a, .grid a, input:not([type=checkbox])")].flatMap((each) => {
          const { width, height } = each.getBoundingClientRect();
          const isHidden = width === 0 || getComputedStyle(each).visibility === "hidden";
          return isHidden || Math.min(width, height) >= 24 ? [] : [each.outerHTML.slice(0, 120)];
        })`);
          expect(low, view).toEqual([]);
        }
      },
    );
  });

  test("manifests alone have no flows, and the page says how to give some", async () => {
    const { url, child } = await serve("-f", threeTier);
    await open(url, "#flows");
    expect(await page.textContent("main")).toContain("--flows FILE");
    await page.close();
    child.kill("SIGTERM");
  });

  test("as one file: map and why, with nobody to ask", async () => {
    const file = join(folder, "map.html");
    expect(await bench.run("matrix", "-f", threeTier, "-o", "html", "--out", file)).toMatchObject({
      code: 0,
    });
    await open(pathToFileURL(file).href);
    await page.waitForSelector(".arrow.allowed");
    await page.press('[aria-label^="shop/payment to shop/database"]', "Enter");
    await page.waitForSelector(".panel .verdict.allow");
    expect(await page.textContent(".panel")).toContain("10.1.2.20");
  });

  test.skipIf(labObstacle !== undefined)(
    named("live: a lab's flows and its next table come by themselves", labObstacle),
    async () => {
      const manifests = join(folder, "manifests");
      mkdirSync(manifests);
      for (const file of ["cluster.yaml", "policies.yaml"]) {
        copyFileSync(join(threeTier, file), join(manifests, file));
      }
      expect(await bench.run("lab", "up", "-f", manifests)).toMatchObject({ code: 0 });
      const { url, child } = await serve("--lab", "default");
      await open(url, "#flows");
      expect(await bench.run("lab", "probe")).toMatchObject({ code: 0 });
      await page.waitForSelector("tr.dropped");
      await page.click("tr.dropped .why-cell a");
      await page.waitForSelector(".why .verdict.deny");
      // The lines of the manifests are shown as the process read them.
      await page.waitForSelector(".excerpt pre");
      await open(url, "#policies");
      // What the probe was refused is counted for the policy that isolates.
      const denied = `[...document.querySelectorAll('tbody tr')].some((row) =>
        row.textContent.includes('shop/default-deny') && row.querySelector('[data-title=Denied]')?.textContent > 0)`;
      await untilTrue(denied);
      const policies = join(manifests, "policies.yaml");
      writeFileSync(
        policies,
        readFileSync(policies, "utf8").replaceAll("name: default-deny", "name: other"),
      );
      expect(await bench.run("lab", "apply", "-f", manifests)).toMatchObject({ code: 0 });
      await untilTrue("document.querySelector('tbody').textContent.includes('shop/other')");
      await untilTrue("document.querySelector('.about').textContent.includes('generation 2')");
      const asked = `fetch("api/what-if", { method: "POST",
        body: JSON.stringify({ text: "", removed: ["NetworkPolicy shop/database"] }) })
        .then((answer) => answer.json()).then((answer) => answer.judged)`;
      expect(await page.evaluate(asked)).toMatch(/^\d+ live connections?$/);
      // Another process on the same socket begins with the first generation again.
      expect(await bench.run("lab", "down")).toMatchObject({ code: 0 });
      await page.waitForSelector(".live.stopped");
      expect(await bench.run("lab", "up", "-f", threeTier)).toMatchObject({ code: 0 });
      await page.waitForSelector(".live:not(.stopped)");
      await untilTrue("document.querySelector('tbody').textContent.includes('shop/default-deny')");
      await untilTrue("document.querySelector('.about').textContent.includes('generation 1')");
      // Before the server goes: what the page asks for in between is refused.
      await page.close();
      child.kill();
    },
  );
});
