// The cluster of scripts/test-cluster.mjs, by the program that makes it.
import { spawn, spawnSync } from "node:child_process";
import { createWriteStream } from "node:fs";

/** The cluster, or what works on it, failed: nothing is known about Sluice. */
export class ClusterError extends Error {}

export class Cluster {
  #program;
  /** @type {string[]} */
  nodes = [];

  constructor(program) {
    this.#program = program;
  }

  /** Runs a program to its end; returns its standard output. Errors: ClusterError. */
  static must(program, words, options = {}) {
    const result = spawnSync(program, words, { encoding: "utf8", maxBuffer: 2 ** 27, ...options });
    if (result.status === 0) return result.stdout;
    const said =
      `${result.stdout ?? ""}${result.stderr ?? ""}${result.error?.message ?? ""}`.trim();
    throw new ClusterError(`${program} ${words.join(" ")} failed: ${said}`);
  }

  up(words) {
    Cluster.must(this.#program, ["up", ...words]);
    this.nodes = this.kubectl("get", "nodes", "-o", "name")
      .trim()
      .split("\n")
      .map((each) => each.slice(5));
  }

  down() {
    Cluster.must(this.#program, ["down"]);
  }

  kubectl(...words) {
    return Cluster.must(this.#program, ["kubectl", ...words]);
  }

  /** Like kubectl, but its failure is an answer too. */
  ask(...words) {
    const { status, stdout } = spawnSync(this.#program, ["kubectl", ...words], {
      encoding: "utf8",
      maxBuffer: 2 ** 27,
    });
    return { ok: status === 0, text: stdout };
  }

  apply(text) {
    return Cluster.must(this.#program, ["kubectl", "apply", "-f", "-"], { input: text });
  }

  /** Takes away what `apply` has made, and waits until it is gone. */
  remove(text) {
    return Cluster.must(
      this.#program,
      ["kubectl", "delete", "--ignore-not-found", "--timeout=120s", "-f", "-"],
      { input: text },
    );
  }

  json(...words) {
    return JSON.parse(this.kubectl(...words, "-o", "json"));
  }

  in(node, ...words) {
    return Cluster.must(this.#program, ["in", node, ...words]);
  }

  /** Brings an image to every node's containerd. */
  load(file) {
    for (const node of this.nodes) this.in(node, "ctr", "-n", "k8s.io", "images", "import", file);
  }

  /** Runs one of the program's suites; its output goes to a file, and comes back with how it ended. */
  suite(words, log) {
    return new Promise((resolve, reject) => {
      const file = createWriteStream(log);
      const child = spawn(this.#program, words, { stdio: ["ignore", "pipe", "pipe"] });
      let text = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (piece) => {
          text += piece;
          file.write(piece);
        });
      }
      child.on("error", (error) => reject(new ClusterError(error.message)));
      child.on("close", (status) => file.end(() => resolve({ status, text })));
    });
  }
}

/** Waits for a state, asked for again and again. Errors: ClusterError when it does not come. */
export async function until(what, seconds, isSo) {
  const endMs = performance.now() + seconds * 1_000;
  for (;;) {
    const found = isSo();
    if (found) return found;
    if (performance.now() > endMs) throw new ClusterError(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
