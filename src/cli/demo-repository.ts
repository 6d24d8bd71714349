import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { hasErrors } from "../diagnostics/diagnostic.js";
import { Lab } from "../lab/lab.js";
import { LabError } from "../lab/lab-error.js";
import type { LabStatus, PodStatus } from "../lab/protocol.js";
import type { Manifests } from "../manifest/parse.js";
import { readManifests } from "../manifest/read.js";
import { readInput } from "../sources/read-input.js";
import { expandWorkloads } from "../workloads/expand.js";
import type { Io } from "./io.js";
import { styles } from "./output.js";
import { withPodView } from "./pod-view.js";
import { packageVersion } from "./version.js";

const folder = fileURLToPath(new URL("../../examples/bakery", import.meta.url));
/** What needs nothing to be rendered. */
const plain = ["apps.yaml", "services.yaml", "policies.yaml"].map((name) =>
  join(folder, "base", name),
);

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

/** Those of pods that are not there are left out: the stall is of the kustomization. */
const requests: readonly Request[] = [
  { from: "stall", url: "http://orders/", passes: true },
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
  const { manifests, about } = await readRepository(io);
  const { lab, reload } = await Lab.start({
    version: packageVersion(),
    name: "demo-repository",
    paths: () => [folder],
    read: async () => {
      const { objects } = expandWorkloads(manifests.objects, manifests.workloads);
      return { ...manifests, objects };
    },
    programs: { isServing: true },
    tell: (line) => void io.stderr.write(`sluice: ${line}\n`),
  });
  if (!reload.ok) throw reload.refused ?? new LabError("input", "the examples have errors");
  try {
    const status = lab.status();
    heading(`6. A repository: Deployments and Services of examples/bakery, ${about}`);
    const line = (name: string, addresses: readonly string[]) =>
      io.stdout.write(`   ${name.padEnd(32)} ${dim(addresses.join("  ") || "(its pods')")}\n`);
    for (const { ref, addresses } of status.pods) line(ref, addresses);
    for (const { ref, addresses } of status.names?.services ?? []) line(`svc/${ref}`, addresses);
    const client = clientOf(io);
    heading(`7. ${client.name} in the pods, by the names of Services`);
    const outcomes: boolean[] = [];
    const isThere = ({ from }: Request) => podOf(status, from) !== undefined;
    for (const request of requests.filter(isThere)) {
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

/** Renders the kustomization where a program for it is there; else takes the files that it is made of. */
async function readRepository(
  io: Io,
): Promise<{ readonly manifests: Manifests; readonly about: string }> {
  let ran = "";
  const manifests = await readInput([folder], {
    leniency: "careful",
    render: "auto",
    env: io.env,
    userAgent: `sluice/${packageVersion()}`,
    namespace: undefined,
    stdin: undefined,
    // Such as `ran kubectl kustomize FOLDER`.
    tell: (line) => {
      ran = line;
    },
  });
  const isRendered = ran !== "" && !hasErrors(manifests.diagnostics);
  return isRendered && manifests.workloads.length > 0
    ? { manifests, about: `by ${ran.split(" ").slice(1, 3).join(" ")}` }
    : { manifests: readManifests(plain), about: "its plain files" };
}

function podOf({ pods }: LabStatus, workload: string): PodStatus | undefined {
  return pods.find(({ name }) => name.startsWith(`${workload}-`));
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
  const pod = podOf(status, from)!;
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
