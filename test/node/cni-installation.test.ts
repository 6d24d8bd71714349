import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chainOf, ownFile } from "../../src/node/cni/chain.js";
import { Installation, removePlugin } from "../../src/node/cni/installation.js";
import { until } from "../live/lab-harness.js";

// Goal:   the plugin stands at the end of whatever network a node has, follows it, and goes without a trace.
// Method: folders as kindnet, flannel, a single plugin and strangers leave them; another plugin's writes while it
//         stands there.

const socket = "/run/sluice/cni.sock";
const bridge = { type: "bridge", bridge: "cni0" };
const network = (name: string, plugins: readonly unknown[]) =>
  JSON.stringify({ cniVersion: "1.0.0", name, plugins });

describe("the chain of a node", () => {
  const typesOf = (files: Readonly<Record<string, string>>) => {
    const made = chainOf(
      Object.entries(files).map(([name, text]) => ({ name, text })),
      socket,
    );
    if (made.kind !== "chain") return made.kind;
    const { name, plugins } = JSON.parse(made.text);
    return `${name}: ${plugins.map((each: { type: string }) => each.type).join()}`;
  };

  test("is of the file that a runtime would take without us", () => {
    const files = {
      "20-later.conflist": network("later", [bridge]),
      "10-first.conflist": network("first", [bridge, { type: "portmap" }]),
      [ownFile]: network("old", [bridge]),
      "05-note.txt": "no network",
      ".00-hidden.conflist.swp": network("hidden", [bridge]),
    };
    expect(typesOf(files)).toBe("first: bridge,portmap,sluice");
  });

  test("is made of a single plugin too", () => {
    const text = JSON.stringify({ cniVersion: "0.3.1", name: "one", ...bridge });
    expect(typesOf({ "10-one.conf": text })).toBe("one: bridge,sluice");
  });

  test("keeps all that the network's file says", () => {
    const list = {
      cniVersion: "0.4.0",
      name: "x",
      disableCheck: true,
      plugins: [{ ...bridge, mtu: 9000 }],
    };
    const made = chainOf([{ name: "1.conflist", text: JSON.stringify(list) }], socket);
    expect(made).toMatchObject({ kind: "chain", of: "1.conflist" });
    expect(JSON.parse("text" in made ? made.text : "")).toEqual({
      ...list,
      plugins: [...list.plugins, { type: "sluice", socket }],
    });
  });

  test.each([
    ["without a network", {}, "none"],
    [
      "that has the plugin itself",
      { "10-own.conflist": network("own", [bridge, { type: "sluice" }]) },
      "none",
    ],
    [
      "that has it in a delegate",
      {
        "10-multi.conf": JSON.stringify({
          type: "multi",
          delegates: [{ plugins: [{ type: "sluice" }] }],
        }),
      },
      "none",
    ],
    ["that is half written", { "10-half.conflist": '{"name":"ha' }, "unclear"],
    ["without plugins", { "10-empty.conflist": network("empty", []) }, "unclear"],
    [
      "of a version without chains",
      { "10-old.conf": JSON.stringify({ cniVersion: "0.2.0", name: "old", ...bridge }) },
      "unclear",
    ],
    ["that comes before ours", { "0-a.conflist": network("a", [bridge]) }, "unclear"],
    [
      "that is hidden: a runtime takes such a one too",
      { ".a.conflist": network("a", [bridge]), "10-b.conflist": network("b", [bridge]) },
      "unclear",
    ],
    ["that is no object", { "10-list.conflist": "[]" }, "unclear"],
  ] as const)("%s: is not made", (_name, files, kind) => {
    expect(typesOf(files)).toBe(kind);
  });
});

describe("the installation", () => {
  let folder: string;
  let folders: { readonly programs: string; readonly configurations: string };
  let told: string[];
  let installation: Installation | undefined;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-cni-"));
    folders = { programs: join(folder, "bin"), configurations: join(folder, "net.d") };
    told = [];
  });
  afterEach(() => {
    installation?.close();
    rmSync(folder, { recursive: true });
  });

  const install = () => {
    installation = new Installation(folders, socket, (line) => told.push(line));
  };
  const write = (name: string, text: string) =>
    writeFileSync(join(folders.configurations, name), text);
  const chain = () => {
    try {
      const { name, plugins } = JSON.parse(
        readFileSync(join(folders.configurations, ownFile), "utf8"),
      );
      return `${name}: ${plugins.map((each: { type: string }) => each.type).join()}`;
    } catch {
      return "none";
    }
  };

  test("follows a plugin that writes its file late, again, and takes it away", async () => {
    install();
    expect(chain()).toBe("none");
    expect(told.join()).toContain("there is no network plugin yet");
    const program = join(folders.programs, "sluice");
    expect(statSync(program).mode & 0o777).toBe(0o755);
    const asked = { env: { CNI_COMMAND: "VERSION" }, input: "{}", encoding: "utf8" } as const;
    expect(spawnSync(program, [], asked).stdout).toContain("supportedVersions");

    write("10-kindnet.conflist", network("kindnet", [{ type: "ptp" }]));
    await until("the chain", () => chain() === "kindnet: ptp,sluice");
    write("10-kindnet.conflist", '{"name":');
    await until("a word of the half file", () =>
      told.at(-1)!.includes("10-kindnet.conflist is no JSON"),
    );
    expect(chain()).toBe("kindnet: ptp,sluice");
    write("10-kindnet.conflist", network("kindnet", [{ type: "ptp" }, { type: "portmap" }]));
    await until("the chain again", () => chain() === "kindnet: ptp,portmap,sluice");
    write("05-other.conflist", network("other", [bridge]));
    await until("the other network", () => chain() === "other: bridge,sluice");
    for (const each of ["05-other.conflist", "10-kindnet.conflist"]) {
      rmSync(join(folders.configurations, each));
    }
    await until("no chain", () => chain() === "none");
  });

  test("is put back where somebody takes it away, and removed without a trace", async () => {
    install();
    const text = `${network("pods", [bridge])}\n `;
    write("10-pods.conflist", text);
    await until("the chain", () => chain() === "pods: bridge,sluice");
    rmSync(join(folders.configurations, ownFile));
    await until("the chain again", () => chain() === "pods: bridge,sluice");
    installation?.close();
    expect(removePlugin(folders, join(folder, "cni.sock"))).toBe(false);
    expect(readdirSync(folders.configurations)).toEqual(["10-pods.conflist"]);
    expect(readFileSync(join(folders.configurations, "10-pods.conflist"), "utf8")).toBe(text);
    expect(readdirSync(folders.programs)).toEqual([]);
    expect(removePlugin(folders, join(folder, "cni.sock"))).toBe(false);
  });

  test("leaves the program to a chain of somebody else's", () => {
    install();
    write("10-own.conflist", network("own", [bridge, { type: "sluice" }]));
    installation?.close();
    expect(removePlugin(folders, join(folder, "cni.sock"))).toBe(true);
    expect(readdirSync(folders.programs)).toEqual(["sluice"]);
  });

  test("a folder that cannot be written to is refused with the flags that name another", () => {
    folders = { programs: "/proc/sluice", configurations: join(folder, "net.d") };
    expect(install).toThrow("the CNI plugin cannot be installed");
  });
});
