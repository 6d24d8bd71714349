import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Lab } from "../lab/lab.js";
import { LabError } from "../lab/lab-error.js";
import type { LabStatus } from "../lab/protocol.js";
import { readManifests } from "../manifest/read.js";
import { expandWorkloads } from "../workloads/expand.js";
import type { Io } from "./io.js";
import { styles } from "./output.js";
import { withPodView } from "./pod-view.js";
import { packageVersion } from "./version.js";

const base = fileURLToPath(new URL("../../examples/bakery/base", import.meta.url));
const files = ["apps.yaml", "services.yaml", "policies.yaml"].map((name) => join(base, name));

/** How long to wait for an answer: silence is a denial, but a busy machine is silent too. Units: seconds. */
const allowedSeconds = 10;
const deniedSeconds = 1;
/** How a client ends that got no answer in time: the exit code of curl. */
const timedOut = 28;

/** A request by a program in a pod of a workload. */
interface Request {
  readonly from: string;
  readonly url: string;
  readonly passes: boolean;
}

const requests: readonly Request[] = [
  { from: "window", url: "http://orders/", passes: true },
  { from: "orders", url: "http://ledger-0.ledger:7070/", passes: true },
  { from: "window", url: "http://ledger-0.ledger:7070/", passes: false },
  { from: "ledger", url: "http://orders.bakery.svc.cluster.local/", passes: false },
];

/**
 * Shows a repository as people have them: a lab is made of its Deployments and Services, and programs in the pods ask
 * for each other by name.
 *
 * Shape: false when anything behaved otherwise than the policies say.
 */
export async function showRepository(heading: (text: string) => void, io: Io): Promise<boolean> {
  const { dim, green, red } = styles(io);
  const { lab, reload } = await Lab.start({
    version: packageVersion(),
    name: "demo-repository",
    paths: () => files,
    read: async () => {
      const manifests = readManifests(files);
      const { objects } = expandWorkloads(manifests.objects, manifests.workloads);
      return { ...manifests, objects };
    },
    programs: { isServing: true },
    tell: (line) => void io.stderr.write(`sluice: ${line}\n`),
  });
  if (!reload.ok) throw reload.refused ?? new LabError("input", "the examples have errors");
  try {
    const status = lab.status();
    heading("6. A repository: pods of the Deployments of examples/bakery, and its Services");
    const line = (name: string, addresses: readonly string[]) =>
      io.stdout.write(`   ${name.padEnd(32)} ${dim(addresses.join("  ") || "(its pods')")}\n`);
    for (const { ref, addresses } of status.pods) line(ref, addresses);
    for (const { ref, addresses } of status.names?.services ?? []) line(`svc/${ref}`, addresses);
    const client = clientOf(io);
    heading(`7. ${client.name} in the pods, by the names of Services`);
    const outcomes: boolean[] = [];
    for (const request of requests) {
      const { code, text } = await ask(request, status, client.words, io);
      const isRight = code === (request.passes ? 0 : timedOut);
      const mark = isRight ? green("ok") : red("WRONG");
      const name = `${request.from} -> ${request.url}`;
      io.stdout.write(
        `   ${mark}  ${name.padEnd(52)} ${request.passes ? "allowed" : "denied"}: ${outcomeText(code, text)}\n`,
      );
      outcomes.push(isRight);
    }
    return outcomes.every(Boolean);
  } finally {
    await lab.close();
  }
}

interface Client {
  readonly name: string;
  readonly words: (url: string, seconds: number) => readonly string[];
}

/** curl, or what this program itself has for it. */
function clientOf(io: Io): Client {
  const folders = (io.env["PATH"] ?? "").split(delimiter);
  if (folders.some((folder) => existsSync(join(folder, "curl")))) {
    return {
      name: "curl",
      words: (url, seconds) => ["curl", "--silent", "--max-time", String(seconds), url],
    };
  }
  const script =
    "fetch(process.argv[1], { signal: AbortSignal.timeout(process.argv[2] * 1000) })" +
    ".then((answer) => answer.text()).then((text) => process.stdout.write(text)," +
    `(error) => process.exit(error.name === "TimeoutError" ? ${timedOut} : 1));`;
  return {
    name: "a client of Node",
    words: (url, seconds) => [process.execPath, "-e", script, url, String(seconds)],
  };
}

function outcomeText(code: number | null, text: string): string {
  if (code === 0) return `${text.trim()} answers`;
  return code === timedOut ? "no answer" : `exit code ${code}`;
}

/** Answers with the client's exit code, and what came back. */
function ask(
  { from, url, passes }: Request,
  status: LabStatus,
  words: Client["words"],
  io: Io,
): Promise<{ readonly code: number | null; readonly text: string }> {
  const pod = status.pods.find(({ name }) => name.startsWith(`${from}-`))!;
  const command = words(url, passes ? allowedSeconds : deniedSeconds);
  const child = spawn(
    "nsenter",
    [`--net=${pod.namespacePath}`, "--", ...withPodView(pod, status, command)],
    { env: io.env, stdio: ["ignore", "pipe", "inherit"] },
  );
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, text }));
  });
}
