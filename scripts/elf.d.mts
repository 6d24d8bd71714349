export function requirementsOf(bytes: Buffer): { libraries: string[]; versions: string[] };
export function obstaclesOf(bytes: Buffer): string[];
