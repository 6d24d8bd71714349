export function aloneIn<Result>(
  folder: string,
  build: () => Result | Promise<Result>,
): Promise<Result>;
