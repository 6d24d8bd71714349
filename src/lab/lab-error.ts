import { RefusalError } from "../control/refusal.js";

/** A lab that cannot do what was asked, in one line and one thing to try. */
export class LabError extends RefusalError {}
