import { type CommandSpec, command, type OptionsOf } from "./command-spec.js";
import { other } from "./shared-options.js";

const args = [
  { name: "shell", description: "which shell", values: ["bash", "zsh", "fish"] },
] as const;

export type CompletionOptions = OptionsOf<[], typeof args>;

/** Declares the command; `tree` is what its scripts are made from. */
export function completion(tree: () => Promise<CommandSpec>): CommandSpec {
  return command({
    name: "completion",
    summary: "print a shell's completion script",
    group: other,
    arguments: args,
    examples: [
      { command: "source <(sluice completion bash)", effect: "for this bash" },
      { command: "sluice completion zsh > ~/.zfunc/_sluice", effect: "for every zsh" },
      {
        command: "sluice completion fish > ~/.config/fish/completions/sluice.fish",
        effect: "for every fish",
      },
    ],
    run: async (options, io) =>
      (await import("./completion.js")).runCompletion(options, io, await tree()),
  });
}
