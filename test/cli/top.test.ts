import { beforeEach, describe, expect, test } from "vitest";
import { displayWidth } from "../../src/cli/output.js";
import { keysOf } from "../../src/cli/top/keys.js";
import { type PaneName, type PaneRow, ruleRow, trafficRow } from "../../src/cli/top/panes.js";
import { TopView } from "../../src/cli/top/top-view.js";
import { type Grouping, Traffic } from "../../src/cli/top/traffic.js";
import { lineOf } from "../observe/flow-lines.js";

const plain = (text: string) => text;
const paint = { title: plain, quiet: plain, denied: plain, audited: plain, selected: plain };
const small = { columns: 80, rows: 24 };
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("keys: sequences, characters, and what terminals send besides", () => {
  expect(keysOf("\u001b[A\u001bOBq\r\u001b")).toEqual(["up", "down", "q", "enter", "escape"]);
  expect(keysOf("\u001b[5~/é\u007f")).toEqual(["page-up", "/", "é", "backspace"]);
  // A mouse, a function key and a control character are nothing.
  expect(keysOf("\u001b[15~\u001b[<0;1;2M\u0001x")).toEqual(["x"]);
});

describe("traffic", () => {
  let traffic: Traffic;
  beforeEach(() => {
    traffic = new Traffic();
  });
  const rows = (grouping: Grouping) =>
    traffic
      .rows(grouping, Date.parse(lineOf({}).time))
      .map(({ from, to, service, verdict, count, why }) => [
        from,
        to,
        service,
        verdict,
        count,
        why,
      ]);

  test("flows are added up by who, to whom, which port and verdict", () => {
    for (let each = 0; each < 3; each++) traffic.add(lineOf({ sourcePort: 40_000 + each }).flow);
    traffic.add(lineOf({ kind: "Dropped", reason: "PolicyIngress", deniedBy: 2 }).flow);
    traffic.add(lineOf({ kind: "Closed", totalPackets: 9, totalBytes: 900 }).flow);
    expect(rows("pod")).toEqual([
      ["shop/web", "shop/db", "80/tcp", "FORWARDED", 3, "shop/db ingress[0]"],
      ["shop/web", "shop/db", "80/tcp", "DROPPED", 1, expect.stringContaining("shop/db")],
    ]);
    expect(rows("namespace").map(([from, to]) => [from, to])).toEqual([
      ["shop", "shop"],
      ["shop", "shop"],
    ]);
  });

  test("a rate is that of about the last ten seconds", () => {
    const start = 1_763_715_600_000_000;
    const { flow } = lineOf({});
    for (let each = 0; each < 300; each++) {
      const time = new Date(start / 1_000 + Math.floor(each / 5) * 1_000).toISOString();
      traffic.add({ ...flow, time });
    }
    const [now] = traffic.rows("pod", start / 1_000 + 59_000);
    expect(now!.rate).toBeGreaterThan(4);
    expect(now!.rate).toBeLessThan(6);
    expect(traffic.rows("pod", start / 1_000 + 159_000)[0]!.rate).toBeLessThan(0.01);
  });

  test("however many there are, only so many are kept", () => {
    const { flow } = lineOf({});
    for (let port = 1; port <= 5_100; port++) {
      traffic.add({ ...flow, l4: { TCP: { source_port: 40_000, destination_port: port } } });
    }
    expect(traffic.rows("pod", Date.now())).toHaveLength(5_000);
  });
});

describe("view", () => {
  let traffic: Traffic;
  let asked: string[];
  let view: TopView;
  const rowsOf = (pane: PaneName, grouping: Grouping): PaneRow[] => {
    if (pane === "policies") {
      const counts = [0, 0, 0];
      return ["b/two", "a/one"].map((name) => ({
        key: name,
        cells: ["NetworkPolicy", name, "1", "0", "0", "0", "-"],
        values: ["NetworkPolicy", name, 1, ...counts, 0],
        enters: { pane: "rules", filter: `^${name} ` },
      }));
    }
    if (pane === "rules") {
      return ["a/one", "b/two"].map((policy) => {
        const [namespace = "", name = ""] = policy.split("/");
        const none = { packets: 0, bytes: 0, connections: 0, lastHit: null };
        const where = { file: "x.yaml", line: 1, column: 1, since: "", priority: 0 };
        const rule = { tier: "NetworkPolicy", action: "Accept", direction: "ingress" } as const;
        return ruleRow(
          {
            ...{ kind: "NetworkPolicy", namespace, name, ...where, ...rule },
            ...{ field: "spec.ingress[0]", index: 0, hits: none, audited: none },
          },
          0,
        );
      });
    }
    if (pane !== "flows" && pane !== "drops") return [];
    const nowMs = Date.parse(lineOf({}).time);
    const rows = traffic.rows(grouping, nowMs);
    const isDrop = ({ verdict }: { readonly verdict: string }) => verdict !== "FORWARDED";
    return rows
      .filter((row) => pane === "flows" || isDrop(row))
      .map((row) => trafficRow(row, nowMs));
  };
  const press = (text: string) => keysOf(text).map((key) => view.press(key, small));
  const frame = (size = small) => view.frame(size);
  const screen = () => frame().join("\n");

  beforeEach(() => {
    traffic = new Traffic();
    for (const destinationPort of [80, 443, 8_080]) traffic.add(lineOf({ destinationPort }).flow);
    traffic.add(
      lineOf({ kind: "Dropped", reason: "PolicyIngress", deniedBy: 2, destinationPort: 81 }).flow,
    );
    asked = [];
    view = new TopView(
      {
        title: () => "sluice top  here",
        rows: rowsOf,
        why: async (flow) => ["because", JSON.stringify(flow.l4)],
        recommend: async () => Array.from({ length: 60 }, (_, line) => `line ${line}`),
        shown: (pane) => void asked.push(pane),
        changed: () => {},
      },
      paint,
      "…",
      "flows",
    );
  });

  test("a frame fills the screen and is nowhere wider, whatever names there are", () => {
    traffic.add(
      lineOf({ source: "2001:db8:1234:5678:9abc:def0:1234:5678", destination: "fd00::2" }).flow,
    );
    for (const size of [
      small,
      { columns: 40, rows: 10 },
      { columns: 200, rows: 60 },
      { columns: 20, rows: 3 },
    ]) {
      const lines = view.frame(size);
      expect(lines).toHaveLength(size.rows);
      for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(size.columns);
    }
    expect(frame()[2]).toMatch(/^ {2}FROM +TO +PORT +VERDICT +FLOWS/);
    expect(frame().at(-1)).toContain("? help");
  });

  test("d and p, or names behind a colon, choose what is shown", () => {
    press("d");
    expect(frame().filter((line) => line.includes("DROPPED"))).toHaveLength(1);
    expect(screen()).not.toContain("FORWARDED");
    press(":pol\r");
    expect(screen()).toContain("<policies>");
    press(":netpl\r");
    expect(frame().at(-1)).toBe("got :netpl, did you mean netpol?");
    press(":conn\r");
    expect(asked).toEqual(["drops", "policies", "connections"]);
  });

  test("the policies stand as they come, in the order of evaluation, until they are sorted", () => {
    press("p");
    const names = () =>
      frame()
        .slice(3, 5)
        .map((line) => /\w\/\w+/.exec(line)?.[0]);
    expect(names()).toEqual(["b/two", "a/one"]);
    press("ss");
    expect(names()).toEqual(["a/one", "b/two"]);
    press("S");
    expect(names()).toEqual(["b/two", "a/one"]);
  });

  test("Enter goes into a policy, Esc comes back, and the row is still selected", () => {
    press("pj\r");
    expect(frame()[1]).toBe("<policies> <rules>  1  /^a/one ");
    expect(screen()).toContain("ingress[0]");
    press("\u001b");
    expect(frame()[1]).toBe("<policies>  2");
    expect(frame()[4]).toMatch(/^> NetworkPolicy a\/one/);
  });

  test("a filter is a regular expression, or what is not to be there", () => {
    press("/8080|443\r");
    expect(frame()[1]).toBe("<flows> by pod  2  /8080|443");
    press("/!tcp\r");
    expect(frame()[1]).toBe("<flows> by pod  0  /!tcp");
    press("/(\r");
    expect(frame().at(-1)).toBe("got /(, want a regular expression");
    press("\u001b");
    expect(frame()[1]).toBe("<flows> by pod  4");
  });

  test("w and Enter say why; the text scrolls, and Esc leaves it", async () => {
    press("d\r");
    await settle();
    expect(screen()).toContain("because");
    expect(screen()).toContain('"destination_port":81');
    press("\u001br");
    await settle();
    expect(screen()).toContain("line 0\n");
    press("\u001b[6~");
    expect(screen()).not.toContain("line 0\n");
    press("G");
    expect(screen()).toContain("line 59");
    press("\u001bpw");
    expect(frame().at(-1)).toBe("w says why of a flow or a drop");
  });

  test("space holds the picture", () => {
    press(" ");
    traffic.add(lineOf({ destinationPort: 9_999 }).flow);
    expect(frame()[0]).toBe("sluice top  here  paused");
    expect(screen()).not.toContain("9999/tcp");
    press(" ");
    expect(screen()).toContain("9999/tcp");
  });

  test("the first row is selected until another is chosen, which stays so when others come before it", async () => {
    const come = (destinationPort: number, count: number) => {
      const { flow } = lineOf({ destinationPort });
      for (let each = 0; each < count; each++) traffic.add(flow);
    };
    press("/443|999\r");
    expect(frame()[3]).toMatch(/^> .*443/);
    come(9_999, 50);
    expect(frame()[3]).toMatch(/^> .*9999/);
    press("j");
    expect(frame()[4]).toMatch(/^> .*443/);
    come(9_998, 90);
    expect(frame()[3]).toMatch(/^ {2}.*9998/);
    expect(frame()[5]).toMatch(/^> .*443/);
    // So does one that was asked about, and the answer is about the row that was shown.
    press("f/443|999\r");
    frame();
    come(9_997, 200);
    press("w");
    await settle();
    expect(screen()).toContain('"destination_port":9998');
    press("\u001b");
    expect(frame()[4]).toMatch(/^> .*9998/);
  });

  test("what is cut of the selected row stands whole below the rows; names keep their ends", () => {
    const pod = { ...lineOf({}).flow.source!, namespace: "a-namespace-of-a-long-name" };
    const { flow } = lineOf({ kind: "Dropped", reason: "PolicyIngress", deniedBy: 2 });
    for (const name of ["one", "two"]) {
      const source = { ...pod, pod_name: `${"x".repeat(60)}-${name}` };
      for (let each = 0; each < 9; each++) traffic.add({ ...flow, source });
    }
    press("d");
    const lines = frame();
    expect(lines[3]).toMatch(/^> …x+-one +shop\/db +80\/tcp +DROPPED/);
    expect(lines[4]).toMatch(/^ {2}…x+-two /);
    expect(view.frame({ columns: 300, rows: 24 }).at(-2)).toBe("");
    press("/one\r");
    expect(view.frame({ columns: 130, rows: 24 }).at(-2)).toMatch(
      /^BY: shop\/db ingress\[0\] {2}FROM: /,
    );
    expect(frame().at(-2)).toContain("FROM: a-namespace-of-a-long-name/xxx");
  });

  test("a pane without rows says so, and a text how far it goes", async () => {
    press("c");
    expect(frame()[3]).toBe("  no connection is tracked");
    press("f/nobody\r");
    expect(frame()[3]).toBe("  no row fits /nobody: Esc goes back");
    press("r");
    await settle();
    expect(frame()[1]).toBe("<flows> <recommended>  lines 1 to 21 of 60");
    press("G");
    expect(frame()[1]).toBe("<flows> <recommended>  lines 40 to 60 of 60");
  });

  test("q and Ctrl-C leave, an unknown key says where help is", () => {
    press("x");
    expect(frame().at(-1)).toBe("x: no such key, ? says which there are");
    press("?");
    expect(screen()).toContain("Esc goes back");
    expect(press("q")).toEqual([false]);
    expect(press(":q\r")).toEqual([true, true, false]);
    expect(press("\u0003")).toEqual([false]);
  });

  test("a name cannot drive the terminal", () => {
    const line = lineOf({});
    traffic.add({ ...line.flow, source: { ...line.flow.source!, pod_name: "\u001b[2J\u202e" } });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(screen()).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
  });
});
