import { type Report, type Row, spreadMax } from "../report.js";
import type { NativeReport } from "./report.js";

/** Adds the timings of native structures to the measurements with packets. */
export function withNativeFigures(
  report: Report,
  { rows, leftOut }: Pick<NativeReport, "rows" | "leftOut">,
): Report {
  const added = rows.map(
    ({ name, ratio, against, spread, value, base, unit, reach, reached }): Row => {
      const aim = reach === undefined ? {} : { reach: { atMost: reach } };
      const met = reached === undefined ? {} : { reached };
      const noisy = spread > spreadMax;
      const common = { name, ratio, against, spread, by: "native structures", value, base, unit };
      return { ...common, better: "less", noisy, ...aim, ...met };
    },
  );
  return {
    ...report,
    rows: [...report.rows, ...added],
    leftOut: [
      ...report.leftOut,
      ...leftOut.map(({ name, reason }) => ({ contender: name, title: name, reason })),
    ],
  };
}
