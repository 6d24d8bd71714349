import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import type { CommandSpec } from "../../src/cli/command-spec.js";
import { commandTree } from "../../src/cli/commands.js";
import { variableOf } from "../../src/cli/frame.js";
import { commonOptions } from "../../src/cli/shared-options.js";
import { defaultSocket } from "../../src/control/settings.js";
import { resourceName, resources } from "../../src/kubernetes/resources.js";
import { readManifests } from "../../src/manifest/read.js";
import { root } from "../live/lab-harness.js";

// Goal: what deploy/ asks of Sluice, of systemd and of Kubernetes exists and fits together.
// Method: every flag and variable there is looked up in the command tree; the unit and the manifests are
// read as what they are.

const tree = await commandTree();
const folder = join(root, "deploy");
const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(
  (file) => /\.\w+$/.test(file) || file.endsWith("Dockerfile"),
);
const read = (file: string): string => readFileSync(join(folder, file), "utf8");

function longFlags(spec: CommandSpec | undefined): string[] {
  return [...(spec?.options ?? []), ...commonOptions].map(
    ({ flags }) => /--[a-z0-9-]+/.exec(flags)?.[0] ?? "",
  );
}
const flagsOf = (command: string) => longFlags(tree.commands?.find(({ name }) => name === command));
const run = flagsOf("run");
const either = [...run, ...flagsOf("sidecar"), ...flagsOf("node")];

test("variables and flags of sluice run and sluice sidecar are there", () => {
  const variables = new Set(either.map(variableOf));
  const wrong: string[] = [];
  let found = 0;
  for (const file of files) {
    for (const [line, text] of read(file).split("\n").entries()) {
      for (const [name] of text.matchAll(/\bSLUICE_[A-Z_]+\b/g)) {
        found++;
        if (!variables.has(name)) wrong.push(`${file}:${line + 1}: ${name}`);
      }
      const [command, name] = /sluice (run|sidecar) .*/.exec(text) ?? [];
      for (const flag of command?.match(/--[a-z-]+/g) ?? []) {
        found++;
        if (!flagsOf(name!).includes(flag)) wrong.push(`${file}:${line + 1}: ${flag}`);
      }
    }
  }
  expect(wrong).toEqual([]);
  expect(found).toBeGreaterThan(8);
});

// Goal: what docs/deploy.md has typed works where it is typed.
test("the page makes the folders that it copies into, and names the sockets of the units", () => {
  const page = readFileSync(join(root, "docs/deploy.md"), "utf8");
  const made = new Set(["/etc/systemd/system/"]);
  for (const [, folder] of page.matchAll(/^mkdir -p (\S+)/gm)) made.add(`${folder}/`);
  const targets = [...page.matchAll(/^cp (\S+) (\S+)/gm)];
  expect(targets.length).toBeGreaterThan(1);
  for (const [, from, to] of targets) {
    expect(existsSync(join(root, from!)), from).toBe(true);
    expect([...made], to).toContain(to!.slice(0, to!.lastIndexOf("/") + 1));
  }
  const [, socket] = /^Environment=SLUICE_SOCKET=(\S+)$/m.exec(read("systemd/sluice@.service"))!;
  expect(page).toContain(socket!.replace("%t", "/run").replace("%i", "web"));
});

test("every file is in the package", () => {
  const { files: packed } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  expect(packed).toContain("deploy");
});

describe.each(["sluice@.service", "sluice.service"])("the systemd unit %s", (name) => {
  const unit = read(`systemd/${name}`);
  const values = (key: string): string[] =>
    [...unit.matchAll(new RegExp(`^${key}=(.*)$`, "gm"))].flatMap((match) => match[1]!.split(" "));

  test("says what sluice run does", () => {
    expect(values("Type")).toEqual(["notify"]);
    // Else the journal calls it env, which starts it.
    expect(values("SyslogIdentifier")).toEqual(["sluice"]);
    // By the control socket of the instance: its answer is the exit code, which a signal has not.
    expect(values("ExecReload").join(" ")).toBe("/usr/bin/env sluice reload");
    expect(flagsOf("reload").map(variableOf)).toContain("SLUICE_SOCKET");
    expect(values("Restart")).toEqual(["always"]);
    expect(Number(values("WatchdogSec")[0])).toBeGreaterThan(1);
    expect(values("AmbientCapabilities")).toEqual(["CAP_NET_ADMIN", "CAP_NET_RAW"]);
    expect(values("CapabilityBoundingSet")).toEqual(values("AmbientCapabilities"));
    // Fuller pods go first when the machine has no memory left.
    expect(Number(values("OOMScoreAdjust")[0])).toBeLessThanOrEqual(-500);
    for (const family of ["AF_UNIX", "AF_NETLINK", "AF_PACKET"]) {
      expect(values("RestrictAddressFamilies")).toContain(family);
    }
    for (const call of ["@system-service", "seccomp", "bpf"]) {
      expect(values("SystemCallFilter")).toContain(call);
    }
    // A restart stores, a stop puts back; systemd before 254 does not say how much it keeps.
    expect(values("RestartKillSignal")).toEqual(["SIGTERM"]);
    expect(values("KillSignal")).toEqual(["SIGINT"]);
    expect(values("Environment")).toContain(`FDSTORE=${values("FileDescriptorStoreMax")[0]}`);
    // What is kept for the next start outlives a kill.
    expect(values("RuntimeDirectoryPreserve")).toEqual(["restart"]);
    // A dynamic user's folder is below one that only root may enter, and nobody is in its group.
    expect(values("DynamicUser")).toEqual([]);
    expect([...values("User"), ...values("Group")]).toEqual(["sluice", "sluice"]);
    expect(values("RuntimeDirectoryMode")).toEqual(["0750"]);
    // The JavaScript engine writes the code that it runs.
    expect(values("MemoryDenyWriteExecute")).not.toContain("yes");
  });

  test("is one that systemd reads without a complaint", () => {
    const known = new Set(["Unit", "Service", "Install"]);
    for (const [, section] of unit.matchAll(/^\[(\w+)\]$/gm)) expect(known).toContain(section);
    const analyze = "/usr/bin/systemd-analyze";
    if (!existsSync(analyze)) return; // what a machine without systemd has to say was said above
    const temporary = mkdtempSync(join(tmpdir(), "sluice-unit-"));
    const copy = join(temporary, name.replace("@", "@wire"));
    copyFileSync(join(folder, "systemd", name), copy);
    try {
      const words = ["security", "--offline=true", "--threshold=30", copy];
      expect(execFileSync(analyze, words, { encoding: "utf8" })).toContain("exposure level");
      const verified = spawnSync(analyze, ["verify", copy], { encoding: "utf8" });
      expect(verified.stdout + verified.stderr).toBe("");
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  });
});

// Goal: a unit that starts or stops takes nothing from one beside it: systemd hands a unit's folder over, and takes it
// away, with all that is below.
test("no unit's folder is above that of an instance, where its socket is", () => {
  const folderOf = (name: string) => /^RuntimeDirectory=(\S+)$/m.exec(read(`systemd/${name}`))![1]!;
  const instance = folderOf("sluice@.service");
  expect(instance).toMatch(/%i$/);
  const socket = /^Environment=SLUICE_SOCKET=%t\/(\S+)\/sluice\.sock$/m;
  expect(socket.exec(read("systemd/sluice@.service"))?.[1]).toBe(instance);
  for (const name of ["sluice.service", "sluice-node.service"]) {
    expect(`${instance}/`.startsWith(`${folderOf(name)}/`), name).toBe(false);
    expect(`/run/${folderOf(name)}/sluice.sock`).toBe(defaultSocket);
  }
});

test("the user and the group of the units are made", () => {
  expect(read("systemd/sysusers.conf")).toMatch(/^u sluice - /m);
  const program = "/usr/bin/systemd-sysusers";
  if (!existsSync(program)) return; // what a machine without systemd has to say was said above
  const temporary = mkdtempSync(join(tmpdir(), "sluice-users-"));
  try {
    mkdirSync(join(temporary, "etc"));
    execFileSync(program, [`--root=${temporary}`, join(folder, "systemd/sysusers.conf")]);
    for (const file of ["passwd", "group"])
      expect(readFileSync(join(temporary, "etc", file), "utf8")).toMatch(/^sluice:/m);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
});

test("the unit of a node judges in place, and systemd has nothing against it", () => {
  const unit = read("systemd/sluice-node.service");
  const value = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(unit)?.[1];
  expect([value("User"), value("Group")]).toEqual([undefined, "sluice"]);
  expect(value("ExecStart")).toBe("/usr/bin/env sluice node -f /etc/sluice/manifests");
  expect(value("CapabilityBoundingSet")).toBe("CAP_NET_ADMIN CAP_BPF CAP_PERFMON");
  expect(value("ReadWritePaths")).toBe("/sys/fs/bpf");
  expect(value("ExecReload")).toBe("/usr/bin/env sluice reload");
  expect(value("Type")).toBe("notify");
  expect(value("SyslogIdentifier")).toBe("sluice");
  if (!existsSync("/usr/bin/systemd-analyze")) return;
  const words = ["verify", join(folder, "systemd/sluice-node.service")];
  const { stdout, stderr } = spawnSync("/usr/bin/systemd-analyze", words, { encoding: "utf8" });
  expect(stdout + stderr).toBe("");
});

describe("the manifests", () => {
  const names = readdirSync(join(folder, "kubernetes"));

  test("are YAML of known kinds, and our own reader has nothing against them", () => {
    const kinds = names.flatMap((name) =>
      parseAllDocuments(read(`kubernetes/${name}`)).map((document) => {
        expect(document.errors).toEqual([]);
        return (document.toJS() as { kind: string }).kind;
      }),
    );
    expect(kinds.sort()).toEqual([
      ...Array(3).fill("ClusterRole"),
      ...Array(3).fill("ClusterRoleBinding"),
      ...["ConfigMap", "DaemonSet", "DaemonSet", "DaemonSet", "Deployment", "Kustomization"],
      ...["Namespace", "Namespace", "Namespace", "Namespace", "Service"],
      ...["ServiceAccount", "ServiceAccount", "ServiceAccount", "ServiceMonitor"],
    ]);
    const manifests = names.filter((name) => name !== "kustomization.yaml");
    const { diagnostics } = readManifests(
      manifests.map((name) => join(folder, "kubernetes", name)),
    );
    expect(diagnostics.filter(({ severity }) => severity !== "info")).toEqual([]);
  });

  test.skipIf(spawnSync("kubectl", ["version", "--client"]).status !== 0)(
    "the kustomization renders to what sluice.yaml is",
    () => {
      const words = ["kustomize", join(folder, "kubernetes")];
      const objectsOf = (text: string) =>
        parseAllDocuments(text)
          .map((document) => document.toJS() as { kind: string })
          .sort((a, b) => a.kind.localeCompare(b.kind));
      const rendered = execFileSync("kubectl", words, { encoding: "utf8" });
      expect(objectsOf(rendered)).toEqual(objectsOf(read("kubernetes/sluice.yaml")));
    },
  );

  test("the kustomization with the CNI plugin installs where remove.yaml takes it away", () => {
    const text = read("cni/kustomization.yaml");
    const { resources, patches } = parse(text) as {
      readonly resources: readonly string[];
      readonly patches: readonly { readonly patch: string }[];
    };
    expect(resources).toEqual(["../kubernetes"]);
    const installing = (parse(patches[0]!.patch) as Workload).spec.template.spec;
    const removing = podOf("remove.yaml");
    const [container] = installing.containers;
    expect(container).toMatchObject({ name: "sluice", args: ["node", "--install-cni"] });
    const pathsOf = ({ volumes }: PodSpec) => volumes.map(({ hostPath }) => hostPath?.path);
    expect(pathsOf(removing)).toEqual(expect.arrayContaining(pathsOf(installing)));
    const mountsOf = (each: Container | undefined) =>
      (each?.volumeMounts ?? []).map(({ mountPath }) => mountPath);
    expect(mountsOf(removing.initContainers[0])).toEqual(
      expect.arrayContaining(mountsOf(container)),
    );
  });

  test("grant the capabilities that they need and no more", () => {
    const inPlace = ["sluice.yaml", "remove.yaml"];
    const needed = (name: string) =>
      inPlace.includes(name) ? ["NET_ADMIN", "BPF", "PERFMON"] : ["NET_ADMIN", "NET_RAW"];
    const without = ["rbac.yaml", "kustomization.yaml", "servicemonitor.yaml"];
    for (const name of names.filter((each) => !without.includes(each))) {
      const granted = [...read(`kubernetes/${name}`).matchAll(/add: (\[.*\])/g)];
      expect(granted.length).toBeGreaterThan(0);
      for (const [, list] of granted) {
        for (const capability of JSON.parse(list!)) {
          expect(needed(name)).toContain(capability);
        }
      }
      if (name !== "sluice.yaml") {
        expect(read(`kubernetes/${name}`)).not.toMatch(/privileged: true/);
      }
    }
  });

  // Goal: a pod that starts has its probes answered, also by the image that `npm run image` writes, which has few programs.
  test("start no program that an image lacks", () => {
    const script = readFileSync(join(root, "scripts/image.mjs"), "utf8");
    const [, listed] = /^const programs = (\[.*\]);$/m.exec(script)!;
    const there = new Set<string>([...JSON.parse(listed!), "node", "sluice"]);
    const images = names.filter((name) => read(`kubernetes/${name}`).includes("image: sluice:"));
    const commands = images.flatMap((name) => {
      const found = read(`kubernetes/${name}`).matchAll(/command: (\[".*"\])/g);
      return [...found].map(([, words]) => JSON.parse(words!)[0] as string);
    });
    expect(commands.length).toBeGreaterThan(4);
    expect(commands.filter((command) => !there.has(basename(command)))).toEqual([]);
  });

  const defaults = parse(read("helm/sluice/values.yaml")) as Record<string, unknown>;

  // The chart uses values, whether one is a word, and the release's namespace, and nothing else of the template language.
  const chartText = (values: Record<string, unknown>): string => {
    const rendered = read("helm/sluice/templates/sluice.yaml")
      .replace(
        /\{\{ if eq \.Values\.(\w+) "(\w+)" \}\}(.*?)\{\{ end \}\}/g,
        (_, key: string, word: string, text: string) => (values[key] === word ? text : ""),
      )
      .replace(/\{\{ \.Values\.(\w+) \}\}/g, (_, key: string) => String(values[key]))
      .replaceAll("{{ .Release.Namespace }}", "sluice-system");
    expect(rendered).not.toContain("{{");
    return rendered;
  };

  test("the chart renders to what sluice.yaml is, but for the namespace and flags", () => {
    const chart = join(folder, "helm/sluice");
    const objectsOf = (text: string) =>
      parseAllDocuments(text).map((each) => each.toJS() as { kind: string });
    const expected = read("kubernetes/sluice.yaml")
      .split("\n---\n")
      .filter((text) => !text.includes("kind: Namespace\n"))
      .join("\n---\n")
      .replace('["node"]', '["node", "--unknown-pods", "closed", "--deny", "drop"]');
    expect(objectsOf(chartText(defaults))).toEqual(objectsOf(expected));
    if (spawnSync("helm", ["version"]).status !== 0) return;
    const words = ["template", "sluice", chart, "--namespace", "sluice-system"];
    const byHelm = objectsOf(execFileSync("helm", words, { encoding: "utf8" }));
    const sorted = (objects: { kind: string }[]) =>
      objects.sort((a, b) => a.kind.localeCompare(b.kind));
    expect(sorted(byHelm)).toEqual(sorted(objectsOf(expected)));
  });

  test("the chart lets a node answer senders with deny: reject, and gives NET_RAW for that alone", () => {
    for (const [deny, capabilities] of [
      ["drop", ["NET_ADMIN", "BPF", "PERFMON"]],
      ["reject", ["NET_ADMIN", "BPF", "PERFMON", "NET_RAW"]],
    ] as const) {
      const [container] = containersOf(chartText({ ...defaults, deny }));
      expect(container!.args!.slice(-2)).toEqual(["--deny", deny]);
      expect(container!.securityContext.capabilities!.add).toEqual(capabilities);
    }
    expect(flagsOf("node")).toEqual(expect.arrayContaining(["--deny", "--unknown-pods"]));
  });

  test("what is privileged mounts a file system that the node lacks, and ends", () => {
    const { initContainers, containers } = podOf("sluice.yaml");
    const isPrivileged = ({ securityContext }: Container) => securityContext.privileged === true;
    expect([...initContainers, ...containers].filter(isPrivileged).map(({ name }) => name)).toEqual(
      ["bpf-file-system"],
    );
  });

  test("the metrics of the node's process are those that the Service and its monitor name", () => {
    const service = objectOf<{ spec: { selector: object; ports: { targetPort: string }[] } }>(
      "sluice.yaml",
      "Service",
    );
    const monitor = objectOf<{ spec: { selector: { matchLabels: object } } }>(
      "servicemonitor.yaml",
      "ServiceMonitor",
    );
    expect(monitor.spec.selector.matchLabels).toEqual(service.spec.selector);
    const [container] = podOf("sluice.yaml").containers;
    const [port] = container!.ports!;
    expect(service.spec.ports[0]!.targetPort).toBe(port!.name);
    const listen = container!.env!.find(({ name }) => name === "SLUICE_METRICS_LISTEN");
    expect(listen!.value).toMatch(new RegExp(`:${port!.containerPort}$`));
  });

  test("the monitor gives the metrics the job that the alerts ask for", () => {
    const { spec } = objectOf<{
      spec: { endpoints: { relabelings: { targetLabel: string; replacement?: string }[] }[] };
    }>("servicemonitor.yaml", "ServiceMonitor");
    const jobs = spec.endpoints.map(({ relabelings }) =>
      relabelings.find(({ targetLabel }) => targetLabel === "job"),
    );
    const [, asked] = /up\{job="(\w+)"\}/.exec(read("prometheus/alerts.yaml")) ?? [];
    expect(jobs.map((each) => each?.replacement)).toEqual([asked]);
  });

  test.each(["rbac.yaml", "sluice.yaml", "sidecar.yaml"])(
    "the role of %s grants what the source asks for, and no more",
    (file) => {
      const role = parseAllDocuments(read(`kubernetes/${file}`))
        .map((document) => document.toJS() as { kind: string; rules?: Rule[] })
        .find(({ kind }) => kind === "ClusterRole");
      const rules = role?.rules ?? [];
      expect(rules.filter(({ nonResourceURLs }) => nonResourceURLs !== undefined)).toEqual([
        { nonResourceURLs: ["/apis", "/apis/*"], verbs: ["get"] },
      ]);
      const given = rules.filter((rule) => rule.resources?.includes("events"));
      const events = { apiGroups: [""], resources: ["events"], verbs: ["create"] };
      expect(given).toEqual(file === "sluice.yaml" ? [events] : []);
      const granted = rules.flatMap((rule) => {
        const { apiGroups, resources: plurals = [], verbs } = rule;
        if (apiGroups === undefined || given.includes(rule)) return [];
        expect(verbs).toEqual(["list", "watch"]);
        return plurals.map((plural) =>
          apiGroups[0] === "" ? plural : `${plural}.${apiGroups[0]}`,
        );
      });
      expect(granted.sort()).toEqual(resources.map(resourceName).sort());
    },
  );
});

interface Container {
  readonly name: string;
  readonly args?: readonly string[];
  readonly securityContext: {
    readonly privileged?: boolean;
    readonly capabilities?: { readonly add: readonly string[] };
  };
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly volumeMounts?: readonly { readonly mountPath: string }[];
}

interface PodSpec {
  readonly initContainers: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly { readonly hostPath?: { readonly path: string } }[];
}

interface Workload {
  readonly spec: { readonly template: { readonly spec: PodSpec } };
}

function objectOf<Shape>(file: string, kind: string): Shape {
  return parseAllDocuments(read(`kubernetes/${file}`))
    .map((document) => document.toJS() as Shape & { kind: string })
    .find((each) => each.kind === kind)!;
}

function containersOf(text: string): readonly Container[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Workload & { kind: string })
    .find(({ kind }) => kind === "DaemonSet")!.spec.template.spec.containers;
}

function podOf(file: string): PodSpec {
  return objectOf<Workload>(file, "DaemonSet").spec.template.spec;
}

interface Rule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
  readonly verbs: readonly string[];
}
