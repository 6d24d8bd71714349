import type { OptionSpec, OptionsOf } from "./command-spec.js";

/**
 * Writes options as the words of a command line that gives the same options: for another process of Sluice that
 * goes on with the command.
 */
export function flagWords<const Options extends readonly OptionSpec[]>(
  specs: Options,
  options: OptionsOf<Options>,
): readonly string[] {
  const values: Readonly<Record<string, unknown>> = options;
  return specs.flatMap(({ flags, repeatable, format = String }) => {
    const flag = /--[\w-]+/.exec(flags)?.[0] ?? "";
    const value =
      values[flag.slice(2).replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())];
    if (value === undefined || value === false) return [];
    if (value === true) return [flag];
    if (repeatable === true) return (value as readonly string[]).flatMap((each) => [flag, each]);
    return flags.endsWith("...>")
      ? [flag, ...(value as readonly string[])]
      : [flag, format(value as never)];
  });
}
