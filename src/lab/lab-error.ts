import { RefusalError } from "../control/refusal.js";

/** A lab cannot do what was requested: one line with the reason, and one remedy. */
export class LabError extends RefusalError {}
