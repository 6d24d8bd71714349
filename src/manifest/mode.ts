/** Whether policy is enforced, or only told what it would have done. */
export const modes = ["enforce", "audit"] as const;
export type Mode = (typeof modes)[number];
