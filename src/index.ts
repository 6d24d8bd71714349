/**
 * The library: manifests in, a table out, packets judged.
 *
 * `parseManifests` or `readManifests` → `compile` → `Table` (questions) or `Dataplane` (packets).
 */

export { type Explanation, explain, type Question } from "./analysis/explain.js";
export { explanationText } from "./analysis/explain-text.js";
export {
  type CompileInput,
  type CompileResult,
  type CompileStats,
  compile,
} from "./compiler/compile.js";
export { type PolicyRecord, Provenance, type Reason, type RuleRecord } from "./compiler/decode.js";
export { Dataplane } from "./dataplane/dataplane.js";
export { deniedByEgress, deniedByIngress, Table, TupleBatch } from "./dataplane/table.js";
export type { Diagnostic, ObjectRef, Severity, Span } from "./diagnostics/diagnostic.js";
export { renderDiagnostic, renderDiagnosticLine } from "./diagnostics/render.js";
export type { KubernetesObject, ServiceObject } from "./manifest/objects.js";
export { type Manifests, parseManifests } from "./manifest/parse.js";
export { readManifests } from "./manifest/read.js";
export { type Address, formatAddress, parseAddress } from "./net/address.js";
export type { LocalPods } from "./policy/resolve.js";
export { assignServiceAddresses } from "./services/assign-addresses.js";
export {
  type Backend,
  type ResolvedPort,
  type ResolvedService,
  resolveServices,
} from "./services/resolve.js";
