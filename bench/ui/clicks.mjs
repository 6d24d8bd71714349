// Clicks on the page of `sluice ui`, in a real browser, and how long it takes to answer them.
import { createRequire } from "node:module";
import { quantile } from "../../dist/bench/statistics.js";

const { chromium } = createRequire(import.meta.url)("playwright-core");

/** Milliseconds from a click until what it should show is painted. */
const timed = `async (click, shown) => {
  const start = performance.now();
  click();
  while (!shown()) await new Promise((resolve) => setTimeout(resolve));
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return performance.now() - start;
}`;
const one = (selector) => `document.querySelector(${JSON.stringify(selector)})`;
/** What is clicked in turn, and what has to be there then. */
const steps = [
  ["to the flows", `() => ${one("nav a[href='#flows']")}.click()`, `() => ${one("tbody tr")}`],
  [
    "a filter",
    `() => ${one("tbody button[title^='only verdict']")}.click()`,
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
    `() => { const over = ${one(".heat .cells")}; const { left, top, width, height } = over.getBoundingClientRect(); over.dispatchEvent(new MouseEvent("click", { bubbles: true, clientX: left + width * 0.6, clientY: top + height * 0.5 })); }`,
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

/** A browser with the page open. */
export class ClickedPage {
  #browser;
  #page;
  #devtools;
  #took = new Map(steps.map(([name]) => [name, []]));
  #worked = new Map(steps.map(([name]) => [name, []]));

  static async open(url) {
    const opened = new ClickedPage();
    opened.#browser = await chromium.launch({
      executablePath: "/usr/bin/chromium",
      args: ["--no-sandbox"],
    });
    opened.#page = await opened.#browser.newPage({ viewport: { width: 1440, height: 900 } });
    opened.#page.on("pageerror", (error) => console.error(`page: ${error.message}`));
    opened.#devtools = await opened.#page.context().newCDPSession(opened.#page);
    await opened.#devtools.send("Performance.enable", { timeDomain: "threadTicks" });
    await opened.show(url);
    return opened;
  }

  async show(url) {
    await this.#page.goto(url);
    if (url !== "about:blank") await this.#page.waitForSelector("main > *");
  }

  /** What the page's thread has worked, whoever else kept the processor busy. Units: milliseconds. */
  async #work() {
    const { metrics } = await this.#devtools.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "TaskDuration").value * 1_000;
  }

  /** Clicks everything once, with a pause after each. */
  async clickAll() {
    for (const [name, click, shown] of steps) {
      const before = await this.#work();
      this.#took.get(name).push(await this.#page.evaluate(`(${timed})(${click}, ${shown})`));
      this.#worked.get(name).push((await this.#work()) - before);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }

  /** What its scripts hold. Units: MiB. */
  async heap() {
    return this.#page.evaluate("performance.memory.usedJSHeapSize / 2 ** 20");
  }

  /** Lines for people: each click, then all of them. */
  report() {
    const line = (name, took, worked) => {
      const both = (list) =>
        `median ${text(quantile(list, 0.5))} ms, p99 ${text(quantile(list, 0.99))} ms`;
      return `${name.padEnd(16)} ${both(took)}; of that the page's own work ${both(worked)}`;
    };
    return [
      ...steps.map(([name]) => line(name, this.#took.get(name), this.#worked.get(name))),
      line("all clicks", [...this.#took.values()].flat(), [...this.#worked.values()].flat()),
    ];
  }

  close() {
    return this.#browser.close();
  }
}

const text = (number) => number.toFixed(0).padStart(4);

/** How memory went, in MiB: at first, at most in each half, at the end. What is kept for ever grows in the second half. */
export function course(all) {
  const half = Math.ceil(all.length / 2);
  const most = [all.slice(0, half), all.slice(half)].map((part) => Math.max(...part));
  return [all[0], ...most, all.at(-1)].map((each) => each.toFixed(0)).join(", ");
}
