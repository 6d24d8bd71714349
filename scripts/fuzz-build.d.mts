export declare const fuzzFolder: string;
export declare const fuzzTargets: Readonly<
  Record<string, { readonly run: string; readonly mutate?: string }>
>;
export declare function missingForFuzz(): string | undefined;
export declare function buildPrograms(
  names: readonly string[],
  options?: { readonly canary?: boolean },
): Promise<string[]>;
export declare function buildThreadTests(): Promise<string>;
