import { hotBytesOf } from "../compiler/hot-bytes.js";
import { printRuleset, printTable } from "../compiler/print.js";
import { count } from "../diagnostics/count.js";
import type { CompileOptions } from "./compile-spec.js";
import { compileManifests, withLeftOut } from "./compiled.js";
import { exitCodes, type Io } from "./io.js";
import { writeJson } from "./output.js";
import { reportingIo, writeOut } from "./write-out.js";

/** Compiles manifests; writes the blob, prints a step, or says how large the table is. */
export async function runCompile(options: CompileOptions, io: Io): Promise<number> {
  const local = options.node === undefined ? "all" : { node: options.node };
  const result = await compileManifests(options, io, local);
  if (result === undefined) return exitCodes.input;

  const { blob, stats, ruleset, table } = result;
  if (options.out !== undefined) writeOut(options.out, io, (write) => write(blob));
  const { stdout } = reportingIo(options.out, io);
  const compileMs = Math.round(result.compileMs * 1000) / 1000;
  if (options.output === "json") {
    writeJson(stdout, withLeftOut({ ...stats, hotBytes: hotBytesOf(blob), compileMs }, result));
  } else if (options.stage === "ruleset") {
    stdout.write(printRuleset(ruleset));
  } else if (options.stage === "table") {
    stdout.write(printTable(table));
  } else {
    const { bytes, endpoints, rows, portSets, addressClasses } = stats;
    const { ipv4, ipv6 } = hotBytesOf(blob);
    stdout.write(
      `${count(endpoints, "endpoint")}, ${count(rows, "row")}, ` +
        `${count(addressClasses, "address class", "address classes")}, ${count(portSets, "port set")}: ` +
        `${count(bytes, "byte")} in ${compileMs.toFixed(1)} ms; an IPv4 packet may touch ${ipv4} of them, ` +
        `an IPv6 packet ${ipv6}\n`,
    );
  }
  return exitCodes.ok;
}
