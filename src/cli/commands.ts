import type { CommandSpec } from "./command-spec.js";

/** Loads each command's spec. In the order of the help and the docs. */
const specs: Readonly<Record<string, () => Promise<CommandSpec>>> = {
  validate: async () => (await import("./validate-spec.js")).validate,
  compile: async () => (await import("./compile-spec.js")).compile,
  query: async () => (await import("./query-spec.js")).query,
  explain: async () => (await import("./explain-spec.js")).explain,
  matrix: async () => (await import("./matrix-spec.js")).matrix,
  describe: async () => (await import("./describe-spec.js")).describe,
  test: async () => (await import("./test-spec.js")).test,
  lint: async () => (await import("./lint-spec.js")).lint,
  diff: async () => (await import("./diff-spec.js")).diff,
  recommend: async () => (await import("./recommend-spec.js")).recommend,
  report: async () => (await import("./report-spec.js")).report,
  replay: async () => (await import("./replay-spec.js")).replay,
  run: async () => (await import("./run-spec.js")).run,
  node: async () => (await import("./node-spec.js")).node,
  sidecar: async () => (await import("./sidecar-spec.js")).sidecar,
  status: async () => (await import("./status-spec.js")).status,
  get: async () => (await import("./get-spec.js")).get,
  top: async () => (await import("./top-spec.js")).top,
  ui: async () => (await import("./ui-spec.js")).ui,
  observe: async () => (await import("./observe-spec.js")).observe,
  conntrack: async () => (await import("./conntrack-spec.js")).conntrack,
  apply: async () => (await import("./apply-spec.js")).apply,
  wait: async () => (await import("./wait-spec.js")).wait,
  reload: async () => (await import("./reload-spec.js")).reload,
  config: async () => (await import("./config-spec.js")).config,
  lab: async () => (await import("./lab-spec.js")).lab,
  capture: async () => (await import("./capture-spec.js")).capture,
  demo: async () => (await import("./demo-spec.js")).demo,
  bench: async () => (await import("./bench-spec.js")).bench,
  doctor: async () => (await import("./doctor-spec.js")).doctor,
  completion: async () => (await import("./completion-spec.js")).completion(commandTree),
  version: async () => (await import("./version-spec.js")).version,
};

/**
 * The command tree as data: the parser, the help, the shell completion and docs/commands.md are all
 * made from it. Where `only` names a command, it is the only one: a spec is loaded when it is needed, and a body
 * when its command runs, so that a short command starts without the rest.
 */
export async function commandTree(only = ""): Promise<CommandSpec> {
  const load = Object.hasOwn(specs, only) ? [specs[only]!] : Object.values(specs);
  return {
    name: "sluice",
    summary: "enforce Kubernetes network policy on any Linux interface, without a cluster",
    examples: [
      { command: "sluice demo", effect: "see it work, in under a minute" },
      {
        command:
          "sluice explain -f manifests/ --from shop/frontend --to shop/database --port 5432/tcp",
        effect: "ask why a connection is refused",
      },
    ],
    commands: await Promise.all(load.map((each) => each())),
  };
}
