// Tries other kernels than the running one, in QEMU, by traffic: every hook that judges in place, and the links whose
// eBPF programs stand at interfaces. Needs root, qemu-system-x86_64, a C compiler and its static libc.
//   npm run test:kernels                       kernels of four releases of Debian: 5.10, 6.1, 6.12, the newest
//   npm run test:kernels -- bookworm FOLDER    a release, whose packages apt fetches into build/kernels; or a folder with
//                                              vmlinuz-* and lib/modules/*, as dpkg -x unpacks them
// The machine has the host's root, read only, with this checkout, and runs its tests. All of it is emulated: some ten minutes a kernel.
// Exit codes: 1 a test failed, 4 something is missing.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cpioOf } from "./cpio.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const kernels = join(root, "build/kernels");
const releases = ["bullseye", "bookworm", "trixie", "sid"];
const hooks = ["netfilter", "iptables", "nfqueue"];
const tests = ["test/live/in-place.test.ts", "test/live/in-kernel.test.ts"];
const machineSecondsMax = 1_800;

/** What the tests need of a kernel that Debian builds as modules; what a kernel has built in is passed over. */
const modules =
  "crc32c_generic virtio_pci 9pnet_virtio 9p overlay af_packet veth tun bridge br_netfilter nf_conntrack nf_tables nft_ct nft_compat xt_bpf nft_queue nfnetlink_queue nf_conntrack_netlink nft_nat nft_chain_nat nft_meta_bridge sch_ingress cls_bpf xsk_diag ipv6".split(
    " ",
  );

function say(text) {
  process.stderr.write(`test:kernels: ${text}\n`);
}

function stop(code, text) {
  say(text);
  process.exit(code);
}

function must(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 28, ...options });
  if (result.status === 0) return result.stdout;
  process.stderr.write(`${result.stdout ?? ""}${result.stderr ?? ""}${result.error ?? ""}`);
  return stop(4, `${command} ${args.join(" ")} failed`);
}

/** The files of a folder, and of all below, whose names a pattern fits. */
function filesOf(folder, pattern) {
  mkdirSync(folder, { recursive: true });
  return readdirSync(folder, { recursive: true })
    .filter((path) => pattern.test(basename(path)))
    .map((path) => join(folder, path));
}

const kernelOf = (folder) => filesOf(folder, /^vmlinuz/)[0];

/** Fetches a release's kernel by apt, by sources of our own: the machine's stay as they are. */
function fetched(release) {
  const folder = join(kernels, release);
  if (kernelOf(folder) !== undefined) return folder;
  say(`${release}: fetching its kernel`);
  const apt = join(folder, "apt");
  for (const each of ["lists/partial", "archives/partial"]) {
    mkdirSync(join(apt, each), { recursive: true });
  }
  const suites = [["debian", release]];
  if (release !== "sid") suites.push(["debian-security", `${release}-security`]);
  const lines = suites.map(([area, suite]) => `deb http://deb.debian.org/${area} ${suite} main\n`);
  writeFileSync(join(apt, "sources.list"), lines.join(""));
  const options = Object.entries({
    "Dir::Etc::sourcelist": join(apt, "sources.list"),
    "Dir::Etc::sourceparts": "-",
    "Dir::State::lists": join(apt, "lists"),
    "Dir::Cache::archives": join(apt, "archives"),
    "Dir::Cache::pkgcache": "",
    "Dir::Cache::srcpkgcache": "",
    "APT::Sandbox::User": "root",
  }).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
  must("apt-get", [...options, "update"]);
  const wanted = new Set(["linux-image-amd64"]);
  for (const name of wanted) {
    const shown = must("apt-cache", [...options, "--no-all-versions", "show", name]);
    const depends = /^Depends: (.*)$/m.exec(shown)?.[1] ?? "";
    for (const [, each] of depends.matchAll(/\b(linux-(?:image|binary|modules)-[\w.+-]+)/g))
      wanted.add(each);
  }
  must("apt-get", [...options, "download", ...wanted], { cwd: apt });
  for (const file of filesOf(apt, /\.deb$/)) must("dpkg", ["-x", file, folder]);
  rmSync(apt, { recursive: true });
  return folder;
}

const plainName = (name) => name.replaceAll("-", "_");

/** The files of modules and of what they need, those first. */
function moduleFiles(folder) {
  const byName = new Map(
    filesOf(folder, /\.ko(\.\w+)?$/).map((path) => [
      plainName(basename(path).replace(/\.ko.*$/, "")),
      path,
    ]),
  );
  const files = new Map();
  const add = (name) => {
    const path = byName.get(name);
    if (path === undefined || files.has(name)) return;
    const content = contentOf(path);
    const depends = /\0depends=([^\0]*)\0/.exec(content.toString("latin1"))?.[1] ?? "";
    for (const each of depends.split(",")) add(plainName(each));
    files.set(name, content);
  };
  for (const name of modules) add(name);
  return files;
}

function contentOf(path) {
  const [, packing] = /\.ko\.?(\w*)$/.exec(path);
  if (packing === "") return readFileSync(path);
  return must(packing === "xz" ? "xz" : "zstd", ["-dc", path], { encoding: "buffer" });
}

/** Starts a kernel, which runs a command on the host's root; returns what it printed. */
function boot(folder, command) {
  const kernel = kernelOf(folder);
  if (kernel === undefined) stop(4, `${folder} has no vmlinuz-*`);
  const own = mkdtempSync(join(tmpdir(), "sluice-kernel-"));
  try {
    const init = join(own, "init");
    must("cc", ["-static", "-O1", "-o", init, join(root, "scripts/kernel-init.c")]);
    const loaded = moduleFiles(folder);
    const names = [...loaded.keys()].map((name) => `/${name}.ko\n`).join("");
    const files = [
      ["init", readFileSync(init)],
      ["command", Buffer.from(command)],
      ["modules", Buffer.from(names)],
      ...[...loaded].map(([name, content]) => [`${name}.ko`, content]),
    ];
    writeFileSync(join(own, "initrd"), cpioOf(files));
    const args = [
      ["-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio"],
      ["-accel", "tcg", "-cpu", "Nehalem", "-smp", "2", "-m", "2048"],
      ["-kernel", kernel, "-initrd", join(own, "initrd")],
      ["-append", "console=ttyS0 quiet panic=-1 mitigations=off"],
      [
        "-virtfs",
        "local,path=/,mount_tag=host,security_model=passthrough,readonly=on,multidevs=remap",
      ],
    ].flat();
    const options = { encoding: "utf8", maxBuffer: 1 << 28, timeout: machineSecondsMax * 1_000 };
    const { stdout, stderr, error } = spawnSync("qemu-system-x86_64", args, options);
    if (error !== undefined && error.code === "ENOENT") stop(4, "needs qemu-system-x86_64");
    return `${stdout}${stderr}`;
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

/** The tests that ran, by what they are about. */
function resultsOf(printed) {
  const [, version = "unknown"] = /^kernel (\d\S*)/m.exec(printed) ?? [];
  const [, json] = /^begin report\r?\n(.*)\r?\nend report/ms.exec(printed) ?? [];
  if (json === undefined) {
    process.stderr.write(printed.slice(-8_000));
    return { version, all: undefined };
  }
  const all = JSON.parse(json).testResults.flatMap(({ assertionResults }) => assertionResults);
  return { version, all };
}

function summaryOf(results) {
  const count = (status) => results.filter((each) => each.status === status).length;
  const failed = count("failed");
  if (failed > 0) return `${failed} of ${results.length} FAILED`;
  return count("passed") === 0 ? "the kernel has it not" : `${count("passed")} pass`;
}

const asked = process.argv.slice(2);
const rows = [];
let failed = false;
for (const each of asked.length === 0 ? releases : asked) {
  const folder = releases.includes(each) ? fetched(each) : each;
  say(`${each}: starting it`);
  const command = [
    "ip link set lo up; echo kernel $(uname -r)",
    `cd ${root} && ${process.execPath} node_modules/vitest/vitest.mjs run ${tests.join(" ")} --testTimeout 120000 --hookTimeout 120000 --reporter json --outputFile /tmp/report.json > /tmp/said 2>&1`,
    "status=$?; test -s /tmp/report.json || cat /tmp/said",
    "echo begin report; cat /tmp/report.json; echo; echo end report; exit $status",
  ].join("\n");
  const { version, all } = resultsOf(boot(folder, command));
  const about = (wanted) => (all ?? []).filter(({ ancestorTitles }) => wanted(ancestorTitles));
  const ofHooks = hooks.map((hook) => about(([title]) => title === `by ${hook}`));
  const others = about(([title]) => !hooks.some((hook) => title === `by ${hook}`));
  rows.push([each, version, ...[...ofHooks, others].map(summaryOf)]);
  for (const { status, fullName, failureMessages } of all ?? []) {
    if (status === "failed") say(`${version}: ${fullName}\n${failureMessages.join("\n")}`);
  }
  // Something must judge in place on every kernel.
  const judges = ofHooks.some((results) => results.some(({ status }) => status === "passed"));
  failed ||= !judges || all.some(({ status }) => status === "failed");
}

const table = [
  ["ASKED", "KERNEL", ...hooks.map((hook) => hook.toUpperCase()), "INTERFACES"],
  ...rows,
];
const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
for (const row of table) {
  process.stdout.write(
    `${row
      .map((cell, at) => cell.padEnd(widths[at]))
      .join("  ")
      .trimEnd()}\n`,
  );
}
process.exit(failed ? 1 : 0);
