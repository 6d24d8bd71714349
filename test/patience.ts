/** How long to wait for what has to come: a machine that others keep busy is no fault. */
export const patientMs = 60_000;
