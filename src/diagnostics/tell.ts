import type { Severity } from "./severity.js";

/** Tells an operator one line; `info` where nothing is said of how much it weighs. */
export type Tell = (line: string, severity?: Severity) => void;
