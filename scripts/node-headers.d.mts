export function nodeHeaders(
  execPath?: string,
  versions?: { readonly modules: string },
): string | undefined;
