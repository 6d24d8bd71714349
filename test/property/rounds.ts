const factor = Number(process.env["SLUICE_ROUNDS"] ?? 1);

/** How many rounds a random test does: so many in the gate, and SLUICE_ROUNDS times as many in `npm run test:random`. */
export const rounds = (inGate: number): number => Math.ceil(inGate * factor);
