import type { Severity } from "./severity.js";

/** Reports one line to the operator; the severity is `info` when absent. */
export type Tell = (line: string, severity?: Severity) => void;
